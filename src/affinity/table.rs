//! Ids to owners in a fixed piece of memory, without locks.
//!
//! A row is two words: 64 bits mixed from the id, and a value of 16 check bits, mixed from the id
//! too, the second of its last use, and the number of the owner. The two are not written at one go.
//! Whoever reads the word of one row and the value of another sees that the check bits differ, but
//! for one time in 65,536, and takes the id for unknown. A lost or wrong row costs one question
//! more to an instance, so that is enough.
//!
//! Eight rows make a bucket, and an id belongs to one bucket. In a full bucket the row used longest
//! ago gives way: of the app's own, where it has half of the bucket, else of one that has more than
//! that. So no app takes more than half of what others need. The memory is zeroed by the system, page
//! by page as it is used.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

/// Rows in a bucket: their keys fill one line of the processor's cache, their values another.
const WAYS: usize = 8;

/// How often an insert looks again because another thread was faster.
const TRIES: usize = 4;

/// So many rows of a bucket an app may have while others need it.
const SHARE: usize = WAYS / 2;

/// Of a row's first word, what is the app's; the rest is mixed from the id.
const APP: u64 = 0xff;

/// Which app has learned something, as far as apps are told apart here: two of 255 may be taken for one,
/// and share what each of them may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppTag(u8);

impl AppTag {
    /// From a hash of the app's name. The default is nobody's: what the store has.
    pub(super) fn new(hash: u64) -> Self {
        Self((hash % 255) as u8 + 1)
    }
}

/// The most owners that a row can name.
pub(super) const MAX_NAMES: usize = 1 << 15;

/// What is known of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The number of the owner, below [`MAX_NAMES`].
    pub(super) name: u16,
    /// The id outlives its run.
    pub(super) lasting: bool,
    /// When it was used last, in seconds since 1970.
    pub(super) at_s: u32,
    /// The app that has learned it.
    pub(super) app: AppTag,
}

#[derive(Debug)]
pub(super) struct Table {
    /// By bucket: eight keys (0 is none), then their eight values.
    words: Box<[AtomicU64]>,
    buckets: u64,
    rows: AtomicU64,
}

/// Where an id belongs.
struct Place<'t> {
    keys: &'t [AtomicU64],
    values: &'t [AtomicU64],
    key: u64,
    check: u16,
}

impl Table {
    /// A table of at least `max_rows` rows, rounded up to whole buckets.
    pub(super) fn new(max_rows: usize) -> Self {
        let buckets = max_rows.div_ceil(WAYS).max(1);
        let words = bytemuck::zeroed_slice_box(buckets * 2 * WAYS);
        Self { words, buckets: buckets as u64, rows: AtomicU64::new(0) }
    }

    /// About how many rows there are, those too old to count among them.
    pub(super) fn len(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self, id: Uuid) -> Option<Row> {
        let place = self.place(id);
        let (way, key) = place.find()?;
        unpack(key, place.values[way].load(Ordering::Acquire), place.check)
    }

    /// Notes a use of a row, unless it has changed meanwhile.
    pub(super) fn touch(&self, id: Uuid, row: Row, now_s: u32) -> bool {
        let place = self.place(id);
        let Some((way, _)) = place.find() else { return false };
        let (old, new) = (pack(row, place.check), pack(Row { at_s: now_s, ..row }, place.check));
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        place.values[way].compare_exchange(old, new, order.0, order.1).is_ok()
    }

    /// Sets a row and gives the one it replaces, if that was of the same id.
    pub(super) fn insert(&self, id: Uuid, row: Row) -> Option<Row> {
        let place = self.place(id);
        let value = pack(row, place.check);
        let new = place.key | u64::from(row.app.0);
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        for _ in 0..TRIES {
            if let Some((way, key)) = place.find() {
                let old = place.values[way].swap(value, Ordering::AcqRel);
                let kept = match key == new {
                    true => place.keys[way].load(Ordering::Acquire) == new,
                    false => place.keys[way].compare_exchange(key, new, order.0, order.1).is_ok(),
                };
                if kept {
                    return unpack(key, old, place.check);
                }
                // It has just given way to another id, whose value is gone now: that one is found
                // again when it is asked for.
                continue;
            }
            let (way, old) = place.least(row.app);
            if place.keys[way].compare_exchange(old, new, order.0, order.1).is_ok() {
                place.values[way].store(value, Ordering::Release);
                if old == 0 {
                    self.rows.fetch_add(1, Ordering::Relaxed);
                }
                return None;
            }
        }
        None
    }

    /// Removes a row and gives it.
    pub(super) fn remove(&self, id: Uuid) -> Option<Row> {
        let place = self.place(id);
        let (way, key) = place.find()?;
        let row = unpack(key, place.values[way].load(Ordering::Acquire), place.check);
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        let removed = place.keys[way].compare_exchange(key, 0, order.0, order.1);
        if removed.is_ok() {
            self.rows.fetch_sub(1, Ordering::Relaxed);
        }
        row
    }

    fn place(&self, id: Uuid) -> Place<'_> {
        let mixed = xxh3_128(id.as_bytes());
        // Disjoint bits for the bucket and the key, others for the check.
        let high = (mixed >> 64) as u64;
        let bucket = (u128::from(high) * u128::from(self.buckets)) >> 64;
        let begin = bucket as usize * 2 * WAYS;
        let (keys, values) = self.words[begin..begin + 2 * WAYS].split_at(WAYS);
        // Zero means "no row".
        Place { keys, values, key: (mixed as u64 & !APP).max(APP + 1), check: high as u16 }
    }
}

impl Place<'_> {
    /// The row of the id, and its first word.
    fn find(&self) -> Option<(usize, u64)> {
        let mut words = self.keys.iter().map(|key| key.load(Ordering::Acquire)).enumerate();
        words.find(|(_, word)| word & !APP == self.key)
    }

    /// The row to give way to one of this app, and its first word: an empty one, else the one used longest
    /// ago of those that may be taken.
    fn least(&self, app: AppTag) -> (usize, u64) {
        let mut words = [0; WAYS];
        for (way, (word, key)) in words.iter_mut().zip(self.keys).enumerate() {
            *word = key.load(Ordering::Acquire);
            if *word == 0 {
                return (way, 0);
            }
        }
        let rows_of = |app: u64| words.iter().filter(|word| *word & APP == app).count();
        let own = u64::from(app.0);
        let greedy = match rows_of(own) >= SHARE {
            true => Some(own),
            false => words.iter().map(|word| word & APP).find(|app| rows_of(*app) > SHARE),
        };
        let may_go = |(_, word): &(usize, u64)| greedy.is_none_or(|app| word & APP == app);
        let at_s = |way: usize| (self.values[way].load(Ordering::Acquire) >> 16) as u32;
        let candidates = words.into_iter().enumerate().filter(may_go);
        candidates.min_by_key(|(way, _)| at_s(*way)).unwrap_or((0, words[0]))
    }
}

/// From the lowest bit: 16 of the check, 32 of the time, 1 for lasting, 15 of the name.
fn pack(row: Row, check: u16) -> u64 {
    let flags = u64::from(row.lasting) | u64::from(row.name) << 1;
    u64::from(check) | u64::from(row.at_s) << 16 | flags << 48
}

/// `None` if the value is another id's.
fn unpack(key: u64, value: u64, check: u16) -> Option<Row> {
    (value as u16 == check).then_some(Row {
        name: (value >> 49) as u16,
        lasting: (value >> 48) & 1 == 1,
        at_s: (value >> 16) as u32,
        app: AppTag((key & APP) as u8),
    })
}

#[cfg(test)]
mod laws;
