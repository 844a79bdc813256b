//! The data of one instance: what stands in PostgreSQL and on disk of a real one.
//!
//! All ids are random, so an id of one instance means nothing to another. Every table keeps its
//! last 100,000 rows and 64 MiB of text, so that a long load test does not grow without end.

use crate::run::files::Attached;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use uuid::Uuid;

/// Rows kept of each kind.
const LIMIT: usize = 100_000;
/// Bytes of text and content kept of each kind.
const WEIGHT_LIMIT: usize = 64 * 1024 * 1024;

/// A table: rows by id, the oldest ones dropped beyond the limits.
pub(crate) struct Table<T> {
    rows: HashMap<Uuid, T>,
    /// Each row's id and weight, oldest first.
    order: VecDeque<(Uuid, usize)>,
    weight: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: HashMap::new(), order: VecDeque::new(), weight: 0 }
    }
}

impl<T> Table<T> {
    /// Adds a row that holds about so many bytes.
    pub(crate) fn insert(&mut self, id: Uuid, row: T, weight: usize) {
        while self.order.len() >= LIMIT || self.weight + weight > WEIGHT_LIMIT {
            let Some((oldest, weight)) = self.order.pop_front() else { break };
            self.rows.remove(&oldest);
            self.weight -= weight;
        }
        self.order.push_back((id, weight));
        self.weight += weight;
        self.rows.insert(id, row);
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<&T> {
        self.rows.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: Uuid) -> Option<&mut T> {
        self.rows.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: Uuid) -> Option<T> {
        self.rows.remove(&id)
    }

    /// All rows, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (Uuid, &T)> {
        self.order.iter().filter_map(|(id, _)| Some((*id, self.rows.get(id)?)))
    }
}

#[derive(Default)]
pub(crate) struct Db {
    users: HashMap<(Uuid, String), Uuid>,
    pub(crate) conversations: Table<Conversation>,
    pub(crate) messages: Table<Message>,
    pub(crate) files: Table<File>,
    pub(crate) runs: Table<Run>,
    pub(crate) annotations: Table<Annotation>,
    changes: u64,
}

pub(crate) struct Conversation {
    pub(crate) app: Uuid,
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) inputs: Value,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    /// The order of changes, finer than the seconds above.
    pub(crate) changed: u64,
    pub(crate) messages: Vec<Uuid>,
}

pub(crate) struct Message {
    pub(crate) app: Uuid,
    pub(crate) user: String,
    /// The nil id for a completion.
    pub(crate) conversation: Uuid,
    pub(crate) inputs: Value,
    pub(crate) query: String,
    /// Empty until the run has ended well, or was stopped.
    pub(crate) answer: String,
    /// An error the model gave, if any.
    pub(crate) error: Option<String>,
    /// What an agent thought: its id and text.
    pub(crate) thought: Option<(Uuid, String)>,
    /// The files given with it, each with the id of the row that ties it to the message.
    pub(crate) files: Vec<(Uuid, Attached)>,
    pub(crate) feedback: Option<Feedback>,
    pub(crate) created_at: i64,
}

pub(crate) struct Feedback {
    pub(crate) id: Uuid,
    pub(crate) rating: String,
    pub(crate) content: Option<String>,
    pub(crate) created_at: i64,
}

#[derive(Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) extension: String,
    pub(crate) mime_type: String,
    pub(crate) created_at: i64,
    /// Its first 64 KiB.
    pub(crate) content: Vec<u8>,
    /// The signed URL made at the upload, as it stays in flows that use the file.
    pub(crate) url: String,
}

/// A run of a workflow app.
pub(crate) struct Run {
    pub(crate) app: Uuid,
    pub(crate) workflow: Uuid,
    pub(crate) published: String,
    pub(crate) user: String,
    pub(crate) user_id: Uuid,
    /// JSON texts, as Dify stores and gives them.
    pub(crate) inputs: String,
    pub(crate) outputs: Option<String>,
    /// `running`, `succeeded`, `failed` or `stopped`.
    pub(crate) status: &'static str,
    pub(crate) error: Option<String>,
    pub(crate) steps: u32,
    pub(crate) tokens: u32,
    pub(crate) created_at: i64,
    pub(crate) finished_at: Option<i64>,
    pub(crate) elapsed: f64,
    /// The id of its line in the log; runs without an end have none.
    pub(crate) log: Option<(Uuid, i64)>,
}

pub(crate) struct Annotation {
    pub(crate) app: Uuid,
    pub(crate) question: String,
    pub(crate) answer: String,
    pub(crate) created_at: i64,
}

impl Db {
    /// The id of the end user behind a `user` of an app, made on first sight.
    pub(crate) fn user(&mut self, app: Uuid, user: &str) -> Uuid {
        if self.users.len() >= LIMIT {
            self.users.clear();
        }
        *self.users.entry((app, user.to_owned())).or_insert_with(Uuid::new_v4)
    }

    /// A number larger than all before.
    pub(crate) fn change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    /// The conversation, if it is one of this app and user.
    pub(crate) fn conversation(&self, id: Uuid, app: Uuid, user: &str) -> Option<&Conversation> {
        self.conversations.get(id).filter(|row| row.app == app && row.user == user)
    }

    /// The message, if it is one of this app and user.
    pub(crate) fn message(&self, id: Uuid, app: Uuid, user: &str) -> Option<&Message> {
        self.messages.get(id).filter(|row| row.app == app && row.user == user)
    }
}
