//! Random calls. The space of ids, names and times is small, so that calls meet.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::call::{Call, Claim, Filter, NewCard, Role, Step, Token, Update};
use super::card::Status;
use super::{START, Seconds, Time};

/// Connections that calls are made on.
pub const SESSIONS: usize = 3;

/// What cards there can be.
#[derive(Clone, Copy)]
pub struct Space {
    /// How many ids callers choose among.
    pub ids: usize,
    /// Whether cards are also created without an id.
    pub generated: bool,
}

impl Space {
    /// For sequences that are compared card by card.
    pub const SMALL: Self = Self {
        ids: 6,
        generated: true,
    };

    fn name(n: usize) -> String {
        match u8::try_from(n) {
            Ok(n) if n < 26 => char::from(b'A' + n).to_string(),
            _ => format!("Z{n}"),
        }
    }

    /// An id that callers choose; now and then one that the database generated.
    fn id(self) -> BoxedStrategy<String> {
        let chosen = (0..self.ids).prop_map(Self::name);
        if self.generated {
            prop_oneof![9 => chosen, 1 => (0..3).prop_map(|n| format!("?{n}"))].boxed()
        } else {
            chosen.boxed()
        }
    }

    /// An id, often of a card of the status that the call is made for.
    fn id_of(self, status: Status) -> BoxedStrategy<String> {
        let fitting = (0..5).prop_map(move |n| format!("!{} {n}", status.name()));
        prop_oneof![self.id(), fitting].boxed()
    }

    fn ids(self, size: std::ops::RangeInclusive<usize>) -> BoxedStrategy<Vec<String>> {
        vec(self.id(), size).boxed()
    }
}

/// Mostly what is right, now and then what is not allowed.
fn mostly<T: Clone + std::fmt::Debug + 'static>(right: &[T], wrong: T) -> BoxedStrategy<T> {
    prop_oneof![40 => select(right.to_vec()), 1 => Just(wrong)].boxed()
}

fn some<T: Clone + std::fmt::Debug + 'static>(
    share: f64,
    values: &[T],
) -> BoxedStrategy<Option<T>> {
    weighted(share, select(values.to_vec())).boxed()
}

fn words(size: std::ops::RangeInclusive<usize>) -> BoxedStrategy<Vec<&'static str>> {
    vec(select(vec!["x", "y"]), size).boxed()
}

fn phase() -> BoxedStrategy<Option<&'static str>> {
    some(0.3, &["p", "q"])
}

fn hour() -> BoxedStrategy<Option<Time>> {
    some(0.15, &[START, START + 600, START + 7_200])
}

fn ttl() -> BoxedStrategy<Seconds> {
    mostly(&[60, 900, 7_200], 0)
}

fn delay() -> BoxedStrategy<Seconds> {
    select(vec![0, 0, 60, 1_200]).boxed()
}

fn reason() -> BoxedStrategy<&'static str> {
    mostly(&["because", "it broke", "so what"], " ")
}

fn worker() -> BoxedStrategy<&'static str> {
    mostly(&["w1", "w2", "w3"], "")
}

fn max_attempts() -> BoxedStrategy<Option<i32>> {
    weighted(0.3, mostly(&[1, 2, 5], 0)).boxed()
}

/// The token that a holder gives, or one that is stale or not the card's.
fn token() -> BoxedStrategy<Token> {
    prop_oneof![
        8 => Just(Token::Its),
        1 => Just(Token::Former),
        1 => Just(Token::OfAnother),
        1 => Just(Token::Number(1_000_000_000)),
        1 => Just(Token::None),
    ]
    .boxed()
}

/// The token where the card may be held by nobody.
fn token_or_none() -> BoxedStrategy<Token> {
    prop_oneof![1 => Just(Token::None), 1 => token()].boxed()
}

fn new_card(space: Space) -> BoxedStrategy<NewCard> {
    let id = if space.generated {
        weighted(0.9, space.id()).boxed()
    } else {
        space.id().prop_map(Some).boxed()
    };
    let texts = (mostly(&["t", "u"], ""), id, some(0.2, &["b"]), phase());
    let sets = (space.ids(0..=2), words(0..=2), words(0..=1));
    let is_alike = prop::bool::weighted(if space.generated { 0.5 } else { 0.0 });
    let rest = (
        select(vec![0, 0, 0, 1, -1, 7]),
        some(0.2, &[5]),
        some(0.4, &["k1", "k2"]),
        hour(),
        max_attempts(),
    );
    (texts, sets, rest, is_alike)
        .prop_map(|((title, id, body, phase), sets, rest, is_alike)| {
            let (depends_on, labels, requires) = sets;
            let (priority, acceptance, idempotency_key, not_before, max_attempts) = rest;
            if is_alike && idempotency_key.is_some() {
                return NewCard {
                    title: "t",
                    idempotency_key,
                    ..NewCard::default()
                };
            }
            NewCard {
                title,
                id,
                body,
                phase,
                priority,
                depends_on,
                labels,
                requires,
                acceptance,
                idempotency_key,
                not_before,
                max_attempts,
            }
        })
        .boxed()
}

fn claim(space: Space) -> BoxedStrategy<Claim> {
    let filter = (
        some(0.1, &["p", "q"]),
        prop_oneof![6 => Just(vec![]), 1 => words(1..=1)],
        prop_oneof![1 => Just(vec!["x", "y"]), 1 => words(0..=1)],
    );
    let id = weighted(0.35, space.id());
    let max_cards = mostly(&[1, 1, 2, 5], 0);
    // Most requests are made as their number says, so that they are made again alike.
    let request = (weighted(0.25, 0_u8..3), prop::bool::weighted(0.8));
    (worker(), ttl(), max_cards, filter, id, request)
        .prop_map(|(worker, ttl, max_cards, filter, id, request)| {
            let (phase, labels, offers) = filter;
            let (request, is_alike) = request;
            if let Some(number) = request.filter(|_| is_alike) {
                return Claim {
                    worker: "w1",
                    ttl: 900,
                    max_cards: 1 + usize::from(number),
                    offers: vec!["x"],
                    request,
                    ..Claim::default()
                };
            }
            Claim {
                worker,
                ttl,
                max_cards,
                phase,
                labels,
                offers,
                id,
                request,
            }
        })
        .boxed()
}

fn update(space: Space) -> BoxedStrategy<Update> {
    let fields = ["body", "phase", "acceptance", "not_before", "max_attempts"];
    let clear = prop_oneof![
        8 => Just(vec![]),
        3 => vec(select(fields.to_vec()), 1..=2),
        1 => Just(vec!["title"]),
    ];
    let texts = (space.id(), some(0.2, &["t", "v"]), some(0.2, &["b", "d"]));
    let sets = (weighted(0.2, words(0..=2)), weighted(0.2, words(0..=1)));
    let rest = (some(0.3, &[0, 1, 7]), some(0.1, &[5, 6]), hour());
    (texts, sets, rest, phase(), max_attempts(), clear)
        .prop_map(|(texts, sets, rest, phase, max_attempts, clear)| {
            let (id, title, body) = texts;
            let (labels, requires) = sets;
            let (priority, acceptance, not_before) = rest;
            Update {
                id,
                title,
                body,
                phase,
                priority,
                labels,
                requires,
                acceptance,
                not_before,
                max_attempts,
                clear,
            }
        })
        .boxed()
}

fn filter() -> BoxedStrategy<Filter> {
    let statuses = weighted(0.5, vec(select(Status::ALL.to_vec()), 0..=3));
    let owner = some(0.2, &["w1", "w2"]);
    let labels = prop_oneof![3 => Just(vec![]), 1 => words(1..=2)];
    let ready_only = prop::bool::weighted(0.3);
    let max_cards = mostly(&[1, 2, 3, 50], 0);
    (statuses, phase(), labels, owner, ready_only, max_cards)
        .prop_map(
            |(statuses, phase, labels, owner, ready_only, max_cards)| Filter {
                statuses,
                phase,
                labels,
                owner,
                ready_only,
                max_cards,
            },
        )
        .boxed()
}

/// What the holder of a lease calls.
fn of_holder(space: Space) -> BoxedStrategy<Call> {
    let held = move || (space.id_of(Status::Claimed), token());
    let result = some(0.3, &[1, 2]);
    let force = prop::bool::weighted(0.2);
    let kind = mostly(&["input", "other", "attempts"], "mood");
    prop_oneof![
        2 => (held(), weighted(0.5, ttl())).prop_map(|((id, token), ttl)| Call::Renew { id, token, ttl }),
        4 => (held(), weighted(0.5, delay()), weighted(0.5, reason()))
            .prop_map(|((id, token), retry_in, reason)| Call::Release { id, token, retry_in, reason }),
        6 => (held(), reason(), delay())
            .prop_map(|((id, token), reason, retry_in)| Call::Fail { id, token, reason, retry_in }),
        9 => (space.id_of(Status::Claimed), token_or_none(), result, force)
            .prop_map(|(id, token, result, force)| Call::Complete { id, token, result, force }),
        4 => (space.id_of(Status::Claimed), reason(), kind, token_or_none())
            .prop_map(|(id, reason, kind, token)| Call::Block { id, reason, kind, token }),
        2 => held().prop_map(|(id, token)| Call::AssertHeld { id, token }),
    ]
    .boxed()
}

/// What planners and operators call.
fn of_planner(space: Space) -> BoxedStrategy<Call> {
    let flag = || prop::bool::weighted(0.4);
    let ends = || prop_oneof![12 => space.ids(1..=2), 1 => Just(vec![])];
    let finished = prop_oneof![space.id_of(Status::Done), space.id_of(Status::Cancelled)];
    let grace = select(vec![0, 0, 600]);
    let max_cards = mostly(&[1, 1_000], 0);
    prop_oneof![
        4 => space.id_of(Status::Blocked).prop_map(|id| Call::Unblock { id }),
        3 => (space.id(), reason(), flag(), flag())
            .prop_map(|(id, reason, cascade, force)| Call::Cancel { id, reason, cascade, force }),
        5 => (finished, reason()).prop_map(|(id, reason)| Call::Reopen { id, reason }),
        5 => update(space).prop_map(Call::Update),
        7 => (space.id(), ends()).prop_map(|(id, depends_on)| Call::Link { id, depends_on }),
        5 => (space.id(), ends()).prop_map(|(id, depends_on)| Call::Unlink { id, depends_on }),
        5 => (weighted(0.6, space.id_of(Status::Claimed)), prop::bool::weighted(0.2), grace, max_cards)
            .prop_map(|(id, force, grace, max_cards)| Call::Reclaim { id, force, grace, max_cards }),
    ]
    .boxed()
}

fn of_reader(space: Space) -> BoxedStrategy<Call> {
    prop_oneof![
        1 => space.id().prop_map(|id| Call::Get { id }),
        2 => filter().prop_map(Call::List),
        2 => phase().prop_map(|phase| Call::Stats { phase }),
        3 => space.id().prop_map(|id| Call::Why { id }),
    ]
    .boxed()
}

fn call(space: Space) -> BoxedStrategy<Call> {
    prop_oneof![
        7 => new_card(space).prop_map(Call::Create),
        3 => vec(new_card(space), 0..=3).prop_map(Call::CreateMany),
        16 => claim(space).prop_map(Call::Claim),
        27 => of_holder(space),
        32 => of_planner(space),
        8 => of_reader(space),
    ]
    .boxed()
}

pub fn step(space: Space) -> BoxedStrategy<Step> {
    let pause = prop_oneof![
        6 => Just(0),
        2 => 1_i64..60,
        2 => select(vec![300, 900]),
        1 => select(vec![3_600, 90_000]),
    ];
    let role = prop_oneof![12 => Just(Role::Operator), 1 => Just(Role::Worker)];
    let actor = some(0.4, &["ann", "bob"]);
    (pause, 0..SESSIONS, role, actor, call(space))
        .prop_map(|(pause, session, role, actor, call)| Step {
            pause,
            session,
            role,
            actor,
            call,
        })
        .boxed()
}

/// A sequence that begins with a few cards.
pub fn steps(space: Space, longest: usize) -> BoxedStrategy<Vec<Step>> {
    let opening = vec(new_card(space), 4..=6).prop_map(|mut cards| {
        for (n, card) in cards.iter_mut().enumerate() {
            card.id = Some(Space::name(n));
            card.idempotency_key = None;
            card.title = "t";
            card.max_attempts = card.max_attempts.filter(|max| *max > 0);
            let earlier: Vec<String> = (0..n).map(Space::name).collect();
            card.depends_on.retain(|on| earlier.contains(on));
        }
        Call::CreateMany(cards).after(0)
    });
    // Now and then a call is made again, as clients do that have lost an answer.
    let again = weighted(0.1, 1_usize..4);
    (opening, vec((step(space), again), 1..=longest))
        .prop_map(|(opening, drawn)| {
            let mut steps = vec![opening];
            for (mut step, again) in drawn {
                if let Some(earlier) = again.and_then(|back| steps.iter().rev().nth(back - 1)) {
                    step.call = earlier.call.clone();
                    step.role = earlier.role;
                }
                steps.push(step);
            }
            steps
        })
        .boxed()
}
