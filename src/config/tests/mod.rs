//! Whole configurations: what is read of good ones, and what is said of others.

mod ai;
mod findings;
mod findings_app;
mod findings_yaml;
mod hints;
mod keys;
mod listen;
mod load;
mod probes;
mod secrets;
mod services;
mod tls;
mod unset;
