//! Claims beside floors: of one card, by many clients, with filters, of several cards.

use super::{CLAIM, FLOOR, TEXTBOOK, enough, fill, fill_textbook, fill_with};
use crate::arguments::Arguments;
use crate::pgbench::{Load, Run, median};
use crate::report::Report;
use crate::server::Server;

/// Runs two things in turn, as the machine is not the same for long.
pub fn turns<T>(arguments: &Arguments, one: impl Fn() -> T, other: impl Fn() -> T) -> Vec<(T, T)> {
    (0..arguments.size.rounds)
        .map(|round| {
            if round % 2 == 0 {
                let other = other();
                (one(), other)
            } else {
                (one(), other())
            }
        })
        .collect()
}

/// Runs two scripts in turn, each after a filling of its own; the median of the ratios of their
/// rates, and all runs of each.
fn in_turn(
    arguments: &Arguments,
    load: &Load,
    scripts: [&str; 2],
    fills: [&dyn Fn(); 2],
) -> (f64, Runs, Runs) {
    let run = |which: usize| {
        fills[which]();
        load.run(scripts[which])
    };
    let runs = turns(arguments, || run(0), || run(1));
    let ratios = runs.iter().map(|(one, other)| one.rate / other.rate);
    let ratio = median(ratios.collect());
    let (one, other) = runs.into_iter().unzip();
    (ratio, Runs(one), Runs(other))
}

/// Several runs of one script.
struct Runs(Vec<Run>);

impl Runs {
    /// The median of their rates.
    fn rate(&self) -> f64 {
        median(self.0.iter().map(|run| run.rate).collect())
    }

    fn last_over_first(&self, part: f64) -> f64 {
        median(self.0.iter().map(|run| run.last_over_first(part)).collect())
    }
}

/// W1.
pub fn one_at_a_time(server: &Server, arguments: &Arguments, report: &mut Report) {
    let cards = enough(arguments);
    let load = Load::new(server, arguments.size.seconds);
    let plenty = || fill(server, cards);
    let (ratio, claimed, keyed) = in_turn(arguments, &load, [CLAIM, FLOOR], [&plenty, &plenty]);
    report.add(
        "W1 claim one",
        "≥ 0.85 × floor",
        format!("{ratio:.2} × floor"),
        format!(
            "{:.0} claims/s, floor {:.0}/s",
            claimed.rate(),
            keyed.rate()
        ),
    );
    report.add(
        "W1 last quarter",
        "≥ 0.95 × first",
        format!("{:.2} × first", claimed.last_over_first(0.25)),
        format!(
            "within a run, the floor's {:.2}",
            keyed.last_over_first(0.25)
        ),
    );
    let textbook = || fill_textbook(server, cards);
    let (ratio, claimed, other) =
        in_turn(arguments, &load, [CLAIM, TEXTBOOK], [&plenty, &textbook]);
    report.add(
        "W1 over textbook",
        "none",
        format!("{ratio:.2} × textbook"),
        format!(
            "{:.0} claims/s, textbook {:.0}/s, which writes no history",
            claimed.rate(),
            other.rate()
        ),
    );
    server.wait_for_the_disk(false);
    let (ratio, claimed, keyed) = in_turn(arguments, &load, [CLAIM, FLOOR], [&plenty, &plenty]);
    server.wait_for_the_disk(true);
    report.add(
        "W1, `synchronous_commit = off`",
        "≥ 0.7 × floor",
        format!("{ratio:.2} × floor"),
        format!(
            "{:.0} claims/s, floor {:.0}/s",
            claimed.rate(),
            keyed.rate()
        ),
    );
}

/// W3.
pub fn many_clients(server: &Server, arguments: &Arguments, report: &mut Report) {
    let clients = if arguments.is_toy() { 16 } else { 64 };
    let load = Load::new(server, arguments.size.seconds).clients(clients);
    let cards = enough(arguments);
    let plenty = || fill(server, cards);
    let (ratio, claimed, keyed) = in_turn(arguments, &load, [CLAIM, FLOOR], [&plenty, &plenty]);
    report.add(
        &format!("W3 {clients} clients"),
        "≥ 0.9 × floor",
        format!("{ratio:.2} × floor"),
        format!(
            "{:.0} claims/s, floor {:.0}/s",
            claimed.rate(),
            keyed.rate()
        ),
    );
}

/// W5: the claimable cards lie among others, or are alone.
pub fn among_cards_that_cannot_be_claimed(
    server: &Server,
    arguments: &Arguments,
    report: &mut Report,
) {
    let many = arguments.size.many;
    let free = many / 20;
    let load = Load::new(server, 0);
    let load = load.clone().transactions(free * 4 / 5 / load.number());
    let among = || {
        // Of twenty cards one is free, one waits for its time, and the others for a card.
        fill_with(
            server,
            many,
            ", open_dependencies, not_before",
            ", case when n % 20 > 1 then 1 else 0 end, case when n % 20 = 1 then now() + interval '1 day' end",
        );
    };
    let alone = || fill(server, free);
    let (ratio, mixed, alone) = in_turn(arguments, &load, [CLAIM, CLAIM], [&among, &alone]);
    report.add(
        &format!("W5 {many} open cards, 90 % gated, 5 % deferred"),
        "≥ 0.9 × alone",
        format!("{ratio:.2} × alone"),
        format!(
            "{:.0} claims/s, {free} claimable alone {:.0}/s",
            mixed.rate(),
            alone.rate()
        ),
    );
}

/// W7: 200 phases; one card in a hundred has the label, one the capability.
pub fn filtered(server: &Server, arguments: &Arguments, report: &mut Report) {
    let cards = enough(arguments);
    let load = Load::new(server, arguments.size.seconds);
    let fill = || {
        fill_with(
            server,
            cards,
            ", phase, labels, requires",
            ", 'p' || n % 200, array['l' || n % 100], case when n % 100 = 7 then array['gpu'] else '{}' end",
        );
    };
    let filters = [
        (
            "by phase",
            "\\set p random(0, 199)\nselect * from mosaic.backlog_claim('bench', '1 hour', phase => 'p' || :p);\n",
        ),
        (
            "by label",
            "\\set l random(0, 99)\nselect * from mosaic.backlog_claim('bench', '1 hour', labels => array['l' || :l]);\n",
        ),
        (
            "by offers",
            "select * from mosaic.backlog_claim('bench', '1 hour', offers => '{gpu,arm}');\n",
        ),
    ];
    for (name, script) in filters {
        let (ratio, some, all) = in_turn(arguments, &load, [script, CLAIM], [&fill, &fill]);
        report.add(
            &format!("W7 {name}"),
            "≥ 0.5 × W1",
            format!("{ratio:.2} × without filter"),
            format!("{:.0} claims/s, without {:.0}/s", some.rate(), all.rate()),
        );
    }
}

/// Claims of 10 and of 100 cards beside updates of as many that are known.
pub fn several_at_once(server: &Server, arguments: &Arguments, report: &mut Report) {
    for size in [10_u32, 100] {
        let claim = format!("select id from mosaic.backlog_claim('bench', '1 hour', {size});\n");
        let floor = format!(
            "\\set n :n + 1\n\
             \\set first (:n * :clients + :client_id) * {size}\n\
             \\set last :first + {size} - 1\n\
             select id from mosaic.floor_claim(array(select 'c' || g from generate_series(\
             cast(:first as integer), cast(:last as integer)) g), 'bench', '1 hour');\n"
        );
        let cards = arguments.size.cards.max(arguments.size.seconds * 20_000);
        let load = Load::new(server, 0);
        // Not to the last card: the rest would be empty claims.
        let load = load
            .clone()
            .transactions(cards / size / load.number() * 9 / 10);
        let plenty = || fill(server, cards);
        let (ratio, claimed, keyed) =
            in_turn(arguments, &load, [&claim, &floor], [&plenty, &plenty]);
        let each = f64::from(size);
        report.add(
            &format!("claim of {size}"),
            "≥ 0.8 × floor",
            format!("{ratio:.2} × floor"),
            format!(
                "{:.0} cards/s, floor {:.0}/s",
                claimed.rate() * each,
                keyed.rate() * each
            ),
        );
    }
}
