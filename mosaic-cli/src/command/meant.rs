//! What somebody means who types what there is not: the words of other trackers have an answer
//! here, and of the rest only what is near.
//!
//! Whoever reads a hint follows it, so that nothing is suggested that does more than was asked for.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::suggest::{question, similar};

/// They take what others hold, or widen what a call does: never a guess.
const NEVER: [&str; 4] = ["--force", "--cascade", "--clear", "--no-dependencies"];

/// Words for verbs, and what to do instead.
const VERBS: &[(&[&str], &str)] = &[
    (
        &["comment", "annotate", "remark", "notes", "comments", "say"],
        "What whoever works on the card next should know is kept by `mosaic backlog note ID TEXT`.",
    ),
    (
        &[
            "close", "done", "finish", "finished", "resolve", "end", "submit", "accept", "merge",
        ],
        "A card is finished by `mosaic backlog complete ID --token N`, with the token of your claim.",
    ),
    (
        &[
            "next", "todo", "pop", "dequeue", "take", "grab", "pick", "pull", "checkout", "start",
            "begin", "work", "assign", "lock", "acquire", "lease",
        ],
        "Work is taken by `mosaic backlog claim`; `mosaic backlog list --ready` only looks.",
    ),
    (
        &["ready", "available", "claimable"],
        "What can be claimed is shown by `mosaic backlog list --ready`, and taken by `mosaic backlog claim`.",
    ),
    (
        &[
            "delete", "remove", "rm", "del", "destroy", "archive", "abort", "wontfix", "discard",
        ],
        "Cards are not deleted: `mosaic backlog cancel ID --reason TEXT` decides that one is not to be done (operators). \
         A card that you hold is given back by `mosaic backlog release ID --token N`.",
    ),
    (
        &[
            "drop",
            "unclaim",
            "unassign",
            "giveback",
            "give-back",
            "return",
            "abandon",
            "unlock",
            "yield",
            "requeue",
            "nack",
        ],
        "A card that you hold is given back by `mosaic backlog release ID --token N`.",
    ),
    (
        &["search", "find", "query", "grep"],
        "Words are looked for by `mosaic backlog list --search WORDS`.",
    ),
    (
        &["filter", "ls", "cards", "issues", "board", "all", "backlog"],
        "Cards are listed by `mosaic backlog list`, by status, phase, label, owner and words.",
    ),
    (
        &[
            "view", "get", "info", "describe", "inspect", "display", "detail", "details", "read",
            "cat", "card",
        ],
        "A card is shown by `mosaic backlog show ID`.",
    ),
    (
        &[
            "add", "new", "open", "insert", "enqueue", "push", "put", "make", "issue", "task",
        ],
        "A card is made by `mosaic backlog create TITLE`.",
    ),
    (
        &[
            "edit",
            "set",
            "modify",
            "change",
            "label",
            "tag",
            "priority",
            "prioritize",
            "rename",
            "move",
        ],
        "A card is changed by `mosaic backlog update ID` (operators).",
    ),
    (
        &[
            "dep",
            "deps",
            "depend",
            "depends",
            "dependency",
            "dependencies",
            "needs",
            "wait-for",
        ],
        "`mosaic backlog link ID --needs ID` makes a card wait for another; `mosaic backlog why ID` says what it waits for.",
    ),
    (
        &["undep", "undepend"],
        "`mosaic backlog unlink ID --needs ID` stops a card from waiting for another.",
    ),
    (
        &[
            "heartbeat",
            "extend",
            "keepalive",
            "keep-alive",
            "touch",
            "ping",
            "refresh",
            "ack",
        ],
        "A lease is prolonged by `mosaic backlog renew ID --token N`, a card finished by `mosaic backlog complete ID --token N`.",
    ),
    (
        &["error", "reject", "failed", "fault"],
        "Failed work is reported by `mosaic backlog fail ID --token N --reason TEXT`.",
    ),
    (
        &[
            "ask", "question", "hold", "suspend", "pause", "park", "defer", "snooze", "wait",
        ],
        "A card that needs an answer is set aside by `mosaic backlog block ID --token N --kind input --reason TEXT`; \
         one that is to be tried later is given back by `mosaic backlog release ID --token N --retry-in DURATION`.",
    ),
    (
        &["answer", "reply", "respond"],
        "What a card was blocked for is told by `mosaic backlog unblock ID --answer TEXT`.",
    ),
    (
        &["retry", "restart", "redo", "resume"],
        "A blocked card is made ready by `mosaic backlog unblock ID`, a done or cancelled one by `mosaic backlog reopen ID --reason TEXT` (operators).",
    ),
    (
        &[
            "status", "summary", "report", "count", "counts", "metrics", "queue",
        ],
        "The numbers are shown by `mosaic backlog stats`, a card by `mosaic backlog show ID`.",
    ),
    (
        &[
            "history", "log", "logs", "activity", "audit", "follow", "tail",
        ],
        "What happened is shown by `mosaic backlog events`; `mosaic backlog watch --json` keeps showing it.",
    ),
    (
        &["recover", "expire", "sweep", "reap"],
        "Ended leases are taken back by `mosaic backlog reclaim`; each claim does it as well.",
    ),
    (
        &["tree", "dag", "blockers", "blocked-by"],
        "What waits for what is drawn by `mosaic backlog graph`; `mosaic backlog why ID` follows one card.",
    ),
    (
        &["check", "health", "verify", "diagnose"],
        "What is wrong with the backlog is shown by `mosaic backlog doctor`.",
    ),
    (
        &["help"],
        "`--help` after a command shows its arguments and an example.",
    ),
];

/// Words for options, the option that a command must have for the answer to hold ("" for one that
/// must not have any such thing), and what to do instead.
const FLAGS: &[(&[&str], &str, &str)] = &[
    (
        &["--title", "--name", "--summary", "--subject"],
        "<TITLE>",
        "The title is given without an option: `mosaic backlog create \"Parse the config\"`.",
    ),
    (
        &[
            "--description",
            "--desc",
            "-d",
            "--content",
            "--text",
            "--details",
        ],
        "--body",
        "The full description is --body TEXT, or --body-file FILE.",
    ),
    (
        &[
            "--notes",
            "--note",
            "--comment",
            "--comments",
            "--message",
            "-m",
        ],
        "--body",
        "What is found out about a card is kept by `mosaic backlog note ID TEXT`; its description is --body TEXT.",
    ),
    (
        &["--comment", "--message", "-m", "--msg", "--notes"],
        "--note",
        "A note is --note TEXT, or --note-file FILE.",
    ),
    (
        &[
            "--comment",
            "--message",
            "-m",
            "--msg",
            "--note",
            "--reason",
            "--reply",
            "--response",
        ],
        "--answer",
        "The answer is --answer TEXT, or --answer-file FILE.",
    ),
    (&["-b"], "--body", "Written out: --body TEXT."),
    (
        &["-t"],
        "<TITLE>",
        "The title is given without an option; a tag is --label LABEL.",
    ),
    (
        &["-p"],
        "--priority",
        "Written out: --priority N, or --phase PHASE.",
    ),
    (&["-p"], "--phase", "Written out: --phase PHASE."),
    (&["-l"], "--label", "Written out: --label LABEL."),
    (&["-n"], "--limit", "Written out: --limit N."),
    (&["-n"], "--max", "Written out: --max N."),
    (
        &["--add-label", "--add-labels"],
        "--clear",
        "--label replaces the whole list: give every label that the card is to have.",
    ),
    (
        &[
            "--remove-label",
            "--remove-labels",
            "--rm-label",
            "--unlabel",
        ],
        "--clear",
        "--label replaces the whole list: give every label that the card is to keep.",
    ),
    (
        &[
            "--add-label",
            "--add-labels",
            "--labels",
            "--tag",
            "--tags",
            "--component",
            "--type",
            "--area",
        ],
        "--label",
        "A tag is --label LABEL, once for each.",
    ),
    (
        &[
            "--deps",
            "--dep",
            "--depends-on",
            "--depends",
            "--dependencies",
            "--dependency",
            "--depend",
            "--blocked-by",
            "--requires-card",
            "--parent",
            "--after-card",
        ],
        "--needs",
        "What a card waits for is --needs ID, once for each.",
    ),
    (
        &[
            "--owner",
            "--agent",
            "--assignee",
            "--user",
            "--as",
            "--by",
            "--name",
            "--who",
            "-w",
        ],
        "--worker",
        "Who claims is --worker NAME.",
    ),
    (
        &[
            "--worker",
            "--agent",
            "--assignee",
            "--user",
            "--assigned-to",
            "--claimed-by",
        ],
        "--owner",
        "Who holds a card is --owner WORKER.",
    ),
    (
        &[
            "--worker",
            "--owner",
            "--agent",
            "--assignee",
            "--user",
            "--as",
            "--by",
        ],
        "--token",
        "No name is needed: --token N, from the answer of your claim, proves that you hold the card.",
    ),
    (
        &[
            "--worker",
            "--owner",
            "--agent",
            "--user",
            "--as",
            "--by",
            "--author",
            "--creator",
        ],
        "--actor",
        "Who acts is --actor NAME.",
    ),
    (
        &[
            "--claim-token",
            "--claim_token",
            "--fence",
            "--lease",
            "--lease-id",
        ],
        "--token",
        "The claim_token of your claim is --token N.",
    ),
    (
        &[
            "--comment",
            "--message",
            "-m",
            "--msg",
            "--note",
            "--why",
            "--error",
            "--because",
            "-r",
        ],
        "--reason",
        "Why is --reason TEXT, or --reason-file FILE.",
    ),
    (
        &[
            "--comment",
            "--message",
            "-m",
            "--msg",
            "--note",
            "--output",
            "--summary",
            "--outcome",
            "--reason",
        ],
        "--result",
        "What came out is --result JSON; text needs quotes of its own, as in --result '\"done\"'.",
    ),
    (
        &[
            "--lease",
            "--lease-time",
            "--duration",
            "--expires",
            "--expires-in",
            "--timeout",
            "--lease-seconds",
            "--ttl-seconds",
        ],
        "--ttl",
        "How long the lease lasts is --ttl DURATION, as in --ttl 30m.",
    ),
    (
        &[
            "--capability",
            "--capabilities",
            "--skills",
            "--skill",
            "--can",
            "--provides",
            "--requires",
        ],
        "--offers",
        "What a worker can do is --offers CAPABILITY, once for each.",
    ),
    (
        &[
            "--capability",
            "--capabilities",
            "--skills",
            "--skill",
            "--offers",
        ],
        "--requires",
        "What a worker must be able to do is --requires CAPABILITY, once for each.",
    ),
    (
        &["--count", "--limit", "--number", "--n", "--max-cards"],
        "--max",
        "How many at most is --max N.",
    ),
    (
        &[
            "--max",
            "--top",
            "--first",
            "--page-size",
            "--max-cards",
            "--last",
        ],
        "--limit",
        "How many at most is --limit N.",
    ),
    (
        &["--state", "--is"],
        "--status",
        "The status is --status STATUS: ready, claimed, blocked, done or cancelled.",
    ),
    (
        &["--open", "--closed"],
        "--status",
        "Open cards are shown by default; --all shows the others, too.",
    ),
    (
        &["--unblocked", "--available", "--claimable"],
        "--ready",
        "What can be claimed now is --ready.",
    ),
    (
        &["--find", "--query", "--grep", "--text", "--match", "-q"],
        "--search",
        "Words are looked for by --search WORDS.",
    ),
    (
        &["--cursor", "--page", "--offset", "--next", "--start-after"],
        "--after",
        "The next page is --after CURSOR, with the \"next\" of the page before.",
    ),
    (
        &["--status", "--state"],
        "--clear",
        "The status follows from what is done: claim, complete, block, unblock, cancel, reopen.",
    ),
    (
        &["--delay", "--after", "--backoff", "--retry-after", "--in"],
        "--retry-in",
        "A pause before the next claim is --retry-in DURATION.",
    ),
    (
        &[
            "--defer",
            "--defer-until",
            "--start",
            "--start-at",
            "--scheduled",
            "--run-at",
            "--schedule",
        ],
        "--not-before",
        "The earliest time is --not-before TIME.",
    ),
    (
        &["--key", "--dedupe", "--dedup-key", "--unique"],
        "--idempotency-key",
        "What makes a repeat harmless is --idempotency-key KEY.",
    ),
    (
        &[
            "--file",
            "--from-file",
            "-f",
            "--stdin",
            "--input",
            "--bulk",
        ],
        "--batch",
        "A file of cards, one JSON object per line, is --batch FILE.",
    ),
    (
        &["--output", "-o", "--format", "--output-format", "-j"],
        "",
        "Output for programs is --json.",
    ),
    (
        &["--id", "--card", "--card-id", "--issue"],
        "<ID>",
        "The card's id is given without an option.",
    ),
];

/// What to do instead of what the parser did not understand. `None`: nobody knows.
pub fn instead(
    error: &clap::Error,
    arguments: &[OsString],
    mut program: Command,
) -> Option<String> {
    program.build();
    let command = called(&program, arguments);
    let given = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = given(ContextKind::InvalidSubcommand)?;
            let has_cards = command.find_subcommand("claim").is_some();
            let cards = program.find_subcommand("backlog")?;
            if !has_cards && cards.find_subcommand(word).is_some() {
                return Some(format!(
                    "What is done with cards is under `mosaic backlog`: `mosaic backlog {word}`."
                ));
            }
            known_verb(word).filter(|_| has_cards).or_else(|| {
                let names = command.get_subcommands().filter(|verb| !verb.is_hide_set());
                let names: Vec<&str> = names.map(Command::get_name).collect();
                question(&similar(word, names))
            })
        }
        ErrorKind::UnknownArgument => {
            let flag = given(ContextKind::InvalidArg)?;
            let flag = flag.split('=').next().unwrap_or(flag);
            known_flag(flag, command).or_else(|| {
                let names: Vec<String> = options(command).collect();
                let harmless = names.iter().map(String::as_str);
                let harmless = harmless.filter(|name| !NEVER.contains(name));
                question(
                    &similar(flag, harmless)
                        .into_iter()
                        .filter(|_| flag.starts_with("--"))
                        .collect::<Vec<_>>(),
                )
            })
        }
        ErrorKind::InvalidValue => {
            let value = given(ContextKind::InvalidValue)?;
            let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue) else {
                return None;
            };
            question(&similar(value, valid.iter().map(String::as_str)))
        }
        _ => None,
    }
}

fn known_verb(word: &str) -> Option<String> {
    let word = word.to_lowercase();
    let row = VERBS
        .iter()
        .find(|(words, _)| words.contains(&word.as_str()));
    row.map(|(_, answer)| (*answer).to_owned())
}

fn known_flag(flag: &str, command: &Command) -> Option<String> {
    let flag = flag.replace('_', "-");
    let row = FLAGS
        .iter()
        .find(|(flags, holds, _)| flags.contains(&flag.as_str()) && has(command, holds));
    row.map(|(.., answer)| (*answer).to_owned())
}

/// Whether a command has the option, or the argument in angle brackets.
fn has(command: &Command, wanted: &str) -> bool {
    match wanted
        .strip_prefix('<')
        .and_then(|name| name.strip_suffix('>'))
    {
        _ if wanted.is_empty() => true,
        Some(name) => command
            .get_positionals()
            .any(|argument| argument.get_id().as_str().eq_ignore_ascii_case(name)),
        None => options(command).any(|name| name == wanted),
    }
}

fn options(command: &Command) -> impl Iterator<Item = String> {
    let arguments = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set());
    arguments.filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
}

/// The command that the arguments get to. The value of a global option may look like one, which costs a hint.
fn called<'a>(program: &'a Command, arguments: &[OsString]) -> &'a Command {
    let words = arguments.iter().skip(1).take_while(|word| *word != "--");
    words
        .filter_map(|word| word.to_str())
        .fold(program, |command, word| {
            command.find_subcommand(word).unwrap_or(command)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Cli;
    use clap::CommandFactory;

    /// What stands in backquotes or begins with two dashes in an answer must be there.
    #[test]
    fn no_answer_names_what_there_is_not() {
        let mut program = Cli::command();
        program.build();
        let verbs = program.find_subcommand("backlog").unwrap();
        let answers = VERBS.iter().map(|(_, answer)| (*answer, ""));
        let answers = answers.chain(FLAGS.iter().map(|(_, holds, answer)| (*answer, *holds)));
        for (answer, holds) in answers {
            for call in answer.split('`').skip(1).step_by(2) {
                let Some(call) = call.strip_prefix("mosaic backlog ") else {
                    assert_eq!(call, "--help");
                    continue;
                };
                let mut words = call.split(' ');
                let verb = words.next().unwrap();
                let verb = verbs
                    .find_subcommand(verb)
                    .unwrap_or_else(|| panic!("{answer}"));
                for flag in words.filter(|word| word.starts_with("--")) {
                    assert!(has(verb, flag), "{answer}");
                }
            }
            // Of an option's answer, every option that it names is one of the commands that it is for.
            let beside: String = answer.split('`').step_by(2).collect();
            let named = beside.split(|c: char| !c.is_ascii_lowercase() && c != '-');
            for flag in named.filter(|word| word.starts_with("--") && word.len() > 2) {
                for verb in verbs
                    .get_subcommands()
                    .filter(|verb| !holds.is_empty() && has(verb, holds))
                {
                    assert!(has(verb, flag), "{}: {answer}", verb.get_name());
                }
            }
        }
    }

    #[test]
    fn no_known_word_is_a_word_of_ours() {
        let mut program = Cli::command();
        program.build();
        let verbs = program.find_subcommand("backlog").unwrap();
        for word in VERBS.iter().flat_map(|(words, _)| *words) {
            let is_verb = verbs.get_subcommands().any(|verb| verb.get_name() == *word);
            assert!(!is_verb, "{word}");
        }
    }
}
