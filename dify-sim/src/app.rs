//! What a simulated app is: its kind, its key, what it does with a question.
//!
//! Everything here is plain data with public fields. The defaults are those of the recorded apps.

use crate::release::Release;

/// The kind of an app, as `GET /v1/info` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `chat`: a conversation with a model.
    Chat,
    /// `agent-chat`: streaming only.
    AgentChat,
    /// `advanced-chat`, called chatflow in Dify's console.
    AdvancedChat,
    /// `completion`: one answer, no conversation.
    Completion,
    /// `workflow`: inputs to outputs.
    Workflow,
    /// `agent`, the New Agent of Dify 1.16: streaming only, and at the end of a stream it sends the
    /// whole answer again. Made after Dify's documentation; there is no recording of it.
    Agent,
}

impl Mode {
    /// The name Dify gives it on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::AgentChat => "agent-chat",
            Self::AdvancedChat => "advanced-chat",
            Self::Completion => "completion",
            Self::Workflow => "workflow",
            Self::Agent => "agent",
        }
    }

    /// Whether its answers belong to a conversation.
    #[must_use]
    pub fn has_conversations(self) -> bool {
        matches!(self, Self::Chat | Self::AgentChat | Self::AdvancedChat | Self::Agent)
    }

    /// Whether it thinks aloud, and only in streams.
    pub(crate) fn is_agent(self) -> bool {
        matches!(self, Self::AgentChat | Self::Agent)
    }

    /// Whether nodes make the answer.
    pub(crate) fn is_flow(self) -> bool {
        matches!(self, Self::AdvancedChat | Self::Workflow)
    }
}

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

/// A field of an input form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name of the variable.
    pub name: String,
    /// Its kind.
    pub kind: FieldKind,
    /// Whether it must be given.
    pub required: bool,
    /// Characters it may have.
    pub max_length: Option<usize>,
}

/// The kind of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldKind {
    /// One line.
    TextInput,
    /// Several lines.
    Paragraph,
    /// One of these.
    Select(Vec<String>),
    /// A number.
    Number,
    /// One file.
    File,
    /// Several files.
    FileList,
}

impl Field {
    /// A field that may be left out, of any length.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: FieldKind) -> Self {
        Self { name: name.into(), kind, required: false, max_length: None }
    }

    /// The same, to be given always.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same with a limit of characters.
    #[must_use]
    pub fn with_max_length(mut self, characters: usize) -> Self {
        self.max_length = Some(characters);
        self
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.kind, FieldKind::File | FieldKind::FileList)
    }
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

    /// The fields of its input form.
    pub(crate) fn fields(&self, release: Release) -> Vec<Field> {
        if let Some(form) = &self.form {
            return form.clone();
        }
        let model = self.flow == Flow::Llm || self.flow == Flow::NoModel && release.is_restx();
        match (self.mode, self.flow) {
            (Mode::AdvancedChat, Flow::Echo) => {
                vec![Field::new("name", FieldKind::TextInput).with_max_length(48)]
            }
            (Mode::AdvancedChat, Flow::Greeting) => {
                vec![Field::new("name", FieldKind::TextInput).required().with_max_length(48)]
            }
            (Mode::Workflow, Flow::HumanInput) => {
                vec![Field::new("query", FieldKind::TextInput).required()]
            }
            (Mode::Workflow, Flow::FailBranch) => {
                vec![Field::new("text", FieldKind::TextInput).required()]
            }
            (Mode::Workflow, _) => vec![
                Field::new("text", FieldKind::TextInput).required().with_max_length(256),
                Field::new("doc", FieldKind::File),
            ],
            (Mode::Completion, _) if model => {
                vec![Field::new("query", FieldKind::Paragraph).required()]
            }
            _ => Vec::new(),
        }
    }
}
