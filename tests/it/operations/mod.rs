//! The program as its operators see it: commands, reloads, deployment.

mod commands;
mod deploy;
mod descriptors;
mod import;
mod naming;
mod opendify;
mod plan;
mod reload;
