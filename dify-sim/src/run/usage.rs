//! What an answer cost, as JSON text. The model is made up, and so are its prices.

use crate::release::Release;

/// What a usage says about time, beside its latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Nothing: 1.5.
    Absent,
    /// That nobody knows: runs of a model alone.
    Null,
    /// Times: flows.
    Taken,
}

impl Clock {
    /// What a flow says.
    pub(crate) fn of_flow(release: Release) -> Self {
        if release.is_restx() { Self::Taken } else { Self::Absent }
    }

    /// What a run of a model alone says.
    pub(crate) fn of_model(release: Release) -> Self {
        if release.is_restx() { Self::Null } else { Self::Absent }
    }

    fn fields(self) -> &'static str {
        match self {
            Self::Absent => "",
            Self::Null => ", \"time_to_first_token\": null, \"time_to_generate\": null",
            Self::Taken => ", \"time_to_first_token\": 0.001, \"time_to_generate\": 0.001",
        }
    }
}

/// The usage of a run without a model.
pub(crate) fn none(clock: Clock) -> String {
    format!(
        "{{\"prompt_tokens\": 0, \"prompt_unit_price\": \"0.0\", \"prompt_price_unit\": \"0.0\", \
         \"prompt_price\": \"0.0\", \"completion_tokens\": 0, \"completion_unit_price\": \"0.0\", \
         \"completion_price_unit\": \"0.0\", \"completion_price\": \"0.0\", \"total_tokens\": 0, \
         \"total_price\": \"0.0\", \"currency\": \"USD\", \"latency\": 0.0{}}}",
        clock.fields()
    )
}

/// Tokens of every prompt, as the model counts them.
pub(crate) const PROMPT_TOKENS: u32 = 7;

/// The usage of a model that gave so many tokens.
pub(crate) fn of(tokens: u32, clock: Clock) -> String {
    of_calls(1, tokens, clock)
}

/// The usage of so many calls of the model that gave so many tokens together.
pub(crate) fn of_calls(calls: u32, tokens: u32, clock: Clock) -> String {
    let price = |each: u32| format!("{:.5}", f64::from(each * calls) / 100_000.0);
    let prompt = PROMPT_TOKENS * calls;
    format!(
        "{{\"prompt_tokens\": {prompt}, \"prompt_unit_price\": \"0.01\", \
         \"prompt_price_unit\": \"0.001\", \"prompt_price\": \"{}\", \
         \"completion_tokens\": {tokens}, \"completion_unit_price\": \"0.02\", \
         \"completion_price_unit\": \"0.001\", \"completion_price\": \"{}\", \
         \"total_tokens\": {}, \"total_price\": \"{}\", \"currency\": \"USD\", \
         \"latency\": 0.5{}}}",
        price(7),
        price(2),
        tokens + prompt,
        price(9),
        clock.fields()
    )
}

/// The usage of a stopped model: Dify knows the prices and no tokens.
pub(crate) fn stopped(latency: f64, clock: Clock) -> String {
    format!(
        "{{\"prompt_tokens\": 0, \"prompt_unit_price\": \"0.01\", \
         \"prompt_price_unit\": \"0.001\", \"prompt_price\": \"0E-7\", \
         \"completion_tokens\": 0, \"completion_unit_price\": \"0.02\", \
         \"completion_price_unit\": \"0.001\", \"completion_price\": \"0E-7\", \
         \"total_tokens\": 0, \"total_price\": \"0E-7\", \"currency\": \"USD\", \
         \"latency\": {}{}}}",
        super::nodes::seconds(latency),
        clock.fields()
    )
}

/// `metadata` around a usage; all are JSON text.
pub(crate) fn metadata(usage: &str, sources: &str, annotation: &str) -> String {
    format!(
        "{{\"annotation_reply\": {annotation}, \"retriever_resources\": {sources}, \"usage\": \
         {usage}}}"
    )
}

/// `execution_metadata` of a model node that gave so many tokens.
pub(crate) fn node_metadata(tokens: u32) -> String {
    format!(
        "{{\"total_tokens\": {}, \"total_price\": \"0.00009\", \"currency\": \"USD\"}}",
        tokens + PROMPT_TOKENS
    )
}
