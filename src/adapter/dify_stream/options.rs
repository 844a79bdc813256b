//! How an app's stream is decoded.

use crate::model::ai::{HumanInput, MadeFiles, Reasoning};

/// What of an app's stream becomes part of the response, and how.
#[derive(Clone, Debug, Default)]
pub struct DecodeOptions {
    /// What becomes of reasoning.
    pub reasoning: Reasoning,
    /// What becomes of files that the app makes.
    pub files: MadeFiles,
    /// The workflow's output that is the answer; found by its name or type if none is said.
    pub answer_output: Option<String>,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// What becomes of a run that waits for a person.
    pub human_input: HumanInput,
    /// Below which forms have their pages, as `<web_url>/form/<token>`; no slash at the end.
    pub web_url: Option<String>,
    /// What addresses of Dify's files begin with, without a slash at the end; empty: with what Dify says.
    pub files_base: String,
}
