//! The book over every store: what is resumed and what is not.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{
    Answered, Before, Book, Conversation, Finished, Found, Known, Limits, OnStoreFailure, Pending,
    Sought, State, Thread, Turn, now_s,
};
use crate::model::Token;
use crate::store::redis_server::RedisServer;
use crate::store::{Store, Table, in_memory, in_redis, open};

pub(super) const LIMITS: Limits =
    Limits { max_entries: 1000, max_age: Duration::from_secs(30 * 24 * 3600) };

pub(super) fn book(store: &Arc<dyn Store>) -> Book {
    Book::start(Arc::clone(store), None, LIMITS, OnStoreFailure::Refuse).unwrap()
}

pub(super) fn thread(user: &str, chat: Option<&str>) -> Thread {
    let [key, app] = ["key", "shop"].map(str::to_owned);
    Thread { key, app, user: user.to_owned(), chat: chat.map(str::to_owned) }
}

pub(super) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Turns of a user and the app in turn.
pub(super) fn talk<'a>(texts: &[&'a str]) -> Vec<Turn<'a>> {
    let turn = |(at, text): (usize, &&'a str)| {
        if at % 2 == 0 { Turn::user(*text) } else { Turn::assistant(*text) }
    };
    texts.iter().enumerate().map(turn).collect()
}

/// A turn that ends: the last two texts are its question and answer.
pub(super) async fn turn(
    book: &Book,
    thread: &Thread,
    texts: &[&str],
    conversation: u128,
    message: u128,
) {
    let (before, [user, assistant]) = texts.split_last_chunk::<2>().unwrap();
    let before = Before::Transcript(&talk(before));
    let finished = Finished {
        pending: Pending::new(thread.clone(), before, &Turn::user(*user)),
        conversation: id(conversation),
        assistant,
        message: Some(id(message)),
    };
    book.finish(finished).await.unwrap();
}

pub(super) async fn resumed(book: &Book, thread: &Thread, texts: &[&str]) -> Conversation {
    match found(book, thread, texts).await {
        Found::Resume(found) => found,
        other => panic!("{other:?} for {texts:?}"),
    }
}

pub(super) async fn found(book: &Book, thread: &Thread, texts: &[&str]) -> Found {
    book.find(sought(thread, texts)).await.unwrap()
}

pub(super) fn sought(thread: &Thread, texts: &[&str]) -> Sought {
    Sought::new(thread.clone(), &talk(texts))
}

/// Gives every store to `test`. A store is used by one test alone.
async fn over_every_store(test: impl AsyncFn(Arc<dyn Store>)) {
    test(in_memory()).await;
    let folder = tempfile::tempdir().unwrap();
    let (store, warning) = open(folder.path());
    assert_eq!(warning, None);
    test(store).await;
    let server = RedisServer::start();
    test(in_redis(&Token::new(server.url())).unwrap()).await;
}

#[tokio::test]
async fn a_transcript_resumes_the_conversation_whose_end_it_is() {
    over_every_store(async |store| {
        let book = book(&store);
        let alice = thread("alice", None);
        assert_eq!(found(&book, &alice, &[]).await, Found::New);
        assert_eq!(found(&book, &alice, &["a", "b"]).await, Found::Unknown);
        turn(&book, &alice, &["a", "b"], 1, 11).await;
        assert_eq!(found(&book, &alice, &[]).await, Found::New);
        let first = resumed(&book, &alice, &["a", " b\r\n"]).await;
        assert_eq!((first.id, first.last_message, first.turns), (id(1), Some(id(11)), 1));
        assert_eq!(first.thread, alice);
        assert!(book.begin(&first).await.unwrap());
        turn(&book, &alice, &["a", "b", "c", "d"], 1, 12).await;
        let second = resumed(&book, &alice, &["a", "b", "c", "d"]).await;
        assert_eq!((second.id, second.last_message, second.turns), (id(1), Some(id(12)), 2));
        // Regenerated, edited, cut short: not at the end.
        assert_eq!(found(&book, &alice, &["a", "b"]).await, Found::Branch);
        assert_eq!(found(&book, &alice, &["a", "b", "c", "x"]).await, Found::Unknown);
        assert_eq!(found(&book, &alice, &["c", "d"]).await, Found::Unknown);
        // Nobody else's.
        for other in [thread("bob", None), thread("alice", Some("chat"))] {
            assert_eq!(found(&book, &other, &["a", "b", "c", "d"]).await, Found::Unknown);
        }
    })
    .await;
}

#[tokio::test]
async fn an_old_branch_is_taken_up_again() {
    over_every_store(async |store| {
        let book = book(&store);
        let chat = thread("alice", Some("chat"));
        turn(&book, &chat, &["a", "b"], 1, 11).await;
        turn(&book, &chat, &["a", "b", "c", "d"], 1, 12).await;
        // The second question is edited: a new conversation, seeded.
        assert_eq!(found(&book, &chat, &["a", "b"]).await, Found::Branch);
        turn(&book, &chat, &["a", "b", "x", "y"], 2, 21).await;
        assert_eq!(resumed(&book, &chat, &["a", "b", "x", "y"]).await.id, id(2));
        assert_eq!(resumed(&book, &chat, &["a", "b", "c", "d"]).await.id, id(1));
        // The first one is regenerated.
        turn(&book, &chat, &["a", "other"], 3, 31).await;
        assert_eq!(resumed(&book, &chat, &["a", "other"]).await.id, id(3));
        assert_eq!(resumed(&book, &chat, &["a", "b", "x", "y"]).await.id, id(2));
    })
    .await;
}

#[tokio::test]
async fn a_shortened_transcript_of_a_chat_resumes_its_newest_conversation() {
    over_every_store(async |store| {
        let book = book(&store);
        let chat = thread("alice", Some("chat"));
        turn(&book, &chat, &["a", "b", "c", "d"], 1, 11).await;
        assert_eq!(resumed(&book, &chat, &["c", "d"]).await.id, id(1));
        assert_eq!(found(&book, &chat, &["x", "d"]).await, Found::Unknown);
        assert_eq!(found(&book, &chat, &["d"]).await, Found::Unknown);
        turn(&book, &chat, &["a", "b", "c", "e"], 2, 21).await;
        // The end of an older one says too little.
        assert_eq!(found(&book, &chat, &["c", "d"]).await, Found::Unknown);
        let newest = resumed(&book, &chat, &["c", "e"]).await;
        assert!(newest.id == id(2) && book.begin(&newest).await.unwrap());
        assert_eq!(found(&book, &chat, &["c", "e"]).await, Found::Unknown);
    })
    .await;
}

#[tokio::test]
async fn one_turn_at_a_time_and_a_cut_one_is_never_resumed() {
    over_every_store(async |store| {
        let book = book(&store);
        let alice = thread("alice", None);
        turn(&book, &alice, &["a", "b"], 1, 11).await;
        let one = resumed(&book, &alice, &["a", "b"]).await;
        let begun = tokio::join!(book.begin(&one), book.begin(&one), book.begin(&one));
        let begun = [begun.0.unwrap(), begun.1.unwrap(), begun.2.unwrap()];
        assert_eq!(begun.iter().filter(|begun| **begun).count(), 1, "{begun:?}");
        assert_eq!(found(&book, &alice, &["a", "b"]).await, Found::Branch);
        // Refused before Dify did anything.
        book.release(&one).await.unwrap();
        let again = resumed(&book, &alice, &["a", "b"]).await;
        assert_eq!(again.state, State::Clean);
        // Begun, and then this process or its run is killed.
        assert!(book.begin(&again).await.unwrap());
        book.close().await;
        let book = self::book(&store);
        assert_eq!(found(&book, &alice, &["a", "b"]).await, Found::Branch);
        // It has gone on meanwhile: a turn of before neither begins nor is taken back.
        turn(&book, &alice, &["a", "b", "c", "d"], 1, 12).await;
        book.release(&again).await.unwrap();
        assert!(!book.begin(&again).await.unwrap());
        assert_eq!(resumed(&book, &alice, &["a", "b", "c", "d"]).await.id, id(1));
    })
    .await;
}

#[tokio::test]
async fn what_a_client_names_is_its_own_or_not() {
    over_every_store(async |store| {
        let book = book(&store);
        let (alice, bob) = (thread("alice", None), thread("bob", None));
        turn(&book, &alice, &["a", "b"], 1, 11).await;
        let Known::Mine(mine) = book.by_id(&alice, id(1)).await.unwrap() else { panic!() };
        assert_eq!(book.by_id(&bob, id(1)).await.unwrap(), Known::NotMine);
        assert_eq!(book.by_id(&alice, id(2)).await.unwrap(), Known::Unknown);
        let chat = thread("alice", Some("any"));
        assert_eq!(book.by_answer(&chat, id(11)).await.unwrap(), Answered::Tail(mine.clone()));
        assert_eq!(book.by_answer(&bob, id(11)).await.unwrap(), Answered::Unknown);
        assert_eq!(book.by_answer(&alice, id(12)).await.unwrap(), Answered::Unknown);
        // A client that names what it goes on with sends no transcript.
        let finished = Finished {
            pending: Pending::new(alice.clone(), Before::Named(mine.tail), &Turn::user("c")),
            conversation: id(1),
            assistant: "d",
            message: Some(id(12)),
        };
        assert!(book.begin(&mine).await.unwrap());
        let past = book.by_answer(&alice, id(11)).await.unwrap();
        assert!(matches!(past, Answered::Past(_, at) if at == id(11)), "{past:?}");
        book.finish(finished).await.unwrap();
        let Answered::Tail(tail) = book.by_answer(&alice, id(12)).await.unwrap() else { panic!() };
        assert_eq!((tail.id, tail.turns), (id(1), 2));
        assert!(matches!(book.by_answer(&alice, id(11)).await.unwrap(), Answered::Past(..)));
        // What it said is not taken for a whole transcript.
        assert_eq!(found(&book, &alice, &["c", "d"]).await, Found::Unknown);
        book.forget(id(1)).await.unwrap();
        assert_eq!(book.by_id(&alice, id(1)).await.unwrap(), Known::Unknown);
        assert_eq!(book.by_answer(&alice, id(12)).await.unwrap(), Answered::Unknown);
        assert_eq!(found(&book, &alice, &["a", "b"]).await, Found::Unknown);
    })
    .await;
}

#[tokio::test]
async fn a_chat_with_a_long_name_is_a_chat_like_any_other() {
    let book = book(&in_memory());
    let name = "x".repeat(257);
    let chat = thread("alice", Some(&name));
    turn(&book, &chat, &["a", "b", "c", "d"], 1, 11).await;
    let short = resumed(&book, &chat, &["c", "d"]).await;
    assert_eq!((short.id, short.thread.chat.unwrap().len()), (id(1), 32));
    let other = name.replace("xx", "xy");
    assert_eq!(found(&book, &thread("alice", Some(&other)), &["c", "d"]).await, Found::Unknown);
}

#[tokio::test]
async fn what_is_closed_is_found_again_and_holds_no_text() {
    over_every_store(async |store| {
        let chat = thread("alice", Some("chat"));
        let book = self::book(&store);
        turn(&book, &chat, &["my secret question", "your secret answer"], 1, 11).await;
        book.close().await;
        assert!(book.find(sought(&chat, &["a", "b"])).await.is_err(), "it is closed");
        let book = self::book(&store);
        let texts = ["my secret question", "your secret answer"];
        assert_eq!(resumed(&book, &chat, &texts).await.id, id(1));
        let mut rows = 0;
        for table in [Table::Conversations, Table::Turns, Table::Chats, Table::Answers] {
            let check = &mut |key: &[u8], row: &[u8]| {
                rows += 1;
                let bytes = [key, row].concat();
                assert!(!bytes.windows(6).any(|part| part == b"secret"), "{table:?}");
            };
            store.load(table, check).unwrap();
        }
        assert_eq!(rows, 4);
    })
    .await;
}

#[tokio::test]
async fn lists_count_clean_up_and_belong_to_a_key() {
    over_every_store(async |store| {
        let book = book(&store);
        assert_eq!(book.mappings(None).await.unwrap(), super::Mappings::default());
        let other = Thread { key: "other".to_owned(), ..thread("bob", None) };
        let begun_s = now_s();
        for number in 0..20 {
            turn(&book, &thread("alice", None), &["a", &number.to_string()], number, 100 + number)
                .await;
        }
        turn(&book, &other, &["a", "b"], 50, 150).await;
        let all = book.mappings(None).await.unwrap();
        let mine = book.mappings(Some("other")).await.unwrap();
        assert_eq!((all.mapping_count, mine.mapping_count), (21, 1));
        let (oldest, mean) = (all.oldest_mapping.unwrap(), all.avg_last_used.unwrap());
        assert!((begun_s..=now_s()).contains(&oldest) && mean >= f64::from(begun_s));
        assert_eq!(book.recent(None, 5).await.unwrap().len(), 5);
        assert_eq!(book.recent(Some("other"), 5).await.unwrap()[0].id, id(50));
        assert_eq!(book.recent(Some("nobody"), 5).await.unwrap(), []);
        // Nothing is so old; a clock that stands still makes nothing older than now.
        let day = Duration::from_secs(86_400);
        assert_eq!(book.cleanup(None, day).await.unwrap(), 0);
        let mut rows = book.export(None, None).await.unwrap();
        rows.rows.iter_mut().for_each(|row| row.used -= 2 * 86_400);
        let gone = book.recent(None, 100).await.unwrap();
        for one in gone {
            book.forget(one.id).await.unwrap();
        }
        assert_eq!(book.import(Some(rows.header), rows.rows).await.unwrap().added, 21);
        assert_eq!(book.cleanup(Some("other"), day).await.unwrap(), 1);
        assert_eq!(book.cleanup(None, day).await.unwrap(), 20);
        assert_eq!(book.mappings(None).await.unwrap().mapping_count, 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_too_old_and_the_oldest_of_too_many_go() {
    over_every_store(async |store| {
        let alice = thread("alice", Some("chat"));
        let first = book(&store);
        for number in 0..40 {
            let texts = ["a", &number.to_string()];
            turn(&first, &alice, &texts, number, 100 + number).await;
        }
        let mut all = first.export(None, None).await.unwrap();
        all.rows.sort_by(|a, b| a.conversation.cmp(&b.conversation));
        for (row, age) in all.rows.iter_mut().zip(0u32..) {
            row.used -= age * 3600;
            first.forget(Uuid::parse_str(&row.conversation).unwrap()).await.unwrap();
        }
        let imported = first.import(Some(all.header), all.rows).await.unwrap();
        assert_eq!(imported.added, 40);
        first.close().await;
        for (max_entries, hours, left) in [(1000, 30, 30), (10, 1000, 10)] {
            // Half an hour more, so that no row lies on the border.
            let max_age = Duration::from_secs(hours * 3600 - 1800);
            let limits = Limits { max_entries, max_age };
            let book =
                Book::start(Arc::clone(&store), None, limits, OnStoreFailure::Refuse).unwrap();
            let swept = async {
                while store.count(Table::Conversations).unwrap() != left {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), swept).await.unwrap();
            assert_eq!(resumed(&book, &alice, &["a", "0"]).await.id, id(0));
            assert_eq!(found(&book, &alice, &["a", "39"]).await, Found::Unknown);
            book.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_export_is_taken_in_by_another_gateway() {
    over_every_store(async |store| {
        let old = book(&in_memory());
        let (chat, bare) = (thread("alice", Some("chat")), thread("alice", None));
        turn(&old, &chat, &["a", "b"], 1, 11).await;
        turn(&old, &chat, &["a", "b", "c", "d"], 1, 12).await;
        turn(&old, &bare, &["x", "y"], 2, 21).await;
        let slice = old.export(None, None).await.unwrap();
        assert_eq!((slice.rows.len(), &slice.next), (2, &None));
        assert_eq!(old.export(Some("nobody"), None).await.unwrap().rows, []);
        assert!(old.export(None, Some("no place")).await.is_err());

        // Another key: the transcripts are not known, but the chat and the ids are.
        let book = book(&store);
        let done = book.import(Some(slice.header.clone()), slice.rows.clone()).await.unwrap();
        assert_eq!((done.added, done.present, done.skipped), (2, 0, 0));
        let done = book.import(Some(slice.header.clone()), slice.rows.clone()).await.unwrap();
        assert_eq!((done.added, done.present, done.skipped), (0, 2, 0));
        let taken = resumed(&book, &chat, &["a", "b", "c", "d"]).await;
        assert_eq!((taken.id, taken.state, taken.turns), (id(1), State::Imported, 2));
        assert_eq!(found(&book, &bare, &["x", "y"]).await, Found::Unknown);
        assert!(matches!(book.by_id(&bare, id(2)).await.unwrap(), Known::Mine(_)));
        assert!(book.begin(&taken).await.unwrap());
        assert_eq!(found(&book, &chat, &["a", "b", "c", "d"]).await, Found::Unknown);
        book.release(&taken).await.unwrap();
        assert_eq!(resumed(&book, &chat, &["a", "b", "c", "d"]).await.state, State::Imported);
        turn(&book, &chat, &["a", "b", "c", "d", "e", "f"], 1, 13).await;
        let known = resumed(&book, &chat, &["a", "b", "c", "d", "e", "f"]).await;
        assert_eq!((known.state, known.turns), (State::Clean, 3));

        // The same key: everything is as it was.
        old.forget(id(1)).await.unwrap();
        old.forget(id(2)).await.unwrap();
        assert_eq!(old.import(Some(slice.header), slice.rows).await.unwrap().added, 2);
        assert_eq!(resumed(&old, &bare, &["x", "y"]).await.id, id(2));
        assert!(matches!(old.by_answer(&bare, id(21)).await.unwrap(), Answered::Tail(_)));
        assert_eq!(resumed(&old, &chat, &["a", "b", "c", "d"]).await.state, State::Clean);
    })
    .await;
}

#[tokio::test]
async fn a_chat_of_opendify_goes_on_where_it_was() {
    over_every_store(async |store| {
        let book = book(&store);
        let text = format!(
            "{{\"chat\": {{\"dify_conversation_id\": \"{}\", \"created_at\": 7, \"last_used\": {}}}}}",
            id(1),
            now_s()
        );
        let rows = super::parse(&text, Some("shop"), now_s()).unwrap().rows;
        assert_eq!(book.import(None, rows.clone()).await.unwrap().added, 1);
        assert_eq!(book.import(None, rows).await.unwrap().present, 1);
        let chat = thread("alice", Some("chat"));
        assert_eq!(found(&book, &chat, &[]).await, Found::New);
        assert_eq!(found(&book, &thread("alice", None), &["a", "b"]).await, Found::Unknown);
        let other = Thread { app: "flow".to_owned(), ..chat.clone() };
        assert_eq!(found(&book, &other, &["a", "b"]).await, Found::Unknown);
        let taken = resumed(&book, &chat, &["a", "b"]).await;
        assert_eq!((taken.id, taken.state, taken.created_s), (id(1), State::Imported, 7));
        assert!(book.begin(&taken).await.unwrap());
        assert!(!book.begin(&taken).await.unwrap());
        // Whoever continued it first has it.
        let bob = thread("bob", Some("chat"));
        assert_eq!(found(&book, &bob, &["a", "b"]).await, Found::Unknown);
        book.release(&taken).await.unwrap();
        assert_eq!(found(&book, &bob, &["a", "b"]).await, Found::Unknown);
        let taken = resumed(&book, &chat, &["a", "b"]).await;
        assert!(book.begin(&taken).await.unwrap());
        turn(&book, &chat, &["a", "b", "c", "d"], 1, 11).await;
        assert_eq!(resumed(&book, &chat, &["a", "b", "c", "d"]).await.state, State::Clean);
    })
    .await;
}
