//! Token counts.

use super::event::Counts;
use crate::dify::response_body::Usage;

/// Counts as Dify wrote them.
pub(super) fn usage(counts: Counts) -> Usage {
    Usage {
        prompt_tokens: counts.prompt_tokens.or_zero(),
        completion_tokens: counts.completion_tokens.or_zero(),
        total_tokens: counts.total_tokens.or_zero(),
    }
}
