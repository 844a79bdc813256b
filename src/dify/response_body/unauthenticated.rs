//! What is said without a key by who does not have what the path names.
//!
//! A link is signed with the secret of one instance, and neither a link nor a code names an app: so
//! any refusal of it may come of having asked the wrong one.

use std::borrow::Cow;

use serde::Deserialize;

use crate::dify::path::CallKind;

/// Whether the status alone says that the instance does not have what a signed link leads to: 404, or
/// 403 where another signs with another secret. A HEAD says no more.
pub fn is_unknown_link(kind: CallKind, status: u16) -> bool {
    kind == CallKind::SignedFile && matches!(status, 403 | 404)
}

/// Whether a status leaves it open if the instance has the server of tools that was asked for.
pub fn may_be_unknown_code(kind: CallKind, status: u16) -> bool {
    kind == CallKind::McpServer && status == 500
}

/// Whether a 500 means that the code of a server of tools is unknown. Dify says the same to a method
/// that it does not know, of a code that it does (1.14.2, recorded).
pub fn is_unknown_code(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        code: Cow<'a, str>,
    }
    serde_json::from_slice::<Body<'_>>(body).is_ok_and(|body| body.code == "unknown")
}
