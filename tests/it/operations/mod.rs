//! The program as its operators see it: commands, reloads, deployment.

mod commands;
mod deploy;
mod descriptors;
mod first_steps;
mod import;
mod naming;
mod opendify;
mod plan;
mod reload;
