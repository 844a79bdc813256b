//! Uploaded files as flows show them, and the signed URLs that fetch them.

use super::turn::Turn;
use crate::db::File;
use crate::pyjson;
use crate::state::{Shared, now};
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
        .map(|(id, file)| {
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
        })
        .collect();
    pyjson::text(&Value::Array(files))
}

/// The files of a run as Markdown links; pictures as pictures.
pub(super) fn markdown(turn: &Turn) -> String {
    let links: Vec<String> = found(turn)
        .into_iter()
        .map(|(id, file)| {
            let mark = if kind(&file.extension) == "image" { "!" } else { "" };
            format!("{mark}[{}]({})", file.name, signed_url(&turn.shared, id))
        })
        .collect();
    links.join("\n")
}

fn found(turn: &Turn) -> Vec<(Uuid, File)> {
    if turn.files.is_empty() {
        return Vec::new();
    }
    let db = turn.shared.db();
    turn.files.iter().filter_map(|id| Some((*id, db.files.get(*id)?.clone()))).collect()
}
