//! Where the history ends now, found in a few dozen short looks however long it is.

use crate::database::call::Call;
use crate::database::store::Store;
use crate::failure::Failure;

/// The number of the last event, of all cards or of one; 0 if there is none. As a cursor it stands
/// for "from now on": the cursor of an event is its number.
pub fn end(store: &mut Store, card: Option<&str>) -> Result<i64, Failure> {
    last(|after| {
        let call = Call::new("backlog_events")
            .columns("event_id")
            .text("id", card.map(str::to_owned))
            .text("after", after.to_string())
            .int("max_events", 1);
        let rows = store.rows(&call)?;
        Ok(rows.first().and_then(|event| event["event_id"].as_i64()))
    })
}

/// The largest number that `next` tells of; `next` gives the smallest one above a number.
fn last<E>(mut next: impl FnMut(i64) -> Result<Option<i64>, E>) -> Result<i64, E> {
    let mut found = 0;
    let mut step = 1;
    // Nothing follows `found + step` in the end,
    while let Some(number) = next(found + step - 1)? {
        found = number;
        step *= 2;
    }
    // and the last one lies from `found` to there.
    let mut empty = found + step - 1;
    while empty > found {
        let middle = found + (empty - found) / 2;
        match next(middle)? {
            Some(number) => found = number,
            None => empty = middle,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn found(numbers: &[i64]) -> (i64, usize) {
        let mut looks = 0;
        let next = |after| {
            looks += 1;
            Ok::<_, Infallible>(numbers.iter().copied().find(|number| *number > after))
        };
        let Ok(last) = last(next);
        (last, looks)
    }

    #[test]
    fn the_end_is_found_with_gaps_and_without() {
        for numbers in [
            &[][..],
            &[1],
            &[2],
            &[7],
            &[1, 2, 3],
            &[1, 5, 6, 40, 1_000],
            &[999_999, 1_000_000],
        ] {
            assert_eq!(found(numbers).0, numbers.last().copied().unwrap_or(0));
        }
        let many: Vec<i64> = (1..=300).map(|n| n * 3).collect();
        for length in 0..many.len() {
            let numbers = &many[..length];
            assert_eq!(found(numbers).0, numbers.last().copied().unwrap_or(0));
        }
    }

    #[test]
    fn a_long_history_takes_few_looks() {
        let many: Vec<i64> = (1..=100_000).collect();
        assert!(found(&many).1 < 50, "{}", found(&many).1);
    }
}
