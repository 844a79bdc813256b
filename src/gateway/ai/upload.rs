//! Files that come with a question: uploaded to the instance that will answer it, before it does.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;
use serde::Deserialize;
use uuid::Uuid;

use crate::adapter::{Attachment, FileContent, FileLocation, FileRef};
use crate::dify::path::CallKind;
use crate::gateway::ai::dify_call::{Call, DifyCalls};
use crate::gateway::ai::errors;
use crate::gateway::ai::upstream_error::of_answer;
use crate::gateway::http::buffered_body::BufferedBody;
use crate::model::GatewayError;

/// The most files of a question; Dify's own default limits are lower.
const MAX_FILES: usize = 50;
/// A larger file is not copied into its form.
const SMALL_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
struct Uploaded {
    id: String,
}

/// The files as Dify finds them, and the ids that binding the run to the instance that has them. Where a
/// conversation goes on, they go to the instance that has it.
///
/// # Errors
/// Dify refuses a file, or nobody takes it.
pub(super) async fn upload(
    mut calls: DifyCalls,
    files: &[Attachment],
    conversation: Option<Uuid>,
) -> (DifyCalls, Result<Vec<FileRef>, GatewayError>) {
    if files.len() > MAX_FILES {
        return (calls, Err(errors::too_many_files(MAX_FILES)));
    }
    let mut known = Vec::with_capacity(files.len());
    // The first file decides on the instance where no conversation does.
    let mut binding = conversation;
    for file in files {
        let place = match &file.content {
            FileContent::Url(url) => FileLocation::Url(url.clone()),
            FileContent::Data { .. } => {
                let (back, id) = send(calls, file, binding).await;
                calls = back;
                match id {
                    Ok(id) => {
                        binding = binding.or_else(|| Uuid::try_parse(&id).ok());
                        FileLocation::Uploaded(id)
                    }
                    Err(error) => return (calls, Err(error)),
                }
            }
        };
        known.push(FileRef { kind: file.kind, place });
    }
    (calls, Ok(known))
}

async fn send(
    calls: DifyCalls,
    file: &Attachment,
    binding: Option<Uuid>,
) -> (DifyCalls, Result<String, GatewayError>) {
    let FileContent::Data { name, media_type, bytes } = &file.content else {
        return (calls, Ok(String::new()));
    };
    let form = Form::new().text("user", &calls.user).file("file", name, media_type, bytes);
    let (content_type, body) = form.finish();
    let call = Call::post("/v1/files/upload", CallKind::Upload, content_type, body).naming(binding);
    let (calls, read) = calls.ask(call).await;
    let id = match read {
        Err(error) => Err(error),
        Ok(read) if (200..300).contains(&read.status) => {
            let uploaded = serde_json::from_slice(&read.body);
            uploaded.map(|it: Uploaded| it.id).map_err(|_| errors::unreadable_upload())
        }
        Ok(read) => Err(of_answer(&read)),
    };
    (calls, id)
}

/// A `multipart/form-data` body in the making (RFC 7578).
pub(super) struct Form {
    boundary: String,
    /// What is complete of it, large files each by itself.
    pieces: Vec<Bytes>,
    body: BytesMut,
}

impl Form {
    pub(super) fn new() -> Self {
        let boundary = Uuid::new_v4().simple().to_string();
        Self { boundary, pieces: Vec::new(), body: BytesMut::new() }
    }

    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        let boundary = &self.boundary;
        let head =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        self.body.put(head.as_bytes());
        self.body.put(value.as_bytes());
        self.body.put(&b"\r\n"[..]);
        self
    }

    pub(super) fn file(mut self, field: &str, name: &str, media_type: &str, bytes: &Bytes) -> Self {
        // As browsers do it (WHATWG HTML, multipart/form-data encoding algorithm).
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        let media_type: String =
            media_type.chars().filter(|letter| letter.is_ascii_graphic()).collect();
        let boundary = &self.boundary;
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; \
             filename=\"{name}\"\r\nContent-Type: {media_type}\r\n\r\n"
        );
        self.body.put(head.as_bytes());
        if bytes.len() <= SMALL_BYTES {
            self.body.put(&bytes[..]);
        } else {
            self.pieces.push(self.body.split().freeze());
            self.pieces.push(bytes.clone());
        }
        self.body.put(&b"\r\n"[..]);
        self
    }

    pub(super) fn finish(mut self) -> (HeaderValue, BufferedBody) {
        self.body.put(format!("--{}--\r\n", self.boundary).as_bytes());
        let kind = format!("multipart/form-data; boundary={}", self.boundary);
        let kind = HeaderValue::try_from(kind)
            .unwrap_or_else(|_| HeaderValue::from_static("multipart/form-data"));
        self.pieces.push(self.body.freeze());
        (kind, BufferedBody::of_pieces(self.pieces))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Form, SMALL_BYTES};
    use crate::gateway::http::buffered_body::BufferedBody;

    #[test]
    fn a_large_file_is_in_its_form_without_being_copied() {
        for size in [5, SMALL_BYTES, SMALL_BYTES + 1] {
            let file = Bytes::from(vec![7; size]);
            let form = Form::new().text("user", "u").file("file", "a.png", "image/png", &file);
            let boundary = form.boundary.clone();
            let (kind, body) = form.finish();
            assert_eq!(kind, format!("multipart/form-data; boundary={boundary}"));
            let pieces = match body {
                BufferedBody::Piece(piece) => vec![piece],
                BufferedBody::Memory { pieces, .. } => pieces.to_vec(),
                BufferedBody::Spooled { .. } | BufferedBody::Spliced(_) => {
                    panic!("it is in memory")
                }
            };
            let is_there = pieces.iter().any(|piece| piece.as_ptr() == file.as_ptr());
            assert_eq!(is_there, size > SMALL_BYTES, "{size}");
            let head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nu\r\n\
                 --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
                 filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n"
            );
            let end = format!("\r\n--{boundary}--\r\n");
            assert!(pieces.concat() == [head.as_bytes(), &file, end.as_bytes()].concat(), "{size}");
        }
    }
}
