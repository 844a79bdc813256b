//! A body of pairs (`application/x-www-form-urlencoded`), which is read and changed as a whole.

use std::io;
use std::sync::Arc;

use crate::dify::pairs;
use crate::dify::scan::BodyInfo;
use crate::gateway::http::body_memory::{BodyMemory, BodyMemoryGuard};
use crate::gateway::http::buffered_body::BufferedBody;
use crate::gateway::proxy::end_user::{KeyUsers, TooLong, check_length};
use crate::gateway::proxy::errors;
use crate::model::GatewayError;

/// The longest form of pairs: what is large is sent as multipart.
const MAX_BYTES: usize = 256 * 1024;

/// A form of pairs, as far as it is here.
pub(crate) struct FormPairs {
    text: Vec<u8>,
    /// Its share of the memory for all bodies.
    held: BodyMemoryGuard,
}

impl FormPairs {
    /// Whether a body of this type is pairs, as a page's form sends them.
    pub(crate) fn is_type(essence: &str) -> bool {
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
            || essence.eq_ignore_ascii_case("application/x-url-encoded")
    }

    pub(crate) fn new(room: &BodyMemory) -> Self {
        Self { text: Vec::new(), held: room.hold() }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// 400: it is too long. 503: there is no room for it.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<(), GatewayError> {
        let len = self.text.len() + piece.len();
        if len > MAX_BYTES {
            return Err(errors::bad_request(errors::LONG_FORM));
        }
        self.held.resize(len as u64).map_err(|_| errors::bodies_full())?;
        self.text.extend_from_slice(piece);
        Ok(())
    }

    /// The user that it names.
    ///
    /// # Errors
    /// 400: it is longer than Dify takes.
    pub(crate) fn facts(&self) -> Result<BodyInfo, GatewayError> {
        let user = pairs::user(&self.text);
        if let Some(user) = &user {
            check_length(user).map_err(|TooLong| errors::too_long_for_dify())?;
        }
        Ok(BodyInfo { user, ..BodyInfo::default() })
    }

    /// The same form with the speaker's own users in it.
    ///
    /// # Errors
    /// 400: a user is too long with the key's name.
    pub(crate) fn rewritten(self, speaker: &KeyUsers) -> Result<BufferedBody, GatewayError> {
        let Self { text, mut held } = self;
        let text = pairs::with_user(&text, |user| speaker.user(user))?;
        let len = text.len() as u64;
        held.resize(len).map_err(|_: io::Error| errors::bodies_full())?;
        Ok(BufferedBody::Memory { pieces: [text.into()].into(), len, held: Some(Arc::new(held)) })
    }
}
