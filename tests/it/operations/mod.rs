//! The program as its operators see it: commands, reloads, deployment.

mod commands;
mod deploy;
mod descriptors;
mod import;
mod listeners;
mod opendify;
mod openresty;
mod owner;
mod plan;
mod reload;
