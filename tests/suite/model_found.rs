//! Sequences on which the database and the model once differed, written out.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::model::START;
use mosaic_backlog_tests::model::call::{Call, NewCard, Token, Update};
use mosaic_backlog_tests::model::replay::assert_alike;

fn create(id: &str) -> Call {
    Call::Create(NewCard {
        title: "t",
        id: Some(id.to_owned()),
        ..NewCard::default()
    })
}

/// The age of a claimable card does not start anew when its gate stays open.
#[test]
fn a_link_to_a_done_card_does_not_make_a_card_younger() {
    let (a, b) = ("A".to_owned(), "B".to_owned());
    let done = Call::Complete {
        id: b.clone(),
        token: Token::None,
        result: None,
        force: false,
    };
    let (id, depends_on) = (a.clone(), vec![b.clone()]);
    let link = Call::Link { id, depends_on };
    let (id, depends_on) = (a, vec![b]);
    let unlink = Call::Unlink { id, depends_on };
    let steps = [
        create("A").after(0),
        create("B").after(0),
        done.after(0),
        link.after(300),
        unlink.after(300),
    ];
    for length in 1..=steps.len() {
        assert_alike(&Database::fresh(), &steps[..length]);
    }
}

/// Nobody could have claimed a card while it was deferred.
#[test]
fn a_deferral_that_is_taken_back_does_not_count_as_waiting() {
    let deferred = Call::Create(NewCard {
        title: "t",
        id: Some("A".to_owned()),
        not_before: Some(START + 7_200),
        ..NewCard::default()
    });
    for clear in [vec!["not_before"], vec![]] {
        let not_before = clear.is_empty().then_some(START + 60);
        let update = Call::Update(Update {
            id: "A".to_owned(),
            not_before,
            clear,
            ..Update::default()
        });
        assert_alike(
            &Database::fresh(),
            &[deferred.clone().after(0), update.after(900)],
        );
    }
}

/// The age of a card whose hour is moved within the past counts from that hour.
#[test]
fn an_hour_that_is_set_to_the_past_counts_as_said() {
    let update = Call::Update(Update {
        id: "A".to_owned(),
        not_before: Some(START + 600),
        ..Update::default()
    });
    let steps = [create("A").after(0), update.after(900)];
    assert_alike(&Database::fresh(), &steps);
}
