//! A streamed run of a flow as the worker does it, and what becomes of a filled form.

use super::play::{Listed, play};
use super::stage::{Outcome, Stage};
use super::turn::Turn;
use crate::db::Filled;
use crate::live::{End, Heard, Live};
use crate::pyjson;
use crate::state::Shared;
use crate::tasks::Others;
use std::sync::Arc;

/// What the worker makes of a request: a run, or a text that says why not.
pub(crate) type Order = Box<dyn FnOnce(Arc<Live>) -> Result<Turn, String> + Send>;

/// Hands an order to the worker.
pub(crate) fn order(shared: &Arc<Shared>, live: &Arc<Live>, order: Order) {
    let (shared, live) = (Arc::clone(shared), Arc::clone(live));
    tokio::spawn(async move {
        let job = work(&shared, &live, order);
        shared.worker.run(job).await;
    });
}

async fn work(shared: &Arc<Shared>, live: &Arc<Live>, order: Order) {
    let turn = match order(Arc::clone(live)) {
        Ok(turn) => Arc::new(turn),
        Err(message) => {
            if shared.setup.release.tells_worker_errors() {
                let text = format!(
                    "{{\"event\": \"error\", \"message\": {}, \"status\": 500}}",
                    pyjson::quote(&message)
                );
                let text = pyjson::rewritten(&text, shared.setup.release.writes_events());
                live.tell(&Heard::Event(format!("data: {text}\n\n").into()));
            }
            return live.tell(&Heard::Over(End::Open));
        }
    };
    let listed = Listed::new(&turn);
    let mut stage = stage(&turn, live, &listed);
    let outcome = play(&turn, &mut stage, None).await;
    drop(listed);
    ended(&turn, live, outcome.ok());
}

/// A stage in the worker for this run.
fn stage(turn: &Turn, live: &Arc<Live>, listed: &Listed<'_>) -> Stage<'static> {
    let others =
        if turn.release().stops_for_others_at_once() { Others::Interrupt } else { Others::Spoil };
    let ping = turn.shared.setup.pace.ping_interval;
    Stage::worker(Arc::clone(live), listed.stop(), ping).with_others(others)
}

fn ended(turn: &Arc<Turn>, live: &Live, outcome: Option<Outcome>) {
    // With Redis away nobody hears the end.
    if turn.shared.redis_is_away() {
        return;
    }
    live.tell(&match outcome {
        Some(Outcome::Done { end, .. }) => Heard::Over(end),
        Some(Outcome::Failed { .. }) | None => Heard::Over(End::AtOnce),
        Some(Outcome::Paused) => {
            keep(turn);
            Heard::Paused
        }
    });
}

/// Keeps a paused run with its form.
pub(crate) fn keep(turn: &Arc<Turn>) {
    let mut db = turn.shared.db();
    let row = db.runs.get_mut(turn.run);
    let Some(row) = row else { return };
    let token = row.pause.as_ref().map(|pause| pause.token.clone()).unwrap_or_default();
    row.live.get_or_insert_with(|| Arc::new(Live::of(turn.task)));
    if let Some(form) = db.forms.get_mut(&token) {
        let turn = Arc::clone(turn);
        form.resume = Some(Box::new(move |live, filled| resume(turn, live, filled)));
    }
}

/// Goes on with a run whose form was filled.
fn resume(turn: Arc<Turn>, live: Arc<Live>, filled: Filled) {
    tokio::spawn(async move {
        let shared = Arc::clone(&turn.shared);
        let job = async {
            let listed = Listed::new(&turn);
            let mut stage = stage(&turn, &live, &listed);
            let outcome = play(&turn, &mut stage, Some(&filled)).await;
            drop(listed);
            ended(&turn, &live, outcome.ok());
        };
        shared.worker.run(job).await;
    });
}
