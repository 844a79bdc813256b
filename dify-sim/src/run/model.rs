//! The made-up model behind `Flow::Llm`, as the recorded one behaved.

use crate::pyjson;
use crate::release::Release;

/// What the model does with a prompt.
pub(crate) struct Script {
    /// Its answer, token by token.
    pub(crate) tokens: Vec<String>,
    /// Seconds between two tokens, if the prompt says so.
    pub(crate) step: Option<f64>,
    /// How it ends when it does not end well.
    pub(crate) failure: Option<Failure>,
    /// What comes with it.
    pub(crate) asides: Vec<Aside>,
}

/// What comes with an answer, beside its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aside {
    Reasoning,
    Tool,
    Picture,
    Replacement,
}

/// What `reasoning_chunk` events say, piece by piece.
pub(crate) const REASONING: [&str; 2] = ["They want ", "an echo."];
/// What takes the place of a withdrawn answer.
pub(crate) const REPLACEMENT: &str = "This answer was withdrawn.";

#[derive(Clone, Copy)]
pub(crate) struct Failure {
    /// As a chat, agent or completion app words it.
    pub(crate) plain: &'static str,
    /// As a node of a chatflow words it.
    pub(crate) node: &'static str,
    /// Tokens that still come before it.
    pub(crate) after: usize,
}

/// Seconds the model takes to name a conversation whose query asks for it.
const SLOW_NAME: f64 = 4.0;
/// Tokens a query may ask for.
const TOKEN_LIMIT: usize = 1_000_000;

/// Tags that no event holds whole.
const THINKING: [&str; 4] = ["<thi", "nk>\nThey want an echo.", "\n</thi", "nk>\n\n"];

const ASIDES: [(&str, Aside); 4] = [
    ("with-reasoning", Aside::Reasoning),
    ("with-tool", Aside::Tool),
    ("with-picture", Aside::Picture),
    ("with-replacement", Aside::Replacement),
];

const SOURCES: &str = "[{\"position\": 1, \"dataset_id\": \
    \"5f0e4c4a-6d3b-4a37-9b59-7b7d7c5a0001\", \"dataset_name\": \"Handbook\", \"document_id\": \
    \"5f0e4c4a-6d3b-4a37-9b59-7b7d7c5a0002\", \"document_name\": \"returns.md\", \
    \"data_source_type\": \"upload_file\", \"segment_id\": \
    \"5f0e4c4a-6d3b-4a37-9b59-7b7d7c5a0003\", \"retriever_from\": \"api\", \"score\": 0.87, \
    \"hit_count\": 3, \"word_count\": 42, \"segment_position\": 1, \"index_node_hash\": \"ab12\", \
    \"content\": \"Goods may be returned within 30 days.\", \"page\": null, \"doc_metadata\": null, \
    \"title\": null}, {\"position\": 2, \"dataset_id\": \
    \"5f0e4c4a-6d3b-4a37-9b59-7b7d7c5a0001\", \"dataset_name\": \"Handbook\", \"document_id\": \
    \"5f0e4c4a-6d3b-4a37-9b59-7b7d7c5a0004\", \"document_name\": \"Delivery\", \
    \"data_source_type\": \"website_crawl\", \"segment_id\": \
    \"5f0e4c4a-6d3b-4a37-9b59-7b7d7c5a0005\", \"retriever_from\": \"api\", \"score\": 0.61, \
    \"hit_count\": 1, \"word_count\": 12, \"segment_position\": 4, \"index_node_hash\": \"cd34\", \
    \"content\": \"Delivery takes two days.\", \"page\": null, \"doc_metadata\": {\"url\": \
    \"https://handbook.example/delivery\"}, \"title\": \"Delivery\"}]";

/// What a model node shows of itself, as JSON text.
pub(crate) struct Shown {
    pub(crate) inputs: String,
    pub(crate) process_data: String,
    pub(crate) outputs: String,
}

const MODEL: &str = "\"model_provider\": \"fakeorg/fakeplugin/fake\", \"model_name\": \"fake-llm\"";

/// A model node that answered this prompt, or failed; the usage is JSON text.
pub(crate) fn shown(prompt: &str, answered: Option<(&str, &str)>, release: Release) -> Shown {
    let prompts = format!(
        "\"model_mode\": \"chat\", \"prompts\": [{{\"role\": \"user\", \"text\": {}, \"files\": \
         []}}]",
        pyjson::quote(prompt)
    );
    if !release.is_restx() {
        return Shown {
            inputs: "{}".to_owned(),
            process_data: format!("{{{prompts}, {MODEL}}}"),
            outputs: answered.map_or("{}".to_owned(), |(answer, usage)| {
                format!(
                    "{{\"text\": {}, \"usage\": {usage}, \"finish_reason\": \"stop\", \"files\": \
                     []}}",
                    pyjson::quote(answer)
                )
            }),
        };
    }
    let inputs = if release.shows_models() { format!("{{{MODEL}}}") } else { "{}".to_owned() };
    let Some((answer, usage)) = answered else {
        return Shown { inputs, process_data: "{}".to_owned(), outputs: "{}".to_owned() };
    };
    let end = "\"finish_reason\": \"stop\"";
    Shown {
        inputs,
        process_data: format!("{{{prompts}, \"usage\": {usage}, {end}, {MODEL}}}"),
        outputs: format!(
            "{{\"text\": {}, \"reasoning_content\": \"\", \"usage\": {usage}, {end}}}",
            pyjson::quote(answer)
        ),
    }
}

/// How long naming the conversation of this query takes, if it says so.
pub(crate) fn naming_time(query: &str) -> Option<f64> {
    query.contains("slowname").then_some(SLOW_NAME)
}

/// What the model does with this prompt.
pub(crate) fn script(prompt: &str, release: Release) -> Script {
    let asked = asked(prompt);
    if let Some((count, step)) = asked_tokens(asked) {
        let tokens = (0..count).map(|at| format!("tok{at} ")).collect();
        return Script { tokens, step, failure: None, asides: Vec::new() };
    }
    let mut tokens = Vec::new();
    if asked.contains("with-think") {
        tokens.extend(THINKING.map(str::to_owned));
    }
    tokens.push("Echo: ".to_owned());
    tokens.extend(prompt.split_inclusive(' ').map(str::to_owned));
    let asides = ASIDES.iter().filter(|(word, _)| asked.contains(word));
    let asides = asides.map(|(_, aside)| *aside).collect();
    Script { tokens, step: None, failure: failure(asked, release), asides }
}

/// What the model acts on: the last line, so that a transcript before it does nothing.
fn asked(prompt: &str) -> &str {
    prompt.trim_end().lines().next_back().unwrap_or_default()
}

/// Whether the answer is to be the turns before.
pub(crate) fn recalls(prompt: &str) -> bool {
    asked(prompt).ends_with("recall")
}

/// The turns before as an answer.
pub(crate) fn recalled(earlier: &[String]) -> Vec<String> {
    let text = if earlier.is_empty() { "nothing".to_owned() } else { earlier.join(" | ") };
    vec!["Recall: ".to_owned(), text]
}

/// `retriever_resources` of the answer, as JSON text.
pub(crate) fn sources(prompt: &str) -> &'static str {
    if asked(prompt).contains("with-sources") { SOURCES } else { "[]" }
}

/// `tokens <count> [<seconds between two>]`
fn asked_tokens(prompt: &str) -> Option<(usize, Option<f64>)> {
    let mut words = prompt.split_whitespace();
    if words.next() != Some("tokens") {
        return None;
    }
    let count = words.next()?.parse::<usize>().ok()?.min(TOKEN_LIMIT);
    let step = match words.next() {
        None => None,
        Some(seconds) => Some(seconds.parse::<f64>().ok()?),
    };
    Some((count, step))
}

fn failure(prompt: &str, release: Release) -> Option<Failure> {
    let credentials = if release.is_restx() {
        "[Fake] Incorrect model credentials provided, please check and try again."
    } else {
        "[fake] Incorrect model credentials provided, please check and try again."
    };
    let failures = [
        ("error400", "[fake] bad request", "[fake] bad request", 0),
        ("error401", "Incorrect API key provided", credentials, 0),
        (
            "error429",
            "[fake] Rate limit reached, error 429",
            "[fake] Rate limit reached, error 429",
            0,
        ),
        ("error500", "[fake] server 500", "[fake] server 500", 0),
        ("errconn", "[fake] connection error", "[fake] connection error", 0),
        ("errmid", "[fake] died in the middle", "[fake] died in the middle", 2),
    ];
    let found = failures.iter().find(|(word, ..)| prompt.contains(word))?;
    Some(Failure { plain: found.1, node: found.2, after: found.3 })
}
