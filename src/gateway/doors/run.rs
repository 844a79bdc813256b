//! A question on its way to its app, and the answer on its way back.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::adapter::call::{self, Run};
use crate::adapter::foreign;
use crate::adapter::{Ask, Facts, FileRef, Hearing, Intake, Manner, Mode, Protocol, Voice};
use crate::conversation::{Pending, Thread};
use crate::dify::answer::explanation;
use crate::dify::path;
use crate::dify::path::CallKind;
use crate::gateway::attempt::{Answer, AnswerBody};
use crate::gateway::bodies::Held;
use crate::gateway::body::Kept;
use crate::gateway::coming::Coming;
use crate::gateway::doors::answer_error::{Meaning, meaning, of_answer};
use crate::gateway::doors::errand::{Call, Errand, MAX_ANSWER_BYTES, Read};
use crate::gateway::doors::history::transcript;
use crate::gateway::doors::offload::{Payload, into_bytes};
use crate::gateway::doors::settings::Settings;
use crate::gateway::doors::telling::Telling;
use crate::gateway::doors::thread::{self, Notice, Place, With, Worth};
use crate::gateway::doors::upload::upload;
use crate::gateway::doors::waiting::Late;
use crate::gateway::doors::{Done, facts, upstream};
use crate::gateway::errors;
use crate::gateway::inspect;
use crate::gateway::journey::{Forwarded, Journey};
use crate::gateway::names::Name;
use crate::gateway::policy::OnOwnerDown;
use crate::gateway::relay::{Relay, Source};
use crate::gateway::respond;
use crate::gateway::snapshot::App;
use crate::gateway::stream::Outgoing;
use crate::model::{GatewayError, Reason};

const IGNORED: HeaderName = HeaderName::from_static("x-difygate-ignored");
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A question as it came.
pub(super) struct Asked {
    /// What is asked.
    pub ask: Payload<Ask>,
    /// How the answer is told.
    pub voice: Box<dyn Voice>,
    /// The protocol of the client.
    pub protocol: Protocol,
    /// Who asks, in which app and chat.
    pub thread: Thread,
    /// Whether anything is to be gone on with.
    pub worth: Worth,
    /// Whether the head of the answer has gone out.
    pub late: Late,
    /// What it has of the memory for all bodies.
    pub held: Held,
    /// Where the client found the gateway.
    pub own_url: Option<String>,
}

/// A question that has its place in a conversation.
struct Question {
    ask: Payload<Ask>,
    voice: Box<dyn Voice>,
    protocol: Protocol,
    place: Place,
    /// What the book is to know of it, once Dify has been asked.
    pending: Option<Pending>,
    late: Late,
    own_url: Option<String>,
    _held: Held,
}

/// Finds the question's place, asks the app and begins to tell its answer.
pub(super) async fn run(errand: Errand, asked: Asked) -> Done {
    let Asked { mut ask, voice, protocol, thread, worth, late, held, own_url } = asked;
    let place = match worth {
        Worth::Kept => thread::place(errand.worker.shared(), thread, &mut ask).await,
        Worth::Nothing | Worth::Deleted => Ok(Place::aside(thread, worth)),
    };
    match place {
        Ok(place) => {
            let (pending, _held) = (None, held);
            let question = Question { ask, voice, protocol, place, pending, late, own_url, _held };
            carry(errand, question).await
        }
        Err(error) => Done::Error(errand.record, error),
    }
}

/// Asks the app and begins to tell its answer.
async fn carry(errand: Errand, mut question: Question) -> Done {
    let (errand, facts) = facts::facts(errand).await;
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => return refuse(errand, &question, error).await,
    };
    match facts.mode {
        Mode::AdvancedChat | Mode::Workflow => errand.app.stats.kind.learn_flow(),
        Mode::Chat | Mode::AgentChat | Mode::Completion => errand.app.stats.kind.learn_plain(),
        Mode::Agent => {}
    }
    let errand = match take_up(errand, &mut question).await {
        (errand, Ok(())) => errand,
        (errand, Err(error)) => return refuse(errand, &question, error).await,
    };
    let errand = match find(errand, &mut question).await {
        Ok(errand) => errand,
        Err(done) => return done,
    };
    let conversation = question.place.with.conversation();
    let files = &question.ask.question.attachments;
    let (mut errand, files) = upload(errand, files, conversation).await;
    let files = match files {
        Ok(files) => files,
        Err(error) => return refuse(errand, &question, error).await,
    };
    loop {
        let call = match call(&errand, &mut question, &facts, &files).await {
            Ok(call) => call,
            Err(error) => {
                let error = error.with_reason(Reason::BadRequest);
                return refuse(errand, &question, error).await;
            }
        };
        let address = errand.address;
        let (journey, result) = errand.send(call).await;
        let forwarded = match result {
            Ok(forwarded) => forwarded,
            Err(error) => {
                errand = Errand::back(journey, address);
                if parts(&errand, &mut question, &error).await {
                    continue;
                }
                return refused(errand, &question, error).await;
            }
        };
        if upstream::is_run(&forwarded.answer.head) {
            return tell(journey, forwarded, question, facts.mode).await;
        }
        let (back, error, meaning) = refusal(Errand::back(journey, address), forwarded).await;
        errand = back;
        let shared = Arc::clone(errand.worker.shared());
        if meaning == Meaning::NoConversation && conversation.is_some() {
            if question.place.leave(&shared).await {
                // Dify has lost it: once more, as the beginning of a new one.
                continue;
            }
            let named = conversation.map(|id| id.to_string()).unwrap_or_default();
            return refuse(errand, &question, errors::no_conversation(&named)).await;
        }
        return refuse(errand, &question, error).await;
    }
}

/// Finds out who has the conversation that the turn goes on with. One that Dify has lost begins anew, if
/// the client did not name it itself.
async fn find(errand: Errand, question: &mut Question) -> Result<Errand, Done> {
    let Some(conversation) = question.place.with.conversation() else { return Ok(errand) };
    let (errand, found) = errand.find(conversation).await;
    let shared = Arc::clone(errand.worker.shared());
    match found {
        Ok(true) => Ok(errand),
        Ok(false) if question.place.leave(&shared).await => Ok(errand),
        Ok(false) => {
            let named = conversation.to_string();
            Err(refuse(errand, question, errors::no_conversation(&named)).await)
        }
        Err(error) if parts(&errand, question, &error).await => Ok(errand),
        Err(error) => Err(refused(errand, question, error).await),
    }
}

/// Whether the turn leaves its conversation, because the instance that has it is out. The files of
/// the question stay where the conversation is, and so does a question that has some.
async fn parts(errand: &Errand, question: &mut Question, error: &GatewayError) -> bool {
    let may = error.reason == Reason::OwnerOut
        && errand.app.policy.on_owner_down == OnOwnerDown::Restart
        && question.ask.question.attachments.is_empty();
    may && question.place.part(errand.worker.shared()).await
}

/// A client that goes on from an earlier answer gets a new conversation that begins with what was
/// said till then.
async fn take_up(errand: Errand, question: &mut Question) -> (Errand, Result<(), GatewayError>) {
    let With::After { conversation, message } = question.place.with else {
        return (errand, Ok(()));
    };
    let (errand, said) = transcript(errand, conversation, message).await;
    let taken = said.map(|said| {
        if question.ask.before.is_empty() {
            question.ask.before = said;
        }
    });
    (errand, taken)
}

/// The call of Dify that the question is.
async fn call(
    errand: &Errand,
    question: &mut Question,
    facts: &Arc<Facts>,
    files: &[FileRef],
) -> Result<Call, GatewayError> {
    let conversation = question.place.with.conversation();
    let writing = Writing {
        app: Arc::clone(&errand.app),
        facts: Arc::clone(facts),
        user: errand.user.clone(),
        conversation: conversation.map(|id| id.to_string()),
        files: files.to_vec(),
        notice: question.place.notice(),
    };
    let (body, pending) = question.ask.work(|ask| writing.write(ask)).await??;
    question.pending = pending;
    let kind = CallKind::Run(match facts.mode {
        Mode::Completion => path::Run::Completion,
        Mode::Workflow => path::Run::Workflow,
        _ => path::Run::Chat,
    });
    let json = HeaderValue::from_static("application/json");
    let files = files.iter().filter_map(FileRef::uploaded);
    let files = files.filter_map(|id| Uuid::try_parse(id).ok());
    let call = Call::post(facts.mode.path(), kind, json, Kept::Piece(body));
    Ok(call.in_conversation(conversation).naming(files))
}

/// What is needed to write down a question for Dify and for the book.
struct Writing {
    app: Arc<App>,
    facts: Arc<Facts>,
    user: String,
    conversation: Option<String>,
    files: Vec<FileRef>,
    notice: Option<Notice>,
}

impl Writing {
    fn write(self, ask: &mut Ask) -> Result<(Bytes, Option<Pending>), GatewayError> {
        let Self { app, facts, user, conversation, files, notice } = self;
        let pending = notice.map(|notice| notice.of(ask));
        let run = Run { user: &user, conversation: conversation.as_deref(), files: &files };
        let body = call::body(ask, &facts, &intake(&app.doors), run)?;
        Ok((json_of(body, &mut ask.question.text)?, pending))
    }
}

/// A body as JSON. Where the question stands in it as it is, as it does in all long ones, it is there
/// once meanwhile and not twice: it may be most of a large request.
fn json_of(mut body: Map<String, Value>, question: &mut String) -> Result<Bytes, GatewayError> {
    let is_same = body.get("query").and_then(Value::as_str) == Some(question);
    let mut json = Vec::with_capacity(question.len() + 512);
    if is_same {
        *question = String::new();
    }
    let written = serde_json::to_writer(&mut json, &body);
    if is_same && let Some(Value::String(text)) = body.get_mut("query").map(Value::take) {
        *question = text;
    }
    written.map_err(|error| errors::internal(&error))?;
    Ok(into_bytes(json))
}

/// What Dify's error is to the client and to us.
async fn refusal(mut errand: Errand, forwarded: Forwarded) -> (Errand, GatewayError, Meaning) {
    let Forwarded { member, answer, flight: _flight, .. } = forwarded;
    let status = answer.head.status.as_u16();
    upstream::note_refusal(&mut errand.record, &member, &answer.head);
    if answer.head.status.is_success() {
        // What is left of it is a page for people.
        return (errand, foreign::page(), Meaning::Final);
    }
    let retry_after_s = upstream::retry_after_s(&answer.head);
    let connections = &errand.worker.connections;
    let read = inspect::read(answer, &member, connections, MAX_ANSWER_BYTES).await;
    let body = read.map(|answer| match answer.body {
        AnswerBody::Read(body) => body,
        AnswerBody::Coming(_) => Bytes::new(),
    });
    let (error, meaning) = match body {
        Ok(body) => {
            explanation(&body).into_iter().for_each(|why| errand.record.explain(&why));
            let meaning = meaning(status, &body);
            let read = Read { member: Arc::clone(&member), status, body, retry_after_s };
            (of_answer(&read), meaning)
        }
        Err(failure) => (errand.noted(errors::of(&failure)), Meaning::Final),
    };
    if meaning == Meaning::WrongMode {
        member.stats.facts.forget();
    }
    (errand, error, meaning)
}

/// Dify has not run it, and the conversation is where it was.
async fn refuse(errand: Errand, question: &Question, error: GatewayError) -> Done {
    question.place.release(errand.worker.shared()).await;
    Done::Error(errand.record, error)
}

async fn refused(errand: Errand, question: &Question, error: GatewayError) -> Done {
    // What Dify may have run leaves its conversation in the dark.
    if !may_have_run(error.reason) {
        question.place.release(errand.worker.shared()).await;
    }
    Done::Error(errand.record, error)
}

/// Whether Dify may have got the question and worked on it.
fn may_have_run(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::InstanceClosed
            | Reason::InstanceGarbled
            | Reason::InstanceTimeout
            | Reason::AnswerCut
            | Reason::AnswerIdle
            | Reason::RunNotStarted
    )
}

/// Tells the answer: as it comes, or summed up.
async fn tell(journey: Box<Journey>, forwarded: Forwarded, question: Question, mode: Mode) -> Done {
    let Forwarded { member, answer, flight, .. } = forwarded;
    let Answer { head, body, arrived, first_byte } = *answer;
    let Question { ask, voice, protocol, place, pending, late, own_url, .. } = question;
    let web_url = member.web_url.as_deref().map(str::to_owned).or_else(|| own_url.clone());
    let files_base = member.files_url.as_deref().map(str::to_owned).or(own_url);
    let files_base = files_base.unwrap_or_default();
    let manner = Manner { web_url, files_base, ..manner(&journey.app.doors, &ask) };
    let request_id = journey.record.request_id().clone();
    let shared = Arc::clone(journey.worker.shared());
    let AnswerBody::Coming(body) = body else {
        return Done::Error(journey.record, errors::no_stream());
    };
    let after = place.after(&shared, pending);
    let source = Source { member: Arc::clone(&member), body, flight, first_byte };
    let mut relay = Relay::new(journey, &head, source);
    relay.is_for_ai_client();
    // An answer that is cut short is given away before it is told.
    relay.record.answered(&member, 200, arrived.into_std());
    let coming = Coming::new(relay);
    let hearing = Hearing::new(mode, manner, ask.model.clone());
    let mut telling = Telling::new(coming, hearing, voice, after);
    let told = match ask.streamed {
        true => telling.first().await,
        false => telling.sum_up().await,
    };
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    respond::request_id(protocol, &request_id, headers);
    if let Some(name) = &member.label.header {
        headers.insert(Name::Instance.header(), name.clone());
    }
    let begun = telling.begun();
    if let Some(id) = begun.conversation.and_then(|id| HeaderValue::try_from(id).ok()) {
        headers.insert(Name::Conversation.header(), id);
    }
    ignored(headers, &ask.ignored);
    match &told {
        Ok(()) if ask.streamed => stream_headers(headers),
        Ok(()) => json(headers),
        Err(error) if late.is_so() => telling.fail(error),
        Err(error) => {
            let status = respond::error_head(error, protocol, headers);
            telling.say_instead(protocol.body(error, request_id.as_str()));
            *response.status_mut() = status;
        }
    }
    let status = response.status().as_u16();
    let remarks = telling.remarks();
    if let Some(relay) = telling.relay() {
        relay.record.told(status);
        if let Err(error) = &told {
            relay.record.note_if_none(remarks.as_deref().unwrap_or(&error.message));
        }
    }
    Done::Answer(response.map(|_| Outgoing::Framed(Box::new(telling))))
}

fn intake(settings: &Settings) -> Intake {
    Intake { query_input: settings.query_input.clone(), system: settings.system.clone() }
}

fn manner(settings: &Settings, ask: &Ask) -> Manner {
    Manner {
        reasoning: settings.reasoning,
        files: settings.files,
        human_input: settings.human_input,
        web_url: None,
        answer_output: settings.answer_output.clone(),
        stop: ask.stop.clone(),
        files_base: String::new(),
    }
}

/// Names the fields of a request that mean nothing to Dify.
pub(super) fn ignored(headers: &mut HeaderMap, names: &[String]) {
    if names.is_empty() {
        return;
    }
    if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
        headers.insert(IGNORED, names);
    }
}

/// What the head of a stream says.
pub(super) fn stream_headers(headers: &mut HeaderMap) {
    let kind = "text/event-stream; charset=utf-8";
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx passes each event on at once, then.
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
}

fn json(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}
