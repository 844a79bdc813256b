//! The store on the worst day: a store that fails, a process that is killed, several gateways.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{LIMITS, conversation_store, found, id, resumed, talk, thread, turn};
use crate::conversation::{
    ConversationMatch, ConversationStore, FinishedTurn, OnStoreFailure, PendingTurn, Stats,
    StoreDown, Thread, TranscriptMatch, TranscriptQuery, Turn,
};
use crate::model::Token;
use crate::store::redis_server::RedisServer;
use crate::store::{
    Change, ConditionalWrite, Page, Store, StoreError, Table, in_memory, in_redis, open,
};

/// A disk that is full when it is told so.
struct Full {
    inner: Arc<dyn Store>,
    full: Arc<AtomicBool>,
}

impl Full {
    fn check(&self) -> Result<(), StoreError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(StoreError::Failed { path: "x".into(), what: "no space left".into() });
        }
        Ok(())
    }
}

impl Store for Full {
    fn load(&self, table: Table, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.inner.load(table, each)
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.check()?;
        self.inner.commit(changes)
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        self.inner.count(table)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key)
    }

    fn apply(&self, steps: &[ConditionalWrite]) -> Result<Vec<bool>, StoreError> {
        self.check()?;
        self.inner.apply(steps)
    }

    fn page(&self, table: Table, from: Option<&[u8]>, count: usize) -> Result<Page, StoreError> {
        self.inner.page(table, from, count)
    }

    fn kind(&self) -> &'static str {
        "full"
    }

    fn path(&self) -> Option<&Path> {
        None
    }
}

/// A book over such a disk.
fn over_full(policy: OnStoreFailure) -> (ConversationStore, Arc<AtomicBool>) {
    let full = Arc::new(AtomicBool::new(false));
    let store = Arc::new(Full { inner: in_memory(), full: Arc::clone(&full) });
    (ConversationStore::start(store, None, LIMITS, policy).unwrap(), full)
}

async fn until(conversation_store: &ConversationStore, reached: impl Fn(&Stats) -> bool) {
    let reached = async {
        while !reached(&conversation_store.stats()) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), reached).await.unwrap();
}

async fn try_turn(
    conversation_store: &ConversationStore,
    thread: &Thread,
    texts: &[&str],
) -> Result<(), StoreDown> {
    let (before, [user, assistant]) = texts.split_last_chunk::<2>().unwrap();
    let (before, user) = (talk(before), Turn::user(*user));
    let pending = PendingTurn::new(thread.clone(), &before, &user);
    let (conversation, message) = (id(7), Some(id(70)));
    conversation_store.finish(FinishedTurn { pending, conversation, assistant, message }).await
}

#[tokio::test]
async fn a_full_disk_is_written_to_later_if_turns_are_to_go_on() {
    let (conversation_store, full) = over_full(OnStoreFailure::Continue);
    let alice = thread("alice", None);
    turn(&conversation_store, &alice, &["a", "b"], 1, 11).await;
    turn(&conversation_store, &alice, &["x", "y"], 2, 21).await;
    let one = resumed(&conversation_store, &alice, &["a", "b"]).await;
    let other = resumed(&conversation_store, &alice, &["x", "y"]).await;
    assert!(conversation_store.begin(&one).await.unwrap());
    full.store(true, Ordering::Relaxed);
    // Nobody is refused: what cannot be noted as begun takes a new conversation.
    assert!(!conversation_store.begin(&other).await.unwrap());
    turn(&conversation_store, &alice, &["a", "b", "c", "d"], 1, 12).await;
    turn(&conversation_store, &alice, &["new", "n"], 3, 31).await;
    let stats = conversation_store.stats();
    assert_eq!(stats.pending, 2);
    assert!(stats.error.unwrap().contains("no space left"));
    full.store(false, Ordering::Relaxed);
    until(&conversation_store, |stats| stats.pending == 0 && stats.error.is_none()).await;
    assert_eq!(resumed(&conversation_store, &alice, &["a", "b", "c", "d"]).await.turns, 2);
    assert_eq!(resumed(&conversation_store, &alice, &["new", "n"]).await.id, id(3));
    assert!(conversation_store.begin(&other).await.unwrap());
    assert_eq!(conversation_store.stats().dropped, 0);
}

#[tokio::test]
async fn a_full_disk_refuses_turns_if_they_are_to_be_refused() {
    let (conversation_store, full) = over_full(OnStoreFailure::Refuse);
    let alice = thread("alice", None);
    turn(&conversation_store, &alice, &["a", "b"], 1, 11).await;
    full.store(true, Ordering::Relaxed);
    let down = try_turn(&conversation_store, &alice, &["c", "d"]).await.unwrap_err().to_string();
    assert!(down.contains("no space left") && down.contains("disk full"), "{down}");
    assert!(
        conversation_store.find(TranscriptQuery::NOTHING).await.is_err(),
        "also a new conversation"
    );
    full.store(false, Ordering::Relaxed);
    until(&conversation_store, |stats| stats.error.is_none()).await;
    assert_eq!(conversation_store.stats().pending, 0);
    assert_eq!(found(&conversation_store, &alice, &[]).await, TranscriptMatch::New);
    assert_eq!(found(&conversation_store, &alice, &["c", "d"]).await, TranscriptMatch::Unknown);
    assert_eq!(resumed(&conversation_store, &alice, &["a", "b"]).await.id, id(1));
}

#[tokio::test]
async fn a_full_disk_is_found_out_before_a_turn() {
    let (conversation_store, full) = over_full(OnStoreFailure::Refuse);
    conversation_store.check().await.unwrap();
    full.store(true, Ordering::Relaxed);
    // The first to ask notices, though nothing has failed so far.
    assert!(conversation_store.check().await.unwrap_err().to_string().contains("no space left"));
    full.store(false, Ordering::Relaxed);
    until(&conversation_store, |stats| stats.error.is_none()).await;
    conversation_store.check().await.unwrap();

    let (conversation_store, full) = over_full(OnStoreFailure::Continue);
    full.store(true, Ordering::Relaxed);
    conversation_store.check().await.unwrap();
    assert_eq!(
        (conversation_store.stats().pending, conversation_store.stats().error),
        (0, None),
        "nobody was asked"
    );
}

#[tokio::test]
async fn what_waits_for_the_store_is_bounded() {
    let (conversation_store, full) = over_full(OnStoreFailure::Continue);
    let alice = thread("alice", None);
    full.store(true, Ordering::Relaxed);
    for number in 0..10_050 {
        turn(&conversation_store, &alice, &["a", &number.to_string()], number, 100_000 + number)
            .await;
    }
    assert_eq!(
        (conversation_store.stats().pending, conversation_store.stats().dropped),
        (10_000, 50)
    );
    full.store(false, Ordering::Relaxed);
    until(&conversation_store, |stats| stats.pending == 0).await;
    assert_eq!(found(&conversation_store, &alice, &["a", "49"]).await, TranscriptMatch::Unknown);
    assert_eq!(resumed(&conversation_store, &alice, &["a", "50"]).await.id, id(50));
    assert_eq!(resumed(&conversation_store, &alice, &["a", "10049"]).await.id, id(10_049));
}

#[tokio::test]
async fn a_redis_that_is_killed_loses_nothing_and_takes_the_rest_when_it_is_back() {
    let mut server = RedisServer::start();
    let store = in_redis(&Token::new(server.url())).unwrap();
    let conversation_store =
        ConversationStore::start(store, None, LIMITS, OnStoreFailure::Continue).unwrap();
    let alice = thread("alice", None);
    turn(&conversation_store, &alice, &["a", "b"], 1, 11).await;
    server.kill();
    assert_eq!(found(&conversation_store, &alice, &["a", "b"]).await, TranscriptMatch::Unknown);
    assert_eq!(conversation_store.by_id(&alice, id(1)).await.unwrap(), ConversationMatch::Unknown);
    turn(&conversation_store, &alice, &["a", "b", "c", "d"], 2, 21).await;
    assert!(conversation_store.stats().error.unwrap().contains("is it running"));
    assert_eq!(conversation_store.stats().pending, 1);
    server.start_again();
    until(&conversation_store, |stats| stats.pending == 0 && stats.error.is_none()).await;
    assert_eq!(resumed(&conversation_store, &alice, &["a", "b"]).await.id, id(1));
    assert_eq!(resumed(&conversation_store, &alice, &["a", "b", "c", "d"]).await.id, id(2));
}

#[tokio::test]
async fn a_redis_that_comes_only_after_the_start_gets_what_was_kept() {
    let mut server = RedisServer::start();
    server.kill();
    let store = in_redis(&Token::new(server.url())).unwrap();
    let conversation_store =
        ConversationStore::start(store, None, LIMITS, OnStoreFailure::Continue).unwrap();
    let alice = thread("alice", None);
    turn(&conversation_store, &alice, &["a", "b"], 1, 11).await;
    assert_eq!(conversation_store.stats().pending, 1);
    server.start_again();
    until(&conversation_store, |stats| stats.pending == 0 && stats.error.is_none()).await;
    assert_eq!(resumed(&conversation_store, &alice, &["a", "b"]).await.id, id(1));
}

#[tokio::test]
async fn two_gateways_share_a_redis_and_never_both_begin() {
    let server = RedisServer::start();
    let store = || in_redis(&Token::new(server.url())).unwrap();
    let (one, other) = (conversation_store(&store()), conversation_store(&store()));
    let alice = thread("alice", None);
    for round in 0..20u128 {
        let texts = ["a", &round.to_string()];
        turn(&one, &alice, &texts, round, 100 + round).await;
        let conversation = resumed(&other, &alice, &texts).await;
        let begun = tokio::join!(one.begin(&conversation), other.begin(&conversation));
        assert!(begun.0.unwrap() != begun.1.unwrap(), "round {round}");
    }
}

/// Where the child of the test below writes.
const CHILD: &str = "DIFYGATE_TEST_BOOK";

/// No test of its own: the child that the next one kills.
#[tokio::test]
async fn child_that_talks_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let (store, warning) = open(Path::new(&folder));
    assert_eq!(warning, None);
    let begin = u128::from(store.count(Table::Conversations).unwrap());
    let (conversation_store, alice) = (conversation_store(&store), thread("alice", None));
    for number in begin..begin + 100_000 {
        let texts = ["a", &number.to_string()];
        turn(&conversation_store, &alice, &texts, number, 1_000_000 + number).await;
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nacked {number}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn no_turn_that_was_acknowledged_is_lost_by_20_kills() {
    let folder = tempfile::tempdir().unwrap();
    let alice = thread("alice", None);
    for round in 0..20 {
        let test = "conversation::tests::store_down::child_that_talks_until_it_is_killed";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acks = lines.filter_map(|line| line.unwrap().strip_prefix("acked ")?.parse().ok());
        let last: Option<u128> = acks.take(round % 5 + 1).last();
        child.kill().unwrap();
        child.wait().unwrap();
        let last = last.expect("the child acknowledged nothing");
        let (store, warning) = open(folder.path());
        assert_eq!(warning, None);
        let conversation_store = conversation_store(&store);
        for number in 0..=last {
            let found = resumed(&conversation_store, &alice, &["a", &number.to_string()]).await;
            assert_eq!(found.id, id(number), "round {round}");
        }
        conversation_store.close().await;
    }
}
