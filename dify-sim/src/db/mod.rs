//! The data of one instance: what stands in PostgreSQL and on disk of a real one.
//!
//! All ids are random, so an id of one instance means nothing to another. Every table keeps its
//! last 100,000 rows and 64 MiB of text, so that a long load test does not grow without end. Rows
//! are plain data: what is done with them, and how they are shown, stands with the routes and runs.

mod dataset;
mod file;
mod flow;
mod form;
mod table;
mod talk;

use crate::clock::now;
pub(crate) use dataset::{Dataset, Document};
pub(crate) use file::{Attached, File};
pub(crate) use flow::{Node, Pause, Run, Step};
pub(crate) use form::{Filled, Form, Forms};
use std::collections::{HashMap, HashSet};
use table::LIMIT;
pub(crate) use table::Table;
pub(crate) use talk::{Annotation, Conversation, Feedback, Message};
use uuid::Uuid;

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
