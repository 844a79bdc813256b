//! How apps are offered to OpenAI and Anthropic clients.
//!
//! All of it stands at the top and may stand in an app, which then takes what it leaves out from the
//! top.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::scalar::{from_text, size, write_size};
use super::schema;
use crate::model::Token;
use crate::model::ai::{History, HumanInput, MadeFiles, Reasoning, System, Tasks, UserForm};

const GIB: u64 = 1 << 30;

/// How OpenAI and Anthropic clients see an app, every default filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ai {
    /// The input variable that the question goes to; `None`: found.
    pub query_input: Option<String>,
    /// The output variable of a workflow that is the answer; `None`: found.
    pub answer_output: Option<String>,
    /// Where a client's system text goes.
    pub system: System,
    /// What becomes of the app's reasoning.
    pub reasoning: Reasoning,
    /// What becomes of files that the app makes.
    pub files: MadeFiles,
    /// What becomes of a run that waits for a person.
    pub human_input: HumanInput,
    /// What becomes of calls that a chat front end makes for itself.
    pub tasks: Tasks,
    /// The words by which such calls are known; `None`: the gateway's own.
    pub task_words: Option<Vec<String>>,
    /// Whether conversations are continued.
    pub history: History,
    /// The form of the end users that Dify sees.
    pub users: UserForm,
    /// Names of headers with the id of a chat.
    pub chat_id_headers: Vec<String>,
    /// Names of headers with the end user.
    pub user_headers: Vec<String>,
    /// The signed form of such a header.
    pub user_jwt: Option<UserJwt>,
    /// The largest request body, in bytes.
    #[serde(serialize_with = "write_size")]
    pub max_body: u64,
}

impl Default for Ai {
    fn default() -> Self {
        Self {
            query_input: None,
            answer_output: None,
            system: System::default(),
            reasoning: Reasoning::default(),
            files: MadeFiles::default(),
            human_input: HumanInput::default(),
            tasks: Tasks::default(),
            task_words: None,
            history: History::default(),
            users: UserForm::default(),
            chat_id_headers: vec!["X-OpenWebUI-Chat-Id".to_owned()],
            user_headers: vec!["X-OpenWebUI-User-Id".to_owned()],
            user_jwt: None,
            max_body: 32 << 20,
        }
    }
}

/// A header with the end user as a JSON Web Token, signed with HS256: the user is its `sub`, else its
/// `email`, and it must have an `exp` that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserJwt {
    /// The name of the header.
    #[serde(default = "jwt_header")]
    pub header: String,
    /// What it is signed with: the secret itself, or `file:` and a path.
    #[schemars(schema_with = "schema::secret")]
    pub secret: Token,
}

fn jwt_header() -> String {
    "X-OpenWebUI-User-Jwt".to_owned()
}

/// How apps are offered to OpenAI and Anthropic clients. An app takes what it leaves out from the
/// top.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "Ai")]
pub(super) struct WrittenAi {
    /// The input variable of a completion or workflow app that the question goes to; absent: found
    /// from what Dify says of the app.
    pub(super) query_input: Option<String>,
    /// The output variable of a workflow that is the answer, for workflows with several: it comes
    /// whole at the end, since Dify does not say of which output a piece of text is. Absent: the
    /// pieces as they come.
    pub(super) answer_output: Option<String>,
    /// Where a client's system text goes: `ignore` it, `prefix` the first question with it, put it
    /// into an `input:` variable, or `auto`: into the variable `system_prompt`, `system` or
    /// `instructions`, if the app has one, else as `prefix`; absent: `auto`.
    #[serde(deserialize_with = "system")]
    #[schemars(schema_with = "schema::system")]
    pub(super) system: Option<System>,
    /// What becomes of an app's reasoning: beside the answer as `reasoning_content`, `inline` in it
    /// between `<think>` tags, or `drop`; absent: `reasoning_content`.
    pub(super) reasoning: Option<Reasoning>,
    /// What becomes of files that an app makes: `markdown` after the answer, or `drop`; absent:
    /// `markdown`.
    pub(super) files: Option<MadeFiles>,
    /// What becomes of a run that waits for a person (Dify 1.13 and later): `tell` the text of its
    /// form and how to submit it as the rest of the answer, or `error`: 502 `human_input_required`;
    /// absent: `tell`.
    pub(super) human_input: Option<HumanInput>,
    /// What becomes of calls that a chat front end makes for itself (title, tags, questions that may
    /// follow): `aside` in a conversation of their own, `in_chat` as any other turn, or `refuse`;
    /// absent: `aside`.
    pub(super) tasks: Option<Tasks>,
    /// Words by which such a call is known where its shape alone does not say it, in any case: of ASCII
    /// letters the beginning of a word, else anywhere. They are looked for in what is asked about a
    /// chat, not in the chat itself. Absent: those in [openai.md](openai.md#side-calls); empty: none.
    pub(super) task_words: Option<Vec<String>>,
    /// Whether an answer continues the conversation of Dify whose end the client's transcript
    /// continues (`auto`), or always begins a new one with the transcript (`stateless`); absent:
    /// `auto`.
    pub(super) history: Option<History>,
    /// The end users that Dify sees: `keyed` as `<key>:<user>`, or `open_webui` as OpenDify has them,
    /// `open_webui_<user>`; absent: `keyed`.
    pub(super) users: Option<UserForm>,
    /// Headers with the id of a chat, the first that is there counts; absent:
    /// `[X-OpenWebUI-Chat-Id]`.
    pub(super) chat_id_headers: Option<Vec<String>>,
    /// Headers with the end user, the first that is there counts, and only with a key that is a
    /// `trusted_proxy`; absent: `[X-OpenWebUI-User-Id]`.
    pub(super) user_headers: Option<Vec<String>>,
    /// A signed header with the end user, in place of `user_headers` and with every key: without a
    /// valid one a request is refused (401); absent: none.
    pub(super) user_jwt: Option<UserJwt>,
    /// The largest request body, files in data URLs counted and compression undone; a larger one is
    /// refused with 413. It is held in memory as a whole, and `limits.max_body` holds as well; absent:
    /// 32MiB.
    #[serde(deserialize_with = "max_body", serialize_with = "write_max_body")]
    #[schemars(schema_with = "schema::size")]
    pub(super) max_body: Option<u64>,
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

impl WrittenAi {
    /// Fills what is left out.
    pub(super) fn or(self, above: &Ai) -> Ai {
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
pub(super) fn is_variable(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || c == '_';
    (1..=100).contains(&name.chars().count()) && name.chars().all(fits)
}
