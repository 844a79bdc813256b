//! Decodes Dify's event streams into what an app says, whatever its mode.
//!
//! Each event goes through as it came: nothing is gathered, paced or waited for. Events that only
//! tell of the inside of a run (nodes, iterations, logs, speech) mean nothing to a client of an AI
//! protocol and are skipped.

mod decode_state;
mod decoder;
mod event;
mod event_limits;
mod files;
mod human_input;
mod json_repair;
mod lenient;
mod options;
mod outputs;
mod progress;
mod reasoning;
mod run_decoder;
mod run_error;
mod stop_sequences;
mod text;
mod usage;
mod workflow;

#[cfg(test)]
mod tests;

pub use self::decode_state::DecodeState;
pub use self::decoder::StreamDecoder;
pub use self::options::DecodeOptions;
