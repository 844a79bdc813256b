//! The program as its operators see it: commands, reloads, deployment.

mod alive;
mod commands;
mod deploy;
mod descriptors;
mod first_steps;
mod import;
mod listeners;
mod naming;
mod no_answer;
mod opendify;
mod opendify_documents;
mod opendify_names;
mod opendify_processes;
mod openresty;
mod owner;
mod plan;
mod reload;
