//! Many calls in one round trip, judged in the server.

use std::collections::BTreeMap;
use std::thread;

use super::argument;
use super::dice::Dice;
use crate::cards::quote;
use crate::database::Database;
use crate::refused::CODES;
use crate::session::Session;

/// A backlog with a card in each state, made anew after each commit.
const CARDS: &str = "
    truncate mosaic.backlog, mosaic.backlog_dependency, mosaic.backlog_event, mosaic.backlog_claim_request;
    select setval('mosaic.backlog_claim_token_seq', 1, false);
    select mosaic.backlog_create('t', id => id, phase => 'p', labels => '{docs}') from unnest('{A,B,C,D,F}'::text[]) id;
    select mosaic.backlog_create('t', id => 'E', depends_on => '{A}', idempotency_key => 'k1');
    select mosaic.backlog_claim('w1', id => 'B');
    select mosaic.backlog_block('C', 'why');
    select mosaic.backlog_complete('D');
    select mosaic.backlog_cancel('F', 'why')";

/// Makes calls one after the other, each in a savepoint, and says what became of each. A refused
/// call that changed something has the state `changed`.
const JUDGE: &str = "
    create function everything() returns text language sql as $$
      select md5(string_agg(line, '|')) from (
        select b::text as line from mosaic.backlog b
        union all select d::text from mosaic.backlog_dependency d
        union all select r::text from mosaic.backlog_claim_request r
        union all select count(*)::text from mosaic.backlog_event order by line) all_lines $$;
    create function judge(calls text[]) returns table (state text, detail text, message text) language plpgsql as $$
    declare
      call text;
      before text;
    begin
      foreach call in array calls loop
        before := everything();
        begin
          execute call;
          state := '00000'; detail := ''; message := '';
        exception when others then
          get stacked diagnostics state = returned_sqlstate, detail = pg_exception_detail, message = message_text;
          if everything() is distinct from before then
            state := 'changed';
          end if;
        end;
        return next;
      end loop;
    end $$";

const BATCH: usize = 100;

/// What became of the calls, by function: taken, refused.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub calls: BTreeMap<String, (usize, usize)>,
    /// Calls that were not answered as they should be.
    pub faults: Vec<String>,
}

impl Tally {
    pub fn inputs(&self) -> usize {
        self.calls
            .values()
            .map(|(taken, refused)| taken + refused)
            .sum()
    }

    fn join(&mut self, other: Self) {
        for (function, (taken, refused)) in other.calls {
            let sum = self.calls.entry(function).or_default();
            sum.0 += taken;
            sum.1 += refused;
        }
        self.faults.extend(other.faults);
    }
}

struct Function {
    name: String,
    /// Names and types.
    arguments: Vec<(String, String)>,
    /// How many of them, the first, have no default.
    required: usize,
}

pub struct Fuzz {
    session: Session,
    functions: Vec<Function>,
    dice: Dice,
    tally: Tally,
}

impl Fuzz {
    /// In a database of its own.
    #[track_caller]
    pub fn new(database: &Database, seed: u64) -> Self {
        let mut session = database.session();
        session.run(JUDGE);
        session.run(CARDS);
        let functions = functions(&mut session);
        Self {
            session,
            functions,
            dice: Dice::new(seed),
            tally: Tally::default(),
        }
    }

    /// Makes so many calls, or fewer if one was answered as it should not be.
    #[track_caller]
    pub fn run(mut self, inputs: usize) -> Tally {
        while self.tally.inputs() < inputs && self.tally.faults.is_empty() {
            self.batch();
        }
        self.tally
    }

    #[track_caller]
    fn batch(&mut self) {
        let calls: Vec<(String, String)> = (0..BATCH).map(|_| self.call()).collect();
        let quoted: Vec<String> = calls.iter().map(|(_, call)| quote(call)).collect();
        self.session.run("begin");
        let judged = self
            .session
            .attempt(&format!("select * from judge(array[{}])", quoted.join(",")));
        let judged = match judged {
            Ok(judged) => judged,
            Err(refused) => {
                let calls: Vec<&String> = calls.iter().map(|(_, call)| call).collect();
                self.tally
                    .faults
                    .push(format!("{refused:?} by one of {calls:#?}"));
                return;
            }
        };
        for ((function, call), row) in calls.into_iter().zip(&judged) {
            let text = |key: &str| row[key].as_str().unwrap_or_default();
            let (state, detail) = (text("state"), text("detail"));
            let sum = self.tally.calls.entry(function).or_default();
            match state {
                "00000" => sum.0 += 1,
                _ => sum.1 += 1,
            }
            if !is_orderly(state, detail) {
                let call: String = call.chars().take(2_000).collect();
                self.tally
                    .faults
                    .push(format!("{state} {}: {call}", text("message")));
            }
        }
        self.end();
    }

    /// Mostly takes all back; now and then it is to stay.
    #[track_caller]
    fn end(&mut self) {
        if !self.dice.one_in(20) {
            return self.session.run("rollback");
        }
        if let Err(refused) = self.session.attempt_run("commit")
            && refused.code.is_empty()
        {
            self.tally.faults.push(format!("commit: {refused:?}"));
        }
        self.session.run(CARDS);
    }

    /// A function, and a call of it.
    fn call(&mut self) -> (String, String) {
        let number = match self.dice.below(4) {
            // Most can go wrong in documents.
            0 => self.position("backlog_create_many"),
            1 => self.position("backlog_import"),
            _ => self.dice.below(self.functions.len()),
        };
        let function = &self.functions[number];
        let mut given = Vec::new();
        for (at, (name, kind)) in function.arguments.iter().enumerate() {
            if at < function.required || self.dice.one_in(2) {
                let value = argument::value(&mut self.dice, &function.name, name, kind);
                given.push(format!("{name} => {value}"));
            }
        }
        let call = format!("select mosaic.{}({})", function.name, given.join(", "));
        (function.name.clone(), call)
    }

    fn position(&self, name: &str) -> usize {
        let mut functions = self.functions.iter();
        functions.position(|f| f.name == name).expect("a function")
    }
}

fn is_orderly(state: &str, detail: &str) -> bool {
    let word = detail.split_once(": ").map_or("", |(word, _)| word);
    state == "00000"
        || CODES.contains(&(word, state))
        // What PostgreSQL says of a value that its types do not hold, or too deep a document.
        || ["22", "54"].contains(&&state[..2])
}

/// The functions of the extension.
fn functions(session: &mut Session) -> Vec<Function> {
    let rows = session.rows(
        "select p.proname as function, p.pronargs - p.pronargdefaults as required, a.name, format_type(a.kind, null) as kind
         from pg_proc p, unnest(p.proargtypes::oid[], p.proargnames[1:p.pronargs]) with ordinality a (kind, name, n)
         where p.pronamespace = 'mosaic'::regnamespace and p.proname like 'backlog\\_%'
         order by p.proname, a.n",
    );
    let mut functions: Vec<Function> = Vec::new();
    for row in rows {
        let text = |key: &str| row[key].as_str().expect("a text").to_owned();
        let name = text("function");
        if functions.last().is_none_or(|last| last.name != name) {
            functions.push(Function {
                name,
                arguments: Vec::new(),
                required: row["required"].as_u64().expect("a number") as usize,
            });
        }
        let last = functions.last_mut().expect("a function");
        last.arguments.push((text("name"), text("kind")));
    }
    functions
}

/// Spreads calls over connections, each to a database of its own. `told` hears of each part.
#[track_caller]
pub fn spread(inputs: usize, seed: u64, connections: usize, told: impl Fn(usize) + Sync) -> Tally {
    const PART: usize = 20_000;
    let share = inputs.div_ceil(connections);
    thread::scope(|scope| {
        let told = &told;
        let threads: Vec<_> = (0..connections)
            .map(|number| {
                scope.spawn(move || {
                    let mut all = Tally::default();
                    let mut part = 0;
                    while all.inputs() < share && all.faults.is_empty() {
                        let database = Database::fresh();
                        let seed = seed ^ (number as u64) << 48 ^ part << 20;
                        let fuzz = Fuzz::new(&database, seed);
                        all.join(fuzz.run(PART.min(share - all.inputs())));
                        part += 1;
                        told(all.inputs());
                    }
                    all
                })
            })
            .collect();
        let mut all = Tally::default();
        for thread in threads {
            match thread.join() {
                Ok(tally) => all.join(tally),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}
