//! Takes out what is too old, and the oldest of too much: page by page, between two batches, so that
//! nobody waits for it.
//!
//! All rows begin with the second of their last use, and a row that leads to a conversation is never
//! younger than that. So each table is swept for itself. An old row that is gone while its
//! conversation lives costs nothing: it led to a branch, and now to nothing, which is treated alike.

use super::codec::used_s;
use crate::store::Retention;
use crate::store::{Change, ConditionalWrite, Guard, Page, Store, StoreError, Table};

const PAGE: usize = 512;

/// Rows of the other tables for each conversation that may be kept.
const PER_CONVERSATION: usize = 16;

const TABLES: [Table; 5] =
    [Table::Conversations, Table::Turns, Table::Answers, Table::Chats, Table::Imported];

/// One walk through all tables.
#[derive(Debug)]
pub(super) struct ExpiryScan {
    limits: Retention,
    now_s: u32,
    /// Tables that are still to be walked through.
    left: &'static [Table],
    from: Option<Vec<u8>>,
    task: Task,
}

#[derive(Debug)]
enum Task {
    /// The last uses of all rows that are not too old.
    Measure(Vec<u32>),
    /// Remove what was used before this second.
    Remove(u32),
}

impl ExpiryScan {
    pub(super) fn new(limits: Retention, now_s: u32) -> Self {
        let task = Task::Measure(Vec::new());
        Self { limits, now_s, left: &TABLES, from: None, task }
    }

    /// Goes on by one page; tells whether that was the last one.
    pub(super) fn step(&mut self, store: &dyn Store) -> Result<bool, StoreError> {
        let Some((table, others)) = self.left.split_first() else { return Ok(true) };
        let most = match table {
            Table::Conversations => self.limits.max_entries,
            _ => self.limits.max_entries.saturating_mul(PER_CONVERSATION),
        };
        let oldest_s = self.limits.oldest_s(self.now_s);
        let begins = matches!(&self.task, Task::Measure(times) if times.is_empty());
        if begins && self.from.is_none() && store.count(*table)? <= most as u64 {
            self.task = Task::Remove(oldest_s);
        }
        let page = store.page(*table, self.from.as_deref(), PAGE)?;
        match &mut self.task {
            Task::Measure(times) => {
                let all = page.rows.iter().filter_map(|(_, row)| used_s(row));
                times.extend(all.map(|(at_s, _)| at_s).filter(|at_s| *at_s >= oldest_s));
            }
            Task::Remove(before_s) => remove(store, *table, &page, *before_s)?,
        }
        self.from = page.next;
        if self.from.is_some() {
            return Ok(false);
        }
        self.task = match &mut self.task {
            Task::Measure(times) => {
                let surplus = times.len().saturating_sub(most);
                let cut = (surplus > 0).then(|| *times.select_nth_unstable(surplus).1);
                Task::Remove(cut.unwrap_or(oldest_s).max(oldest_s))
            }
            Task::Remove(_) => {
                self.left = others;
                Task::Measure(Vec::new())
            }
        };
        Ok(self.left.is_empty())
    }
}

/// Removes rows of a page, but not those that have been used meanwhile.
fn remove(store: &dyn Store, table: Table, page: &Page, before_s: u32) -> Result<(), StoreError> {
    let old = |row: &&(Vec<u8>, Vec<u8>)| used_s(&row.1).is_none_or(|(at_s, _)| at_s < before_s);
    let steps: Vec<_> = page.rows.iter().filter(old).map(|row| removal(table, row)).collect();
    if !steps.is_empty() {
        store.apply(&steps)?;
    }
    Ok(())
}

/// Removes a row if it is still the one that was read.
pub(super) fn removal(table: Table, (key, value): &(Vec<u8>, Vec<u8>)) -> ConditionalWrite {
    ConditionalWrite {
        guard: Some(Guard { table, key: key.clone(), value: Some(value.clone()) }),
        changes: vec![Change { table, key: key.clone(), value: None }],
    }
}
