//! Uploaded files as flows show them, and the signed URLs that fetch them.

use super::turn::Turn;
use crate::db::File;
use crate::pyjson;
use crate::state::{Shared, now};
use serde_json::{Value, json};
use uuid::Uuid;

/// A file given with a request.
#[derive(Debug, Clone)]
pub(crate) enum Attached {
    /// An upload of this Dify.
    Upload(Uuid),
    /// One elsewhere: its type, as the request gives it, and its URL.
    Remote { kind: String, url: String },
}

impl Attached {
    /// The name of a file elsewhere, as its URL ends.
    pub(crate) fn remote_name(url: &str) -> &str {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

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
    let sign = signature(shared, id, &timestamp.to_string(), &nonce);
    format!(
        "http://{}/files/{id}/file-preview?timestamp={timestamp}&nonce={nonce}&sign={sign}",
        shared.addr
    )
}

/// The signature of a file URL.
pub(crate) fn signature(shared: &Shared, id: Uuid, timestamp: &str, nonce: &str) -> String {
    shared.sign(&format!("file-preview|{id}|{timestamp}|{nonce}"))
}

/// The files of a run as JSON text; their present URL is left out where Dify has not made it yet.
pub(super) fn listed(turn: &Turn, with_url: bool) -> String {
    let files: Vec<Value> = found(turn)
        .into_iter()
        .map(|file| match file {
            Found::Upload(id, file) => {
                let mut listed = json!({
                    "dify_model_identity": "__dify__file__",
                    "id": null,
                    "tenant_id": turn.shared.tenant.to_string(),
                    "type": kind(&file.extension),
                    "transfer_method": "local_file",
                    "remote_url": file.url,
                    "related_id": id.to_string(),
                    "filename": file.name,
                    "extension": format!(".{}", file.extension),
                    "mime_type": file.mime_type,
                    "size": file.size,
                });
                if with_url {
                    listed["url"] = signed_url(&turn.shared, id).into();
                }
                listed
            }
            Found::Remote { kind, url } => json!({
                "dify_model_identity": "__dify__file__",
                "id": null,
                "tenant_id": turn.shared.tenant.to_string(),
                "type": kind,
                "transfer_method": "remote_url",
                "remote_url": url,
                "related_id": null,
                "filename": Attached::remote_name(url),
                "size": -1,
                "url": url,
            }),
        })
        .collect();
    pyjson::text(&Value::Array(files))
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
