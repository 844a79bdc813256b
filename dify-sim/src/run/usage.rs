//! What an answer cost, as JSON text. The model is made up, and so are its prices.

/// The usage of a run without a model.
pub(crate) const NONE: &str = "{\"prompt_tokens\": 0, \"prompt_unit_price\": \"0.0\", \
    \"prompt_price_unit\": \"0.0\", \"prompt_price\": \"0.0\", \"completion_tokens\": 0, \
    \"completion_unit_price\": \"0.0\", \"completion_price_unit\": \"0.0\", \
    \"completion_price\": \"0.0\", \"total_tokens\": 0, \"total_price\": \"0.0\", \
    \"currency\": \"USD\", \"latency\": 0.0}";

/// Tokens of every prompt, as the model counts them.
pub(crate) const PROMPT_TOKENS: u32 = 7;

/// The usage of a model that gave so many tokens.
pub(crate) fn of(tokens: u32) -> String {
    format!(
        "{{\"prompt_tokens\": {PROMPT_TOKENS}, \"prompt_unit_price\": \"0.01\", \
         \"prompt_price_unit\": \"0.001\", \"prompt_price\": \"0.00007\", \
         \"completion_tokens\": {tokens}, \"completion_unit_price\": \"0.02\", \
         \"completion_price_unit\": \"0.001\", \"completion_price\": \"0.00002\", \
         \"total_tokens\": {}, \"total_price\": \"0.00009\", \"currency\": \"USD\", \
         \"latency\": 0.5}}",
        tokens + PROMPT_TOKENS
    )
}

/// The usage of a stopped model: Dify knows the prices and no tokens.
pub(crate) fn stopped(latency: f64) -> String {
    format!(
        "{{\"prompt_tokens\": 0, \"prompt_unit_price\": \"0.01\", \
         \"prompt_price_unit\": \"0.001\", \"prompt_price\": \"0E-7\", \
         \"completion_tokens\": 0, \"completion_unit_price\": \"0.02\", \
         \"completion_price_unit\": \"0.001\", \"completion_price\": \"0E-7\", \
         \"total_tokens\": 0, \"total_price\": \"0E-7\", \"currency\": \"USD\", \
         \"latency\": {}}}",
        super::nodes::seconds(latency)
    )
}

/// `metadata` around a usage; both are JSON text.
pub(crate) fn metadata(usage: &str, sources: &str) -> String {
    format!(
        "{{\"annotation_reply\": null, \"retriever_resources\": {sources}, \"usage\": {usage}}}"
    )
}

/// `execution_metadata` of a model node that gave so many tokens.
pub(crate) fn node_metadata(tokens: u32) -> String {
    format!(
        "{{\"total_tokens\": {}, \"total_price\": \"0.00009\", \"currency\": \"USD\"}}",
        tokens + PROMPT_TOKENS
    )
}
