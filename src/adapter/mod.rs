//! Between the protocols of AI clients and Dify's: pure, without IO and without a clock.
//!
//! ```text
//! client's request ── openai::*, anthropic::* ──▶ Ask ── call ──▶ Dify's request
//! Dify's stream ── hear ──▶ Heard ── Voice of the door ──▶ client's stream or JSON
//! whatever goes wrong ──▶ GatewayError ──▶ the door's error
//! ```
//!
//! An [`Ask`] is what all doors have in common, a [`Heard`] what all modes of Dify have in common;
//! so a door knows nothing of modes, and a mode nothing of doors.

pub mod anthropic;
pub mod ask;
pub mod attached;
pub mod bounded;
pub mod call;
pub mod data_url;
pub mod extras;
pub mod facts;
pub mod fields;
pub mod file_address;
pub mod foreign;
pub mod frames;
pub mod hear;
mod markdown;
pub mod media_type;
pub mod mode;
pub mod object_text;
pub mod openai;
#[cfg(test)]
mod page;
mod pasted;
pub mod pieces;
pub mod protocol;
pub mod refused;
pub mod task;
pub mod transcript;
pub mod voice;

pub use self::ask::{Ask, Attachment, Content, FileKind, Hints, Role, Saying};
pub use self::call::{FileRef, Intake, Place};
pub use self::facts::Facts;
pub use self::hear::{Hearing, Manner, State};
pub use self::mode::Mode;
pub use self::protocol::Protocol;
pub use self::voice::{Begun, Finish, Heard, Source, Told, Voice};
