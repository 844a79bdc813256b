//! Input forms.

use super::{App, Flow, Mode};
use crate::release::Release;

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
