//! What apps do with a question.

use super::{Mode, Unknown};
use std::str::FromStr;

/// What an app does with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Chatflow: answers `You said: <query>`; workflow: input `text` becomes output `out`.
    Echo,
    /// Answers `Echo: <query>` word by word, as a model would (workflow: of its first text input,
    /// as `text_chunk` events and as its first output), and names the files given, each as
    /// `[image a.png image/png 69 bytes local_file]` or `[image https://a/b.png remote_url]`.
    ///
    /// What the last line of the query says, the model does. `tokens 40 0.25` gives 40 tokens with
    /// 0.25 s between them (`tokens 40`: at the pace of the set-up). `recall` at its end answers
    /// `Recall: <query> | <query>` with the turns the conversation held before, `Recall: nothing`
    /// if there were none. With `error400`, `error401`, `error429`, `error500`, `errconn` or
    /// `errmid` in it the model fails as the recorded one did; `slowname` makes naming the
    /// conversation take 4 s. These words add to an answer, and may stand together:
    ///
    /// - `with-think`: `<think>` text before it, its tags split between events;
    /// - `with-reasoning`: `reasoning_chunk` events before it (flows, Dify 1.16);
    /// - `with-tool`: a first thought that calls a tool, in three `agent_thought` events (agents);
    /// - `with-picture`: a `message_file` event after it (not workflows);
    /// - `with-replacement`: `message_replace` (workflow: `text_replace`) after it;
    /// - `with-sources`: two `retriever_resources` at the end.
    Llm,
    /// Chatflow: `Before the wait. After: slept N.0`, where the query (workflow: input `text`) is
    /// N, the seconds to wait.
    Slow,
    /// Chatflow: `After: slept N.0`, without any text of its own before the wait.
    SlowFirst,
    /// Chatflow: names the files given, the query, the conversation and the user.
    Files,
    /// The second node of the flow fails.
    Failing,
    /// Chatflow: answers `Hello <name>: <query>`, where `name` is a required input.
    Greeting,
    /// Waits for a human who fills a form (1.13 and later). Workflow: input `query`, output
    /// `comment`; chatflow: answers `Got <comment> for <query>`.
    HumanInput,
    /// Chatflow: a model call for each file given.
    Iteration,
    /// Chatflow: three rounds with a model call in each.
    Loop,
    /// Chatflow: two models side by side.
    Parallel,
    /// The second node fails, and its default values are taken: `partial-succeeded`.
    DefaultValue,
    /// Workflow: the second node fails, and another branch is taken: `partial-succeeded`.
    FailBranch,
    /// Chatflow: the second node fails, also when tried again twice.
    Retry,
    /// A model app whose model was never chosen: 400, or from 1.12 on any model of the workspace.
    NoModel,
    /// A chatflow or workflow that was never published.
    Unpublished,
}

impl Flow {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Echo,
        Self::Llm,
        Self::Slow,
        Self::SlowFirst,
        Self::Files,
        Self::Failing,
        Self::Greeting,
        Self::HumanInput,
        Self::Iteration,
        Self::Loop,
        Self::Parallel,
        Self::DefaultValue,
        Self::FailBranch,
        Self::Retry,
        Self::NoModel,
        Self::Unpublished,
    ];

    /// Whether apps of this mode have it; in another it would change nothing.
    #[must_use]
    pub fn is_of(self, mode: Mode) -> bool {
        match mode {
            Mode::AdvancedChat => self != Self::NoModel,
            Mode::Workflow => matches!(
                self,
                Self::Echo
                    | Self::Llm
                    | Self::Slow
                    | Self::SlowFirst
                    | Self::Failing
                    | Self::FailBranch
                    | Self::DefaultValue
                    | Self::HumanInput
                    | Self::Unpublished
            ),
            Mode::Chat | Mode::AgentChat | Mode::Completion | Mode::Agent => {
                matches!(self, Self::Llm | Self::NoModel)
            }
        }
    }

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Llm => "llm",
            Self::Slow => "slow",
            Self::SlowFirst => "slow-first",
            Self::Files => "files",
            Self::Failing => "failing",
            Self::Greeting => "greeting",
            Self::HumanInput => "human-input",
            Self::Iteration => "iteration",
            Self::Loop => "loop",
            Self::Parallel => "parallel",
            Self::DefaultValue => "default-value",
            Self::FailBranch => "fail-branch",
            Self::Retry => "retry",
            Self::NoModel => "no-model",
            Self::Unpublished => "unpublished",
        }
    }
}

impl FromStr for Flow {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        let found = Self::ALL.into_iter().find(|flow| flow.name() == name);
        found.ok_or_else(|| Unknown::new("flow", name, Self::ALL.map(Self::name)))
    }
}
