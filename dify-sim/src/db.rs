//! The data of one instance: what stands in PostgreSQL and on disk of a real one.
//!
//! All ids are random, so an id of one instance means nothing to another. Every table keeps its
//! last 100,000 rows and 64 MiB of text, so that a long load test does not grow without end.

use crate::api::datasets::Dataset;
use crate::clock::now;
use crate::live::Live;
use crate::run::files::Attached;
use crate::run::human::Filled;
use crate::run::nodes::Node;
use crate::run::turn::Turn;
use serde_json::Value;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// Rows kept of each kind.
const LIMIT: usize = 100_000;
/// Forms kept.
const FORM_LIMIT: usize = 10_000;
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
    users: HashMap<(Uuid, String), User>,
    pub(crate) conversations: Table<Conversation>,
    pub(crate) messages: Table<Message>,
    pub(crate) files: Table<File>,
    pub(crate) runs: Table<Run>,
    pub(crate) annotations: Table<Annotation>,
    /// Apps whose questions annotations may answer.
    pub(crate) annotation_replies: HashSet<Uuid>,
    /// Jobs that switched that on or off, each with its app.
    pub(crate) jobs: Table<Uuid>,
    pub(crate) forms: Forms,
    pub(crate) datasets: Table<Dataset>,
    changes: u64,
}

/// Twins that a user gets who comes several times before their first request is through.
const TWINS: u8 = 2;

/// An end user of an app.
struct User {
    id: Uuid,
    created_at: i64,
    /// While their first request is under way: the twins so far.
    arriving: Option<u8>,
}

/// Who a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EndUser {
    pub(crate) id: Uuid,
    pub(crate) meeting: Meeting,
}

/// Whether a user was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Meeting {
    #[default]
    Known,
    /// Nobody knows them before this request is through.
    First,
    /// Made a second time, as the first was not through: no later request finds this one.
    Twin,
}

pub(crate) struct Conversation {
    pub(crate) app: Uuid,
    pub(crate) user: String,
    /// Whether it belongs to a twin of its user, whom no request finds.
    pub(crate) lost: bool,
    pub(crate) name: String,
    pub(crate) inputs: Value,
    /// The value of the one variable that echoing chatflows have.
    pub(crate) language: String,
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
    /// The same files as its answer shows them, each with such an id.
    pub(crate) answer_files: Vec<(Uuid, Attached)>,
    /// Its flow's run, while and after it was paused for a human.
    pub(crate) paused_run: Option<Uuid>,
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
    /// The app and user it was uploaded by.
    pub(crate) app: Uuid,
    pub(crate) user: String,
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

/// A run of a workflow or chatflow.
pub(crate) struct Run {
    pub(crate) app: Uuid,
    /// Its events while it goes on, or is paused, in the worker.
    pub(crate) live: Option<Arc<Live>>,
    /// Its nodes so far, in the order they began.
    pub(crate) nodes: Vec<Step>,
    pub(crate) workflow: Uuid,
    pub(crate) published: String,
    pub(crate) user: String,
    pub(crate) user_id: Uuid,
    /// JSON texts, as Dify stores and gives them.
    pub(crate) inputs: String,
    pub(crate) outputs: Option<String>,
    /// `running`, `paused`, `succeeded`, `partial-succeeded`, `failed` or `stopped`.
    pub(crate) status: &'static str,
    pub(crate) error: Option<String>,
    pub(crate) steps: u32,
    pub(crate) tokens: u32,
    pub(crate) created_at: i64,
    pub(crate) finished_at: Option<i64>,
    pub(crate) elapsed: f64,
    pub(crate) exceptions: u32,
    /// Why it is paused, if it is.
    pub(crate) pause: Option<Pause>,
    /// Conversation and message, of a chatflow.
    pub(crate) conversation: Option<(Uuid, Uuid)>,
    /// The id of its line in the log; runs without an end have none.
    pub(crate) log: Option<(Uuid, i64)>,
}

/// A run that waits for a human.
pub(crate) struct Pause {
    /// The token of its form.
    pub(crate) token: String,
    /// What `reasons` of `workflow_paused` says, as JSON text.
    pub(crate) reason: String,
}

/// A form that a human is to fill.
pub(crate) struct Form {
    pub(crate) id: Uuid,
    pub(crate) app: Uuid,
    pub(crate) run: Uuid,
    pub(crate) content: String,
    pub(crate) expires_at: i64,
    /// What was filled in, once it was.
    pub(crate) filled: Option<Filled>,
    /// The run to go on with.
    pub(crate) turn: Option<Arc<Turn>>,
}

/// The forms by token, the oldest ones dropped beyond the limit.
#[derive(Default)]
pub(crate) struct Forms {
    rows: HashMap<String, Form>,
    order: VecDeque<String>,
}

impl Forms {
    pub(crate) fn insert(&mut self, token: String, form: Form) {
        if self.order.len() >= FORM_LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.rows.remove(&oldest);
        }
        self.order.push_back(token.clone());
        self.rows.insert(token, form);
    }

    pub(crate) fn get(&self, token: &str) -> Option<&Form> {
        self.rows.get(token)
    }

    pub(crate) fn get_mut(&mut self, token: &str) -> Option<&mut Form> {
        self.rows.get_mut(token)
    }

    /// The form of a run and its token.
    pub(crate) fn of_run(&self, run: Uuid) -> Option<(&str, &Form)> {
        let token = self
            .order
            .iter()
            .rev()
            .find(|token| self.rows.get(*token).is_some_and(|form| form.run == run))?;
        Some((token, self.rows.get(token)?))
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.order.clear();
    }
}

/// A node of a run, as its row says.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) node: Node,
    /// How it ended, and after how many seconds.
    pub(crate) end: Option<(&'static str, f64, i64)>,
}

pub(crate) struct Annotation {
    pub(crate) app: Uuid,
    pub(crate) question: String,
    pub(crate) answer: String,
    pub(crate) hits: u32,
    pub(crate) created_at: i64,
}

/// Whether a user may get twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Races {
    Yes,
    No,
}

impl Db {
    /// The end user behind a `user` of an app, made on first sight.
    pub(crate) fn meet(&mut self, app: Uuid, user: &str, races: Races) -> EndUser {
        if self.users.len() >= LIMIT {
            self.users.clear();
        }
        let arriving = (races == Races::Yes).then_some(0);
        let mut meeting = Meeting::Known;
        let found = self.users.entry((app, user.to_owned())).or_insert_with(|| {
            meeting = Meeting::First;
            User { id: Uuid::new_v4(), created_at: now(), arriving }
        });
        if meeting == Meeting::Known
            && let Some(twins) = &mut found.arriving
            && *twins < TWINS
        {
            *twins += 1;
            return EndUser { id: Uuid::new_v4(), meeting: Meeting::Twin };
        }
        EndUser { id: found.id, meeting }
    }

    /// The first request of a user is through: from now on they are known.
    pub(crate) fn arrived(&mut self, app: Uuid, user: &str) {
        if let Some(user) = self.users.get_mut(&(app, user.to_owned())) {
            user.arriving = None;
        }
    }

    /// The id of the end user behind a `user` of an app.
    pub(crate) fn user(&mut self, app: Uuid, user: &str) -> Uuid {
        self.meet(app, user, Races::No).id
    }

    /// The end user of this app with this id: their name and when they came.
    pub(crate) fn end_user(&self, app: Uuid, id: Uuid) -> Option<(&str, i64)> {
        let mut users = self.users.iter();
        let ((_, name), user) = users.find(|((of, _), user)| *of == app && user.id == id)?;
        Some((name, user.created_at))
    }

    /// A number larger than all before.
    pub(crate) fn change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    /// The conversation, if it is one of this app and user.
    pub(crate) fn conversation(&self, id: Uuid, app: Uuid, user: &str) -> Option<&Conversation> {
        let row = self.conversations.get(id)?;
        (row.app == app && row.user == user && !row.lost).then_some(row)
    }

    /// The message, if it is one of this app and user.
    pub(crate) fn message(&self, id: Uuid, app: Uuid, user: &str) -> Option<&Message> {
        self.messages.get(id).filter(|row| row.app == app && row.user == user)
    }
}
