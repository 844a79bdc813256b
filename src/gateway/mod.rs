//! The data plane, in the order in which a request travels:
//!
//! `server → route → handle → proxy (identify, exchange, forward) → upstream (attempt) → proxy (relay, record)`
//!
//! `http` is the wire, `state` what a request finds, `upstream` the way to an instance, `proxy` a native
//! request, `ai` OpenAI's and Anthropic's protocols, `ingress` what is passed on without an app, `server` the clients' connections. Each imports only
//! those before it in this list; `route` and `handle` stand before `server`.
//! It never sees the configuration; `control` builds its snapshots.

mod ai;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
pub mod http;
mod ingress;
pub mod proxy;
mod route;
mod server;
pub mod state;
mod upstream;

pub use proxy::select::key;
pub use route::ADMIN_PATHS;
pub use server::listener::{Bound, WorkerConfig, Workers, bind};
pub use state::admission::{Affinity, MemberState, SkipReason, StateKind};
pub use state::conversation_lock::ConversationLocks;
pub use state::ejection_guard::EjectionGuard;
pub use state::instance::{Instance, ProbeStats};
pub use state::models::Models;
pub use state::probe_target::{LastProbe, Probe, ProbeTarget};
pub use state::removed_instance::RemovedInstance;
pub use state::resume_outcome::ResumeOutcome;
pub use state::runs::Runs;
pub use state::shared::{AdminHandler, AdminRequest, GatewayStats, Handshake, Shared, Stores};
pub use state::slots::Slots;
pub use state::tokens::{Key, TokenTable};
pub(crate) use upstream::dial::dial;
pub use upstream::probe::Prober;
