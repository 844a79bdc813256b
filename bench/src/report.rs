//! The tables and the file that a comparison ends in.

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{self, Case, Promise};
use crate::measure::Measured;
use crate::table::Table;

/// What was measured: for each case the contenders' figures, in the order of the columns.
#[derive(Debug, Default)]
pub struct Results {
    /// The columns.
    pub contenders: Vec<&'static str>,
    /// The rows; a contender that ended by itself has none.
    pub rows: Vec<(&'static Case, Vec<Option<Measured>>)>,
}

/// A figure in a table: how its line is called, and how it is shown.
type Line = (&'static str, fn(&Measured) -> String);

const ERRORS: Line = ("client errors (and POSTs that were at it)", |m| {
    format!("{} (+{})", m.errors(), m.posts_lost_there)
});
const GETS: Line = ("GETs lost", |m| m.gets_lost.to_string());
const POSTS: Line = ("POSTs lost (and those that were at it)", |m| {
    format!("{} (+{})", m.posts_lost_elsewhere, m.posts_lost_there)
});
const BACK: Line = ("back after healing", |m| back(m.back_after));
const STILL: Line = ("sent to it after 2 s", |m| {
    m.still_sent.map_or_else(|| "-".to_owned(), |count| count.to_string())
});
const DELAYED: Line = ("waited 0.8 s, sent after 2 s", |m| m.delayed.to_string());
const WORST: Line = ("worst GET", |m| seconds(m.worst_get));
const BROKEN: Line = ("broken answers taken", |m| m.broken_answers.to_string());
const ENOUGH: Line = ("sent to it when 5 had come back", |m| m.sent_after_enough.to_string());
const UNSEEN: Line = ("cut answers not visible", |m| m.cut_unseen.to_string());
const NOTICED: Line = ("client errors", |m| m.all_errors().to_string());
const TWICE: Line = ("run twice", |m| m.run_twice().to_string());
const GIVEN_UP: Line = ("given up", |m| m.posts_given_up.to_string());

/// The tables: which cases, and which lines of each.
const TABLES: &[(&str, &[Promise], &[Line])] = &[
    (
        "An instance dies, leaves or flaps",
        &[Promise::Gone, Promise::Kills, Promise::AllGone],
        &[ERRORS, BACK, WORST],
    ),
    (
        "An instance hangs or is slow",
        &[Promise::Hangs, Promise::Slow],
        &[GETS, POSTS, STILL, DELAYED, BACK, WORST],
    ),
    (
        "An instance gives broken, cut or 500 answers",
        &[Promise::Bad],
        &[NOTICED, BROKEN, ENOUGH, UNSEEN, BACK],
    ),
    ("The configuration changes ten times", &[Promise::Reload], &[NOTICED, UNSEEN, WORST]),
    (
        "POSTs run twice, and those given up that no instance had read",
        &[
            Promise::Gone,
            Promise::Kills,
            Promise::AllGone,
            Promise::Hangs,
            Promise::Slow,
            Promise::Bad,
            Promise::Reload,
        ],
        &[TWICE, GIVEN_UP],
    ),
];

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn back(after: Option<Duration>) -> String {
    after.map_or_else(|| format!("> {} s", case::time_to_come_back().as_secs()), seconds)
}

impl Results {
    /// The figures of this contender in this case.
    #[must_use]
    pub fn of(&self, contender: &str, case: &Case) -> Option<&Measured> {
        let column = self.contenders.iter().position(|name| *name == contender)?;
        let (_, cells) = self.rows.iter().find(|(other, _)| other.name == case.name)?;
        cells.get(column)?.as_ref()
    }

    /// All tables that have a row.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for (title, promises, lines) in TABLES {
            let mut table = Table::new([*title].into_iter().chain(self.contenders.iter().copied()));
            let rows = self.rows.iter().filter(|(case, _)| promises.contains(&case.promise));
            let mut any = false;
            for (case, cells) in rows {
                any = true;
                for (label, show) in *lines {
                    let colon = if label.is_empty() { "" } else { ": " };
                    let cells = cells.iter().map(|cell| match cell {
                        Some(measured) => show(measured),
                        None => "failed".to_owned(),
                    });
                    table.row([format!("{}{colon}{label}", case.name)].into_iter().chain(cells));
                }
            }
            if any {
                text.push_str(&table.text());
                text.push('\n');
            }
        }
        text
    }

    /// All figures.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(case, cells)| {
            let cells = self.contenders.iter().zip(cells).map(|(name, cell)| {
                ((*name).to_owned(), cell.as_ref().map_or(Value::Null, figures))
            });
            (case.name.to_owned(), Value::Object(cells.collect()))
        });
        Value::Object(rows.collect())
    }
}

fn figures(measured: &Measured) -> Value {
    json!({
        "sent": measured.sent,
        "gets_lost": measured.gets_lost,
        "posts_lost_there": measured.posts_lost_there,
        "posts_lost_elsewhere": measured.posts_lost_elsewhere,
        "cut_unseen": measured.cut_unseen,
        "posts_twice": measured.posts_twice,
        "posts_given_up": measured.posts_given_up,
        "posts_repeated_at_one_instance": measured.posts_repeated,
        "broken_answers": measured.broken_answers,
        "sent_after_5_broken_answers": measured.sent_after_enough,
        "still_sent_after_2s": measured.still_sent,
        "delayed_after_2s": measured.delayed,
        "back_after_s": measured.back_after.map(|time| time.as_secs_f64()),
        "worst_get_s": measured.worst_get.as_secs_f64(),
        "noticed": measured.noticed,
    })
}
