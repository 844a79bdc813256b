//! Whether what stands in `ai` names variables and headers.

use http::HeaderName;

use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::raw::{RawAi, RawConfig, is_variable};
use crate::config::yaml::{Places, Step};

/// Checks `ai` at the top and of every app.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let key = Step::Key("ai");
    let top = AiCheck { path: vec![key], ai: &raw.ai, places };
    let apps = raw.apps.iter().map(|(name, app)| {
        let path = vec![Step::Key("apps"), Step::Key(name), key];
        AiCheck { path, ai: &app.ai, places }
    });
    for checker in std::iter::once(top).chain(apps) {
        checker.variables(sink);
        checker.headers(sink);
        checker.words(sink);
    }
}

/// Where `ai` may stand.
pub(super) fn paths(raw: &RawConfig) -> impl Iterator<Item = Vec<Step<'_>>> {
    let apps = raw.apps.keys();
    let of_apps = apps.map(|name| vec![Step::Key("apps"), Step::Key(name), Step::Key("ai")]);
    std::iter::once(vec![Step::Key("ai")]).chain(of_apps)
}

struct AiCheck<'a> {
    path: Vec<Step<'a>>,
    ai: &'a RawAi,
    places: &'a Places<'a>,
}

impl<'a> AiCheck<'a> {
    fn error(&self, below: &[Step<'a>], message: &str, hint: &str) -> DiagnosticBuilder {
        let path = [&self.path[..], below].concat();
        DiagnosticBuilder::error(self.places.value(&path), message).hint(hint)
    }

    fn variables(&self, sink: &mut DiagnosticSink) {
        let (input, output) = (&self.ai.query_input, &self.ai.answer_output);
        for (key, name) in [("query_input", input), ("answer_output", output)] {
            if name.as_ref().is_some_and(|name| !is_variable(name)) {
                let message = "this is not the name of a variable";
                let hint = "a name has letters, digits and `_`, as in Dify";
                sink.add(self.error(&[Step::Key(key)], message, hint));
            }
        }
    }

    fn words(&self, sink: &mut DiagnosticSink) {
        for (index, word) in self.ai.task_words.iter().flatten().enumerate() {
            if word.trim().is_empty() {
                let hint = "remove it: every text contains it";
                let at = [Step::Key("task_words"), Step::Item(index)];
                sink.add(self.error(&at, "this word is empty", hint));
            }
        }
    }

    fn headers(&self, sink: &mut DiagnosticSink) {
        let jwt = self.ai.user_jwt.as_ref();
        let lists = [
            ("chat_id_headers", &self.ai.chat_id_headers),
            ("user_headers", &self.ai.user_headers),
        ];
        let named = lists.into_iter().flat_map(|(key, names)| {
            let names = names.iter().flatten().enumerate();
            names.map(move |(index, name)| (vec![Step::Key(key), Step::Item(index)], name))
        });
        let signed = jwt.map(|jwt| (vec![Step::Key("user_jwt"), Step::Key("header")], &jwt.header));
        for (below, name) in named.chain(signed) {
            if name.parse::<HeaderName>().is_err() {
                let hint = "a name has letters, digits and `-`, such as `X-Chat-Id`";
                sink.add(self.error(&below, "this is not the name of a header", hint));
            }
        }
        if jwt.is_some_and(|jwt| jwt.secret.expose().is_empty()) {
            let below = [Step::Key("user_jwt"), Step::Key("secret")];
            let hint = "write the front end's signing secret: with an empty one anybody could sign";
            sink.add(self.error(&below, "the secret of `user_jwt` is empty", hint));
        }
    }
}
