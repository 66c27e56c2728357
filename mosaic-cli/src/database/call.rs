//! The call of one of the extension's functions, as SQL.

use postgres::types::{ToSql, Type};

use crate::input::Moment;

/// A call of one of the extension's functions with named arguments. What is not given is left out, so that the
/// function's own default holds.
pub struct Call {
    pub function: &'static str,
    arguments: Vec<Argument>,
    scalar: Option<&'static str>,
    columns: Option<&'static str>,
}

struct Argument {
    name: &'static str,
    /// The SQL around the parameter's number.
    sql: (&'static str, &'static str),
    value: Box<dyn ToSql + Send + Sync>,
    kind: Type,
}

impl Call {
    pub fn new(function: &'static str) -> Self {
        Call {
            function,
            arguments: Vec::new(),
            scalar: None,
            columns: None,
        }
    }

    /// The call without the values, which may be secret or long.
    pub fn outline(&self) -> String {
        let names: Vec<&str> = self.arguments.iter().map(|given| given.name).collect();
        format!("mosaic.{}({})", self.function, names.join(", "))
    }

    /// Whether no argument was given yet.
    pub fn is_empty(&self) -> bool {
        self.arguments.is_empty()
    }

    /// The function returns a bare value: name it.
    pub fn returning(mut self, column: &'static str) -> Self {
        self.scalar = Some(column);
        self
    }

    /// Only these columns of the answer, as a select list.
    pub fn columns(mut self, columns: &'static str) -> Self {
        self.columns = Some(columns);
        self
    }

    fn with(
        mut self,
        name: &'static str,
        sql: (&'static str, &'static str),
        value: impl ToSql + Send + Sync + 'static,
        kind: Type,
    ) -> Self {
        self.arguments.push(Argument {
            name,
            sql,
            value: Box::new(value),
            kind,
        });
        self
    }

    /// Text that SQL reads as the type that `cast` names.
    fn cast(self, name: &'static str, cast: &'static str, text: Option<String>) -> Self {
        match text {
            Some(text) => self.with(name, ("", cast), text, Type::TEXT),
            None => self,
        }
    }

    pub fn text(self, name: &'static str, text: impl Into<Option<String>>) -> Self {
        self.cast(name, "", text.into())
    }

    pub fn json(self, name: &'static str, text: impl Into<Option<String>>) -> Self {
        self.cast(name, "::jsonb", text.into())
    }

    /// A time of the caller's, or so many seconds from the server's now.
    pub fn moment(self, name: &'static str, moment: Option<Moment>) -> Self {
        match moment {
            Some(Moment::At(time)) => self.cast(name, "::timestamptz", Some(time)),
            Some(Moment::In(seconds)) => self.with(
                name,
                ("now() + make_interval(secs => ", ")"),
                seconds as f64,
                Type::FLOAT8,
            ),
            None => self,
        }
    }

    pub fn uuid(self, name: &'static str, uuid: Option<uuid::Uuid>) -> Self {
        match uuid {
            Some(uuid) => self.with(name, ("", ""), uuid, Type::UUID),
            None => self,
        }
    }

    pub fn seconds(self, name: &'static str, seconds: Option<u64>) -> Self {
        match seconds {
            Some(seconds) => self.with(
                name,
                ("make_interval(secs => ", ")"),
                seconds as f64,
                Type::FLOAT8,
            ),
            None => self,
        }
    }

    pub fn int(self, name: &'static str, number: impl Into<Option<i32>>) -> Self {
        match number.into() {
            Some(number) => self.with(name, ("", ""), number, Type::INT4),
            None => self,
        }
    }

    pub fn bigint(self, name: &'static str, number: impl Into<Option<i64>>) -> Self {
        match number.into() {
            Some(number) => self.with(name, ("", ""), number, Type::INT8),
            None => self,
        }
    }

    /// False is every switch's default, and is not sent.
    pub fn switch(self, name: &'static str, on: bool) -> Self {
        if on {
            self.with(name, ("", ""), true, Type::BOOL)
        } else {
            self
        }
    }

    /// An empty list is every list's default, and is not sent.
    pub fn texts(self, name: &'static str, texts: Vec<String>) -> Self {
        if texts.is_empty() {
            return self;
        }
        self.with(name, ("", ""), texts, Type::TEXT_ARRAY)
    }

    pub fn statuses(self, name: &'static str, statuses: Vec<String>) -> Self {
        if statuses.is_empty() {
            return self;
        }
        self.with(
            name,
            ("", "::mosaic.backlog_status[]"),
            statuses,
            Type::TEXT_ARRAY,
        )
    }

    /// An empty list that is meant: it replaces what is there.
    pub fn no_texts(self, name: &'static str) -> Self {
        self.with(name, ("", ""), Vec::<String>::new(), Type::TEXT_ARRAY)
    }

    /// The database makes the JSON. Its times are to be UTC, which is set for this statement's transaction alone:
    /// a session setting would not survive a pooler, and startup options do not pass through all of them.
    pub fn sql(&self) -> String {
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .enumerate()
            .map(|(at, argument)| {
                let (before, after) = argument.sql;
                format!("{} => {before}${}{after}", argument.name, at + 1)
            })
            .collect();
        // A bare value has no columns of its own that row_to_json could name.
        let row = match self.scalar {
            Some(column) => format!("json_build_object('{column}', answer)"),
            None => "row_to_json(answer)".to_owned(),
        };
        let mut answer = format!("mosaic.{}({})", self.function, arguments.join(", "));
        if let Some(columns) = self.columns {
            answer = format!("(select {columns} from {answer} as whole)");
        }
        format!("select {row}::text from set_config('TimeZone', 'UTC', true), {answer} as answer")
    }

    pub fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.arguments
            .iter()
            .map(|argument| {
                (
                    argument.value.as_ref() as &(dyn ToSql + Sync),
                    argument.kind.clone(),
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_is_sent() {
        let call = Call::new("backlog_claim")
            .text("worker", "w1".to_owned())
            .seconds("ttl", Some(900))
            .text("phase", None)
            .texts("labels", Vec::new())
            .switch("force", false);
        assert!(call.sql().ends_with(
            "mosaic.backlog_claim(worker => $1, ttl => make_interval(secs => $2)) as answer"
        ));
        assert_eq!(call.parameters().len(), 2);
    }

    #[test]
    fn a_bare_value_gets_a_column_name() {
        let call = Call::new("backlog_renew").returning("claim_expires_at");
        assert!(
            call.sql()
                .starts_with("select json_build_object('claim_expires_at', answer)::text from")
        );
    }

    #[test]
    fn some_columns_are_selected_from_the_answer() {
        let call = Call::new("backlog_list").columns("id, title");
        assert!(
            call.sql()
                .ends_with(", (select id, title from mosaic.backlog_list() as whole) as answer")
        );
    }
}
