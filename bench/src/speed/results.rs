//! The figures of a run: the table for a terminal, the same for Markdown, and JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::speed::cell::{Cell, Waited, medians};
use crate::speed::work::Work;
use crate::table::Table;

/// Those to whose cost others are compared.
const MEASURES: [&str; 2] = ["nginx+Lua", "HAProxy"];
const HEADS: [&str; 10] = [
    "work",
    "who",
    "µs CPU",
    "least",
    "÷ nginx+Lua",
    "÷ HAProxy",
    "a second and core",
    "p50 / p99 µs",
    "memory, times",
    "failed",
];

/// What a run has found.
#[derive(Debug, Default)]
pub struct Results {
    /// Contenders with what their programs call themselves.
    pub contenders: Vec<(&'static str, String)>,
    /// What was measured, with a cell for each contender and how long clients wait without any.
    pub rows: Vec<Row>,
    /// Where and how it was measured, a line each.
    pub remarks: Vec<String>,
}

/// One work.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub work: &'static Work,
    /// In the order of the contenders.
    pub cells: Vec<Cell>,
    /// What clients wait without a proxy, a round each; nothing where that is not measured.
    pub direct_us: Vec<Waited>,
}

impl Results {
    /// What a contender did at a work.
    #[must_use]
    pub fn cell(&self, work: &str, contender: &str) -> Option<&Cell> {
        let row = self.rows.iter().find(|row| row.work.name == work)?;
        let place = self.contenders.iter().position(|(name, _)| *name == contender)?;
        row.cells.get(place)
    }

    fn lines(&self) -> Vec<Vec<String>> {
        self.rows.iter().flat_map(|row| self.lines_of(row)).collect()
    }

    fn lines_of(&self, row: &Row) -> Vec<Vec<String>> {
        let named = || self.contenders.iter().map(|(name, _)| *name).zip(&row.cells);
        let measures = MEASURES.map(|name| named().find(|(other, _)| *other == name));
        let mut lines = Vec::new();
        for (name, cell) in named() {
            // Who cannot do it is named below the table.
            if cell.absent.is_some() {
                continue;
            }
            let ratio = |place: usize| {
                let measure = measures.get(place).copied().flatten();
                measure.and_then(|(_, other)| cell.ratio(other)).map(|ratio| format!("{ratio:.2}"))
            };
            let cost = cell.cost_us();
            lines.push(
                [
                    Some(row.work.name.to_owned()),
                    Some(name.to_owned()),
                    cost.map(|us| format!("{us:.1}")),
                    cell.least_us().map(|us| format!("{us:.1}")),
                    ratio(0),
                    ratio(1),
                    cost.map(|us| format!("{:.0} {}s", 1e6 / us, row.work.unit)),
                    medians(&cell.waited_us).map(pair),
                    memory(cell),
                    Some(cell.failed().to_string()),
                ]
                .map(Option::unwrap_or_default)
                .to_vec(),
            );
        }
        if let Some(direct) = medians(&row.direct_us) {
            let mut line = vec![String::new(); HEADS.len()];
            let cells =
                [(0, row.work.name.to_owned()), (1, "(direct)".to_owned()), (7, pair(direct))];
            for (place, text) in cells {
                if let Some(cell) = line.get_mut(place) {
                    *cell = text;
                }
            }
            lines.push(line);
        }
        lines
    }

    /// The table for a terminal, with what is not in it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut table = Table::new(HEADS);
        self.lines().into_iter().for_each(|line| table.row(line));
        table.text() + "\n" + &self.notes("")
    }

    /// The table as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text =
            format!("| {} |\n|---|---|{}\n", HEADS.join(" | "), "--:|".repeat(HEADS.len() - 2));
        for line in self.lines() {
            let _ = writeln!(text, "| {} |", line.join(" | "));
        }
        text + "\n" + &self.notes("- ")
    }

    fn notes(&self, bullet: &str) -> String {
        let mut text = String::new();
        for Row { work, cells, .. } in &self.rows {
            let _ = writeln!(text, "{bullet}{}: {}", work.name, work.title);
            for ((name, _), cell) in self.contenders.iter().zip(cells) {
                if let Some(why) = &cell.absent {
                    let _ = writeln!(text, "{bullet}{}: without {name}: {why}", work.name);
                }
                for (what, ratios) in &cell.beside {
                    let ratios: Vec<_> = ratios.iter().map(|one| format!("{one:.2}")).collect();
                    let ratios = ratios.join(", ");
                    let _ = writeln!(text, "{bullet}{}: {name}: {what}: {ratios}", work.name);
                }
                for (what, times) in &cell.failures {
                    let _ = writeln!(text, "{bullet}{}: {name}: {times} × {what}", work.name);
                }
            }
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "{bullet}{remark}");
        }
        text
    }

    /// All figures.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let names = self.contenders.iter().map(|(name, _)| (*name).to_owned());
            let mut cells: Map<_, _> = names.zip(row.cells.iter().map(Cell::json)).collect();
            if let Some((p50, p99)) = medians(&row.direct_us) {
                let direct = json!({
                    "wait_us_p50": p50, "wait_us_p99": p99, "waits_us": row.direct_us,
                });
                cells.insert("direct".to_owned(), direct);
            }
            (row.work.name.to_owned(), json!({ "unit": row.work.unit, "contenders": cells }))
        });
        let programs: Map<_, _> =
            self.contenders.iter().map(|(name, says)| ((*name).to_owned(), json!(says))).collect();
        json!({ "programs": programs, "remarks": self.remarks, "works": rows.collect::<Map<_, _>>() })
    }
}

fn pair((p50, p99): (f64, f64)) -> String {
    format!("{p50:.0} / {p99:.0}")
}

/// Fresh memory, and what more there is but for numbers of clients.
fn memory(cell: &Cell) -> Option<String> {
    let fresh = cell.fresh_kib.map(|kib| format!("{:.1} MiB fresh", kib / 1024.0));
    let counts = ["streams", "connections"];
    let more = cell.more.iter().filter(|(what, _)| !counts.contains(what));
    let more = more.map(|(what, figure)| match what.split_once(' ') {
        Some((unit, what)) => format!("{figure:.1} {unit} {what}"),
        None => format!("{figure:.1} {what}"),
    });
    let all: Vec<_> = fresh.into_iter().chain(more).collect();
    (!all.is_empty()).then(|| all.join(", "))
}
