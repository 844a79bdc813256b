//! Speech to text and text to speech.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use multer::Multipart;
use serde_json::json;

use crate::adapter::openai::audio::{FilePart, Transcription, speech, transcript, transcription};
use crate::dify::path::CallKind;
use crate::gateway::ai::auth;
use crate::gateway::ai::dify_call::{Call, DifyCalls};
use crate::gateway::ai::errors;
use crate::gateway::ai::read_request::ReadBody;
use crate::gateway::ai::request::{AiRequest, AiResponse};
use crate::gateway::ai::response_headers::ignored;
use crate::gateway::ai::upload::Form;
use crate::gateway::ai::upstream_error::of_answer;
use crate::gateway::http::buffered_body::BufferedBody;
use crate::gateway::http::request_body::IncomingBody;
use crate::gateway::proxy::response::open;
use crate::gateway::state::tokens::Key;
use crate::model::{GatewayError, Reason};

/// OpenAI's voices, which no app of Dify has: its own default speaks instead.
const FOREIGN_VOICES: [&str; 13] = [
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
];

/// A form's fields that are text, and its file.
struct Fields {
    texts: Vec<(String, String)>,
    file: Option<Sound>,
}

struct Sound {
    name: Option<String>,
    media_type: Option<String>,
    bytes: Bytes,
}

/// `POST /v1/audio/transcriptions`
pub(super) async fn transcribe(
    mut request: AiRequest,
    body: IncomingBody,
    key: &Key,
) -> AiResponse {
    let kind = request.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let boundary = kind.and_then(|kind| multer::parse_boundary(kind).ok());
    let taken = match request.take_in(body, |body| form(boundary, body)).await {
        Ok(taken) => taken,
        Err(error) => return AiResponse::Error(request.record, error),
    };
    let (asked, _) = &taken.asked;
    let calls = match calls(request, key, (&asked.model, asked.user.as_deref()), &taken) {
        Ok(calls) => calls,
        Err(done) => return *done,
    };
    let ReadBody { asked: (asked, sound), held: _held, .. } = taken;
    let Transcription { file_name, media_type, written, .. } = &asked;
    let form = Form::new().text("user", &calls.user);
    let (kind, body) = form.file("file", file_name, media_type, &sound).finish();
    let call = Call::post("/v1/audio-to-text", CallKind::AudioToText, kind, body);
    let (calls, read) = calls.ask(call).await;
    let answer = match read {
        Err(error) => Err(error),
        Ok(read) if read.status == 200 => {
            transcript(*written, &read.body).map_err(|error| error.with_reason(Reason::Answered))
        }
        Ok(read) => Err(of_answer(&read)),
    };
    match answer {
        Ok((kind, text)) => {
            let mut response = Response::new(text);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            ignored(response.headers_mut(), &asked.ignored);
            AiResponse::Local(calls.record, response)
        }
        Err(error) => AiResponse::Error(calls.record, error),
    }
}

/// `POST /v1/audio/speech`
pub(super) async fn speak(mut request: AiRequest, body: IncomingBody, key: &Key) -> AiResponse {
    let taken = match request.take_in(body, speech).await {
        Ok(taken) => taken,
        Err(error) => return AiResponse::Error(request.record, error),
    };
    let (model, user) = (&taken.asked.model, taken.asked.user.as_deref());
    let calls = match calls(request, key, (model, user), &taken) {
        Ok(calls) => calls,
        Err(done) => return *done,
    };
    let asked = taken.asked;
    let mut json = json!({"text": asked.text, "user": calls.user, "streaming": true});
    let voice = asked.voice.filter(|voice| !FOREIGN_VOICES.contains(&voice.as_str()));
    if let Some(voice) = voice {
        json["voice"] = voice.into();
    }
    let kind = HeaderValue::from_static("application/json");
    let body = BufferedBody::Piece(json.to_string().into());
    let call = Call::post("/v1/text-to-audio", CallKind::TextToAudio, kind, body);
    let from = calls.from();
    let (exchange, result) = calls.send(call).await;
    match result {
        Err(error) => {
            let mut calls = DifyCalls::back(exchange, from);
            let error = calls.noted(error);
            AiResponse::Error(calls.record, error)
        }
        Ok(forwarded) if forwarded.response.head.status == StatusCode::OK => {
            let mut response = open(exchange, forwarded).into_response();
            ignored(response.headers_mut(), &asked.ignored);
            AiResponse::Answer(response)
        }
        Ok(forwarded) => {
            let mut calls = DifyCalls::back(exchange, from);
            let read = calls.read(CallKind::TextToAudio, forwarded).await;
            let error = match read {
                Ok(read) => of_answer(&read),
                Err(error) => error,
            };
            AiResponse::Error(calls.record, error)
        }
    }
}

/// The calls of a request that belongs to no conversation.
fn calls<T>(
    mut request: AiRequest,
    key: &Key,
    (model, user): (&str, Option<&str>),
    taken: &ReadBody<T>,
) -> Result<DifyCalls, Box<AiResponse>> {
    let fail = |request: AiRequest, error| Box::new(AiResponse::Error(request.record, error));
    let app = match auth::app(&request.snapshot, key, model) {
        Ok(app) => app,
        Err(error) => return Err(fail(request, error)),
    };
    request.record.caller_known(&app);
    if let Err(error) = taken.check(&app) {
        return Err(fail(request, error));
    }
    match auth::user(key, user, &request.headers, &app.ai) {
        Ok(user) => Ok(request.calls(Arc::clone(&app), user)),
        Err(error) => Err(fail(request, error)),
    }
}

/// What a form asks for, and its file.
fn form(boundary: Option<String>, body: Bytes) -> Result<(Transcription, Bytes), GatewayError> {
    let boundary = boundary.ok_or_else(errors::not_a_form)?;
    // All of the body is here, so nothing is waited for.
    let read = pin!(fields(boundary, body)).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(read) = read else { return Err(errors::not_a_form()) };
    let Fields { texts, file } = read?;
    let part = file.as_ref().map(|file| FilePart {
        name: file.name.as_deref(),
        media_type: file.media_type.as_deref(),
    });
    let asked = transcription(&texts, part)?;
    Ok((asked, file.map(|file| file.bytes).unwrap_or_default()))
}

async fn fields(boundary: String, body: Bytes) -> Result<Fields, GatewayError> {
    let broken = |error: multer::Error| errors::bad_form(&error);
    let stream = http_body_util::BodyDataStream::new(Full::new(body));
    let mut parts = Multipart::new(stream, boundary);
    let mut fields = Fields { texts: Vec::new(), file: None };
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        let name = part.name().unwrap_or_default().to_owned();
        if name == "file" {
            let (name, media_type) = (part.file_name(), part.content_type());
            let (name, media_type) =
                (name.map(str::to_owned), media_type.map(|kind| kind.to_string()));
            let bytes = part.bytes().await.map_err(broken)?;
            fields.file = Some(Sound { name, media_type, bytes });
        } else {
            fields.texts.push((name, part.text().await.map_err(broken)?));
        }
    }
    Ok(fields)
}
