//! Uploaded files as flows show them, and the signed URLs that fetch them.

use super::turn::Turn;
use crate::clock::now;
use crate::db::{Attached, File};
use crate::pyjson;
use crate::state::Shared;
use serde_json::{Value, json};
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

/// Whether a file is shown with the URL that fetches it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Url {
    Now,
    /// Not yet made, or nothing that is needed here.
    Absent,
}

/// The files of a run as JSON text.
pub(super) fn listed(turn: &Turn, url: Url) -> String {
    let files: Vec<Value> = found(turn).into_iter().map(|file| shown(turn, file, url)).collect();
    pyjson::text(&Value::Array(files))
}

/// A value of a form as JSON text: files that later releases show as such, others as they are.
pub(super) fn shown_value(turn: &Turn, value: &Value) -> String {
    let id = value.get("upload_file_id").and_then(Value::as_str);
    let id = id.filter(|_| turn.release().is_restx()).and_then(|id| Uuid::parse_str(id).ok());
    let file = id.and_then(|id| Some((id, turn.shared.db().files.get(id)?.clone())));
    match file {
        Some((id, file)) => pyjson::text(&shown(turn, Found::Upload(id, file), Url::Now)),
        None => pyjson::text(value),
    }
}

fn shown(turn: &Turn, file: Found<'_>, url: Url) -> Value {
    match file {
        Found::Upload(id, file) if turn.release().is_restx() => {
            let mut shown = json!({
                "dify_model_identity": "__dify__file__",
                "id": null,
                "type": kind(&file.extension),
                "transfer_method": "local_file",
                "remote_url": "",
                "reference": reference(id),
                "filename": file.name,
                "extension": format!(".{}", file.extension),
                "mime_type": file.mime_type,
                "size": file.size,
            });
            if url == Url::Now {
                shown["related_id"] = id.to_string().into();
                shown["url"] = signed_url(&turn.shared, id).into();
            }
            shown
        }
        Found::Upload(id, file) => {
            let mut shown = json!({
                "dify_model_identity": "__dify__file__",
                "id": null,
                "tenant_id": turn.shared.tenant(&turn.app.app.workspace).to_string(),
                "type": kind(&file.extension),
                "transfer_method": "local_file",
                "remote_url": file.url,
                "related_id": id.to_string(),
                "filename": file.name,
                "extension": format!(".{}", file.extension),
                "mime_type": file.mime_type,
                "size": file.size,
            });
            if url == Url::Now {
                shown["url"] = signed_url(&turn.shared, id).into();
            }
            shown
        }
        Found::Remote { kind, url } => json!({
            "dify_model_identity": "__dify__file__",
            "id": null,
            "tenant_id": turn.shared.tenant(&turn.app.app.workspace).to_string(),
            "type": kind,
            "transfer_method": "remote_url",
            "remote_url": url,
            "related_id": null,
            "filename": Attached::remote_name(url),
            "size": -1,
            "url": url,
        }),
    }
}

/// How later releases name an upload inside flows: its record as base64.
fn reference(id: Uuid) -> String {
    format!("dify-file-ref:{}", base64(format!("{{\"record_id\":\"{id}\"}}").as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS[(word >> shift & 63) as usize];
            out.push(if at > three.len() { '=' } else { char::from(digit) });
        }
    }
    out
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

/// The files of a run as Markdown links; pictures as pictures.
pub(super) fn markdown(turn: &Turn) -> String {
    let link = |kind: &str, name: &str, url: &str| {
        let mark = if kind == "image" { "!" } else { "" };
        format!("{mark}[{name}]({url})")
    };
    let links: Vec<String> = found(turn)
        .into_iter()
        .map(|file| match file {
            Found::Upload(id, file) => {
                link(kind(&file.extension), &file.name, &signed_url(&turn.shared, id))
            }
            Found::Remote { kind, url } => link(kind, Attached::remote_name(url), url),
        })
        .collect();
    links.join("\n")
}

/// A text with the links to the files of a run made anew.
pub(super) fn resigned(turn: &Turn, text: &str) -> String {
    let mut out = text.to_owned();
    for file in found(turn) {
        let Found::Upload(id, _) = file else { continue };
        out = resigned_link(&turn.shared, &out, id);
    }
    out
}

/// A text with the link to this file made anew.
pub(crate) fn resigned_link(shared: &Shared, text: &str, id: Uuid) -> String {
    let start = format!("{}/files/{id}/file-preview?", shared.files_url);
    let Some(at) = text.find(&start) else { return text.to_owned() };
    let end = text[at..].find([')', ' ']).map_or(text.len(), |end| at + end);
    format!("{}{}{}", &text[..at], signed_url(shared, id), &text[end..])
}

/// The files of a run in a few words each.
pub(super) fn described(turn: &Turn) -> Vec<String> {
    found(turn)
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
enum Found<'t> {
    Upload(Uuid, File),
    Remote { kind: &'t str, url: &'t str },
}

fn found(turn: &Turn) -> Vec<Found<'_>> {
    if turn.files.is_empty() {
        return Vec::new();
    }
    let db = turn.shared.db();
    let found = |file| match file {
        &Attached::Upload(id) => Some(Found::Upload(id, db.files.get(id)?.clone())),
        Attached::Remote { kind, url } => Some(Found::Remote { kind, url }),
    };
    turn.files.iter().filter_map(found).collect()
}
