//! What is stored of a run.

use super::Turn;
use crate::app::{Flow, Mode};
use crate::db::{Conversation, Meeting, Message};
use crate::ran::RunEnd;
use crate::run::files;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// What the model calls every conversation.
pub(crate) const TITLE: &str = "A title";

/// Who names a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    ByModel,
    ByQuery,
}

impl Turn {
    pub(super) fn store(&mut self, meeting: Meeting, named: Named) {
        let mut db = self.shared.db();
        if self.app.app.mode == Mode::Workflow {
            return;
        }
        if !self.app.app.mode.has_conversations() {
            self.conversation = Uuid::nil();
        } else if db.conversations.get(self.conversation).is_none() {
            let name = match named {
                Named::ByModel => TITLE.to_owned(),
                Named::ByQuery => self.query.clone(),
            };
            let row = Conversation {
                app: self.app.id,
                user: self.user.clone(),
                lost: meeting == Meeting::Twin,
                name,
                inputs: self.inputs.clone(),
                language: "en".to_owned(),
                created_at: self.created_at,
                updated_at: self.created_at,
                changed: 0,
                messages: Vec::new(),
            };
            db.conversations.insert(self.conversation, row, self.query.len());
        }
        let row = Message {
            app: self.app.id,
            user: self.user.clone(),
            conversation: self.conversation,
            inputs: self.inputs.clone(),
            query: self.query.clone(),
            answer: String::new(),
            error: None,
            thought: None,
            files: self.files.iter().map(|file| (Uuid::new_v4(), file.clone())).collect(),
            answer_files: Vec::new(),
            paused_run: None,
            feedback: None,
            created_at: self.created_at,
        };
        // The answer echoes the query.
        db.messages.insert(self.message, row, 2 * self.query.len());
        let changed = db.change();
        if let Some(conversation) = db.conversations.get_mut(self.conversation) {
            self.turns_before = conversation.messages.len();
            conversation.messages.push(self.message);
            conversation.changed = changed;
            conversation.updated_at = self.created_at;
        }
    }

    /// Stores what the run came to. Dify cuts white space at both ends, later releases only where
    /// no nodes make the answer; a flow's picture links become files of its answer.
    pub(crate) fn save_answer(&self, answer: &str) {
        self.note(RunEnd::Succeeded);
        let later = self.release().is_restx();
        let shown =
            if later && self.flow() == Flow::Files { self.files.clone() } else { Vec::new() };
        if let Some(message) = self.shared.db().messages.get_mut(self.message) {
            message.answer = match self.app.app.mode {
                Mode::AdvancedChat if later => files::without_pictures(answer),
                _ => answer.trim().to_owned(),
            };
            message.answer_files = shown.into_iter().map(|file| (Uuid::new_v4(), file)).collect();
        }
    }

    /// Stores the error the run came to.
    pub(crate) fn save_error(&self, error: &str) {
        self.note(RunEnd::Failed);
        self.failed.store(true, Ordering::Relaxed);
        if let Some(message) = self.shared.db().messages.get_mut(self.message) {
            message.error = Some(error.to_owned());
        }
    }
}
