//! OpenAI's and Anthropic's protocols in front of the apps.
//!
//! A request at a door becomes one or more native calls of Dify (`errand`), each with the same
//! routing, affinity and failover as a client's own; what Dify answers is told in the door's words
//! (`telling`). Which conversation a transcript goes on with is decided in `thread`.

mod audio;
mod caller;
mod entrance;
mod errand;
mod facts;
mod fault;
mod hints;
mod history;
pub mod known;
mod mappings;
mod run;
pub mod settings;
mod telling;
mod thread;
mod upload;
mod upstream;
mod waiting;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

pub(super) use self::entrance::{Door, Entrance, entrance, tidied};
use self::settings::{History, Tasks};

use self::entrance::Call;
use self::errand::Errand;
use self::run::{Asked, run};
use self::thread::Worth;
use self::waiting::{Head, Late};
use crate::adapter::{Ask, Fault, Kind, Shape, Voice, anthropic, openai, task};
use crate::conversation::Thread;
use crate::gateway::arriving::Arriving;
use crate::gateway::heads::RequestHead;
use crate::gateway::identify;
use crate::gateway::record::Record;
use crate::gateway::snapshot::{App, Snapshot};
use crate::gateway::stream::Outgoing;
use crate::gateway::tokens::Key;
use crate::gateway::worker::Worker;
use crate::model::{Reason, Refusal};

/// When a model was made, in seconds since 1970: clients sort by it and show it.
const CREATED_S: u64 = 0;

/// A request that has come to a door.
pub(super) struct Arrival {
    /// Whose thread it is on.
    pub worker: Rc<Worker>,
    /// The configuration it goes by.
    pub snapshot: Arc<Snapshot>,
    /// Where the client is.
    pub address: IpAddr,
    /// What is written of it.
    pub record: Box<Record>,
    /// Its head.
    pub head: Rc<RequestHead>,
    /// The fields of it.
    pub headers: HeaderMap,
}

/// What became of a request.
pub(super) enum Done {
    /// It is being answered.
    Answer(Response<Outgoing>),
    /// The gateway answers itself.
    Local(Box<Record>, Response<Bytes>),
    /// It went wrong.
    Fault(Box<Record>, Reason, Fault),
}

/// Answers a request at a door.
pub(super) async fn answer(mut arrival: Arrival, body: Arriving, door: Door<'_>) -> Done {
    let key = match caller::key(&arrival.snapshot, &arrival.headers) {
        Ok(key) => key,
        Err(fault) => return Done::Fault(arrival.record, Reason::Unauthorized, fault),
    };
    arrival.record.came_by(&key);
    match door.call {
        Call::Models if door.shape == Shape::Anthropic => {
            let models = models(&arrival.snapshot, &key).map(|(id, _)| id);
            local(arrival.record, anthropic::models::list(models))
        }
        Call::Models => {
            local(arrival.record, openai::models::list(models(&arrival.snapshot, &key)))
        }
        Call::Model(id) => {
            let found = caller::app(&arrival.snapshot, &key, id);
            match found {
                Ok(_) if door.shape == Shape::Anthropic => {
                    local(arrival.record, anthropic::models::one(id))
                }
                Ok(_) => local(arrival.record, openai::models::one(id, CREATED_S)),
                Err(fault) => Done::Fault(arrival.record, Reason::NoRoute, fault),
            }
        }
        Call::Chat | Call::Completion | Call::Response | Call::Message => {
            arrival.converse(body, door, &key).await
        }
        Call::CountTokens => arrival.count_tokens(body, &key).await,
        Call::Unknown => {
            let message = "Dify has nothing that could serve this path.";
            let fault = Fault::new(404, Kind::NotFound, "unsupported_endpoint", message);
            Done::Fault(arrival.record, Reason::NoRoute, fault)
        }
        Call::Transcription => audio::transcribe(arrival, body, &key).await,
        Call::Speech => audio::speak(arrival, body, &key).await,
        Call::Mappings => mappings::show(arrival, &key).await,
        Call::Cleanup => mappings::clean_up(arrival, body, &key).await,
    }
}

/// The models of a key, and when each was made. Nobody knows that, so it is always the same.
fn models<'a>(snapshot: &'a Snapshot, key: &'a Key) -> impl Iterator<Item = (&'a str, u64)> {
    let mine = snapshot.models.iter().filter(|(_, place)| key.apps.contains(place));
    mine.map(|(id, _)| (&**id, CREATED_S))
}

/// An answer of the gateway's own, in JSON.
fn local(record: Box<Record>, json: Bytes) -> Done {
    let mut response = Response::new(json);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Done::Local(record, response)
}

impl Arrival {
    /// Takes the body in.
    async fn body(&mut self, mut body: Arriving) -> Result<Bytes, (Reason, Fault)> {
        let refused = |refusal: Refusal| (refusal.reason, Fault::of_refusal(&refusal));
        let kept = identify::body(&self.head, &mut body, &self.snapshot).await.map_err(refused)?;
        self.record.body_read(None, kept.len());
        kept.into_bytes().await.map_err(|error| {
            let refusal = identify::spool_failed(&error, &self.snapshot.limits);
            (refusal.reason, Fault::of_refusal(&refusal))
        })
    }

    /// Estimates what a question has in tokens.
    async fn count_tokens(mut self, body: Arriving, key: &Key) -> Done {
        let counted = match self.body(body).await {
            Ok(body) => anthropic::count_tokens(&body).map_err(|fault| (Reason::BadRequest, fault)),
            Err(refused) => Err(refused),
        };
        let (model, tokens) = match counted {
            Ok(counted) => counted,
            Err((reason, fault)) => return Done::Fault(self.record, reason, fault),
        };
        match caller::app(&self.snapshot, key, &model) {
            Ok(_) => local(self.record, anthropic::counted(tokens)),
            Err(fault) => Done::Fault(self.record, Reason::NoRoute, fault),
        }
    }

    /// An errand to an app, for a user.
    fn errand(mut self, app: Arc<App>, user: String) -> Errand {
        self.record.named(&user);
        let Self { worker, snapshot, address, record, .. } = self;
        Errand { worker, snapshot, app, address, user, record }
    }

    /// Reads a question and sends it on its way.
    async fn converse(mut self, body: Arriving, door: Door<'_>, key: &Key) -> Done {
        let read = match self.body(body).await {
            Ok(body) => read(door.call, &body).map_err(|fault| (Reason::BadRequest, fault)),
            Err(refused) => Err(refused),
        };
        let (mut ask, voice) = match read {
            Ok(read) => read,
            Err((reason, fault)) => return Done::Fault(self.record, reason, fault),
        };
        let app = match caller::app(&self.snapshot, key, &ask.model) {
            Ok(app) => app,
            Err(fault) => return Done::Fault(self.record, Reason::NoRoute, fault),
        };
        self.record.caller_known(&app);
        hints::add(&mut ask, &self.headers, &app.doors);
        let given = hints::user(ask.user.as_deref(), &self.headers, &app.doors, key);
        let user = match caller::user(key, given.as_deref(), app.doors.users) {
            Ok(user) => user,
            Err(fault) => return Done::Fault(self.record, Reason::BadRequest, fault),
        };
        let is_task = app.doors.tasks != Tasks::InChat && task::is_task(&ask);
        if is_task && app.doors.tasks == Tasks::Refuse {
            return Done::Fault(self.record, Reason::BadRequest, task::refused());
        }
        let user = if is_task { user + ":task" } else { user };
        let chat = ask.hints.chat.clone().filter(|_| !is_task);
        let thread = Thread {
            key: key.name.to_string(),
            app: app.name.to_string(),
            user: user.clone(),
            chat,
        };
        // A client that wants nothing stored has nothing to go on with, unless it names it.
        let is_alone = app.doors.history == History::Stateless
            || (ask.is_unstored && ask.hints.names_nothing());
        let worth = match (is_task, is_alone) {
            (true, _) => Worth::Deleted,
            (_, true) => Worth::Nothing,
            _ => Worth::Kept,
        };
        let (shape, late, streamed) = (door.shape, Late::default(), ask.streamed);
        let request_id = self.record.request_id().clone();
        let head = Head { request_id, ignored: ask.ignored.clone(), shape };
        let asked = Asked { ask, voice, shape, thread, worth, late: late.clone() };
        let run = Box::pin(run(self.errand(app, user), asked));
        if streamed { waiting::wait(run, late, head).await } else { run.await }
    }
}

/// Reads the question in a door's words.
fn read(call: Call<'_>, body: &[u8]) -> Result<(Ask, Box<dyn Voice>), Fault> {
    fn boxed<V: Voice + 'static>((ask, voice): (Ask, V)) -> (Ask, Box<dyn Voice>) {
        (ask, Box::new(voice))
    }
    match call {
        Call::Completion => openai::completions::read(body).map(boxed),
        Call::Response => openai::responses::read(body).map(boxed),
        Call::Message => anthropic::messages::read(body).map(boxed),
        _ => openai::chat::read(body).map(boxed),
    }
}
