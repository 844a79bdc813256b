//! What a simulated app is: its kind, its key, what it does with a question.
//!
//! Everything here is plain data with public fields. The defaults are those of the recorded apps.

mod flow;
mod form;
mod mode;

pub use flow::Flow;
pub use form::{Field, FieldKind};
pub use mode::Mode;
use std::fmt;

/// A name that is none of those there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    text: String,
}

impl Unknown {
    fn new<const N: usize>(what: &str, name: &str, names: [&str; N]) -> Self {
        Self { text: format!("there is no {what} {name:?}; there are {}", names.join(", ")) }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Unknown {}

/// One app and its key.
#[derive(Debug, Clone)]
pub struct App {
    /// The app key, as in `Authorization: Bearer <key>`.
    pub key: String,
    /// Its kind.
    pub mode: Mode,
    /// Its name in `GET /v1/info`; the key unless set.
    pub name: String,
    /// Its description in `GET /v1/info`.
    pub description: String,
    /// What it does.
    pub flow: Flow,
    /// The workspace it is in: `""` is the first one, others have an author of that name.
    pub workspace: String,
    /// Whether its API is switched off (403).
    pub disabled: bool,
    /// Whether `GET /v1/messages/:id/suggested` is switched on (and gives an empty list).
    pub suggested: bool,
    /// Runs at a time before Dify refuses with 400 `Too many requests.…`; `None` is no limit.
    pub max_active_requests: Option<usize>,
    /// Its input form; `None` is what its mode and flow had when recorded: input `text` and file
    /// `doc` for workflows, `query` for completions, `name` for echoing chatflows.
    pub form: Option<Vec<Field>>,
    /// The outputs of a workflow. The first is what the flow gives, each other
    /// `<name> of <first>`; none at all is `out` alone.
    pub outputs: Vec<String>,
    /// Types of files that `GET /v1/parameters` says it takes; empty is what was recorded: images
    /// and documents for flows, nothing for the others.
    pub uploads: Vec<String>,
    /// Whether it hears and speaks.
    pub speech: Speech,
    /// Which event ends a chatflow's stream.
    pub ending: Ending,
    /// Words it does not take, or does not say.
    pub moderation: Option<Moderation>,
    /// What it says before the first question, and questions to begin with.
    pub opening: Option<(String, Vec<String>)>,
    /// Its code and description as a server of the Model Context Protocol (1.12 and later), if it
    /// is one.
    pub mcp: Option<(String, String)>,
}

/// Words that are forbidden, and what is said instead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moderation {
    /// The words.
    pub words: Vec<String>,
    /// What is answered to a question that holds one; `None` lets questions pass.
    pub input: Option<String>,
    /// What replaces an answer that holds one; `None` lets answers pass.
    pub output: Option<String>,
}

impl Moderation {
    /// Whether the text holds one of the words.
    pub(crate) fn finds(&self, text: &str) -> bool {
        self.words.iter().any(|word| text.contains(word.as_str()))
    }
}

/// Whether an app hears and speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speech {
    /// Neither: `POST /v1/audio-to-text` and `/v1/text-to-audio` are refused, as recorded.
    #[default]
    Off,
    /// Both. What it hears it describes: `Heard 5 bytes of audio/wav in a.wav`, and refuses
    /// types that Dify 1.5.0 does not know (`audio/mpeg` among them) with 415; what it says is
    /// `audio/mpeg` that holds voice and text.
    On,
}

/// Which event ends the stream of a chatflow that ran well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// As its Dify does: from 1.13 on `workflow_finished`, before `message_end`.
    #[default]
    OfRelease,
    /// `workflow_finished`, then `message_end`.
    MessageEnd,
    /// `message_end`, then `workflow_finished`.
    WorkflowFinished,
}

impl App {
    /// An app of this kind: chatflows and workflows echo, the others speak as a model.
    #[must_use]
    pub fn new(mode: Mode, key: impl Into<String>) -> Self {
        let key = key.into();
        let flow = match mode {
            Mode::AdvancedChat | Mode::Workflow => Flow::Echo,
            Mode::Chat | Mode::AgentChat | Mode::Completion | Mode::Agent => Flow::Llm,
        };
        Self {
            name: key.clone(),
            key,
            mode,
            description: String::new(),
            flow,
            workspace: String::new(),
            disabled: false,
            suggested: matches!(mode, Mode::Chat | Mode::AgentChat | Mode::Agent),
            max_active_requests: None,
            form: None,
            outputs: Vec::new(),
            uploads: Vec::new(),
            speech: Speech::default(),
            ending: Ending::default(),
            moderation: None,
            opening: None,
            mcp: None,
        }
    }

    /// The same with words that are forbidden.
    #[must_use]
    pub fn with_moderation(mut self, moderation: Moderation) -> Self {
        self.moderation = Some(moderation);
        self
    }

    /// The same with an opening statement and questions to begin with.
    #[must_use]
    pub fn with_opening<'q>(
        mut self,
        statement: impl Into<String>,
        questions: impl IntoIterator<Item = &'q str>,
    ) -> Self {
        let questions = questions.into_iter().map(str::to_owned).collect();
        self.opening = Some((statement.into(), questions));
        self
    }

    /// The same as a server of the Model Context Protocol under this code, with a description.
    #[must_use]
    pub fn with_mcp(mut self, code: impl Into<String>, description: impl Into<String>) -> Self {
        self.mcp = Some((code.into(), description.into()));
        self
    }

    /// Who made it.
    pub(crate) fn author(&self) -> &str {
        if self.workspace.is_empty() { "admin" } else { &self.workspace }
    }

    /// The same under another name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The same doing something else.
    #[must_use]
    pub fn with_flow(mut self, flow: Flow) -> Self {
        self.flow = flow;
        self
    }

    /// The same with a limit of runs at a time.
    #[must_use]
    pub fn with_max_active_requests(mut self, limit: usize) -> Self {
        self.max_active_requests = Some(limit);
        self
    }

    /// The same in another workspace.
    #[must_use]
    pub fn with_workspace(mut self, workspace: impl Into<String>) -> Self {
        self.workspace = workspace.into();
        self
    }

    /// The same with its API switched off.
    #[must_use]
    pub fn with_api_disabled(mut self) -> Self {
        self.disabled = true;
        self
    }

    /// The same with this input form.
    #[must_use]
    pub fn with_form(mut self, form: impl Into<Vec<Field>>) -> Self {
        self.form = Some(form.into());
        self
    }

    /// The same with outputs of these names.
    #[must_use]
    pub fn with_outputs<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.outputs = names.into_iter().map(str::to_owned).collect();
        self
    }

    /// The same with files of these types: `image`, `document`, `audio`, `video`, `custom`.
    #[must_use]
    pub fn with_uploads<'t>(mut self, types: impl IntoIterator<Item = &'t str>) -> Self {
        self.uploads = types.into_iter().map(str::to_owned).collect();
        self
    }

    /// The same, hearing and speaking.
    #[must_use]
    pub fn with_speech(mut self) -> Self {
        self.speech = Speech::On;
        self
    }

    /// The same with another last event.
    #[must_use]
    pub fn with_ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }
}
