//! How apps are offered to OpenAI and Anthropic clients, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::ai::{Ai, UserJwt};
use crate::model::ai::{History, HumanInput, MadeFiles, Reasoning, System, Tasks, UserForm};
use crate::model::units::{from_text, size, write_size};
use crate::model::value_schema;

const GIB: u64 = 1 << 30;

/// The AI endpoints (OpenAI's and Anthropic's protocols). An app inherits what it leaves out from
/// the top.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "Ai")]
pub(crate) struct RawAi {
    /// Input variable of a completion or workflow app that receives the question; absent: found
    /// from the app's description in Dify.
    pub(crate) query_input: Option<String>,
    /// Output variable of a workflow that is the answer, for workflows with several: it comes whole
    /// at the end, since Dify does not say which output a piece of text belongs to. Absent: the
    /// pieces as they arrive.
    pub(crate) answer_output: Option<String>,
    /// What to do with a client's system message: `ignore` it, `prefix` the first question with it,
    /// put it into an `input:` variable, or `auto`: into the variable `system_prompt`, `system` or
    /// `instructions`, if the app has one, else as `prefix`; absent: `auto`.
    #[serde(deserialize_with = "system")]
    #[schemars(schema_with = "value_schema::system")]
    pub(crate) system: Option<System>,
    /// What to do with an app's reasoning: send it as `reasoning_content` beside the answer,
    /// `inline` between `<think>` tags, or `drop` it; absent: `reasoning_content`.
    pub(crate) reasoning: Option<Reasoning>,
    /// What to do with files that an app generates: `markdown` links after the answer, or `drop`;
    /// absent: `markdown`.
    pub(crate) files: Option<MadeFiles>,
    /// What to do with a run that waits for a person (Dify 1.13 and later): `tell` the client the
    /// form and how to submit it, as the rest of the answer, or `error`: 502
    /// `human_input_required`; absent: `tell`.
    pub(crate) human_input: Option<HumanInput>,
    /// What to do with side calls of chat front ends (titles, tags, suggested questions): `aside`
    /// runs them in a separate conversation, `in_chat` like any other turn, `refuse` rejects them;
    /// absent: `aside`.
    pub(crate) tasks: Option<Tasks>,
    /// Words that identify a side call when its form alone does not, in any case: those of ASCII
    /// letters match the beginning of a word, others anywhere. They are searched in what is asked
    /// about a chat, not in the chat itself. Absent: those in [openai.md](openai.md#side-calls);
    /// empty: none.
    pub(crate) task_words: Option<Vec<String>>,
    /// Whether a request continues the Dify conversation that the client's transcript belongs to
    /// (`auto`), or always starts a new one with the transcript (`stateless`); absent: `auto`.
    pub(crate) history: Option<History>,
    /// End users as Dify sees them: `keyed` is `<key>:<user>`, `open_webui` is OpenDify's form,
    /// `open_webui_<user>`; absent: `keyed`.
    pub(crate) users: Option<UserForm>,
    /// Headers with the chat id; the first present one is used; absent: `[X-OpenWebUI-Chat-Id]`.
    pub(crate) chat_id_headers: Option<Vec<String>>,
    /// Headers with the end user; the first present one is used, and only with a `trusted_proxy`
    /// key; absent: `[X-OpenWebUI-User-Id]`.
    pub(crate) user_headers: Option<Vec<String>>,
    /// Signed header with the end user, instead of `user_headers` and for every key: requests
    /// without a valid one get 401; absent: none.
    pub(crate) user_jwt: Option<UserJwt>,
    /// Largest request body, decompressed and including files in data URLs; a larger one gets 413.
    /// It is held in memory as a whole, and `limits.max_body` applies as well; absent: 32MiB.
    #[serde(deserialize_with = "max_body", serialize_with = "write_max_body")]
    #[schemars(schema_with = "value_schema::size")]
    pub(crate) max_body: Option<u64>,
}

fn max_body<'de, D: Deserializer<'de>>(de: D) -> Result<Option<u64>, D::Error> {
    size::<D, u64, 1024, GIB>(de).map(Some)
}

fn write_max_body<S: Serializer>(bytes: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => write_size(bytes, serializer),
        None => serializer.serialize_none(),
    }
}

impl RawAi {
    /// Fills what is left out.
    pub(crate) fn or(self, above: &Ai) -> Ai {
        let above = above.clone();
        Ai {
            query_input: self.query_input.or(above.query_input),
            answer_output: self.answer_output.or(above.answer_output),
            system: self.system.unwrap_or(above.system),
            reasoning: self.reasoning.unwrap_or(above.reasoning),
            files: self.files.unwrap_or(above.files),
            human_input: self.human_input.unwrap_or(above.human_input),
            tasks: self.tasks.unwrap_or(above.tasks),
            task_words: self.task_words.or(above.task_words),
            history: self.history.unwrap_or(above.history),
            users: self.users.unwrap_or(above.users),
            chat_id_headers: self.chat_id_headers.unwrap_or(above.chat_id_headers),
            user_headers: self.user_headers.unwrap_or(above.user_headers),
            user_jwt: self.user_jwt.or(above.user_jwt),
            max_body: self.max_body.unwrap_or(above.max_body),
        }
    }
}

fn system<'de, D: Deserializer<'de>>(de: D) -> Result<Option<System>, D::Error> {
    from_text(de, |text| match text {
        "auto" => Ok(Some(System::Auto)),
        "ignore" => Ok(Some(System::Ignore)),
        "prefix" => Ok(Some(System::Prefix)),
        _ => match text.strip_prefix("input:") {
            Some(name) if is_variable(name) => Ok(Some(System::Input(name.to_owned()))),
            _ => Err("must be `auto`, `ignore`, `prefix` or `input:` and a variable's name, such \
                      as `input:instructions`"
                .to_owned()),
        },
    })
}

/// Whether Dify could have a variable of this name.
pub(crate) fn is_variable(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || c == '_';
    (1..=100).contains(&name.chars().count()) && name.chars().all(fits)
}
