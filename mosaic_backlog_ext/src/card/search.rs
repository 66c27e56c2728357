//! Whether a card has the words that are searched for.

use std::borrow::Cow;

use pgrx::prelude::*;

use crate::postgres::call::Call;
use crate::postgres::value;

/// Whether each of the words, which have one blank between them, is in one of the texts. A function, as
/// PostgreSQL's own folding of upper and lower case knows some letters only in some locales, and takes
/// longer than to read the card.
#[pg_extern(
    requires = ["schema"],
    sql = "
create function mosaic.card_has_words(
  words  text,
  id     text,
  title  text,
  body   text
) returns boolean immutable parallel safe
language c as 'MODULE_PATHNAME', 'card_has_words_wrapper';
"
)]
fn card_has_words(call: Call<'_>) -> bool {
    let [words, texts @ ..] = call.arguments::<4>();
    let words = folded(value::read::<&str>(words).unwrap_or_default());
    let mut texts = texts
        .into_iter()
        .filter_map(value::read::<&str>)
        .map(folded);
    // A long body is not looked at where the words are before it.
    let mut missing: Vec<&str> = words.split(' ').collect();
    while !missing.is_empty() {
        let Some(text) = texts.next() else {
            return false;
        };
        missing.retain(|word| !text.contains(word));
    }
    true
}

/// A text without the difference of upper and lower case.
fn folded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            text.to_ascii_lowercase().into()
        } else {
            text.into()
        };
    }
    // By way of the upper case, which is the same for ß and ss, σ and ς.
    text.chars()
        .map(|letter| if letter == 'İ' { 'i' } else { letter })
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}
