//! `files/upload` and `audio-to-text`.

use super::Call;
use crate::app::Speech;
use crate::db::File;
use crate::run::files;
use crate::state::now;
use crate::wire::answer::{Answer, Refused};
use serde_json::json;
use uuid::Uuid;

const MEGABYTE: u64 = 1024 * 1024;
/// Characters of a file name Dify keeps.
const NAME_LIMIT: usize = 200;
/// What Dify 1.5.0 takes for sound: `audio/mpeg`, which is what browsers call MP3, is not there.
const AUDIO_TYPES: [&str; 5] = ["audio/mp3", "audio/m4a", "audio/wav", "audio/webm", "audio/amr"];
const AUDIO_LIMIT: u64 = 30 * MEGABYTE;

/// Stores a file; its id means something to this Dify only.
pub(super) fn upload(call: &Call<'_>) -> Result<Answer, Refused> {
    let Some(part) = call.form.file("file") else {
        return Err(Box::new(Answer::bad_request_key()));
    };
    if part.content_type.is_empty() {
        let message = "File type not allowed.";
        return Err(Box::new(Answer::error(415, "unsupported_file_type", message)));
    }
    if call.form.file_names() > 1 {
        return Err(Box::new(Answer::error(400, "too_many_files", "Only one file is allowed.")));
    }
    let name = part.filename.clone().unwrap_or_default();
    if name.is_empty() {
        let message = "The specified filename does not exist.";
        return Err(Box::new(Answer::error(400, "filename_not_exists_error", message)));
    }
    if name.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|']) {
        return Err(Box::new(Answer::invalid("Filename contains invalid characters")));
    }
    let extension = name.rsplit_once('.').map(|(_, end)| end.to_lowercase()).unwrap_or_default();
    let limit = match files::kind(&extension) {
        "image" => 10,
        "video" => 100,
        "audio" => 50,
        _ => 15,
    };
    if part.size > limit * MEGABYTE {
        let message = "File size exceeded. {message}";
        return Err(Box::new(Answer::error(413, "file_too_large", message)));
    }
    let id = Uuid::new_v4();
    let file = File {
        name: name.chars().take(NAME_LIMIT).collect(),
        size: part.size,
        extension,
        mime_type: part.content_type.clone(),
        created_at: now(),
        content: part.start.clone(),
        url: files::signed_url(call.shared, id),
    };
    let mut db = call.shared.db();
    let user = db.user(call.app.id, &call.user);
    let body = json!({
        "id": id.to_string(),
        "name": file.name,
        "size": file.size,
        "extension": file.extension,
        "mime_type": file.mime_type,
        "created_by": user.to_string(),
        "created_at": file.created_at,
        "preview_url": null,
    });
    db.files.insert(id, file, part.start.len());
    Ok(Answer::restful(201, &body))
}

/// What an app that hears made of a sound; the types it takes and the refusals after Dify's source.
pub(super) fn audio_to_text(call: &Call<'_>) -> Result<Answer, Refused> {
    let Some(part) = call.form.file("file") else {
        return Err(Box::new(Answer::bad_request_key()));
    };
    if call.app.app.speech == Speech::Off {
        return Err(Box::new(Answer::invalid("Speech to text is not enabled")));
    }
    let kind = part.content_type.as_str();
    if !AUDIO_TYPES.contains(&kind) {
        let message = "Audio type not allowed.";
        return Err(Box::new(Answer::error(415, "unsupported_audio_type", message)));
    }
    if part.size > AUDIO_LIMIT {
        let message = "Audio size larger than 30 mb";
        return Err(Box::new(Answer::error(413, "audio_too_large", message)));
    }
    let name = part.filename.as_deref().unwrap_or_default();
    let text = format!("Heard {} bytes of {kind} in {name}", part.size);
    Ok(Answer::restful(200, &json!({"text": text})))
}
