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
use crate::gateway::ai::answer_error::of_answer;
use crate::gateway::ai::caller;
use crate::gateway::ai::errand::{Call, Errand};
use crate::gateway::ai::errors;
use crate::gateway::ai::intake::Taken;
use crate::gateway::ai::request::{Arrival, Done};
use crate::gateway::ai::response_headers::ignored;
use crate::gateway::ai::upload::Form;
use crate::gateway::http::buffered_body::Kept;
use crate::gateway::http::request_body::Arriving;
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
pub(super) async fn transcribe(mut arrival: Arrival, body: Arriving, key: &Key) -> Done {
    let kind = arrival.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let boundary = kind.and_then(|kind| multer::parse_boundary(kind).ok());
    let taken = match arrival.take_in(body, |body| form(boundary, body)).await {
        Ok(taken) => taken,
        Err(error) => return Done::Error(arrival.record, error),
    };
    let (asked, _) = &taken.asked;
    let errand = match errand(arrival, key, (&asked.model, asked.user.as_deref()), &taken) {
        Ok(errand) => errand,
        Err(done) => return *done,
    };
    let Taken { asked: (asked, sound), held: _held, .. } = taken;
    let Transcription { file_name, media_type, written, .. } = &asked;
    let form = Form::new().text("user", &errand.user);
    let (kind, body) = form.file("file", file_name, media_type, &sound).finish();
    let call = Call::post("/v1/audio-to-text", CallKind::AudioToText, kind, body);
    let (errand, read) = errand.ask(call).await;
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
            Done::Local(errand.record, response)
        }
        Err(error) => Done::Error(errand.record, error),
    }
}

/// `POST /v1/audio/speech`
pub(super) async fn speak(mut arrival: Arrival, body: Arriving, key: &Key) -> Done {
    let taken = match arrival.take_in(body, speech).await {
        Ok(taken) => taken,
        Err(error) => return Done::Error(arrival.record, error),
    };
    let (model, user) = (&taken.asked.model, taken.asked.user.as_deref());
    let errand = match errand(arrival, key, (model, user), &taken) {
        Ok(errand) => errand,
        Err(done) => return *done,
    };
    let asked = taken.asked;
    let mut json = json!({"text": asked.text, "user": errand.user, "streaming": true});
    let voice = asked.voice.filter(|voice| !FOREIGN_VOICES.contains(&voice.as_str()));
    if let Some(voice) = voice {
        json["voice"] = voice.into();
    }
    let kind = HeaderValue::from_static("application/json");
    let body = Kept::Piece(json.to_string().into());
    let call = Call::post("/v1/text-to-audio", CallKind::TextToAudio, kind, body);
    let address = errand.address;
    let (journey, result) = errand.send(call).await;
    match result {
        Err(error) => {
            let mut errand = Errand::back(journey, address);
            let error = errand.noted(error);
            Done::Error(errand.record, error)
        }
        Ok(forwarded) if forwarded.answer.head.status == StatusCode::OK => {
            let mut response = open(journey, forwarded).into_response();
            ignored(response.headers_mut(), &asked.ignored);
            Done::Answer(response)
        }
        Ok(forwarded) => {
            let mut errand = Errand::back(journey, address);
            let read = errand.read(CallKind::TextToAudio, forwarded).await;
            let error = match read {
                Ok(read) => of_answer(&read),
                Err(error) => error,
            };
            Done::Error(errand.record, error)
        }
    }
}

/// The errand of a call that belongs to no conversation.
fn errand<T>(
    mut arrival: Arrival,
    key: &Key,
    (model, user): (&str, Option<&str>),
    taken: &Taken<T>,
) -> Result<Errand, Box<Done>> {
    let fail = |arrival: Arrival, error| Box::new(Done::Error(arrival.record, error));
    let app = match caller::app(&arrival.snapshot, key, model) {
        Ok(app) => app,
        Err(error) => return Err(fail(arrival, error)),
    };
    arrival.record.caller_known(&app);
    if let Err(error) = taken.check(&app) {
        return Err(fail(arrival, error));
    }
    match caller::user(key, user, &arrival.headers, &app.doors) {
        Ok(user) => Ok(arrival.errand(Arc::clone(&app), user)),
        Err(error) => Err(fail(arrival, error)),
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

/// Takes a form apart.
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
