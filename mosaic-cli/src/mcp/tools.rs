//! The tools. Every word in this table is read by an agent at each start of a session, so there are few.

use super::argument::Kind::{
    Duration, Integer, Json, Moment, Objects, Statuses, Switch, Text, Texts, Token, Uuid, Word,
};
use super::argument::{Argument, may, must};
use super::tool::{Answer, Effect, Tool};

const ID: Argument = must("id", Text, "");
const TOKEN: Argument = must("claim_token", Token, "");
const PHASE: Argument = may("phase", Text, "");
const LABELS: Argument = may("labels", Texts, "");
const RETRY_IN: Argument = may("retry_in", Duration, "not claimable again for so long");

pub const TOOLS: &[Tool] = &[
    Tool {
        name: "claim",
        about: "Take the next card, or the card with this id, under a lease. No cards: nothing to do.",
        function: "backlog_claim",
        arguments: &[
            may(
                "ttl",
                Duration,
                "how long the lease lasts unless renewed: 90s, 15m, 2h (default 15m)",
            ),
            may("id", Text, ""),
            PHASE,
            may("labels", Texts, "the card has all of these"),
            may(
                "offers",
                Texts,
                "what you can do; cards that require anything else are passed over",
            ),
            may("max_cards", Integer, "default 1"),
            may("worker", Text, "default: this session's name"),
            may(
                "request_id",
                Uuid,
                "a new UUID; the same again gives the same cards",
            ),
        ],
        effect: Effect::Claims,
        answer: Answer::Work,
    },
    Tool {
        name: "renew",
        about: "Prolong a lease while you work (heartbeat).",
        function: "backlog_renew",
        arguments: &[
            ID,
            TOKEN,
            may("ttl", Duration, "from now; default: as claimed"),
        ],
        effect: Effect::Renews,
        answer: Answer::Lease,
    },
    Tool {
        name: "complete",
        about: "Finish a card. unblocked: the cards that this opened.",
        function: "backlog_complete",
        arguments: &[
            ID,
            may(
                "claim_token",
                Token,
                "required unless nobody holds the card",
            ),
            may(
                "result",
                Json,
                "what the next worker must know, as {\"commit\": \"1f2e3d\"}",
            ),
        ],
        effect: Effect::Settles,
        answer: Answer::CardAnd("unblocked"),
    },
    Tool {
        name: "fail",
        about: "The work went wrong. The card is handed out again later, until its attempts are used up.",
        function: "backlog_fail",
        arguments: &[
            ID,
            TOKEN,
            must("reason", Text, "helps the next worker"),
            RETRY_IN,
        ],
        effect: Effect::Returns,
        answer: Answer::Card,
    },
    Tool {
        name: "release",
        about: "Give a card back through no fault of its own. The attempt does not count.",
        function: "backlog_release",
        arguments: &[ID, TOKEN, may("reason", Text, ""), RETRY_IN],
        effect: Effect::Returns,
        answer: Answer::Card,
    },
    Tool {
        name: "block",
        about: "Set a card aside until somebody has looked at it.",
        function: "backlog_block",
        arguments: &[
            ID,
            must("reason", Text, "what it takes to go on"),
            may(
                "kind",
                Word(&["input", "dependency", "capability", "attempts", "other"]),
                "input: an answer or a decision (default other)",
            ),
            may(
                "claim_token",
                Token,
                "required unless nobody holds the card",
            ),
        ],
        effect: Effect::Settles,
        answer: Answer::Card,
    },
    Tool {
        name: "unblock",
        about: "Make a blocked card ready again, with fresh attempts.",
        function: "backlog_unblock",
        arguments: &[ID],
        effect: Effect::Changes,
        answer: Answer::Card,
    },
    Tool {
        name: "create",
        about: "Create a card: one reviewable change.",
        function: "backlog_create",
        arguments: &[
            must("title", Text, "what is true when it is done, in a line"),
            may("id", Text, "default: generated"),
            may("body", Text, "all that a worker needs to know"),
            PHASE,
            may("priority", Integer, "higher is sooner (default 0)"),
            may("depends_on", Texts, "ids of cards that must be done before"),
            LABELS,
            may("requires", Texts, "capabilities that a worker must offer"),
            may("acceptance", Json, "how to tell that it is done"),
            may(
                "idempotency_key",
                Text,
                "the same key and card again give the card that exists",
            ),
            may("not_before", Moment, "RFC 3339, or from now as in +2h"),
            may("max_attempts", Integer, ""),
        ],
        effect: Effect::Changes,
        answer: Answer::CardAnd("created"),
    },
    Tool {
        name: "create_many",
        about: "Create cards, all or none.",
        function: "backlog_create_many",
        arguments: &[must(
            "cards",
            Objects,
            "each with the arguments of create; depends_on may name cards of the same call; not_before as RFC 3339 only",
        )],
        effect: Effect::Changes,
        answer: Answer::Created,
    },
    Tool {
        name: "link",
        about: "Let a card wait until others are done.",
        function: "backlog_link",
        arguments: &[ID, must("depends_on", Texts, "ids")],
        effect: Effect::Changes,
        answer: Answer::Card,
    },
    Tool {
        name: "list",
        about: "List cards in the order in which they are claimed, without body, acceptance and result.",
        function: "backlog_list",
        arguments: &[
            may("ready_only", Switch, "only what can be claimed now"),
            may("statuses", Statuses, ""),
            PHASE,
            LABELS,
            may("owner", Text, "who holds them"),
            may("max_cards", Integer, "default 50"),
            may("after", Text, "next of the page before"),
        ],
        effect: Effect::Reads,
        answer: Answer::Page,
    },
    Tool {
        name: "show",
        about: "Show everything about a card.",
        function: "backlog_get",
        arguments: &[ID],
        effect: Effect::Reads,
        answer: Answer::WholeCard,
    },
    Tool {
        name: "why",
        about: "Say why a card cannot be claimed, down to the cards that it waits for.",
        function: "backlog_why",
        arguments: &[ID],
        effect: Effect::Reads,
        answer: Answer::Reasons,
    },
    Tool {
        name: "stats",
        about: "Count cards, holders and the throughput of the last hour.",
        function: "backlog_stats",
        arguments: &[PHASE],
        effect: Effect::Reads,
        answer: Answer::Numbers,
    },
];
