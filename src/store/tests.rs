//! One list of laws for all stores, and what only the file or Redis has to stand.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::open::FILE;
use super::redis_server::RedisServer;
use super::{Change, ConditionalWrite, Guard, Store, Table, in_memory, in_redis, open};
use crate::model::Token;

fn set(key: &str, value: &str) -> Change {
    Change { table: Table::Owners, key: key.into(), value: Some(value.into()) }
}

fn removed(key: &str) -> Change {
    Change { table: Table::Owners, key: key.into(), value: None }
}

fn rows(store: &dyn Store) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    store.load(Table::Owners, &mut |key, value| rows.push((text(key), text(value)))).unwrap();
    // Redis has no order.
    rows.sort();
    rows
}

fn row(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn keeps_rows(store: &dyn Store) {
    assert_eq!((rows(store), store.count(Table::Owners).unwrap()), (vec![], 0));
    store.commit(&[]).unwrap();
    store.commit(&[removed("a")]).unwrap();
    assert_eq!(rows(store), []);
    store.commit(&[set("b", "1"), set("a", "2"), set("c", "")]).unwrap();
    store.commit(&[set("b", "3"), removed("c"), set("c", "4"), removed("x")]).unwrap();
    assert_eq!(rows(store), [row("a", "2"), row("b", "3"), row("c", "4")]);
    store.commit(&[set("a", "5"), removed("a")]).unwrap();
    assert_eq!(rows(store), [row("b", "3"), row("c", "4")]);
    assert_eq!(store.count(Table::Owners).unwrap(), 2);
    takes_steps(store);
    turns_pages(store);
}

/// Changes a row of another table if its value is as expected.
fn step(key: &str, expected: Option<&str>, value: Option<&str>) -> ConditionalWrite {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let (table, key) = (Table::Turns, bytes(key));
    let change = Change { table, key: key.clone(), value: value.map(bytes) };
    let guard = Guard { table, key, value: expected.map(bytes) };
    ConditionalWrite {
        guard: Some(guard),
        changes: vec![change, set("guarded", value.unwrap_or("-"))],
    }
}

fn takes_steps(store: &dyn Store) {
    let get = |key: &str| store.get(Table::Turns, key.as_bytes()).unwrap();
    assert_eq!((store.apply(&[]).unwrap(), get("x")), (vec![], None));
    // One after the other: who comes second finds what the first has left.
    let steps = [
        step("x", Some("0"), Some("no")),
        step("x", None, Some("1")),
        step("x", None, Some("2")),
        ConditionalWrite { guard: None, changes: vec![set("free", "f")] },
        step("x", Some("1"), Some("")),
        step("y", Some(""), Some("no")),
    ];
    assert_eq!(store.apply(&steps).unwrap(), [false, true, false, true, true, false]);
    assert_eq!((get("x"), get("y"), get("guarded")), (Some(vec![]), None, None));
    assert_eq!(store.get(Table::Owners, b"guarded").unwrap(), Some(vec![]));
    assert_eq!(store.get(Table::Owners, b"free").unwrap(), Some(b"f".to_vec()));
    let removal = Change { table: Table::Turns, key: b"x".to_vec(), value: None };
    assert!(!store.swap(removal.clone(), Some(b"1".to_vec())).unwrap());
    assert!(store.swap(removal.clone(), Some(vec![])).unwrap());
    assert!(store.swap(removal, None).unwrap());
    assert_eq!((get("x"), store.count(Table::Turns).unwrap()), (None, 0));
    // Any bytes will do.
    let odd: Vec<u8> = (0..=255).collect();
    let change = Change { table: Table::Turns, key: odd.clone(), value: Some(odd.clone()) };
    assert!(store.swap(change.clone(), None).unwrap());
    assert!(store.swap(Change { value: None, ..change }, Some(odd)).unwrap());
    store.commit(&[removed("guarded"), removed("free")]).unwrap();
}

fn turns_pages(store: &dyn Store) {
    assert_eq!(store.page(Table::Chats, None, 7).unwrap(), super::Page::default());
    let row = |n: u32| (format!("{n:04}").into_bytes(), vec![7; 9]);
    let changes: Vec<_> = (0..2000).map(row).collect();
    let changes = changes.into_iter().map(|(key, value)| {
        let value = Some(value);
        Change { table: Table::Chats, key, value }
    });
    let changes: Vec<_> = changes.collect();
    store.commit(&changes).unwrap();
    let (mut found, mut pages, mut from) = (Vec::new(), 0, None);
    loop {
        let page = store.page(Table::Chats, from.as_deref(), 100).unwrap();
        found.extend(page.rows);
        pages += 1;
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    found.sort();
    found.dedup();
    assert!(found.into_iter().eq((0..2000).map(row)));
    assert!((10..=40).contains(&pages), "{pages}");
    let gone = changes.into_iter().map(|change| Change { value: None, ..change });
    store.commit(&gone.collect::<Vec<_>>()).unwrap();
}

#[test]
fn a_store_in_redis_keeps_rows_and_finds_them_again() {
    let mut server = RedisServer::start();
    let url = Token::new(server.url());
    let store = in_redis(&url).unwrap();
    keeps_rows(store.as_ref());
    let place = server.url().replace("redis://", "") + "/0";
    assert_eq!((store.kind(), store.path(), store.place()), ("redis", None, Some(place.clone())));
    server.kill();
    let error = store.count(Table::Owners).unwrap_err().to_string();
    assert!(error.contains(&place) && error.contains("is it running"), "{error}");
    server.start_again();
    assert_eq!(rows(store.as_ref()), [row("b", "3"), row("c", "4")]);
    assert_eq!(rows(in_redis(&url).unwrap().as_ref()), [row("b", "3"), row("c", "4")]);
}

#[test]
fn an_address_of_redis_is_never_shown_with_its_password() {
    let place = |url: &str| in_redis(&Token::new(url)).map(|store| store.place().unwrap());
    assert_eq!(place("redis://me:geheim@example.com/3").unwrap(), "example.com:6379/3");
    for url in ["redis:geheim", "http://geheim@host", "rediss://:geheim@host:99999", "geheim"] {
        let error = place(url).unwrap_err().to_string();
        assert!(!error.contains("geheim") && error.contains("redis://user"), "{url}: {error}");
    }
}

#[test]
fn a_store_in_memory_keeps_rows() {
    let store = in_memory();
    keeps_rows(store.as_ref());
    assert_eq!((store.kind(), store.path()), ("memory", None));
}

#[test]
fn a_store_on_disk_keeps_rows_and_finds_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("deep/down");
    let (store, warning) = open(&folder);
    assert_eq!((store.kind(), warning), ("redb", None));
    keeps_rows(store.as_ref());
    let file = store.path().unwrap().to_owned();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    drop(store);
    let (store, warning) = open(&folder);
    assert_eq!((store.kind(), warning), ("redb", None));
    assert_eq!(rows(store.as_ref()), [row("b", "3"), row("c", "4")]);
}

#[test]
fn a_second_process_gets_memory_and_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = open(folder.path());
    let (second, warning) = open(folder.path());
    assert_eq!(second.kind(), "memory");
    let warning = warning.unwrap();
    assert!(warning.contains("in use by another process; end that one"), "{warning}");
    first.commit(&[set("a", "1")]).unwrap();
    assert_eq!(rows(first.as_ref()), [row("a", "1")]);
}

#[test]
fn a_folder_that_cannot_be_made_gives_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let (store, warning) = open(&file.join("below"));
    assert_eq!(store.kind(), "memory");
    let warning = warning.unwrap();
    assert!(warning.contains("cannot be made") && warning.contains("`store.path`"), "{warning}");
    // A folder in the place of the file.
    fs::create_dir_all(folder.path().join("other").join(FILE)).unwrap();
    let (store, warning) = open(&folder.path().join("other"));
    assert_eq!(store.kind(), "memory");
    assert!(warning.unwrap().contains("cannot be opened"));
}

#[test]
fn a_damaged_file_is_put_aside_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    let (store, _) = open(folder.path());
    (0..100).for_each(|n| store.commit(&[set(&format!("key {n:03}"), "v")]).unwrap());
    drop(store);
    let good = fs::read(&file).unwrap();
    let mut scratched = good.clone();
    let place = good.windows(7).rposition(|bytes| bytes == b"key 050").unwrap();
    scratched[place] ^= 0xFF;
    let damages =
        [b"This is no database. ".repeat(1000), good[..good.len() / 2].to_vec(), scratched];
    for (number, damage) in (1..).zip(damages) {
        fs::write(&file, &damage).unwrap();
        let (store, warning) = open(folder.path());
        assert_eq!(store.kind(), "redb", "{warning:?}");
        let warning = warning.unwrap();
        let aside = folder.path().join(format!("{FILE}.damaged-{number}"));
        assert!(warning.contains(&aside.display().to_string()), "{warning}");
        assert_eq!(fs::read(&aside).unwrap().len(), damage.len());
        assert_eq!(rows(store.as_ref()), []);
        store.commit(&[set("a", "1")]).unwrap();
    }
}

/// Rows of one batch of the test below.
const BATCH: usize = 7;

/// Where the child of the test below writes.
const CHILD: &str = "DIFYGATE_TEST_STORE";

/// No test of its own: the child that the next one kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let (store, warning) = open(Path::new(&folder));
    assert_eq!(warning, None);
    let begin = store.count(Table::Owners).unwrap() as usize / BATCH;
    for batch in begin..begin + 100_000 {
        let value = batch.to_string();
        let changes: Vec<_> = (0..BATCH).map(|n| set(&format!("{batch:08} {n}"), &value)).collect();
        store.commit(&changes).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nacked {batch}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_50_kills() {
    let folder = tempfile::tempdir().unwrap();
    let mut acked = 0;
    for round in 0..50 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::child_that_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acks = lines.filter_map(|line| line.unwrap().strip_prefix("acked ")?.parse().ok());
        // Killed at another point of a commit each time, as the threads fall.
        let last: Option<usize> = acks.take(round % 5 + 1).last();
        child.kill().unwrap();
        child.wait().unwrap();
        acked = acked.max(last.expect("the child committed nothing") + 1);
        let (store, warning) = open(folder.path());
        assert_eq!((store.kind(), warning), ("redb", None));
        let mut batches = BTreeMap::<_, usize>::new();
        rows(store.as_ref()).into_iter().for_each(|(_, batch)| {
            *batches.entry(batch.parse::<usize>().unwrap()).or_default() += 1;
        });
        assert!(batches.len() >= acked, "round {round}: {} of {acked}", batches.len());
        assert!(batches.keys().copied().eq(0..batches.len()), "round {round}");
        assert!(batches.values().all(|rows| *rows == BATCH), "round {round}: half a batch");
        acked = batches.len();
    }
    assert!(acked >= 50);
}

/// A file that redb 4.5 wrote: its length, then each part that is not zero as offset, length and bytes, all
/// numbers with four bytes.
const OF_REDB_4_5: &[u8] = include_bytes!("../../tests/data/store-of-redb-4.5.sparse");

fn of_redb_4_5() -> Vec<u8> {
    let number =
        |at: usize| u32::from_be_bytes(OF_REDB_4_5[at..at + 4].try_into().unwrap()) as usize;
    let (mut file, mut at) = (vec![0; number(0)], 4);
    while at < OF_REDB_4_5.len() {
        let (offset, length) = (number(at), number(at + 4));
        file[offset..offset + length].copy_from_slice(&OF_REDB_4_5[at + 8..at + 8 + length]);
        at += 8 + length;
    }
    file
}

#[test]
fn a_file_of_an_earlier_release_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), of_redb_4_5()).unwrap();
    let (store, warning) = open(folder.path());
    assert_eq!(warning, None);
    let known = (0..20).filter(|number| *number != 7);
    let mut known: Vec<_> = known
        .map(|number| row(&format!("id-{number:03}"), &format!("dify{}", number % 3)))
        .collect();
    known.insert(0, row("guarded", "1"));
    known.sort();
    assert_eq!(rows(&*store), known);
    assert_eq!(store.get(Table::Turns, b"turn").unwrap(), Some(b"1".to_vec()));
    store.commit(&[set("id-new", "dify1")]).unwrap();
    drop(store);
    let (store, warning) = open(folder.path());
    assert_eq!((warning, store.count(Table::Owners).unwrap()), (None, 21));
}

#[test]
fn a_file_of_a_later_format_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut file = of_redb_4_5();
    // The number of the format stands at the front of both of its commits.
    assert_eq!((file[64], file[192]), (3, 3));
    (file[64], file[192]) = (9, 9);
    fs::write(&path, &file).unwrap();
    let (store, warning) = open(folder.path());
    let warning = warning.unwrap();
    assert!(warning.contains("another release of difygate"), "{warning}");
    assert!(warning.contains("it is left as it is"), "{warning}");
    store.commit(&[set("a", "1")]).unwrap();
    assert!(fs::read(&path).unwrap() == file);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
