//! `files/upload`, the preview of a file, and `audio-to-text`.

use super::{Call, outside};
use crate::app::Speech;
use crate::clock::now;
use crate::db::{Attached, File, Message};
use crate::release::Release;
use crate::run::files;
use crate::wire::answer::{Answer, Refused};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const MEGABYTE: u64 = 1024 * 1024;
/// Characters of a file name Dify keeps.
const NAME_LIMIT: usize = 200;
/// What Dify 1.5.0 takes for sound: `audio/mpeg`, which is what browsers call MP3, is not there.
const AUDIO_TYPES: [&str; 5] = ["audio/mp3", "audio/m4a", "audio/wav", "audio/webm", "audio/amr"];
const AUDIO_LIMIT: u64 = 30 * MEGABYTE;

/// Stores a file; its id means something to this Dify only.
pub(super) fn upload(call: &Call<'_>) -> Result<Answer, Refused> {
    let later = call.release().is_restx();
    let Some(part) = call.form.file("file") else {
        return Err(Box::new(if later {
            Answer::error(400, "no_file_uploaded", "Please upload your file.")
        } else {
            Answer::bad_request_key()
        }));
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
        let message = if later { "" } else { "File size exceeded. {message}" };
        return Err(Box::new(Answer::error(413, "file_too_large", message)));
    }
    let id = Uuid::new_v4();
    let file = File {
        app: call.app.id,
        user: call.user.clone(),
        name: shortened(&name, &extension, call.release()),
        size: part.size,
        extension,
        mime_type: part.content_type.clone(),
        created_at: now(),
        content: part.start.clone(),
        url: files::signed_url(call.shared, id),
    };
    let body = shown(call, id, &file);
    let mut db = call.shared.db();
    db.files.insert(id, file, part.start.len());
    Ok(Answer::restful(201, &body))
}

/// A new upload; later releases say more of it.
fn shown(call: &Call<'_>, id: Uuid, file: &File) -> Value {
    let later = call.release().is_restx();
    let user = call.shared.db().user(call.app.id, &call.user);
    let mut body = Map::new();
    body.insert("id".to_owned(), id.to_string().into());
    if later {
        body.insert("reference".to_owned(), Value::Null);
    }
    let fields = json!({
        "name": file.name,
        "size": file.size,
        "extension": file.extension,
        "mime_type": file.mime_type,
        "created_by": user.to_string(),
        "created_at": file.created_at,
        "preview_url": null,
    });
    let more = json!({
        "source_url": file.url,
        "original_url": null,
        "user_id": null,
        "tenant_id": call.shared.tenant(&call.app.app.workspace).to_string(),
        "conversation_id": null,
        "file_key": null,
    });
    for fields in [Some(fields), later.then_some(more)].into_iter().flatten() {
        body.extend(fields.as_object().cloned().unwrap_or_default());
    }
    Value::Object(body)
}

/// A name of at most 200 characters; later releases keep its extension beside them.
fn shortened(name: &str, extension: &str, release: Release) -> String {
    let short = || name.chars().take(NAME_LIMIT).collect::<String>();
    if release.is_restx() && name.chars().count() > NAME_LIMIT {
        return format!("{}.{extension}", short());
    }
    short()
}

/// A file that some message of the app holds, for any user; one of another app of the workspace is
/// known, but not given.
pub(super) fn preview(call: &Call<'_>, id: Uuid) -> Result<Answer, Refused> {
    let db = call.shared.db();
    let holds = |files: &[(Uuid, Attached)]| {
        files.iter().any(|(_, file)| matches!(file, Attached::Upload(upload) if *upload == id))
    };
    let held = |(_, message): &(Uuid, &Message)| holds(&message.files);
    let message = db.messages.iter().find(held);
    let app = message.map(|(_, message)| message.app);
    let of = |app: Uuid| call.shared.apps.values().find(|other| other.id == app);
    let workspace = app.and_then(of).map(|app| app.app.workspace.as_str());
    if app.is_some_and(|app| app != call.app.id)
        && workspace == Some(call.app.app.workspace.as_str())
    {
        let message = "Access to the requested file is denied";
        return Err(Box::new(Answer::error(403, "file_access_denied", message)));
    }
    let file = db.files.get(id).filter(|_| app == Some(call.app.id));
    let Some(file) = file else {
        let message = "File not found in message context";
        return Err(Box::new(Answer::error(404, "file_not_found", message)));
    };
    let saved = call.head.query("as_attachment").is_some_and(|text| text == "true");
    let answer = if saved {
        outside::attachment(file)
    } else {
        Answer::file(outside::shown_type(&file.mime_type), file.content.clone())
    };
    Ok(answer.with_extra("Cache-Control", "public, max-age=3600".to_owned()))
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
