//! What a request finds: the snapshot that `control` builds, what threads share, what is known of each
//! instance, member and app.

pub(crate) mod admission;
pub mod ai_settings;
pub mod app;
pub mod app_info_cache;
pub mod app_names;
pub mod app_stats;
pub(crate) mod conversation_lock;
pub(crate) mod ejection_guard;
pub(crate) mod first_turn_locks;
pub(crate) mod instance;
pub mod member;
pub mod member_stats;
pub(crate) mod models;
pub mod policy;
pub mod pool;
pub mod pool_stats;
pub(crate) mod probe_target;
pub(crate) mod removed_instance;
pub(crate) mod resume_outcome;
pub(crate) mod runs;
pub(crate) mod search_limit;
pub mod services;
pub(crate) mod shared;
pub(crate) mod slots;
pub mod snapshot;
pub mod survivors;
pub mod tls;
pub(crate) mod tokens;
pub mod user_jwt;

#[cfg(test)]
mod tests;
