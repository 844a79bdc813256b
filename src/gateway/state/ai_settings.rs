//! How an app is offered to OpenAI and Anthropic clients, as its configuration says.

use http::HeaderName;

use crate::model::Token;
pub use crate::model::ai::{History, HumanInput, MadeFiles, Reasoning, System, Tasks, UserForm};

/// The settings of an app for AI clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AiSettings {
    /// The input variable that the question goes to, for apps without conversations; none: found.
    pub query_input: Option<String>,
    /// The output variable of a workflow that is the answer; none: found.
    pub answer_output: Option<String>,
    /// Where a system text goes.
    pub system: System,
    /// What becomes of reasoning.
    pub reasoning: Reasoning,
    /// What becomes of files that the app makes.
    pub files: MadeFiles,
    /// What becomes of a run that waits for a person.
    pub human_input: HumanInput,
    /// What becomes of titles, tags and the like.
    pub tasks: Tasks,
    /// The words of such calls, in lower case; none: `task::WORDS`.
    pub task_words: Option<Vec<String>>,
    /// Whether conversations are continued.
    pub history: History,
    /// The form of the users that Dify sees.
    pub users: UserForm,
    /// Headers with the id of a chat; the first that a request has counts.
    pub chat_id_headers: Vec<HeaderName>,
    /// Headers with the end user, believed of trusted keys; the first that a request has counts.
    pub user_headers: Vec<HeaderName>,
    /// The signed form of such a header, for `user_jwt::verify`; where it is set, the others are not
    /// believed.
    pub user_jwt: Option<UserJwt>,
    /// The largest request body, in bytes.
    pub max_body_bytes: u64,
}

/// A header with a signed end user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserJwt {
    /// The header.
    pub header: HeaderName,
    /// What it is signed with.
    pub secret: Token,
}
