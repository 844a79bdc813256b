//! `GET /workflow/{run}/events`: the events of a run, wherever its first stream went.

use super::{Call, Passed, Reply};
use crate::run::snapshot::Past;
use crate::run::stage::PING;
use crate::run::{Pause, Pings, Source};
use crate::wire::answer::{Answer, Refused};
use uuid::Uuid;

pub(super) fn events(call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    if !call.app.app.mode.is_flow() {
        return Err(Box::new(Answer::wrong_mode("not_workflow_app")));
    }
    let Ok(id) = Uuid::parse_str(id) else {
        return Err(Box::new(Answer::crash()));
    };
    let db = call.shared.db();
    let own = db.runs.get(id).filter(|run| run.app == call.app.id && run.user == call.user);
    let Some(row) = own else {
        return Err(Box::new(Answer::not_found("Workflow run not found")));
    };
    let past = Past { app: &call.app, id, row, release: call.release() };
    let asked = |name| call.head.query(name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let waits = asked("continue_on_pause");
    let source = if row.finished_at.is_some() {
        Source {
            first: vec![past.finished()],
            heard: None,
            pings: Pings::First,
            pause: Pause::Ends,
        }
    } else {
        let mut first = vec![PING.to_owned()];
        let snapshot = asked("include_state_snapshot");
        if snapshot {
            first.extend(past.events(&db));
        }
        // A run that nobody does any more is silent, with pings.
        let heard = row.live.as_ref().map(|live| live.listen());
        let over = snapshot && row.pause.is_some() && !waits;
        Source {
            first,
            heard: if over { None } else { heard },
            pings: Pings::Always,
            pause: if waits { Pause::Waits } else { Pause::Ends },
        }
    };
    Ok(Reply::Passed(Passed { answer: Answer::run_events(), source }))
}
