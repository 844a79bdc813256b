//! A question on its way to its app, and the answer on its way back.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::HeaderValue;
use uuid::Uuid;

use crate::adapter::run_request::{Body, RunContext};
use crate::adapter::{
    AppInfo, CompletionRequest, DecodeOptions, FileRef, InputMapping, Mode, Protocol,
    ResponseEncoder, StreamDecoder, non_dify,
};
use crate::conversation::{PendingTurn, Thread};
use crate::dify::path;
use crate::dify::path::CallKind;
use crate::dify::response_body::explanation;
use crate::gateway::ai::conversation::{self, ConversationSlot, Persistence, Resume, TurnStart};
use crate::gateway::ai::dify_call::{Call, DifyCalls, MAX_ANSWER_BYTES, Read};
use crate::gateway::ai::history::transcript;
use crate::gateway::ai::keepalive::HeadSent;
use crate::gateway::ai::offload::{Payload, into_bytes};
use crate::gateway::ai::request::AiResponse;
use crate::gateway::ai::response_headers::{ignored, json, stream_headers};
use crate::gateway::ai::translate::TranslatedBody;
use crate::gateway::ai::upload::upload;
use crate::gateway::ai::upstream_error::{Meaning, meaning, of_answer};
use crate::gateway::ai::{app_info, errors, upstream};
use crate::gateway::http::body_memory::BodyMemoryGuard;
use crate::gateway::http::buffered_body::BufferedBody;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::proxy::exchange::{Exchange, UpstreamResponse};
use crate::gateway::proxy::local_reply;
use crate::gateway::proxy::relay::{Relay, Source};
use crate::gateway::proxy::response_body::ResponseBody;
use crate::gateway::proxy::response_guard::ResponseGuard;
use crate::gateway::state::ai_settings::AiSettings;
use crate::gateway::state::app::App;
use crate::gateway::state::policy::OnOwnerDown;
use crate::gateway::upstream::attempt::{AttemptBody, AttemptResponse};
use crate::gateway::upstream::classify_response;
use crate::model::{GatewayError, Reason};

pub(super) struct Completion {
    pub ask: Payload<CompletionRequest>,
    pub encoder: Box<dyn ResponseEncoder>,
    pub protocol: Protocol,
    /// Who asks, in which app and chat.
    pub thread: Thread,
    /// Whether anything is to be gone on with.
    pub worth: Persistence,
    /// Whether the head of the answer has gone out.
    pub late: HeadSent,
    /// What it has of the memory for all bodies.
    pub held: BodyMemoryGuard,
    /// Where the client found the gateway.
    pub own_url: Option<String>,
}

/// A question that has its place in a conversation.
struct PlacedCompletion {
    ask: Payload<CompletionRequest>,
    encoder: Box<dyn ResponseEncoder>,
    protocol: Protocol,
    place: ConversationSlot,
    /// What the conversation store is to know of it, once Dify has been asked.
    pending: Option<PendingTurn>,
    late: HeadSent,
    own_url: Option<String>,
    _held: BodyMemoryGuard,
}

/// Finds the question's place, asks the app and begins to tell its answer.
pub(super) async fn complete(calls: DifyCalls, asked: Completion) -> AiResponse {
    let Completion { mut ask, encoder, protocol, thread, worth, late, held, own_url } = asked;
    let place = match worth {
        Persistence::Kept => conversation::place(calls.worker.shared(), thread, &mut ask).await,
        Persistence::Nothing | Persistence::Deleted => Ok(ConversationSlot::aside(thread, worth)),
    };
    match place {
        Ok(place) => {
            let (pending, _held) = (None, held);
            let question =
                PlacedCompletion { ask, encoder, protocol, place, pending, late, own_url, _held };
            carry(calls, question).await
        }
        Err(error) => AiResponse::Error(calls.record, error),
    }
}

/// Asks the app and begins to tell its answer.
async fn carry(calls: DifyCalls, mut question: PlacedCompletion) -> AiResponse {
    let (calls, facts) = app_info::facts(calls).await;
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => return refuse(calls, &question, error).await,
    };
    match facts.mode {
        Mode::AdvancedChat | Mode::Workflow => calls.app.stats.kind.learn_flow(),
        Mode::Chat | Mode::AgentChat | Mode::Completion => calls.app.stats.kind.learn_plain(),
        Mode::Agent => {}
    }
    let calls = match take_up(calls, &mut question).await {
        (calls, Ok(())) => calls,
        (calls, Err(error)) => return refuse(calls, &question, error).await,
    };
    let calls = match find(calls, &mut question).await {
        Ok(calls) => calls,
        Err(done) => return done,
    };
    let conversation = question.place.with.conversation();
    let files = &question.ask.question.attachments;
    let (mut calls, files) = upload(calls, files, conversation).await;
    let files = match files {
        Ok(files) => files,
        Err(error) => return refuse(calls, &question, error).await,
    };
    loop {
        let call = match call(&calls, &mut question, &facts, &files).await {
            Ok(call) => call,
            Err(error) => {
                let error = error.with_reason(Reason::BadRequest);
                return refuse(calls, &question, error).await;
            }
        };
        let from = calls.from();
        let (exchange, result) = calls.send(call).await;
        let forwarded = match result {
            Ok(forwarded) => forwarded,
            Err(error) => {
                calls = DifyCalls::back(exchange, from);
                if parts(&calls, &mut question, &error).await {
                    continue;
                }
                return refused(calls, &question, error).await;
            }
        };
        if upstream::is_run(&forwarded.response.head) {
            return tell(exchange, forwarded, question, facts.mode).await;
        }
        let (back, error, meaning) = refusal(DifyCalls::back(exchange, from), forwarded).await;
        calls = back;
        let shared = Arc::clone(calls.worker.shared());
        if meaning == Meaning::NoConversation && conversation.is_some() {
            if question.place.leave(&shared).await {
                // Dify has lost it: once more, as the beginning of a new one.
                continue;
            }
            let named = conversation.map(|id| id.to_string()).unwrap_or_default();
            return refuse(calls, &question, errors::no_conversation(&named)).await;
        }
        return refuse(calls, &question, error).await;
    }
}

/// Finds out who has the conversation that the turn goes on with. One that Dify has lost begins anew, if
/// the client did not name it itself.
async fn find(calls: DifyCalls, question: &mut PlacedCompletion) -> Result<DifyCalls, AiResponse> {
    let Some(conversation) = question.place.with.conversation() else { return Ok(calls) };
    let (calls, found) = calls.find(conversation).await;
    let shared = Arc::clone(calls.worker.shared());
    match found {
        Ok(true) => Ok(calls),
        Ok(false) if question.place.leave(&shared).await => Ok(calls),
        Ok(false) => {
            let named = conversation.to_string();
            Err(refuse(calls, question, errors::no_conversation(&named)).await)
        }
        Err(error) if parts(&calls, question, &error).await => Ok(calls),
        Err(error) => Err(refused(calls, question, error).await),
    }
}

/// Whether the turn leaves its conversation, because the instance that has it is out. The files of
/// the question stay where the conversation is, and so does a question that has some.
async fn parts(calls: &DifyCalls, question: &mut PlacedCompletion, error: &GatewayError) -> bool {
    let may = error.reason == Reason::OwnerOut
        && calls.app.policy.on_owner_down == OnOwnerDown::Restart
        && question.ask.question.attachments.is_empty();
    may && question.place.part(calls.worker.shared()).await
}

/// A client that goes on from an earlier answer gets a new conversation that begins with what was
/// said till then.
async fn take_up(
    calls: DifyCalls,
    question: &mut PlacedCompletion,
) -> (DifyCalls, Result<(), GatewayError>) {
    let Resume::AfterMessage { conversation, message } = question.place.with else {
        return (calls, Ok(()));
    };
    let (calls, said) = transcript(calls, conversation, message).await;
    let taken = said.map(|said| {
        if question.ask.before.is_empty() {
            question.ask.before = said;
        }
    });
    (calls, taken)
}

/// The call of Dify that the question is.
async fn call(
    calls: &DifyCalls,
    question: &mut PlacedCompletion,
    facts: &Arc<AppInfo>,
    files: &[FileRef],
) -> Result<Call, GatewayError> {
    let conversation = question.place.with.conversation();
    let writing = BodyBuilder {
        app: Arc::clone(&calls.app),
        facts: Arc::clone(facts),
        user: calls.user.clone(),
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
    let call = Call::post(facts.mode.path(), kind, json, BufferedBody::Piece(body));
    Ok(call.in_conversation(conversation).naming(files))
}

/// What is needed to write down a question for Dify and for the conversation store.
struct BodyBuilder {
    app: Arc<App>,
    facts: Arc<AppInfo>,
    user: String,
    conversation: Option<String>,
    files: Vec<FileRef>,
    notice: Option<TurnStart>,
}

impl BodyBuilder {
    fn write(self, ask: &CompletionRequest) -> Result<(Bytes, Option<PendingTurn>), GatewayError> {
        let Self { app, facts, user, conversation, files, notice } = self;
        let pending = notice.map(|notice| notice.of(ask));
        let run = RunContext { user: &user, conversation: conversation.as_deref(), files: &files };
        let body = Body::new(ask, &facts, &intake(&app.ai), run)?;
        let json = body.write().map_err(|error| errors::internal(&error))?;
        Ok((into_bytes(json), pending))
    }
}

/// What Dify's error is to the client and to us.
async fn refusal(
    mut calls: DifyCalls,
    forwarded: UpstreamResponse,
) -> (DifyCalls, GatewayError, Meaning) {
    let UpstreamResponse { member, response: answer, flight: _flight, .. } = forwarded;
    let status = answer.head.status.as_u16();
    upstream::note_refusal(&mut calls.record, &member, &answer.head);
    if answer.head.status.is_success() {
        // What is left of it is a page for people.
        return (calls, non_dify::page(), Meaning::Final);
    }
    let retry_after_s = upstream::retry_after_s(&answer.head);
    let connections = &calls.worker.connections;
    let read = classify_response::read(answer, &member, connections, MAX_ANSWER_BYTES).await;
    let body = read.map(|answer| match answer.body {
        AttemptBody::Read(body) => body,
        AttemptBody::Coming(_) => Bytes::new(),
    });
    let (error, meaning) = match body {
        Ok(body) => {
            explanation(&body).into_iter().for_each(|why| calls.record.explain(&why));
            let meaning = meaning(status, &body);
            let read = Read { member: Arc::clone(&member), status, body, retry_after_s };
            (of_answer(&read), meaning)
        }
        Err(failure) => (calls.noted(errors::of(&failure)), Meaning::Final),
    };
    if meaning == Meaning::WrongMode {
        member.stats.facts.forget();
    }
    (calls, error, meaning)
}

/// Dify has not complete it, and the conversation is where it was.
async fn refuse(calls: DifyCalls, question: &PlacedCompletion, error: GatewayError) -> AiResponse {
    question.place.release(calls.worker.shared()).await;
    AiResponse::Error(calls.record, error)
}

async fn refused(calls: DifyCalls, question: &PlacedCompletion, error: GatewayError) -> AiResponse {
    // What Dify may have complete leaves its conversation in the dark.
    if !may_have_run(error.reason) {
        question.place.release(calls.worker.shared()).await;
    }
    AiResponse::Error(calls.record, error)
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
async fn tell(
    exchange: Box<Exchange>,
    forwarded: UpstreamResponse,
    question: PlacedCompletion,
    mode: Mode,
) -> AiResponse {
    let UpstreamResponse { member, response: answer, flight, .. } = forwarded;
    let AttemptResponse { head, body, arrived, first_byte } = *answer;
    let PlacedCompletion { ask, encoder, protocol, place, pending, late, own_url, .. } = question;
    let web_url = member.web_url.as_deref().map(str::to_owned).or_else(|| own_url.clone());
    let files_base = member.files_url.as_deref().map(str::to_owned).or(own_url);
    let files_base = files_base.unwrap_or_default();
    let settings = exchange.call.as_ref().map(|call| &call.app.ai);
    let decode_options = settings.map(|ai| decode_options(ai, &ask)).unwrap_or_default();
    let decode_options = DecodeOptions { web_url, files_base, ..decode_options };
    let request_id = exchange.record.request_id().clone();
    let shared = Arc::clone(exchange.worker.shared());
    let AttemptBody::Coming(body) = body else {
        return AiResponse::Error(exchange.record, errors::no_stream());
    };
    let after = place.after(&shared, pending);
    let source = Source { member: Arc::clone(&member), body, flight, first_byte };
    let mut relay = Relay::new(exchange, &head, source);
    relay.is_for_ai_client();
    // An answer that is cut short is given away before it is encoded.
    relay.record.answered(&member, 200, arrived.into_std());
    let coming = ResponseGuard::new(relay);
    let hearing = StreamDecoder::new(mode, decode_options, ask.model.clone());
    let mut translated = TranslatedBody::new(coming, hearing, encoder, after);
    let result = match ask.streamed {
        true => translated.first().await,
        false => translated.sum_up().await,
    };
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    local_reply::request_id(protocol, &request_id, headers);
    if let Some(name) = &member.label.header {
        headers.insert(KnownHeader::Instance.header(), name.clone());
    }
    let begun = translated.begun();
    if let Some(id) = begun.conversation.and_then(|id| HeaderValue::try_from(id).ok()) {
        headers.insert(KnownHeader::Conversation.header(), id);
    }
    ignored(headers, &ask.ignored);
    match &result {
        Ok(()) if ask.streamed => stream_headers(headers),
        Ok(()) => json(headers),
        Err(error) if late.is_so() => translated.fail(error),
        Err(error) => {
            let status = local_reply::error_head(error, protocol, headers);
            translated.say_instead(protocol.body(error, request_id.as_str()));
            *response.status_mut() = status;
        }
    }
    let status = response.status().as_u16();
    let remarks = translated.remarks();
    if let Some(relay) = translated.relay() {
        relay.record.status(status);
        if let Err(error) = &result {
            relay.record.note_if_none(remarks.as_deref().unwrap_or(&error.message));
        }
    }
    AiResponse::Answer(response.map(|_| ResponseBody::Framed(Box::new(translated))))
}

fn intake(settings: &AiSettings) -> InputMapping {
    InputMapping { query_input: settings.query_input.clone(), system: settings.system.clone() }
}

fn decode_options(settings: &AiSettings, ask: &CompletionRequest) -> DecodeOptions {
    DecodeOptions {
        reasoning: settings.reasoning,
        files: settings.files,
        human_input: settings.human_input,
        web_url: None,
        answer_output: settings.answer_output.clone(),
        stop: ask.stop.clone(),
        files_base: String::new(),
    }
}
