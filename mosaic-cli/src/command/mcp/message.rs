//! What a line of the client says, or how it is refused.

use std::fmt;

use rmcp::model::{ClientJsonRpcMessage, ErrorCode, ErrorData, RequestId};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Deserializer, Value, json};

/// Notifications of the protocol; others are none of a server's business.
const NOTIFICATIONS: [&str; 4] = [
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
];

pub enum Line {
    Message(Box<ClientJsonRpcMessage>),
    /// Each message of a batch, or how it is refused.
    Batch(Vec<Result<ClientJsonRpcMessage, Refusal>>),
    /// Nothing that anybody has to answer.
    Nothing,
}

/// The answer to what cannot be taken: an error of the protocol, about the request where that can be read.
pub struct Refusal(pub Value);

impl Refusal {
    fn unreadable(line: &[u8], error: &serde_json::Error) -> Self {
        let error = ErrorData::parse_error(format!("the line is not JSON: {error}"), None);
        Refusal::about(id_of(line), &error)
    }

    pub fn invalid(id: Option<RequestId>, message: impl Into<String>) -> Self {
        Refusal::about(
            id,
            &ErrorData::new(ErrorCode::INVALID_REQUEST, message.into(), None),
        )
    }

    /// As JSON-RPC has it: null stands for what could not be read.
    fn about(id: Option<RequestId>, error: &ErrorData) -> Self {
        Refusal(json!({"jsonrpc": "2.0", "id": id, "error": error}))
    }
}

pub fn read(line: &[u8]) -> Result<Line, Refusal> {
    match serde_json::from_slice(line) {
        Ok(Value::Array(messages)) if messages.is_empty() => {
            Err(Refusal::invalid(None, "the batch is empty"))
        }
        Ok(Value::Array(messages)) => {
            let messages = messages.iter().map(message);
            Ok(Line::Batch(
                messages.filter_map(Result::transpose).collect(),
            ))
        }
        Ok(value) => Ok(match message(&value)? {
            Some(message) => Line::Message(Box::new(message)),
            None => Line::Nothing,
        }),
        Err(error) => Err(Refusal::unreadable(line, &error)),
    }
}

fn message(value: &Value) -> Result<Option<ClientJsonRpcMessage>, Refusal> {
    let method = value["method"].as_str().unwrap_or_default();
    if value.get("id").is_none() && !method.is_empty() && !NOTIFICATIONS.contains(&method) {
        return Ok(None);
    }
    let refused = |message: String| {
        let id = serde_json::from_value(value["id"].clone()).ok();
        Refusal::invalid(id, message)
    };
    let mut value = value.clone();
    if let Some(given) = value.pointer_mut("/params/arguments") {
        // Some clients quote the arguments once more.
        if let Some(text) = given.as_str() {
            *given = match text.trim() {
                "" => json!({}),
                text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            };
        }
        if !given.is_object() && !given.is_null() {
            return Err(refused(
                "arguments must be an object, as in {\"id\":\"A1\"}".to_owned(),
            ));
        }
    }
    serde_json::from_slice(value.to_string().as_bytes())
        .map(Some)
        .map_err(|error| refused(format!("this is not a message of the protocol: {error}")))
}

/// The id of a message that is damaged elsewhere, so that the client need not wait for its answer.
fn id_of(line: &[u8]) -> Option<RequestId> {
    struct Id<'a>(&'a mut Option<RequestId>);

    impl<'de> Visitor<'de> for Id<'_> {
        type Value = ();

        fn expecting(&self, what: &mut fmt::Formatter) -> fmt::Result {
            what.write_str("a message")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut message: M) -> Result<(), M::Error> {
            while let Some(key) = message.next_key::<String>()? {
                match key.as_str() {
                    "id" => *self.0 = Some(message.next_value()?),
                    _ => drop(message.next_value::<IgnoredAny>()?),
                }
            }
            Ok(())
        }
    }

    let mut id = None;
    let _ = Deserializer::from_slice(line).deserialize_map(Id(&mut id));
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &[u8]) -> Value {
        match read(line) {
            Err(refusal) => refusal.0,
            Ok(_) => panic!("{} was read", String::from_utf8_lossy(line)),
        }
    }

    #[test]
    fn what_is_no_json_is_refused_under_its_id() {
        for line in [
            &br#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":"\ud83d"}}"#[..],
            br#"{"jsonrpc":"2.0","method":"ping","params":{"x":"\ud83d"},"id":7}"#,
            br#"{"jsonrpc":"2.0","id":7,"method":"pi"#,
            b"{\"id\":7,\"method\":\"\xff\"}",
            b"{\"method\":\"\xff\",\"id\":7}",
        ] {
            let answer = refused(line);
            assert_eq!(answer["error"]["code"], -32700, "{answer}");
            assert_eq!(answer["id"], 7, "{}", String::from_utf8_lossy(line));
        }
        for line in [&b"{"[..], b"nothing", b"\xff", br#"{"method":"ping"#] {
            let answer = refused(line);
            assert_eq!(
                (&answer["error"]["code"], &answer["id"]),
                (&json!(-32700), &Value::Null)
            );
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for line in [
            "7",
            "{}",
            "[]",
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
        ] {
            let answer = refused(line.as_bytes());
            assert_eq!(answer["error"]["code"], -32600, "{line}: {answer}");
        }
    }

    #[test]
    fn arguments_are_an_object_also_as_text() {
        let call = |arguments: &str| {
            let line = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x","arguments":{arguments}}}}}"#
            );
            read(line.as_bytes())
        };
        for arguments in ["{}", "null", r#""""#, r#""{\"id\": \"A\"}""#] {
            assert!(
                matches!(call(arguments), Ok(Line::Message(_))),
                "{arguments}"
            );
        }
        for arguments in ["7", "[]", r#""A1""#] {
            let answer = call(arguments)
                .err()
                .map(|refusal| refusal.0)
                .unwrap_or_default();
            assert_eq!(answer["id"], 1, "{arguments}: {answer}");
        }
    }

    #[test]
    fn notifications_of_others_are_passed_over() {
        let line = br#"{"jsonrpc":"2.0","method":"notifications/lunch"}"#;
        assert!(matches!(read(line), Ok(Line::Nothing)));
    }
}
