//! Streamed flows at each address, for `/metrics`.

use super::{Family, Labels, Line, count, counter, gauge, now};
use crate::gateway::Runs;

/// What is said of the streamed flows at each address.
#[derive(Default)]
pub(super) struct RunLines([Vec<Line>; 6]);

impl RunLines {
    /// Adds those of an address.
    pub(super) fn push(&mut self, labels: Labels, runs: &Runs) {
        let [no_worker, under_way, waiting, queued, late, not_started] = &mut self.0;
        no_worker.push(now(labels.clone(), u64::from(runs.starts.is_out())));
        under_way.push(now(labels.clone(), u64::from(runs.under_way())));
        waiting.push(now(labels.clone(), u64::from(runs.waiting())));
        queued.push(count(labels.clone(), runs.queued.get()));
        late.push(now(labels.clone(), runs.late.get()));
        not_started.push(count(labels, runs.not_started.get()));
    }

    /// The families of all.
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
