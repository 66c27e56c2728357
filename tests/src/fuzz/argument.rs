//! An SQL value for an argument, by its name and type: mostly one that the function takes, so that
//! calls get far, else anything that the type can hold, and now and then something that it cannot.

use super::dice::Dice;
use super::document;
use crate::cards::quote;

/// Cards that are there, in all states, and some that are not.
pub const IDS: [&str; 10] = ["A", "B", "C", "D", "E", "F", "new1", "new2", "no", "c00001"];

pub fn value(dice: &mut Dice, function: &str, name: &str, kind: &str) -> String {
    let wild = dice.one_in(6);
    let value = match kind {
        _ if dice.one_in(40) => "null".to_owned(),
        "text" if wild => quote(&text(dice)),
        "text" if name == "id" && takes_token(function) && dice.one_in(2) => quote("B"),
        "text" => quote(usual_text(dice, name)),
        "text[]" => array(dice, name, wild),
        "integer" if wild => match i32::try_from(dice.number()) {
            Ok(number) => number.to_string(),
            Err(_) => "-2147483648".to_owned(),
        },
        "integer" => (dice.below(5)).to_string(),
        "bigint" if wild => format!("'{}'", dice.number()),
        // The card that is held is held under the first token.
        "bigint" => dice.pick(&["1", "1", "1", "2", "3"]).to_owned(),
        "boolean" => dice.pick(&["true", "false", "false"]).to_owned(),
        "jsonb" => quote(&match function {
            "backlog_create_many" => document::cards(dice),
            "backlog_import" => document::export(dice),
            _ => document::any(dice, 3),
        }),
        "interval" => quote(&interval(dice, wild)),
        "timestamp with time zone" => quote(&time(dice, wild)),
        "uuid" if wild => quote(&text(dice)),
        "uuid" => format!("'00000000-0000-0000-0000-00000000000{}'", dice.below(4)),
        "mosaic.backlog_status[]" => {
            let states = ["ready", "claimed", "blocked", "done", "cancelled", "null"];
            let chosen: Vec<&str> = (0..dice.below(4)).map(|_| dice.pick(&states)).collect();
            let braces = if wild { ("{{", "}}") } else { ("{", "}") };
            format!("'{}{}{}'", braces.0, chosen.join(","), braces.1)
        }
        other => panic!("no values for {other}"),
    };
    format!("{value}::{kind}")
}

fn takes_token(function: &str) -> bool {
    let names = [
        "renew",
        "release",
        "fail",
        "complete",
        "block",
        "assert_held",
    ];
    names.iter().any(|name| function.ends_with(name))
}

fn usual_text<'a>(dice: &mut Dice, name: &str) -> &'a str {
    match name {
        "id" => dice.pick(&IDS),
        "kind" => dice.pick(&["input", "dependency", "capability", "attempts", "other"]),
        "worker" | "owner" | "actor" => dice.pick(&["w1", "w2", "Wörk €"]),
        "after" => dice.pick(&["", "0", "1", "5", "AAAA", "9223372036854775807"]),
        "phase" => dice.pick(&["p", "q"]),
        "idempotency_key" => dice.pick(&["k1", "k2", "k3"]),
        _ => dice.pick(&["some text", "ein Text", "文", "'quoted' \\ text"]),
    }
}

/// Text of all kinds.
pub fn text(dice: &mut Dice) -> String {
    const PIECES: [&str; 28] = [
        "",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\u{1}",
        "\u{7f}",
        "\u{80}",
        "\u{a0}",
        "\u{2003}",
        "\u{200b}",
        "\u{202e}",
        "\u{feff}",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10ffff}",
        "😀",
        "e\u{301}",
        "A",
        "a",
        "'",
        "\"",
        "\\",
        "{",
        "}",
        "%s",
        "$1",
        "null",
    ];
    let mut text = String::new();
    for _ in 0..dice.below(6) {
        let piece = dice.pick(&PIECES);
        let times = match dice.below(60) {
            0 => 70_000,
            1 => 1_001,
            2 => 201,
            3 => 200,
            4 => 101,
            _ => 1,
        };
        text.push_str(&piece.repeat(times));
    }
    text
}

fn array(dice: &mut Dice, name: &str, wild: bool) -> String {
    let count = if wild {
        [0, 1, 2, 3, 64, 65, 300][dice.below(7)]
    } else {
        dice.below(3)
    };
    let member = |dice: &mut Dice| {
        if wild && dice.one_in(3) {
            return if dice.one_in(3) {
                "null".to_owned()
            } else {
                quote(&text(dice))
            };
        }
        quote(match name {
            "depends_on" => dice.pick(&IDS),
            "clear" => dice.pick(&["body", "phase", "acceptance", "not_before", "max_attempts"]),
            _ => dice.pick(&["gpu", "docs", "parser"]),
        })
    };
    let row = |dice: &mut Dice| {
        let members: Vec<String> = (0..count).map(|_| member(dice)).collect();
        members.join(",")
    };
    if wild && count > 0 && dice.one_in(4) {
        let rows = [row(dice), row(dice)];
        return format!("array[array[{}],array[{}]]", rows[0], rows[1]);
    }
    format!("array[{}]", row(dice))
}

fn interval(dice: &mut Dice, wild: bool) -> String {
    if !wild {
        return dice
            .pick(&["0", "1 s", "5 minutes", "1 hour", "30 days"])
            .to_owned();
    }
    let unit = dice.pick(&["us", "ms", "s", "min", "h", "days", "months", "years"]);
    match dice.below(6) {
        0 => dice
            .pick(&["infinity", "-infinity", "NaN", "", "P1Y", "1 mon -30 days"])
            .to_owned(),
        1 => "178000000 years 11 mons 2147483647 days 2562047788:00:54.775807".to_owned(),
        2 => format!("{}.{} {unit}", dice.below(100), dice.below(1_000_000)),
        _ => format!("{} {unit}", dice.number()),
    }
}

pub fn time(dice: &mut Dice, wild: bool) -> String {
    const USUAL: [&str; 4] = [
        "2025-01-31T09:00:00Z",
        "2030-01-01T00:00:00+00:00",
        "2024-02-29T23:59:59.5-12:00",
        "1999-12-31T23:59:60Z",
    ];
    const WILD: [&str; 14] = [
        "infinity",
        "-infinity",
        "NaN",
        "4714-11-24 00:00:00+00 BC",
        "294276-12-31 23:59:59.999999+00",
        "9999-12-31T23:59:60Z",
        "0001-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2025-02-30T00:00:00Z",
        "2025-01-31",
        "now",
        "epoch",
        "2025-01-31T09:00:00+99:99",
        "2025-01-31T24:00:00Z",
    ];
    dice.pick(if wild { &WILD[..] } else { &USUAL[..] })
        .to_owned()
}
