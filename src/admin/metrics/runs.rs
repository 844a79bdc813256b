//! Streamed flows at each address, for `/metrics`.

use super::family::{Family, Labels, Line, count, counter, gauge, now};
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::{ResumeOutcome, Runs};

/// What is said of the streamed flows at each address.
#[derive(Default)]
pub(super) struct RunLines([Vec<Line>; 6]);

impl RunLines {
    pub(super) fn push(&mut self, labels: Labels, runs: &Runs) {
        let [no_worker, under_way, waiting, queued, late, not_started] = &mut self.0;
        no_worker.push(now(labels.clone(), u64::from(runs.starts.is_out())));
        under_way.push(now(labels.clone(), u64::from(runs.under_way())));
        waiting.push(now(labels.clone(), u64::from(runs.waiting())));
        queued.push(count(labels.clone(), runs.queued.get()));
        late.push(now(labels.clone(), runs.late.get()));
        not_started.push(count(labels, runs.not_started.get()));
    }

    pub(super) fn into_families(self) -> [Family; 6] {
        let [no_worker, under_way, waiting, queued, late, not_started] = self.0;
        [
            gauge(
                "difygate_instance_no_worker",
                "1 while streamed flows do not start there and go elsewhere, else 0",
                no_worker,
            ),
            gauge("difygate_instance_runs", "Streamed flows under way there", under_way),
            gauge(
                "difygate_instance_runs_waiting",
                "Streamed flows that wait for a place of max_runs",
                waiting,
            ),
            counter(
                "difygate_instance_runs_queued",
                "Streamed flows that had to wait for a place of max_runs",
                queued,
            ),
            gauge(
                "difygate_instance_runs_late",
                "Streamed flows that have waited above 5 s for their first event",
                late,
            ),
            counter(
                "difygate_instance_runs_not_started",
                "Streamed flows without an event within timeouts.run_start",
                not_started,
            ),
        ]
    }
}

/// Streamed flows that were to be taken up again, by app and instance.
pub(super) fn resumed(snapshot: &Snapshot) -> Family {
    let members = snapshot
        .apps
        .iter()
        .flat_map(|app| app.pool.members.iter().map(move |member| (&app.name, member)));
    let lines = members.flat_map(|(app, member)| {
        ResumeOutcome::ALL.map(|result| {
            let labels = vec![
                ("app", app.to_string()),
                ("instance", member.name().to_string()),
                ("result", result.label().to_owned()),
            ];
            count(labels, member.stats.resumed[result as usize].get())
        })
    });
    counter(
        "difygate_runs_resumed",
        "Streamed flows taken up again after their stream broke off, by result",
        lines.collect(),
    )
}
