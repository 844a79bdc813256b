//! Work on the whole store: counting, listing, cleaning up, export and import. It is done beside the
//! store's thread, page by page, and by one at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::codec::{Conversation, ConversationState, Pointer, used_s};
use super::conversation_store::ConversationStore;
use super::expiry::removal;
use super::import_export::{ExportHeader, ExportRow};
use super::store_failure::StoreDown;
use super::store_thread::Command;
use super::transcript_digest::{Digest, LONGEST_CHAT, MacKey, Thread, TranscriptHash};
use super::write_op::{answer, put};
use crate::store::now_s;
use crate::store::{Change, ConditionalWrite, Guard, Page, Store, StoreError, Table};

/// Rows that are read or written at once.
const PAGE: usize = 512;

/// What there is, in the words of OpenDify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Mappings {
    /// How many conversations.
    pub mapping_count: u64,
    /// When the first was first known, in seconds since 1970.
    pub oldest_mapping: Option<u32>,
    /// When the newest was first known.
    pub newest_mapping: Option<u32>,
    /// The mean of their last uses, in seconds since 1970.
    pub avg_last_used: Option<f64>,
}

/// Some conversations of an export.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slice {
    /// The first line of the export.
    pub header: ExportHeader,
    /// The conversations.
    pub rows: Vec<ExportRow>,
    /// Where the next slice begins; `None` after the last one.
    pub next: Option<String>,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportSummary {
    /// Conversations that are known now.
    pub added: usize,
    /// Those that were known before, and stay as they are.
    pub present: usize,
    /// Those that cannot be used: without an id of Dify, with neither user nor chat, or with a chat
    /// whose name is too long.
    pub skipped: usize,
}

impl ConversationStore {
    /// What there is, of one key or of all.
    ///
    /// # Errors
    /// The store fails.
    pub async fn mappings(&self, whose: Option<&str>) -> Result<Mappings, StoreDown> {
        let whose = whose.map(str::to_owned);
        self.scan(move |store, _| {
            let (mut all, mut used) = (Mappings::default(), 0.0);
            each(store, whose.as_deref(), &mut |found| {
                let created_s = found.created_s;
                all.mapping_count += 1;
                used += f64::from(found.used_s);
                all.oldest_mapping =
                    Some(all.oldest_mapping.map_or(created_s, |oldest| oldest.min(created_s)));
                all.newest_mapping = all.newest_mapping.max(Some(created_s));
            })?;
            #[expect(clippy::cast_precision_loss, reason = "so many rows no store has")]
            let mean = || used / all.mapping_count as f64;
            all.avg_last_used = (all.mapping_count > 0).then(mean);
            Ok(all)
        })
        .await
    }

    /// The conversations used last, of one key or of all, the last first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn recent(
        &self,
        whose: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreDown> {
        let whose = whose.map(str::to_owned);
        self.scan(move |store, _| {
            let mut newest = BinaryHeap::new();
            each(store, whose.as_deref(), &mut |found| {
                newest.push(Reverse((found.used_s, found.id)));
                if newest.len() > limit {
                    newest.pop();
                }
            })?;
            let ids = newest.into_sorted_vec().into_iter().map(|Reverse((_, id))| id);
            let rows = ids.map(|id| Ok((id, store.get(Table::Conversations, id.as_bytes())?)));
            let rows = rows.collect::<Result<Vec<_>, StoreError>>()?;
            let read = |(id, row): (Uuid, Option<Vec<u8>>)| Conversation::read(id, &row?);
            Ok(rows.into_iter().filter_map(read).collect())
        })
        .await
    }

    /// Removes conversations that were used longest ago, of one key or of all with what was
    /// imported, and tells how many. Dify keeps its own.
    ///
    /// # Errors
    /// The store fails.
    pub async fn cleanup(&self, whose: Option<&str>, max_age: Duration) -> Result<u64, StoreDown> {
        let whose = whose.map(str::to_owned);
        let age_s = u32::try_from(max_age.as_secs()).unwrap_or(u32::MAX);
        let before_s = now_s().saturating_sub(age_s);
        self.scan(move |store, _| {
            let old = |row: &[u8]| used_s(row).is_some_and(|(at_s, _)| at_s < before_s);
            let whose = whose.as_deref();
            let mut removed = remove(store, Table::Conversations, &|key, row| {
                old(row) && read(key, row).is_some_and(|found| is_of(&found, whose))
            })?;
            if whose.is_none() {
                removed += remove(store, Table::Imported, &|_, row| old(row))?;
            }
            Ok(removed)
        })
        .await
    }

    /// A part of an export, of one key or of all; `from` is the `next` of the part before. What was
    /// imported and has not been used since is not in it.
    ///
    /// # Errors
    /// The store fails, or `from` is none of its places.
    pub async fn export(
        &self,
        whose: Option<&str>,
        from: Option<&str>,
    ) -> Result<Slice, StoreDown> {
        let whose = whose.map(str::to_owned);
        let from = from.map(unhex).map(|from| {
            from.ok_or_else(|| StoreDown("the export cannot go on from there".to_owned()))
        });
        let from = from.transpose()?;
        self.scan(move |store, key| {
            let page = store.page(Table::Conversations, from.as_deref(), PAGE)?;
            let rows = page.rows.iter().filter_map(|(id, row)| read(id, row));
            let rows = rows.filter(|found| is_of(found, whose.as_deref()));
            let rows = rows.map(exchanged).collect();
            let header = ExportHeader { difygate_conversations: 1, digests: key.mark() };
            Ok(Slice { header, rows, next: page.next.as_deref().map(hex) })
        })
        .await
    }

    /// Takes in conversations of an export. `header` is its first line; without it, or with one of
    /// another key, the digests are of no use: such a conversation is resumed by its chat or id.
    ///
    /// # Errors
    /// The store fails; a part may have been taken in.
    pub async fn import(
        &self,
        header: Option<ExportHeader>,
        rows: Vec<ExportRow>,
    ) -> Result<ImportSummary, StoreDown> {
        self.scan(move |store, key| {
            let keyed = header.is_some_and(|header| header.digests == key.mark());
            let mut done = ImportSummary { skipped: rows.len(), ..ImportSummary::default() };
            let mut rows = rows;
            // Of several conversations in a chat the newest is to be the one that is found.
            rows.sort_by_key(|row| row.used);
            for rows in rows.chunks(PAGE) {
                let mut steps = Vec::new();
                for row in rows {
                    steps.extend(import(store, key, row, keyed)?);
                }
                done.skipped -= steps.len();
                let held = store.apply(&steps)?;
                done.added += held.iter().filter(|held| **held).count();
            }
            done.present = rows.len() - done.skipped - done.added;
            Ok(done)
        })
        .await
    }

    /// Works on the store beside the store's thread.
    async fn scan<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store, MacKey) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreDown> {
        let closed = || StoreDown("it is closed".to_owned());
        let _alone = self.scans.acquire().await.map_err(|_| closed())?;
        let (reply, lent) = oneshot::channel();
        self.commands.send(Command::Lend(reply)).await.map_err(|_| closed())?;
        let (store, key) = lent.await.map_err(|_| closed())??;
        let done = spawn_blocking(move || work(store.as_ref(), key)).await;
        let done = done.map_err(|error| StoreDown(error.to_string()))?;
        done.map_err(|error| StoreDown(error.to_string()))
    }
}

fn is_of(found: &Conversation, whose: Option<&str>) -> bool {
    whose.is_none_or(|whose| found.thread.key == whose)
}

fn read(id: &[u8], row: &[u8]) -> Option<Conversation> {
    Conversation::read(Uuid::from_slice(id).ok()?, row)
}

/// Gives every page of a table to `work`.
fn pages(
    store: &dyn Store,
    table: Table,
    work: &mut dyn FnMut(&Page) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut page = store.page(table, None, PAGE)?;
    loop {
        work(&page)?;
        let Some(next) = page.next else { return Ok(()) };
        page = store.page(table, Some(&next), PAGE)?;
    }
}

fn each(
    store: &dyn Store,
    whose: Option<&str>,
    work: &mut dyn FnMut(Conversation),
) -> Result<(), StoreError> {
    pages(store, Table::Conversations, &mut |page| {
        let found = page.rows.iter().filter_map(|(id, row)| read(id, row));
        found.filter(|found| is_of(found, whose)).for_each(&mut *work);
        Ok(())
    })
}

fn remove(
    store: &dyn Store,
    table: Table,
    goes: &dyn Fn(&[u8], &[u8]) -> bool,
) -> Result<u64, StoreError> {
    let mut removed = 0;
    pages(store, table, &mut |page| {
        let rows = page.rows.iter().filter(|(key, row)| goes(key, row));
        let steps: Vec<_> = rows.map(|row| removal(table, row)).collect();
        if !steps.is_empty() {
            removed += store.apply(&steps)?.into_iter().filter(|held| *held).count() as u64;
        }
        Ok(())
    })?;
    Ok(removed)
}

fn exchanged(found: Conversation) -> ExportRow {
    let Thread { key, app, user, chat } = found.thread;
    ExportRow {
        conversation: found.id.to_string(),
        app,
        key: Some(key),
        user: Some(user),
        chat,
        message: found.last_message.map(|id| id.to_string()),
        turns: found.turns,
        created: found.created_s,
        used: found.used_s,
        state: Some(found.state.label().to_owned()),
        tail: Some(hex(&found.tail.0)),
        ending: Some(hex(&found.ending.0)),
    }
}

/// The step that takes a conversation in if it is not there; `None` if it cannot be used.
fn import(
    store: &dyn Store,
    key: MacKey,
    row: &ExportRow,
    keyed: bool,
) -> Result<Option<ConditionalWrite>, StoreError> {
    let Ok(id) = Uuid::parse_str(&row.conversation) else { return Ok(None) };
    if row.chat.as_ref().is_some_and(|chat| chat.len() > LONGEST_CHAT) {
        return Ok(None);
    }
    let (Some(name), Some(user)) = (&row.key, &row.user) else {
        let step = row.chat.as_ref().map(|chat| {
            let at = key.digest(TranscriptHash::imported(&row.app, chat)).0;
            let pointer = Pointer::imported(id, row.created, row.used);
            absent(vec![set(Table::Imported, &at, &pointer)])
        });
        return Ok(step);
    };
    let thread = Thread {
        key: name.clone(),
        app: row.app.clone(),
        user: user.clone(),
        chat: row.chat.clone(),
    };
    let digest = |text: &Option<String>| -> Option<Digest> {
        let bytes = unhex(text.as_ref()?)?;
        bytes.try_into().ok().map(Digest)
    };
    let state = row.state.as_deref().and_then(ConversationState::named).filter(|_| keyed);
    let (tail, ending) = (digest(&row.tail), digest(&row.ending));
    let (state, tail, ending) = match (state, tail, ending) {
        (Some(state), Some(tail), Some(ending)) => (state, tail, ending),
        _ => (ConversationState::Imported, Digest::default(), Digest::default()),
    };
    let found = Conversation {
        id,
        last_message: row.message.as_ref().and_then(|id| Uuid::parse_str(id).ok()),
        turns: row.turns,
        created_s: row.created,
        used_s: row.used,
        state,
        tail,
        ending,
        thread,
    };
    let mut changes = vec![put(&found)];
    let pointer = Pointer { used_s: row.used, conversation: id, more: tail };
    if found.thread.chat.is_some() {
        let at = key.digest(TranscriptHash::root(&found.thread)).0;
        let now = store.get(Table::Chats, &at)?.and_then(|row| Pointer::read(&row));
        if now.is_none_or(|now| now.used_s < row.used) {
            changes.push(set(Table::Chats, &at, &pointer));
        }
    }
    if state != ConversationState::Imported {
        changes.push(set(Table::Turns, &tail.0, &pointer));
        changes.extend(found.last_message.map(|message| answer(message, &found)));
    }
    Ok(Some(absent(changes)))
}

/// Changes that are made if the first one's row is not there.
fn absent(changes: Vec<Change>) -> ConditionalWrite {
    let guard = changes.first().map(|first| Guard {
        table: first.table,
        key: first.key.clone(),
        value: None,
    });
    ConditionalWrite { guard, changes }
}

fn set(table: Table, key: &[u8], pointer: &Pointer) -> Change {
    Change { table, key: key.to_vec(), value: Some(pointer.write()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.is_ascii() && text.len().is_multiple_of(2);
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    digits.then(|| (0..text.len()).step_by(2).map(pair).collect::<Option<_>>())?
}
