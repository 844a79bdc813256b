//! The data plane, in the order in which a request travels:
//!
//! `listen → handle → route → identify → select → forward (attempt, outbound) → stream → record`
//!
//! `snapshot` is what it knows, `shared` what all threads see, `worker` what one keeps, `instance`
//! what is known of one Dify, `member` how one app sees it, `connection` the way there, `framing` what
//! must not pass; `probe` and `trust` judge instances by probes and by requests, `standing` says what
//! follows.
//! It never sees the configuration; `control` builds its snapshots.

mod arriving;
mod attempt;
mod attempt_error;
mod behind;
pub mod bodies;
mod body;
mod claim;
mod client;
mod coming;
mod connection;
mod crowd;
mod departed;
mod dial;
pub mod doors;
mod early_error;
mod early_log;
mod end_user;
mod errors;
mod everywhere;
pub mod explain;

mod farewell;
mod fields;
mod find_owner;
mod first_turn;
mod first_turns;
mod form_pairs;
mod forward;
mod forwarded;
mod framing;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod heads;
mod held;
mod http1;
mod http2;
mod identify;
mod idle;
mod inspect;
mod instance;
mod journey;
mod keyed_wait;
#[cfg(test)]
mod layout_tests;
mod learn;
mod listen;
mod locate;
pub mod member;
mod models;
mod names;
mod orphan;
mod outbound;
mod outlive;
mod own_ids;
mod own_url;
mod own_users;
pub mod policy;
mod probe;
mod probe_expect;
mod probed;
mod progress;
mod query;
mod record;

mod relay;
mod reply;
mod request_id;
mod respond;
mod resume;
mod retry;
mod round;
mod route;
mod run_watch;
mod runs;
mod select;
mod shared;
pub mod snapshot;
mod standing;
mod standstill;
mod stop;
mod stream;
pub mod tls;
mod tokens;
mod trust;
mod turns;
mod unheard;
pub mod user_jwt;
mod welcome;
mod worker;

pub use departed::Departed;
pub use instance::{Instance, ProbeStats, Slots};
pub use listen::{Setup, Workers, bind};
pub use models::Models;
pub use probe::Prober;
pub use probed::{LastProbe, Probe, Probed};
pub use resume::Resumed;
pub use route::DESK_PATHS;
pub use runs::Runs;
pub use select::key;
pub use shared::{Desk, GatewayStats, Handshake, Kept, Shared, Visit};
pub use standing::{Claim, MemberState, Skipped, StateKind};
pub use tokens::{Key, TokenTable};
pub use trust::PoolMates;
pub use turns::Turns;
