//! Uploads, and files given with a request.

use uuid::Uuid;

#[derive(Clone)]
pub(crate) struct File {
    /// The app and user it was uploaded by.
    pub(crate) app: Uuid,
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) extension: String,
    pub(crate) mime_type: String,
    pub(crate) created_at: i64,
    /// Its first 64 KiB.
    pub(crate) content: Vec<u8>,
    /// The signed URL made at the upload, as it stays in flows that use the file.
    pub(crate) url: String,
}

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
