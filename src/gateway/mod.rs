//! The data plane, in the order in which a request travels:
//!
//! `listen → handle → route → identify → select → forward (attempt, outbound) → stream → record`
//!
//! `snapshot` is what it knows, `shared` what all threads see, `worker` what one keeps, `instance`
//! what is known of one Dify, `member` how one app sees it, `connection` the way there, `framing` what
//! must not pass; `probe` and `trust` judge instances by probes and by requests, `standing` says what
//! follows.
//! It never sees the configuration; `control` builds its snapshots.

mod ai;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
pub mod http;
pub mod proxy;
mod route;
mod server;
pub mod state;
mod upstream;

pub use proxy::select::key;
pub use route::DESK_PATHS;
pub use server::listener::{Setup, Workers, bind};
pub use state::admission::{Claim, MemberState, Skipped, StateKind};
pub use state::conversation_lock::Turns;
pub use state::ejection_guard::EjectionGuard;
pub use state::instance::{Instance, ProbeStats};
pub use state::models::Models;
pub use state::probed::{LastProbe, Probe, Probed};
pub use state::removed_instance::Departed;
pub use state::resume_outcome::ResumeOutcome;
pub use state::runs::Runs;
pub use state::shared::{Desk, GatewayStats, Handshake, Kept, Shared, Visit};
pub use state::slots::Slots;
pub use state::tokens::{Key, TokenTable};
pub use upstream::probe::Prober;
