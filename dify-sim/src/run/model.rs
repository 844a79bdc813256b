//! The made-up model behind `Flow::Llm`, as the recorded one behaved.

use crate::pyjson;

/// What the model does with a prompt.
pub(crate) struct Script {
    /// Its answer, token by token.
    pub(crate) tokens: Vec<String>,
    /// Seconds between two tokens, if the prompt says so.
    pub(crate) step: Option<f64>,
    /// How it ends when it does not end well.
    pub(crate) failure: Option<Failure>,
}

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

/// `process_data` of a model node.
pub(crate) fn process_data(prompt: &str) -> String {
    format!(
        "{{\"model_mode\": \"chat\", \"prompts\": [{{\"role\": \"user\", \"text\": {}, \
         \"files\": []}}], \"model_provider\": \"fakeorg/fakeplugin/fake\", \
         \"model_name\": \"fake-llm\"}}",
        pyjson::quote(prompt)
    )
}

/// `outputs` of a model node; the usage is JSON text.
pub(crate) fn outputs(answer: &str, usage: &str) -> String {
    format!(
        "{{\"text\": {}, \"usage\": {usage}, \"finish_reason\": \"stop\", \"files\": []}}",
        pyjson::quote(answer)
    )
}

/// How long naming the conversation of this query takes, if it says so.
pub(crate) fn naming_time(query: &str) -> Option<f64> {
    query.contains("slowname").then_some(SLOW_NAME)
}

/// What the model does with this prompt.
pub(crate) fn script(prompt: &str) -> Script {
    if let Some((count, step)) = asked_tokens(prompt) {
        let tokens = (0..count).map(|at| format!("tok{at} ")).collect();
        return Script { tokens, step, failure: None };
    }
    let mut tokens = vec!["Echo: ".to_owned()];
    tokens.extend(prompt.split_inclusive(' ').map(str::to_owned));
    Script { tokens, step: None, failure: failure(prompt) }
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

fn failure(prompt: &str) -> Option<Failure> {
    let failures = [
        ("error400", "[fake] bad request", "[fake] bad request", 0),
        (
            "error401",
            "Incorrect API key provided",
            "[fake] Incorrect model credentials provided, please check and try again.",
            0,
        ),
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
