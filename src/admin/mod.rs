//! What the operator asks the running gateway: health, readiness, status, metrics, reload.
//!
//! The same router answers on the admin listener and, through [`AdminRouter`], on the main one. Who may
//! ask is decided in `access`, in one place for both.

mod access;
mod conn_limit;
mod conn_state;
mod conversations;
mod explain;
mod health;
mod json_body;
mod listener;
mod metrics;
mod refusal;
mod router;
mod state;
mod status;
mod timed_body;
mod timed_io;
mod visitor;
mod web;

pub use self::access::Access;
pub use self::listener::serve;
pub use self::router::AdminRouter;
pub use self::state::AdminState;
