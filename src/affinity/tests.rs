//! Owners with their store: what survives, what is forgotten, and what happens when writing fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{AppTag, Durability, Owners, Retention, Scope, now_s};
use crate::model::InstanceName;
use crate::store::{Change, ConditionalWrite, Page, Store, StoreError, Table, in_memory, open};

const DAY_S: u32 = 86_400;

const LIMITS: Retention =
    Retention { max_entries: 1000, max_age: Duration::from_secs(30 * DAY_S as u64) };

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number + (7 << 100))
}

fn name(text: &str) -> InstanceName {
    text.into()
}

fn in_folder(folder: &Path, limits: Retention) -> Owners {
    let (store, warning) = open(folder);
    assert_eq!(warning, None);
    Owners::start(store, None, limits).unwrap()
}

/// Waits for what another thread does.
fn until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} did not happen");
        thread::yield_now();
    }
}

fn owner(owners: &Owners, number: u128, now_s: u32) -> Option<String> {
    owners.owner_of(id(number), now_s).map(|name| name.to_string())
}

#[test]
fn an_owner_is_known_until_it_is_forgotten_or_too_old() {
    let owners = Owners::start(in_memory(), Some("no disk".into()), LIMITS).unwrap();
    let now = now_s();
    owners.learn(id(1), &name("dify1"), Durability::Durable, now);
    owners.learn(id(2), &name("dify2"), Durability::Transient, now);
    assert_eq!(owner(&owners, 1, now).as_deref(), Some("dify1"));
    assert_eq!(owner(&owners, 2, now).as_deref(), Some("dify2"));
    assert_eq!(owner(&owners, 3, now), None);
    owners.learn(id(1), &name("dify2"), Durability::Durable, now + 1);
    assert_eq!(owner(&owners, 1, now + 1).as_deref(), Some("dify2"));
    owners.forget(id(2), now);
    assert_eq!(owner(&owners, 2, now), None);
    // Each use keeps it for another 30 days.
    assert!(owner(&owners, 1, now + 29 * DAY_S).is_some());
    assert!(owner(&owners, 1, now + 58 * DAY_S).is_some());
    assert_eq!(owner(&owners, 1, now + 89 * DAY_S), None);
    owners.learn(id(1), &name("dify2"), Durability::Durable, now + 89 * DAY_S);
    assert!(owner(&owners, 1, now + 89 * DAY_S).is_some());
    let stats = owners.stats();
    assert_eq!((stats.known, stats.learned, stats.written), (1, 3, 0));
    assert_eq!((stats.store_kind, stats.warning.as_deref()), ("memory", Some("no disk")));
    owners.finish();
}

#[test]
fn a_restart_finds_owners_again() {
    let folder = tempfile::tempdir().unwrap();
    let now = now_s();
    let owners = in_folder(folder.path(), LIMITS);
    for n in 0..500 {
        owners.learn(id(n), &name(&format!("dify{}", n % 3)), Durability::Durable, now);
    }
    owners.learn(id(900), &name("dify1"), Durability::Transient, now);
    owners.learn(id(7), &name("moved"), Durability::Durable, now);
    owners.forget(id(8), now);
    let kept: Vec<_> = (0..500).map(|n| owner(&owners, n, now)).collect();
    owners.finish();
    let stats = owners.stats();
    assert_eq!((stats.pending, stats.written >= 499, stats.error), (0, true, None));
    // Nobody waits for it, and nothing breaks.
    owners.learn(id(901), &name("late"), Durability::Durable, now);
    assert_eq!(owners.stats().dropped, 1);

    let owners = in_folder(folder.path(), LIMITS);
    assert_eq!(owner(&owners, 7, now).as_deref(), Some("moved"));
    assert_eq!((owner(&owners, 8, now), owner(&owners, 900, now)), (None, None));
    // Two names may have numbers in another order now.
    assert!((0..500).filter(|n| ![7, 8].contains(n)).all(|n| {
        let found = owner(&owners, n, now);
        found.is_none() || found == kept[n as usize]
    }));
    assert!(owners.stats().known > 450, "{}", owners.stats().known);
    owners.finish();
}

#[test]
fn an_owner_reaches_the_store_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let owners = in_folder(folder.path(), LIMITS);
    owners.learn(id(1), &name("dify1"), Durability::Durable, now_s());
    until("the commit", || owners.stats().written == 1 && owners.stats().pending == 0);
    owners.finish();
}

#[test]
fn a_known_owner_is_written_once_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let owners = in_folder(folder.path(), LIMITS);
    let now = now_s();
    let midnight = now - now % DAY_S;
    owners.learn(id(1), &name("dify1"), Durability::Durable, midnight);
    owners.learn(id(2), &name("dify1"), Durability::Transient, midnight);
    until("the first commit", || owners.stats().written == 1);
    for seconds in (0..DAY_S).step_by(500) {
        owners.learn(id(1), &name("dify1"), Durability::Durable, midnight + seconds);
        assert!(owner(&owners, 1, midnight + seconds + 250).is_some());
        assert!(owner(&owners, 2, midnight + seconds + 250).is_some());
    }
    for seconds in [0, 100, 200] {
        assert!(owner(&owners, 1, midnight + DAY_S + seconds).is_some());
        assert!(owner(&owners, 2, midnight + DAY_S + seconds).is_some());
    }
    owners.finish();
    assert_eq!((owners.stats().written, owners.stats().learned), (2, 2));
    let (store, _) = open(folder.path());
    let mut times = Vec::new();
    let mut note =
        |_: &[u8], value: &[u8]| times.extend(super::writer::read(value).map(|(at_s, _)| at_s));
    store.load(Table::Owners, &mut note).unwrap();
    assert_eq!(times, [midnight + DAY_S]);
}

#[test]
fn a_clock_that_goes_back_two_hours_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let owners = in_folder(folder.path(), LIMITS);
    let now = now_s();
    owners.learn(id(1), &name("dify1"), Durability::Durable, now);
    owners.learn(id(2), &name("dify1"), Durability::Durable, now - 7200);
    for back in [7200, 3600, 0] {
        assert!(owner(&owners, 1, now - back).is_some());
        assert!(owner(&owners, 2, now - back).is_some());
    }
    owners.learn(id(1), &name("dify1"), Durability::Durable, now - 7200);
    assert!(owner(&owners, 1, now).is_some());
    owners.finish();
    // Also a store from the future.
    let owners = in_folder(folder.path(), LIMITS);
    owners.learn(id(3), &name("dify2"), Durability::Durable, now + 7200);
    owners.finish();
    let owners = in_folder(folder.path(), LIMITS);
    assert!((1..=3).all(|n| owner(&owners, n, now).is_some()));
    owners.finish();
}

#[test]
fn rows_that_are_too_old_or_too_many_leave_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let now = now_s();
    let (store, _) = open(folder.path());
    let row = |n: u32, at_s: u32| Change {
        table: Table::Owners,
        key: id(n.into()).as_bytes().to_vec(),
        value: Some([&at_s.to_be_bytes()[..], b"dify1"].concat()),
    };
    let mut changes: Vec<_> = (0..100).map(|n| row(n, now - n * 10)).collect();
    changes.extend((100..150).map(|n| row(n, now - 31 * DAY_S)));
    changes.push(Change { table: Table::Owners, key: b"odd".to_vec(), value: Some(b"x".to_vec()) });
    store.commit(&changes).unwrap();
    drop(store);
    for (max_entries, left) in [(1000, 100), (40, 40), (1000, 40)] {
        let owners = in_folder(folder.path(), Retention { max_entries, ..LIMITS });
        assert!(owners.stats().known <= left.min(max_entries as u64));
        // The writer prunes before it takes anything else.
        owners.finish();
        let (store, _) = open(folder.path());
        assert_eq!(store.count(Table::Owners).unwrap(), left);
    }
}

/// A store that fails when it is told to.
struct Moody {
    inner: Arc<dyn Store>,
    fails: Arc<AtomicBool>,
}

impl Store for Moody {
    fn load(&self, table: Table, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.inner.load(table, each)
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::Failed { path: "x".into(), what: "no space left".into() });
        }
        self.inner.commit(changes)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key)
    }

    fn apply(&self, steps: &[ConditionalWrite]) -> Result<Vec<bool>, StoreError> {
        self.inner.apply(steps)
    }

    fn page(&self, table: Table, from: Option<&[u8]>, count: usize) -> Result<Page, StoreError> {
        self.inner.page(table, from, count)
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        self.inner.count(table)
    }

    fn kind(&self) -> &'static str {
        "moody"
    }

    fn path(&self) -> Option<&Path> {
        Some(Path::new("x"))
    }
}

#[test]
fn a_store_that_fails_holds_nobody_up_and_gets_it_all_later() {
    let (inner, fails) = (in_memory(), Arc::new(AtomicBool::new(true)));
    let store = Moody { inner: Arc::clone(&inner), fails: Arc::clone(&fails) };
    let limits = Retention { max_entries: 100_000, ..LIMITS };
    let owners = Owners::start(Arc::new(store), None, limits).unwrap();
    let now = now_s();
    owners.learn(id(1), &name("dify1"), Durability::Durable, now);
    until("the failure", || owners.stats().error.is_some());
    let error = owners.stats().error.unwrap();
    assert!(error.contains("no space left") && error.contains("disk full"), "{error}");
    assert_eq!(owner(&owners, 1, now).as_deref(), Some("dify1"));
    assert_eq!((owners.stats().pending, owners.stats().written), (1, 0));
    owners.learn(id(2), &name("dify1"), Durability::Durable, now);
    // More than is kept: it is counted and dropped, and nothing waits.
    for n in 0..90_000 {
        owners.learn(id(1000 + n), &name("dify1"), Durability::Durable, now);
    }
    until("the drop", || owners.stats().dropped > 1000);
    fails.store(false, Ordering::Relaxed);
    until("the recovery", || owners.stats().error.is_none() && owners.stats().pending == 0);
    owners.finish();
    let stats = owners.stats();
    assert_eq!(stats.written + stats.dropped, 90_002);
    assert_eq!(inner.count(Table::Owners).unwrap(), stats.written);
}

#[test]
fn an_app_takes_no_more_than_half_of_what_others_need() {
    let limits = Retention { max_entries: 8000, ..LIMITS };
    let owners = Owners::start(in_memory(), None, limits).unwrap();
    let (now, dify) = (now_s(), name("dify1"));
    let (good, greedy) = (Scope::new("shop", "").app(), Scope::new("flow", "").app());
    let learn = |from: u128, count: u128, app: AppTag, at_s: u32| {
        let ids = (from..from + count).map(|n| (id(n), Durability::Durable));
        owners.learn_all(ids, &dify, app, at_s);
    };
    let known = |from: u128, count: u128| {
        (from..from + count).filter(|n| owner(&owners, *n, now).is_some()).count()
    };
    // Alone it has all of it.
    learn(1_000_000, 100_000, greedy, now);
    assert!(owners.stats().known > 7900, "{}", owners.stats().known);
    // Others get what they need, up to half, and keep it whatever it does.
    learn(0, 2000, good, now + 1);
    let before = known(0, 2000);
    assert!(before > 1900, "{before}");
    learn(2_000_000, 100_000, greedy, now + 100);
    assert_eq!(known(0, 2000), before);
    let found_anew = known(2_000_000, 100_000);
    assert!((5000..=8000).contains(&found_anew), "{found_anew}");
    learn(3_000_000, 100_000, good, now + 200);
    let (of_good, of_greedy) = (known(3_000_000, 100_000), known(2_000_000, 100_000));
    assert!((3900..=4100).contains(&of_good), "{of_good}");
    assert!((3900..=4100).contains(&of_greedy), "{of_greedy}");
    owners.finish();
}
