//! TLS of the configuration: rustls with the algorithms of Mozilla's intermediate profile.
//!
//! What comes in here is PEM text and what goes out is ready for a handshake; files are read by
//! `control`, so that all that can fail in a reload fails there. Deliberately absent: a way to
//! switch verification off, and data before the handshake has ended (0-RTT), which can be replayed.

pub(crate) mod certificate;
pub(crate) mod instance;
pub(crate) mod listener;

pub use certificate::Certificate;
pub use instance::{Authorities, InstanceTls};
pub use listener::{ClientAuthorities, Identity, ListenerTls, TlsFault, Without};
