//! Files given with requests: what the data say of them, and the signed URLs that fetch uploads.

use crate::clock::now;
use crate::db::{Attached, File};
use crate::state::Shared;
use uuid::Uuid;

/// What a flow calls the kind of a file.
pub(crate) fn kind(extension: &str) -> &'static str {
    match extension {
        "jpg" | "jpeg" | "png" | "webp" | "gif" | "svg" => "image",
        "mp4" | "mov" | "mpeg" => "video",
        "mp3" | "m4a" | "wav" | "webm" | "amr" | "mpga" => "audio",
        _ => "document",
    }
}

/// A URL under which this instance, and no other, gives the file.
pub(crate) fn signed_url(shared: &Shared, id: Uuid) -> String {
    let timestamp = now();
    let nonce = Uuid::new_v4().simple().to_string();
    let mut sign = signature(shared, id, &timestamp.to_string(), &nonce);
    if shared.setup.release.is_restx() {
        sign = sign.replace('=', "%3D");
    }
    let host = &shared.files_url;
    format!("{host}/files/{id}/file-preview?timestamp={timestamp}&nonce={nonce}&sign={sign}")
}

/// The signature of a file URL.
pub(crate) fn signature(shared: &Shared, id: Uuid, timestamp: &str, nonce: &str) -> String {
    shared.sign(&format!("file-preview|{id}|{timestamp}|{nonce}"))
}

/// An answer without its Markdown pictures, which become files of the message.
pub(super) fn without_pictures(answer: &str) -> String {
    let mut out = String::with_capacity(answer.len());
    let mut rest = answer;
    while let Some(at) = rest.find("![") {
        let link = &rest[at..];
        let end = link.find("](").and_then(|middle| Some(middle + link[middle..].find(')')? + 1));
        let Some(end) = end else { break };
        out.push_str(&rest[..at]);
        rest = &link[end..];
    }
    out.push_str(rest);
    out
}

/// A text with the link to this file made anew.
pub(crate) fn resigned_link(shared: &Shared, text: &str, id: Uuid) -> String {
    let start = format!("{}/files/{id}/file-preview?", shared.files_url);
    let Some(at) = text.find(&start) else { return text.to_owned() };
    let end = text[at..].find([')', ' ']).map_or(text.len(), |end| at + end);
    format!("{}{}{}", &text[..at], signed_url(shared, id), &text[end..])
}

/// These files in a few words each.
pub(super) fn described(shared: &Shared, files: &[Attached]) -> Vec<String> {
    found(shared, files)
        .into_iter()
        .map(|file| match file {
            Found::Upload(_, file) => format!(
                "{} {} {} {} bytes local_file",
                kind(&file.extension),
                file.name,
                file.mime_type,
                file.size
            ),
            Found::Remote { kind, url } => format!("{kind} {url} remote_url"),
        })
        .collect()
}

/// An attached file with what the data say of it.
pub(super) enum Found<'t> {
    Upload(Uuid, File),
    Remote { kind: &'t str, url: &'t str },
}

/// What the data say of these files; those that are gone are left out.
pub(super) fn found<'t>(shared: &Shared, files: &'t [Attached]) -> Vec<Found<'t>> {
    if files.is_empty() {
        return Vec::new();
    }
    let db = shared.db();
    let found = |file: &'t Attached| match file {
        &Attached::Upload(id) => Some(Found::Upload(id, db.files.get(id)?.clone())),
        Attached::Remote { kind, url } => Some(Found::Remote { kind, url }),
    };
    files.iter().filter_map(found).collect()
}
