//! How apps are offered to OpenAI and Anthropic clients.
//!
//! All of it stands at the top and may stand in an app, which then takes what it leaves out from the
//! top.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Token;
use crate::model::ai::{History, HumanInput, MadeFiles, Reasoning, System, Tasks, UserForm};
use crate::model::units::write_size;
use crate::model::value_schema;

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

/// A header with the end user as a JSON Web Token, signed with HS256: the user is its `sub`, else
/// its `email`, and it must have an `exp` in the future.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserJwt {
    /// The name of the header.
    #[serde(default = "jwt_header")]
    pub header: String,
    /// The signing secret: the secret itself, or `file:` and a path.
    #[schemars(schema_with = "value_schema::secret")]
    pub secret: Token,
}

fn jwt_header() -> String {
    "X-OpenWebUI-User-Jwt".to_owned()
}
