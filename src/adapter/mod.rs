//! Between the protocols of AI clients and Dify's: pure, without IO and without a clock.
//!
//! ```text
//! client's request ── openai::*, anthropic::* ──▶ CompletionRequest ── run_request ──▶ Dify's request
//! Dify's stream ── dify_stream ──▶ AppEvent ── ResponseEncoder ──▶ client's stream or JSON
//! whatever goes wrong ──▶ GatewayError ──▶ error of the client's protocol
//! ```
//!
//! A [`CompletionRequest`] is what all protocols have in common, an [`AppEvent`] what all modes of
//! Dify have in common; so a protocol knows nothing of modes, and a mode nothing of protocols.

pub mod anthropic;
pub mod app_info;
pub mod attachments;
pub mod bounded;
pub mod completion_request;
pub mod data_url;
pub mod dify_stream;
#[cfg(test)]
mod docs_table;
pub mod error_map;
pub mod event_split;
pub mod extensions;
pub mod file_urls;
pub mod frames;
pub mod json_object;
mod markdown;
pub mod media_type;
pub mod mode;
pub mod non_dify;
pub mod object_text;
pub mod openai;
mod pasted;
pub mod protocol;
pub mod response_encoder;
pub mod run_request;
pub mod side_task;
pub mod transcript;

pub use self::app_info::AppInfo;
pub use self::completion_request::{
    Attachment, CompletionRequest, ConversationHints, FileContent, FileKind, Message, Role,
};
pub use self::dify_stream::{DecodeOptions, DecodeState, StreamDecoder};
pub use self::mode::Mode;
pub use self::protocol::Protocol;
pub use self::response_encoder::{
    AppEvent, FinishReason, ResponseEncoder, ResponseStart, ResponseSummary, Source,
};
pub use self::run_request::{FileLocation, FileRef, InputMapping};
