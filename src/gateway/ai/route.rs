//! Which call of which protocol a request is, by method and path alone.
//!
//! OpenAI's, Anthropic's and Dify's paths live under one `/v1`: they clash in next to nothing, and
//! where a path is the same the method tells them apart. Prefixes say it without any doubt.

use http::Method;

use crate::adapter::Protocol;

/// A call of an AI client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call<'a> {
    /// `GET /v1/models`
    Models,
    /// `GET /v1/models/<id>`; the id as in the path.
    Model(&'a str),
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completion,
    /// `POST /v1/responses`
    Response,
    /// `POST /v1/messages`
    Message,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST /v1/audio/transcriptions`
    Transcription,
    /// `POST /v1/audio/speech`
    Speech,
    /// `GET /v1/conversation/mappings`, of OpenDify.
    Mappings,
    /// `POST /v1/conversation/cleanup`, of OpenDify.
    Cleanup,
    /// Nothing that is served, below a prefix that leaves no doubt of the protocol.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathMatch<'a> {
    /// Dify's own API; the path without the prefix, if there was one.
    Dify(&'a str),
    /// A call of an AI client, and its protocol.
    Ai(AiRoute<'a>),
}

/// A call of an AI client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AiRoute<'a> {
    pub(super) call: Call<'a>,
    /// How it is told of errors.
    pub(crate) protocol: Protocol,
}

/// What a path leads to. A prefix without anything below it is Dify's business, or nobody's.
pub(crate) fn match_path<'a>(method: &Method, path: &'a str) -> PathMatch<'a> {
    if let Some(rest) = below(path, "/dify") {
        return PathMatch::Dify(rest);
    }
    let (rest, protocol) = match (below(path, "/openai"), below(path, "/anthropic")) {
        (Some(rest), _) => (rest, Some(Protocol::OpenAi)),
        (_, Some(rest)) => (rest, Some(Protocol::Anthropic)),
        _ => (path, None),
    };
    let wanted = |call: &Call<'_>, found: Protocol| {
        let is_of_both = matches!(call, Call::Models | Call::Model(_));
        is_of_both || protocol.is_none_or(|protocol| protocol == found)
    };
    match call(method, rest).filter(|(call, found)| wanted(call, *found)) {
        Some((call, found)) => PathMatch::Ai(AiRoute { call, protocol: protocol.unwrap_or(found) }),
        None => match protocol {
            Some(protocol) => PathMatch::Ai(AiRoute { call: Call::Unknown, protocol }),
            None => PathMatch::Dify(path),
        },
    }
}

/// The path that an AI client means, where it has written it in another way: with doubled slashes,
/// a slash at the end, or `/v1` twice. None if it means no route, or is written as it should be.
pub(crate) fn tidied(method: &Method, path: &str) -> Option<String> {
    if !is_careless(path.as_bytes())
        || matches!(match_path(method, path), PathMatch::Ai(AiRoute { call, .. }) if call != Call::Unknown)
    {
        return None;
    }
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut tidy = String::with_capacity(path.len());
    let mut before = "";
    for part in parts {
        if !(part == "v1" && before == "v1") {
            tidy.push('/');
            tidy.push_str(part);
        }
        before = part;
    }
    let is_one = tidy != path
        && matches!(match_path(method, &tidy), PathMatch::Ai(AiRoute { call, .. }) if call != Call::Unknown);
    is_one.then_some(tidy)
}

/// Whether there is anything to tidy. Asked of every request.
fn is_careless(path: &[u8]) -> bool {
    let prefix =
        [&b"/openai"[..], b"/anthropic"].into_iter().find_map(|name| path.strip_prefix(name));
    path.ends_with(b"/")
        || prefix.unwrap_or(path).starts_with(b"/v1/v1/")
        || path.windows(2).any(|two| two == b"//")
}

impl AiRoute<'_> {
    /// The same, for a client of Anthropic's: one that asks for models says so by its version alone.
    pub(crate) fn in_anthropic_protocol(self) -> Self {
        let is_of_both = matches!(self.call, Call::Models | Call::Model(_));
        let protocol = if is_of_both { Protocol::Anthropic } else { self.protocol };
        Self { protocol, ..self }
    }

    /// A path that no protocol of AI clients has here, asked for by a client of one.
    pub(crate) fn unknown(protocol: Protocol) -> AiRoute<'static> {
        AiRoute { call: Call::Unknown, protocol }
    }
}

/// What follows a prefix, from its `/v1` on.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.starts_with("/v1/"))
}

fn call<'a>(method: &Method, path: &'a str) -> Option<(Call<'a>, Protocol)> {
    let path = path.strip_prefix("/v1/")?;
    let is_get = matches!(*method, Method::GET | Method::HEAD);
    if is_get {
        let call = match path {
            "models" => Call::Models,
            "conversation/mappings" => Call::Mappings,
            _ => Call::Model(path.strip_prefix("models/").filter(|id| !id.is_empty())?),
        };
        return Some((call, Protocol::OpenAi));
    }
    if *method != Method::POST {
        return None;
    }
    Some(match path {
        "chat/completions" => (Call::Chat, Protocol::OpenAi),
        "completions" => (Call::Completion, Protocol::OpenAi),
        "responses" => (Call::Response, Protocol::OpenAi),
        "audio/transcriptions" => (Call::Transcription, Protocol::OpenAi),
        "audio/speech" => (Call::Speech, Protocol::OpenAi),
        "conversation/cleanup" => (Call::Cleanup, Protocol::OpenAi),
        "messages" => (Call::Message, Protocol::Anthropic),
        "messages/count_tokens" => (Call::CountTokens, Protocol::Anthropic),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::{AiRoute, Call, PathMatch, match_path, tidied};
    use crate::adapter::Protocol;

    #[test]
    fn a_path_may_be_written_carelessly() {
        let (get, post) = (Method::GET, Method::POST);
        for (method, path, expected) in [
            (&post, "/v1/chat/completions/", Some("/v1/chat/completions")),
            (&post, "//v1//chat/completions", Some("/v1/chat/completions")),
            (&post, "/v1/v1/chat/completions", Some("/v1/chat/completions")),
            (&post, "/openai/v1/v1/responses/", Some("/openai/v1/responses")),
            (&post, "/v1/v1/messages", Some("/v1/messages")),
            (&get, "/v1/models/", Some("/v1/models")),
            (&post, "/v1/chat/completions", None),
            (&get, "/v1/messages/", None),
            (&post, "/v1/chat-messages/", None),
            (&get, "//v1/info", None),
            (&post, "/dify/v1/messages/", None),
        ] {
            assert_eq!(tidied(method, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn method_and_path_name_the_protocol() {
        let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
        let open = |call| PathMatch::Ai(AiRoute { call, protocol: Protocol::OpenAi });
        let anthropic = |call| PathMatch::Ai(AiRoute { call, protocol: Protocol::Anthropic });
        for (method, path, expected) in [
            (&post, "/v1/chat/completions", open(Call::Chat)),
            (&post, "/openai/v1/chat/completions", open(Call::Chat)),
            (&get, "/v1/models", open(Call::Models)),
            (&get, "/v1/models/a/b", open(Call::Model("a/b"))),
            (&post, "/v1/messages", anthropic(Call::Message)),
            (&post, "/anthropic/v1/messages", anthropic(Call::Message)),
            (&get, "/v1/messages", PathMatch::Dify("/v1/messages")),
            (&post, "/dify/v1/messages", PathMatch::Dify("/v1/messages")),
            (&post, "/openai/v1/messages", open(Call::Unknown)),
            (&post, "/openai/v1/embeddings", open(Call::Unknown)),
            (&post, "/v1/embeddings", PathMatch::Dify("/v1/embeddings")),
            (&delete, "/v1/conversations/1", PathMatch::Dify("/v1/conversations/1")),
            (&post, "/v1/chat-messages", PathMatch::Dify("/v1/chat-messages")),
            (&get, "/v1/models/", PathMatch::Dify("/v1/models/")),
            (&get, "/openai", PathMatch::Dify("/openai")),
            (&post, "/v1/responses", open(Call::Response)),
        ] {
            assert_eq!(match_path(method, path), expected, "{method} {path}");
        }
    }
}
