//! `POST /v1/audio/transcriptions` and `/v1/audio/speech`.
//!
//! Deliberately absent: translations, subtitles, other formats than Dify's MP3, speech as events.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::allowed_values;
use super::request_fields::{self, RefusedField};
use crate::adapter::attachments;
use crate::adapter::json_object::{JsonObject, missing, wrong_type, wrong_value};
use crate::model::{ErrorKind, GatewayError};

/// The most characters of a text to be spoken, as OpenAI has it.
const MAX_INPUT_CHARS: usize = 4096;

/// `ending, media type` of the sounds that Dify 1.5.0 takes: it knows neither `audio/mpeg` nor
/// `audio/mp4` (`AudioService.transcript_asr`).
const SOUNDS: &[(&str, &str)] = &[
    ("mp3", "audio/mp3"),
    ("mpga", "audio/mp3"),
    ("mpeg", "audio/mp3"),
    ("m4a", "audio/m4a"),
    ("mp4", "audio/m4a"),
    ("wav", "audio/wav"),
    ("webm", "audio/webm"),
    ("amr", "audio/amr"),
];

/// `media type as sent, as Dify 1.5.0 takes it`, for files whose name says nothing.
const RENAMED: &[(&str, &str)] = &[
    ("audio/mpeg", "audio/mp3"),
    ("audio/mp4", "audio/m4a"),
    ("audio/x-m4a", "audio/m4a"),
    ("audio/x-wav", "audio/wav"),
    ("audio/wave", "audio/wav"),
    ("audio/vnd.wave", "audio/wav"),
    ("video/webm", "audio/webm"),
];

/// What a form asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcription {
    /// The model that was asked for.
    pub model: String,
    /// The end user, where the form names one.
    pub user: Option<String>,
    /// The file's name for Dify, with an ending.
    pub file_name: String,
    /// The file's media type for Dify.
    pub media_type: String,
    /// How the text is wanted.
    pub written: Written,
    /// Fields that mean nothing to Dify.
    pub ignored: Vec<String>,
}

/// The form of a transcription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Written {
    /// `{"text": …}`
    #[default]
    Json,
    /// The text alone.
    Text,
}

/// What a form says of its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilePart<'a> {
    /// The part's `filename`.
    pub name: Option<&'a str>,
    /// The part's `FileContent-Type`.
    pub media_type: Option<&'a str>,
}

/// Reads the fields of a form: those that are text, in their order, and what is known of `file`.
///
/// Errors are 400, with the field as `param`.
pub fn transcription(
    fields: &[(String, String)],
    file: Option<FilePart<'_>>,
) -> Result<Transcription, GatewayError> {
    let (mut model, mut user, mut written) = (String::new(), None, Written::Json);
    let mut others = Map::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        match (name.as_str(), value.as_str()) {
            ("model", _) => model.clone_from(value),
            ("user", _) => user = Some(value.clone()),
            ("response_format", "json") => written = Written::Json,
            ("response_format", "text") => written = Written::Text,
            ("response_format", _) => {
                let why = "Dify gives the text alone: set `response_format` to `json` or `text`.";
                return Err(GatewayError::unsupported(name, why));
            }
            ("stream", "false" | "0") => {}
            ("stream", _) => {
                let why = "A transcription comes as a whole: leave out `stream`.";
                return Err(GatewayError::unsupported(name, why));
            }
            // Lists have brackets, which the header of ignored fields does not take.
            (name, _) => {
                others.insert(name.trim_end_matches("[]").to_owned(), true.into());
            }
        }
    }
    if model.is_empty() {
        return Err(missing("model"));
    }
    let (file_name, media_type) = sound(file.ok_or_else(|| missing("file"))?);
    let mut ignored = Vec::new();
    JsonObject::of("", others).leave(&mut ignored);
    Ok(Transcription { model, user, file_name, media_type, written, ignored })
}

/// Name and media type under which Dify takes a sound. What it would not take anyway is left as it
/// is: newer versions may know it.
fn sound(file: FilePart<'_>) -> (String, String) {
    let sent = file.media_type.unwrap_or_default();
    let sent = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let by_name = file.name.and_then(attachments::ending).and_then(|ending| {
        SOUNDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, media)| *media)
    });
    let by_type = || RENAMED.iter().find(|(known, _)| *known == sent).map(|(_, media)| *media);
    let media_type = match by_name.or_else(by_type) {
        Some(known) => known.to_owned(),
        None if sent.is_empty() => "application/octet-stream".to_owned(),
        None => sent,
    };
    let ending = SOUNDS.iter().find(|(_, known)| *known == media_type).map(|(ending, _)| *ending);
    let nameless = format!("audio.{}", ending.unwrap_or("bin"));
    let name = file.name.filter(|name| attachments::ending(name).is_some()).unwrap_or(&nameless);
    (attachments::file_name(Some(name), &media_type), media_type)
}

/// Content type and body of the answer, from Dify's.
///
/// # Errors
/// 502: Dify's answer has no text.
pub fn transcript(written: Written, answer: &[u8]) -> Result<(&'static str, Bytes), GatewayError> {
    #[derive(Deserialize)]
    struct Answer {
        text: String,
    }
    let Answer { text } = serde_json::from_slice(answer).map_err(|_| {
        GatewayError::new(
            502,
            ErrorKind::Server,
            "upstream_error",
            "Dify's transcription has no text.",
        )
        .for_good()
    })?;
    Ok(match written {
        Written::Json => ("application/json", Bytes::from(json!({"text": text}).to_string())),
        Written::Text => ("text/plain; charset=utf-8", Bytes::from(text)),
    })
}

/// What is to be spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speech {
    /// The model that was asked for.
    pub model: String,
    /// The text.
    pub text: String,
    /// The voice by the client's name for it; which of Dify's that is, the configuration says.
    pub voice: Option<String>,
    /// The end user, where the request names one.
    pub user: Option<String>,
    /// Fields that mean nothing to Dify.
    pub ignored: Vec<String>,
}

/// The fields of speech that Dify cannot serve.
pub(super) const REFUSED: &[RefusedField] = &[
    ("response_format", allowed_values::mp3, "Dify speaks MP3: leave it out, or set it to `mp3`."),
    ("stream_format", allowed_values::audio, "Leave out `stream_format`, or set it to `audio`."),
];

/// Reads a request for speech.
///
/// Errors are 400, with the place of what is wrong as `param`.
pub fn speech(body: impl AsRef<[u8]>) -> Result<Speech, GatewayError> {
    let mut body = JsonObject::of_body(body.as_ref())?;
    let model = request_fields::model(&mut body)?;
    request_fields::refuse(&mut body, REFUSED)?;
    let text = body.need_text("input")?;
    if text.trim().is_empty() {
        return Err(wrong_value("input", "must not be empty"));
    }
    if text.chars().count() > MAX_INPUT_CHARS {
        let message = format!("`input` may have at most {MAX_INPUT_CHARS} characters.");
        return Err(GatewayError::invalid("string_above_max_length", "input", message));
    }
    let voice = match body.take("voice") {
        None => None,
        Some(Value::String(voice)) => Some(voice),
        Some(Value::Object(voice)) => match voice.get("id").and_then(Value::as_str) {
            Some(id) => Some(id.to_owned()),
            None => return Err(missing("voice.id")),
        },
        Some(_) => return Err(wrong_type("voice", "a string or an object with an `id`")),
    };
    let voice = voice.filter(|voice| !voice.is_empty());
    let users = [body.word("user")?, body.word("safety_identifier")?];
    let mut ignored = Vec::new();
    body.leave(&mut ignored);
    Ok(Speech { model, text, voice, user: users.into_iter().flatten().next(), ignored })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &str)]) -> Result<Transcription, GatewayError> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let fields: Vec<_> = fields.iter().map(owned).collect();
        transcription(&fields, Some(FilePart { name: Some("a.mp3"), media_type: None }))
    }

    fn place(error: &GatewayError) -> (u16, &str, &str) {
        (error.status, &error.code, error.param.as_deref().unwrap_or(""))
    }

    #[test]
    fn a_form_is_read_field_by_field() {
        let found = form(&[
            ("model", "m"),
            ("language", "de"),
            ("user", "u"),
            ("prompt", ""),
            ("timestamp_granularities[]", "word"),
            ("temperature", "0"),
            ("response_format", "text"),
            ("stream", "false"),
        ])
        .unwrap();
        let expected = Transcription {
            model: "m".into(),
            user: Some("u".into()),
            file_name: "a.mp3".into(),
            media_type: "audio/mp3".into(),
            written: Written::Text,
            ignored: ["language", "timestamp_granularities", "temperature"].map(Into::into).into(),
        };
        assert_eq!(found, expected);
        assert_eq!(form(&[("model", "m")]).unwrap().written, Written::Json);
    }

    #[test]
    fn what_dify_cannot_do_is_refused_by_name() {
        for (name, value, code) in [
            ("response_format", "srt", "unsupported_parameter"),
            ("response_format", "vtt", "unsupported_parameter"),
            ("response_format", "verbose_json", "unsupported_parameter"),
            ("response_format", "diarized_json", "unsupported_parameter"),
            ("stream", "true", "unsupported_parameter"),
            ("model", "", "missing_required_parameter"),
        ] {
            let mut fields = vec![("model", "m"), (name, value)];
            if name == "model" {
                fields.remove(0);
            }
            assert_eq!(place(&form(&fields).unwrap_err()), (400, code, name), "{value}");
        }
        let fields = [("model".to_owned(), "m".to_owned())];
        let error = transcription(&fields, None).unwrap_err();
        assert_eq!(place(&error), (400, "missing_required_parameter", "file"));
    }

    #[test]
    fn a_sound_is_of_a_type_that_dify_takes() {
        for (name, sent, file_name, media_type) in [
            (Some("a.mp3"), Some("audio/mpeg"), "a.mp3", "audio/mp3"),
            (Some("a.MPGA"), None, "a.MPGA", "audio/mp3"),
            (Some("a.mp4"), Some("video/mp4"), "a.mp4", "audio/m4a"),
            (Some("x/rec.webm"), Some("audio/webm;codecs=opus"), "rec.webm", "audio/webm"),
            (Some("blob"), Some("audio/webm; codecs=opus"), "audio.webm", "audio/webm"),
            (None, Some("Audio/X-WAV"), "audio.wav", "audio/wav"),
            (None, Some("audio/mpeg"), "audio.mp3", "audio/mp3"),
            (Some("a.ogg"), Some("audio/ogg"), "a.ogg", "audio/ogg"),
            (None, None, "audio.bin", "application/octet-stream"),
        ] {
            let found = sound(FilePart { name, media_type: sent });
            assert_eq!(found, (file_name.to_owned(), media_type.to_owned()));
        }
    }

    #[test]
    fn a_transcript_is_json_or_text() {
        let answer = "{\"text\": \"Gr\\u00fc\\\"\"}".as_bytes();
        let (json_type, json) = transcript(Written::Json, answer).unwrap();
        assert_eq!(
            (json_type, &json[..]),
            ("application/json", "{\"text\":\"Grü\\\"\"}".as_bytes())
        );
        let (text_type, text) = transcript(Written::Text, answer).unwrap();
        assert_eq!((text_type, &text[..]), ("text/plain; charset=utf-8", "Grü\"".as_bytes()));
        assert_eq!(transcript(Written::Json, b"{}").unwrap_err().status, 502);
    }

    fn speech_of(more: Value) -> Result<Speech, GatewayError> {
        let mut body = json!({"model": "m", "input": "hello"});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        speech(body.to_string().as_bytes())
    }

    #[test]
    fn a_text_is_to_be_spoken() {
        let found = speech_of(json!({
            "voice": {"id": "v1"},
            "user": "u",
            "response_format": "mp3",
            "stream_format": "audio",
            "speed": 1.5,
            "instructions": "softly",
        }))
        .unwrap();
        let expected = Speech {
            model: "m".into(),
            text: "hello".into(),
            voice: Some("v1".into()),
            user: Some("u".into()),
            ignored: vec!["speed".into(), "instructions".into()],
        };
        assert_eq!(found, expected);
        assert_eq!(speech_of(json!({"voice": "alloy"})).unwrap().voice.as_deref(), Some("alloy"));
        assert_eq!(speech_of(json!({"voice": ""})).unwrap().voice, None);
        assert!(speech_of(json!({"input": "ü".repeat(MAX_INPUT_CHARS)})).is_ok());
    }

    #[test]
    fn speech_that_cannot_be_is_refused_by_name() {
        for (fields, code, param) in [
            (json!({"input": null}), "missing_required_parameter", "input"),
            (json!({"input": " "}), "invalid_value", "input"),
            (json!({"input": 3}), "invalid_type", "input"),
            (json!({"input": "x".repeat(4097)}), "string_above_max_length", "input"),
            (json!({"voice": 3}), "invalid_type", "voice"),
            (json!({"voice": {}}), "missing_required_parameter", "voice.id"),
            (json!({"response_format": "opus"}), "unsupported_parameter", "response_format"),
            (json!({"response_format": "wav"}), "unsupported_parameter", "response_format"),
            (json!({"stream_format": "sse"}), "unsupported_parameter", "stream_format"),
            (json!({"model": null}), "missing_required_parameter", "model"),
        ] {
            assert_eq!(place(&speech_of(fields).unwrap_err()), (400, code, param));
        }
    }
}
