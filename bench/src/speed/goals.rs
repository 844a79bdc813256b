//! What difygate has to reach, and whether a run shows it. Nothing fails because of a clock: the
//! list is printed, and whoever reads it knows how quiet the machine was.

use std::fmt::Write;

use crate::speed::beside::DIRECT;
use crate::speed::cell::{Cell, median, medians};
use crate::speed::reloads::RATIO;
use crate::speed::results::Results;

/// A figure of difygate's that has to be small.
struct Goal {
    what: &'static str,
    /// To be reached.
    reach: f64,
    /// To go for after that.
    then: f64,
    find: fn(&Results) -> Option<f64>,
}

const WHO: &str = "difygate";

const GOALS: &[Goal] = &[
    goal("plain ÷ nginx", (1.0, 0.75), |r| beside(r, "plain", "nginx+Lua")),
    goal("full ÷ nginx+Lua", (0.67, 0.5), |r| beside(r, "full", "nginx+Lua")),
    goal("full ÷ HAProxy", (0.9, 0.65), |r| beside(r, "full", "HAProxy")),
    goal("full-8k ÷ nginx+Lua", (0.4, 0.3), |r| beside(r, "full-8k", "nginx+Lua")),
    goal("sse ÷ nginx+Lua", (0.8, 0.53), |r| beside(r, "sse", "nginx+Lua")),
    goal("KiB per stream", (28.0, 8.0), |r| more(r, "sse", "KiB per stream")),
    goal("ms added to an event, p99", (2.0, 1.0), added_ms),
    goal("openai ÷ sse, per event", (2.0, 1.3), |r| works(r, "openai", "sse")),
    goal("completion ÷ LiteLLM", (0.02, 0.01), |r| beside(r, "completion", "LiteLLM")),
    goal("MiB fresh", (16.0, 8.0), |r| Some(own(r, "full")?.fresh_kib? / 1024.0)),
    goal("MiB at 8,192 idle", (105.0, 35.0), |r| more(r, "crowd", "MiB idle")),
    goal("MiB at 8,192 active", (160.0, 60.0), |r| more(r, "crowd", "MiB active")),
    goal("failed of the crowd", (0.0, 0.0), |r| Some(own(r, "crowd")?.failed() as f64)),
    goal("crowd's p99 ÷ nginx+Lua", (2.0, 2.0), |r| crowd_p99(r, "nginx+Lua")),
    goal("p99 beside 30 MB ÷ quiet", (1.5, 1.2), beside_large),
    goal("p99 beside reloads ÷ quiet", (1.2, 1.2), |r| more(r, "reloads", RATIO)),
    goal("many ÷ full", (1.05, 1.05), |r| works(r, "many", "full")),
    goal("s to start with many", (1.0, 1.0), |r| more(r, "many", "s to start")),
    goal("ms to reload many", (100.0, 100.0), |r| more(r, "many", "ms to reload")),
];

const fn goal(
    what: &'static str,
    (reach, then): (f64, f64),
    find: fn(&Results) -> Option<f64>,
) -> Goal {
    Goal { what, reach, then, find }
}

/// A line for each goal that the run says something of.
#[must_use]
pub fn judge(results: &Results) -> String {
    let mut text = String::new();
    for Goal { what, reach, then, find } in GOALS {
        let Some(figure) = find(results) else { continue };
        if text.is_empty() {
            let _ = writeln!(text, "{WHO}");
        }
        let verdict = match figure {
            figure if figure <= *then => "reached, and the next",
            figure if figure <= *reach => "reached",
            _ => "not reached",
        };
        let _ =
            writeln!(text, "  {what:<28} {figure:>9.3}  (at most {reach}, then {then})  {verdict}");
    }
    text
}

fn own<'a>(results: &'a Results, work: &str) -> Option<&'a Cell> {
    results.cell(work, WHO).filter(|cell| cell.absent.is_none())
}

fn beside(results: &Results, work: &str, other: &str) -> Option<f64> {
    own(results, work)?.ratio(results.cell(work, other)?)
}

fn works(results: &Results, work: &str, other: &str) -> Option<f64> {
    // They share their rounds.
    own(results, work)?.ratio(own(results, other)?)
}

fn more(results: &Results, work: &str, what: &str) -> Option<f64> {
    own(results, work)?.more.get(what).copied()
}

fn added_ms(results: &Results) -> Option<f64> {
    let direct = &results.rows.iter().find(|row| row.work.name == "sse")?.direct_us;
    let rounds = own(results, "sse")?.waited_us.iter().zip(direct);
    let added_us = rounds.map(|((_, p99), (_, direct))| p99 - direct);
    Some(median(&added_us.collect::<Vec<_>>())? / 1e3)
}

/// What others wait beside the worst kind of large body.
fn beside_large(results: &Results) -> Option<f64> {
    let kinds = own(results, "large")?.beside.iter().filter(|(what, _)| **what != DIRECT.what);
    kinds.filter_map(|(_, ratios)| median(ratios)).max_by(f64::total_cmp)
}

/// The slowest answers to a crowd that asks at once, beside another's.
fn crowd_p99(results: &Results, other: &str) -> Option<f64> {
    let p99 = |cell: &Cell| Some(medians(&cell.waited_us)?.1);
    Some(p99(own(results, "crowd")?)? / p99(results.cell("crowd", other)?)?)
}

#[cfg(test)]
mod tests {
    use super::{DIRECT, judge};
    use crate::speed::cell::Cell;
    use crate::speed::results::{Results, Row};
    use crate::speed::work;

    fn results(rows: Vec<Row>) -> Results {
        let names = ["difygate", "nginx+Lua", "HAProxy"];
        let contenders = names.map(|name| (name, String::new())).to_vec();
        Results { contenders, rows, remarks: Vec::new() }
    }

    fn row(name: &str, cells: [Cell; 3]) -> Row {
        let work = work::ALL.iter().find(|work| work.name == name).unwrap();
        Row { work, cells: cells.to_vec(), direct_us: Vec::new() }
    }

    fn cost(costs_us: &[f64]) -> Cell {
        Cell { costs_us: costs_us.to_vec(), ..Cell::default() }
    }

    #[test]
    fn each_goal_that_a_run_speaks_of_is_judged() {
        let costs = |costs: [f64; 3]| costs.map(|us| cost(&[us]));
        let rows =
            vec![row("plain", costs([12.0, 10.0, 10.0])), row("full", costs([6.0, 10.0, 10.0]))];
        let text = judge(&results(rows));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (4, "difygate"), "{text}");
        assert!(lines[1].ends_with("not reached"), "{text}");
        assert!(lines[2].ends_with("  reached"), "{text}");
        assert!(lines[3].ends_with("reached, and the next"), "{text}");
    }

    #[test]
    fn the_worst_kind_of_large_body_counts() {
        let beside =
            [("a", vec![1.0, 1.1, 9.0]), ("b", vec![1.4, 1.3, 1.6]), (DIRECT.what, vec![7.0])];
        let own = Cell { beside: beside.into_iter().collect(), ..Cell::default() };
        let text = judge(&results(vec![row("large", [own, cost(&[]), cost(&[])])]));
        assert!(text.contains("p99 beside 30 MB ÷ quiet") && text.contains("1.400"), "{text}");
        assert!(text.trim_end().ends_with("  reached"), "{text}");
    }

    #[test]
    fn what_is_compared_is_compared_round_by_round() {
        // The machine was half as fast in the second round, and stood still in the third.
        let full = row("full", [&[10.0, 20.0, 10.0][..], &[], &[]].map(cost));
        let many = row("many", [&[10.4, 20.8, 30.0][..], &[], &[]].map(cost));
        let waited = |p99s: [f64; 3]| p99s.map(|us| (50.0, us)).to_vec();
        let own = Cell { waited_us: waited([900.0, 1_900.0, 9_000.0]), ..cost(&[10.0]) };
        let mut sse = row("sse", [own, cost(&[]), cost(&[])]);
        sse.direct_us = waited([400.0, 900.0, 500.0]);
        let text = judge(&results(vec![full, many, sse]));
        let figure = |what: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(what)).unwrap();
            line.split_whitespace().find_map(|word| word.parse::<f64>().ok().filter(|n| *n < 90.0))
        };
        assert_eq!((figure("many ÷ full"), figure("ms added")), (Some(1.04), Some(1.0)), "{text}");
    }
}
