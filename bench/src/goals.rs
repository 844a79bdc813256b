//! What difygate promises of these cases, and whether a run shows it.

use std::time::Duration;

use crate::case::{ALL, Promise};
use crate::measure::Measured;
use crate::report::Results;

/// An instance that was healed is back within this.
const BACK: Duration = Duration::from_secs(2);

/// One promise.
struct Goal {
    text: &'static str,
    of: &'static [Promise],
    /// What is wrong with these figures, if anything.
    missed: fn(&Measured) -> Option<String>,
}

const EVERY: &[Promise] = &[
    Promise::Gone,
    Promise::Kills,
    Promise::AllGone,
    Promise::Hangs,
    Promise::Slow,
    Promise::Bad,
    Promise::Reload,
];

const GOALS: &[Goal] = &[
    Goal {
        text: "killed, stopped, closed, flapping, slow: 0 client errors, POSTs in flight there apart",
        of: &[Promise::Gone, Promise::Slow],
        missed: |m| above(m.errors(), 0, "errors"),
    },
    Goal {
        text: "back within 2 s of healing, unless it gave bad answers",
        of: &[Promise::Gone, Promise::Kills, Promise::AllGone, Promise::Hangs, Promise::Slow],
        missed: |m| match m.back_after {
            Some(after) if after <= BACK => None,
            Some(after) => Some(format!("{:.2} s", after.as_secs_f64())),
            None => Some("not back".to_owned()),
        },
    },
    Goal {
        text: "frozen, black-holed, workers killed 20 times: 0 GETs lost",
        of: &[Promise::Kills, Promise::Hangs],
        missed: |m| above(m.gets_lost, 0, "lost"),
    },
    Goal {
        text: "frozen or black-holed: out of rotation within 2 s",
        of: &[Promise::Hangs],
        missed: |m| above(m.still_sent.unwrap_or_default().max(m.delayed), 0, "sent to it later"),
    },
    Goal {
        text: "broken, cut or 500 answers: out after at most 5",
        of: &[Promise::Bad],
        missed: |m| above(m.sent_after_enough, 0, "sent to it when 5 had come back"),
    },
    Goal {
        text: "10 reloads at 200 requests a second with 20 streams: 0 failed, 0 cut",
        of: &[Promise::Reload],
        missed: |m| above(m.all_errors(), 0, "failed"),
    },
    Goal {
        text: "a cut answer is always visible to the client",
        of: EVERY,
        missed: |m| above(m.cut_unseen, 0, "unseen"),
    },
    Goal {
        text: "no POST is run twice, by a second instance or by the same",
        of: EVERY,
        missed: |m| above(m.run_twice(), 0, "twice"),
    },
];

fn above(count: usize, limit: usize, what: &str) -> Option<String> {
    (count > limit).then(|| format!("{count} {what}"))
}

/// A line for each goal that these results say something of, and how many are missed.
#[must_use]
pub fn judge(results: &Results, contender: &str) -> (String, usize) {
    let mut text = format!("Goals of {contender}\n");
    let mut all_missed = 0;
    for goal in GOALS {
        let mut seen = 0;
        let mut missed = Vec::new();
        for case in ALL.iter().filter(|case| goal.of.contains(&case.promise)) {
            let ran = results.rows.iter().any(|(other, _)| other.name == case.name);
            match results.of(contender, case) {
                Some(measured) => {
                    seen += 1;
                    missed
                        .extend((goal.missed)(measured).map(|why| format!("{}: {why}", case.name)));
                }
                None if ran => missed.push(format!("{}: it failed", case.name)),
                None => {}
            }
        }
        let verdict = match (seen, missed.is_empty()) {
            (0, true) => continue,
            (_, true) => "met    ",
            (_, false) => "NOT met",
        };
        all_missed += usize::from(!missed.is_empty());
        text += &format!("  {verdict}  {}", goal.text);
        if !missed.is_empty() {
            text += &format!(" ({})", missed.join("; "));
        }
        text.push('\n');
    }
    (text, all_missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(measured: Measured) -> Results {
        Results { contenders: vec!["difygate"], rows: vec![(&ALL[0], vec![Some(measured)])] }
    }

    #[test]
    fn a_clean_run_meets_every_goal_it_says_something_of() {
        let clean = Measured { back_after: Some(Duration::from_secs(1)), ..Measured::default() };
        let (text, missed) = judge(&results(clean), "difygate");
        assert_eq!((missed, text.matches("  met ").count()), (0, 4), "{text}");
        assert!(!text.contains("frozen"), "{text}");
    }

    #[test]
    fn what_was_missed_is_named() {
        let bad = Measured { gets_lost: 3, ..Measured::default() };
        let (text, missed) = judge(&results(bad), "difygate");
        assert_eq!(missed, 2, "{text}");
        assert!(text.contains("killed: 3 errors") && text.contains("killed: not back"), "{text}");
        let none = Results { contenders: vec!["difygate"], rows: vec![(&ALL[0], vec![None])] };
        assert_eq!(judge(&none, "difygate").1, 4);
    }
}
