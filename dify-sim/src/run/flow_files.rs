//! The files of a run as its flow shows them: in inputs and outputs, and as links in its texts.

use super::files::{Found, found, kind, resigned_link, signed_url};
use super::turn::Turn;
use crate::db::Attached;
use crate::pyjson;
use serde_json::{Value, json};
use uuid::Uuid;

/// Whether a file is shown with the URL that fetches it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Url {
    Now,
    /// Not yet made, or nothing that is needed here.
    Absent,
}

/// The files of a run as JSON text.
pub(super) fn listed(turn: &Turn, url: Url) -> String {
    let files: Vec<Value> =
        found(&turn.shared, &turn.files).into_iter().map(|file| shown(turn, file, url)).collect();
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

/// The files of a run as Markdown links; pictures as pictures.
pub(super) fn markdown(turn: &Turn) -> String {
    let link = |kind: &str, name: &str, url: &str| {
        let mark = if kind == "image" { "!" } else { "" };
        format!("{mark}[{name}]({url})")
    };
    let links: Vec<String> = found(&turn.shared, &turn.files)
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
    for file in found(&turn.shared, &turn.files) {
        let Found::Upload(id, _) = file else { continue };
        out = resigned_link(&turn.shared, &out, id);
    }
    out
}
