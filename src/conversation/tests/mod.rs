//! The store over every store: what is resumed and what is not.

mod laws;
mod store_down;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::conversation::{
    AnswerMatch, Conversation, ConversationMatch, ConversationState, ConversationStore,
    FinishedTurn, OnStoreFailure, PendingTurn, Retention, Thread, TranscriptMatch, TranscriptQuery,
    Turn, now_s,
};
use crate::model::Token;
use crate::store::redis_server::RedisServer;
use crate::store::{Store, Table, in_memory, in_redis, open};

pub(super) const LIMITS: Retention =
    Retention { max_entries: 1000, max_age: Duration::from_secs(30 * 24 * 3600) };

pub(super) fn conversation_store(store: &Arc<dyn Store>) -> ConversationStore {
    ConversationStore::start(Arc::clone(store), None, LIMITS, OnStoreFailure::Refuse).unwrap()
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
    conversation_store: &ConversationStore,
    thread: &Thread,
    texts: &[&str],
    conversation: u128,
    message: u128,
) {
    let (before, [user, assistant]) = texts.split_last_chunk::<2>().unwrap();
    let before = talk(before);
    let finished = FinishedTurn {
        pending: PendingTurn::new(thread.clone(), before, &Turn::user(*user)),
        conversation: id(conversation),
        assistant,
        message: Some(id(message)),
    };
    conversation_store.finish(finished).await.unwrap();
}

pub(super) async fn resumed(
    conversation_store: &ConversationStore,
    thread: &Thread,
    texts: &[&str],
) -> Conversation {
    match found(conversation_store, thread, texts).await {
        TranscriptMatch::Resume(found) => found,
        other => panic!("{other:?} for {texts:?}"),
    }
}

pub(super) async fn found(
    conversation_store: &ConversationStore,
    thread: &Thread,
    texts: &[&str],
) -> TranscriptMatch {
    conversation_store.find(sought(thread, texts)).await.unwrap()
}

pub(super) fn sought(thread: &Thread, texts: &[&str]) -> TranscriptQuery {
    TranscriptQuery::new(thread.clone(), &talk(texts))
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
        let conversation_store = conversation_store(&store);
        let alice = thread("alice", None);
        assert_eq!(found(&conversation_store, &alice, &[]).await, TranscriptMatch::New);
        assert_eq!(found(&conversation_store, &alice, &["a", "b"]).await, TranscriptMatch::Unknown);
        turn(&conversation_store, &alice, &["a", "b"], 1, 11).await;
        assert_eq!(found(&conversation_store, &alice, &[]).await, TranscriptMatch::New);
        let first = resumed(&conversation_store, &alice, &["a", " b\r\n"]).await;
        assert_eq!((first.id, first.last_message, first.turns), (id(1), Some(id(11)), 1));
        assert_eq!(first.thread, alice);
        assert!(conversation_store.begin(&first).await.unwrap());
        turn(&conversation_store, &alice, &["a", "b", "c", "d"], 1, 12).await;
        let second = resumed(&conversation_store, &alice, &["a", "b", "c", "d"]).await;
        assert_eq!((second.id, second.last_message, second.turns), (id(1), Some(id(12)), 2));
        // Regenerated, edited, cut short: not at the end.
        assert_eq!(found(&conversation_store, &alice, &["a", "b"]).await, TranscriptMatch::Branch);
        assert_eq!(
            found(&conversation_store, &alice, &["a", "b", "c", "x"]).await,
            TranscriptMatch::Unknown
        );
        assert_eq!(found(&conversation_store, &alice, &["c", "d"]).await, TranscriptMatch::Unknown);
        // Nobody else's.
        for other in [thread("bob", None), thread("alice", Some("chat"))] {
            assert_eq!(
                found(&conversation_store, &other, &["a", "b", "c", "d"]).await,
                TranscriptMatch::Unknown
            );
        }
    })
    .await;
}

#[tokio::test]
async fn an_old_branch_is_taken_up_again() {
    over_every_store(async |store| {
        let conversation_store = conversation_store(&store);
        let chat = thread("alice", Some("chat"));
        turn(&conversation_store, &chat, &["a", "b"], 1, 11).await;
        turn(&conversation_store, &chat, &["a", "b", "c", "d"], 1, 12).await;
        // The second question is edited: a new conversation, seeded.
        assert_eq!(found(&conversation_store, &chat, &["a", "b"]).await, TranscriptMatch::Branch);
        turn(&conversation_store, &chat, &["a", "b", "x", "y"], 2, 21).await;
        assert_eq!(resumed(&conversation_store, &chat, &["a", "b", "x", "y"]).await.id, id(2));
        assert_eq!(resumed(&conversation_store, &chat, &["a", "b", "c", "d"]).await.id, id(1));
        // The first one is regenerated.
        turn(&conversation_store, &chat, &["a", "other"], 3, 31).await;
        assert_eq!(resumed(&conversation_store, &chat, &["a", "other"]).await.id, id(3));
        assert_eq!(resumed(&conversation_store, &chat, &["a", "b", "x", "y"]).await.id, id(2));
    })
    .await;
}

#[tokio::test]
async fn a_shortened_transcript_of_a_chat_resumes_its_newest_conversation() {
    over_every_store(async |store| {
        let conversation_store = conversation_store(&store);
        let chat = thread("alice", Some("chat"));
        turn(&conversation_store, &chat, &["a", "b", "c", "d"], 1, 11).await;
        assert_eq!(resumed(&conversation_store, &chat, &["c", "d"]).await.id, id(1));
        assert_eq!(found(&conversation_store, &chat, &["x", "d"]).await, TranscriptMatch::Unknown);
        assert_eq!(found(&conversation_store, &chat, &["d"]).await, TranscriptMatch::Unknown);
        turn(&conversation_store, &chat, &["a", "b", "c", "e"], 2, 21).await;
        // The end of an older one says too little.
        assert_eq!(found(&conversation_store, &chat, &["c", "d"]).await, TranscriptMatch::Unknown);
        let newest = resumed(&conversation_store, &chat, &["c", "e"]).await;
        assert!(newest.id == id(2) && conversation_store.begin(&newest).await.unwrap());
        assert_eq!(found(&conversation_store, &chat, &["c", "e"]).await, TranscriptMatch::Unknown);
    })
    .await;
}

#[tokio::test]
async fn one_turn_at_a_time_and_a_cut_one_is_never_resumed() {
    over_every_store(async |store| {
        let conversation_store = conversation_store(&store);
        let alice = thread("alice", None);
        turn(&conversation_store, &alice, &["a", "b"], 1, 11).await;
        let one = resumed(&conversation_store, &alice, &["a", "b"]).await;
        let begun = tokio::join!(
            conversation_store.begin(&one),
            conversation_store.begin(&one),
            conversation_store.begin(&one)
        );
        let begun = [begun.0.unwrap(), begun.1.unwrap(), begun.2.unwrap()];
        assert_eq!(begun.iter().filter(|begun| **begun).count(), 1, "{begun:?}");
        assert_eq!(found(&conversation_store, &alice, &["a", "b"]).await, TranscriptMatch::Branch);
        // Refused before Dify did anything.
        conversation_store.release(&one).await.unwrap();
        let again = resumed(&conversation_store, &alice, &["a", "b"]).await;
        assert_eq!(again.state, ConversationState::Clean);
        // Begun, and then this process or its run is killed.
        assert!(conversation_store.begin(&again).await.unwrap());
        conversation_store.close().await;
        let conversation_store = self::conversation_store(&store);
        assert_eq!(found(&conversation_store, &alice, &["a", "b"]).await, TranscriptMatch::Branch);
        // It has gone on meanwhile: a turn of before neither begins nor is taken back.
        turn(&conversation_store, &alice, &["a", "b", "c", "d"], 1, 12).await;
        conversation_store.release(&again).await.unwrap();
        assert!(!conversation_store.begin(&again).await.unwrap());
        assert_eq!(resumed(&conversation_store, &alice, &["a", "b", "c", "d"]).await.id, id(1));
    })
    .await;
}

#[tokio::test]
async fn what_a_client_names_is_its_own_or_not() {
    over_every_store(async |store| {
        let conversation_store = conversation_store(&store);
        let (alice, bob) = (thread("alice", None), thread("bob", None));
        turn(&conversation_store, &alice, &["a", "b"], 1, 11).await;
        let ConversationMatch::Owned(mine) = conversation_store.by_id(&alice, id(1)).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(
            conversation_store.by_id(&bob, id(1)).await.unwrap(),
            ConversationMatch::Foreign
        );
        assert_eq!(
            conversation_store.by_id(&alice, id(2)).await.unwrap(),
            ConversationMatch::Unknown
        );
        let chat = thread("alice", Some("any"));
        assert_eq!(
            conversation_store.by_answer(&chat, id(11)).await.unwrap(),
            AnswerMatch::Tail(mine.clone())
        );
        assert_eq!(conversation_store.by_answer(&bob, id(11)).await.unwrap(), AnswerMatch::Unknown);
        assert_eq!(
            conversation_store.by_answer(&alice, id(12)).await.unwrap(),
            AnswerMatch::Unknown
        );
        // A client that names what it goes on with sends no transcript.
        let finished = FinishedTurn {
            pending: PendingTurn::after(alice.clone(), mine.tail, &Turn::user("c")),
            conversation: id(1),
            assistant: "d",
            message: Some(id(12)),
        };
        assert!(conversation_store.begin(&mine).await.unwrap());
        let past = conversation_store.by_answer(&alice, id(11)).await.unwrap();
        assert!(matches!(past, AnswerMatch::Past(_, at) if at == id(11)), "{past:?}");
        conversation_store.finish(finished).await.unwrap();
        let AnswerMatch::Tail(tail) = conversation_store.by_answer(&alice, id(12)).await.unwrap()
        else {
            panic!()
        };
        assert_eq!((tail.id, tail.turns), (id(1), 2));
        assert!(matches!(
            conversation_store.by_answer(&alice, id(11)).await.unwrap(),
            AnswerMatch::Past(..)
        ));
        // What it said is not taken for a whole transcript.
        assert_eq!(found(&conversation_store, &alice, &["c", "d"]).await, TranscriptMatch::Unknown);
        conversation_store.forget(id(1)).await.unwrap();
        assert_eq!(
            conversation_store.by_id(&alice, id(1)).await.unwrap(),
            ConversationMatch::Unknown
        );
        assert_eq!(
            conversation_store.by_answer(&alice, id(12)).await.unwrap(),
            AnswerMatch::Unknown
        );
        assert_eq!(found(&conversation_store, &alice, &["a", "b"]).await, TranscriptMatch::Unknown);
    })
    .await;
}

#[tokio::test]
async fn a_chat_with_a_long_name_is_a_chat_like_any_other() {
    let conversation_store = conversation_store(&in_memory());
    let name = "x".repeat(257);
    let chat = thread("alice", Some(&name));
    turn(&conversation_store, &chat, &["a", "b", "c", "d"], 1, 11).await;
    let short = resumed(&conversation_store, &chat, &["c", "d"]).await;
    assert_eq!((short.id, short.thread.chat.unwrap().len()), (id(1), 32));
    let other = name.replace("xx", "xy");
    assert_eq!(
        found(&conversation_store, &thread("alice", Some(&other)), &["c", "d"]).await,
        TranscriptMatch::Unknown
    );
}

#[tokio::test]
async fn what_is_closed_is_found_again_and_holds_no_text() {
    over_every_store(async |store| {
        let chat = thread("alice", Some("chat"));
        let conversation_store = self::conversation_store(&store);
        turn(&conversation_store, &chat, &["my secret question", "your secret answer"], 1, 11)
            .await;
        conversation_store.close().await;
        assert!(conversation_store.find(sought(&chat, &["a", "b"])).await.is_err(), "it is closed");
        let conversation_store = self::conversation_store(&store);
        let texts = ["my secret question", "your secret answer"];
        assert_eq!(resumed(&conversation_store, &chat, &texts).await.id, id(1));
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
        let conversation_store = conversation_store(&store);
        assert_eq!(conversation_store.mappings(None).await.unwrap(), super::Mappings::default());
        let other = Thread { key: "other".to_owned(), ..thread("bob", None) };
        let begun_s = now_s();
        for number in 0..20 {
            turn(
                &conversation_store,
                &thread("alice", None),
                &["a", &number.to_string()],
                number,
                100 + number,
            )
            .await;
        }
        turn(&conversation_store, &other, &["a", "b"], 50, 150).await;
        let all = conversation_store.mappings(None).await.unwrap();
        let mine = conversation_store.mappings(Some("other")).await.unwrap();
        assert_eq!((all.mapping_count, mine.mapping_count), (21, 1));
        let (oldest, mean) = (all.oldest_mapping.unwrap(), all.avg_last_used.unwrap());
        assert!((begun_s..=now_s()).contains(&oldest) && mean >= f64::from(begun_s));
        assert_eq!(conversation_store.recent(None, 5).await.unwrap().len(), 5);
        assert_eq!(conversation_store.recent(Some("other"), 5).await.unwrap()[0].id, id(50));
        assert_eq!(conversation_store.recent(Some("nobody"), 5).await.unwrap(), []);
        // Nothing is so old; a clock that stands still makes nothing older than now.
        let day = Duration::from_secs(86_400);
        assert_eq!(conversation_store.cleanup(None, day).await.unwrap(), 0);
        let mut rows = conversation_store.export(None, None).await.unwrap();
        rows.rows.iter_mut().for_each(|row| row.used -= 2 * 86_400);
        let gone = conversation_store.recent(None, 100).await.unwrap();
        for one in gone {
            conversation_store.forget(one.id).await.unwrap();
        }
        assert_eq!(
            conversation_store.import(Some(rows.header), rows.rows).await.unwrap().added,
            21
        );
        assert_eq!(conversation_store.cleanup(Some("other"), day).await.unwrap(), 1);
        assert_eq!(conversation_store.cleanup(None, day).await.unwrap(), 20);
        assert_eq!(conversation_store.mappings(None).await.unwrap().mapping_count, 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_too_old_and_the_oldest_of_too_many_go() {
    over_every_store(async |store| {
        let alice = thread("alice", Some("chat"));
        let first = conversation_store(&store);
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
            let limits = Retention { max_entries, max_age };
            let conversation_store =
                ConversationStore::start(Arc::clone(&store), None, limits, OnStoreFailure::Refuse)
                    .unwrap();
            let swept = async {
                while store.count(Table::Conversations).unwrap() != left {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), swept).await.unwrap();
            assert_eq!(resumed(&conversation_store, &alice, &["a", "0"]).await.id, id(0));
            assert_eq!(
                found(&conversation_store, &alice, &["a", "39"]).await,
                TranscriptMatch::Unknown
            );
            conversation_store.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_export_is_taken_in_by_another_gateway() {
    over_every_store(async |store| {
        let old = conversation_store(&in_memory());
        let (chat, bare) = (thread("alice", Some("chat")), thread("alice", None));
        turn(&old, &chat, &["a", "b"], 1, 11).await;
        turn(&old, &chat, &["a", "b", "c", "d"], 1, 12).await;
        turn(&old, &bare, &["x", "y"], 2, 21).await;
        let slice = old.export(None, None).await.unwrap();
        assert_eq!((slice.rows.len(), &slice.next), (2, &None));
        assert_eq!(old.export(Some("nobody"), None).await.unwrap().rows, []);
        assert!(old.export(None, Some("no place")).await.is_err());

        // Another key: the transcripts are not known, but the chat and the ids are.
        let conversation_store = conversation_store(&store);
        let done = conversation_store
            .import(Some(slice.header.clone()), slice.rows.clone())
            .await
            .unwrap();
        assert_eq!((done.added, done.present, done.skipped), (2, 0, 0));
        let done = conversation_store
            .import(Some(slice.header.clone()), slice.rows.clone())
            .await
            .unwrap();
        assert_eq!((done.added, done.present, done.skipped), (0, 2, 0));
        let taken = resumed(&conversation_store, &chat, &["a", "b", "c", "d"]).await;
        assert_eq!((taken.id, taken.state, taken.turns), (id(1), ConversationState::Imported, 2));
        assert_eq!(found(&conversation_store, &bare, &["x", "y"]).await, TranscriptMatch::Unknown);
        assert!(matches!(
            conversation_store.by_id(&bare, id(2)).await.unwrap(),
            ConversationMatch::Owned(_)
        ));
        assert!(conversation_store.begin(&taken).await.unwrap());
        assert_eq!(
            found(&conversation_store, &chat, &["a", "b", "c", "d"]).await,
            TranscriptMatch::Unknown
        );
        conversation_store.release(&taken).await.unwrap();
        assert_eq!(
            resumed(&conversation_store, &chat, &["a", "b", "c", "d"]).await.state,
            ConversationState::Imported
        );
        turn(&conversation_store, &chat, &["a", "b", "c", "d", "e", "f"], 1, 13).await;
        let known = resumed(&conversation_store, &chat, &["a", "b", "c", "d", "e", "f"]).await;
        assert_eq!((known.state, known.turns), (ConversationState::Clean, 3));

        // The same key: everything is as it was.
        old.forget(id(1)).await.unwrap();
        old.forget(id(2)).await.unwrap();
        assert_eq!(old.import(Some(slice.header), slice.rows).await.unwrap().added, 2);
        assert_eq!(resumed(&old, &bare, &["x", "y"]).await.id, id(2));
        assert!(matches!(old.by_answer(&bare, id(21)).await.unwrap(), AnswerMatch::Tail(_)));
        assert_eq!(
            resumed(&old, &chat, &["a", "b", "c", "d"]).await.state,
            ConversationState::Clean
        );
    })
    .await;
}

#[tokio::test]
async fn a_chat_of_opendify_goes_on_where_it_was() {
    over_every_store(async |store| {
        let conversation_store = conversation_store(&store);
        let text = format!(
            "{{\"chat\": {{\"dify_conversation_id\": \"{}\", \"created_at\": 7, \"last_used\": {}}}}}",
            id(1),
            now_s()
        );
        let rows = super::parse(&text, Some("shop"), now_s()).unwrap().rows;
        assert_eq!(conversation_store.import(None, rows.clone()).await.unwrap().added, 1);
        assert_eq!(conversation_store.import(None, rows).await.unwrap().present, 1);
        let chat = thread("alice", Some("chat"));
        assert_eq!(found(&conversation_store, &chat, &[]).await, TranscriptMatch::New);
        assert_eq!(found(&conversation_store, &thread("alice", None), &["a", "b"]).await, TranscriptMatch::Unknown);
        let other = Thread { app: "flow".to_owned(), ..chat.clone() };
        assert_eq!(found(&conversation_store, &other, &["a", "b"]).await, TranscriptMatch::Unknown);
        let taken = resumed(&conversation_store, &chat, &["a", "b"]).await;
        assert_eq!((taken.id, taken.state, taken.created_s), (id(1), ConversationState::Imported, 7));
        assert!(conversation_store.begin(&taken).await.unwrap());
        assert!(!conversation_store.begin(&taken).await.unwrap());
        // Whoever continued it first has it.
        let bob = thread("bob", Some("chat"));
        assert_eq!(found(&conversation_store, &bob, &["a", "b"]).await, TranscriptMatch::Unknown);
        conversation_store.release(&taken).await.unwrap();
        assert_eq!(found(&conversation_store, &bob, &["a", "b"]).await, TranscriptMatch::Unknown);
        let taken = resumed(&conversation_store, &chat, &["a", "b"]).await;
        assert!(conversation_store.begin(&taken).await.unwrap());
        turn(&conversation_store, &chat, &["a", "b", "c", "d"], 1, 11).await;
        assert_eq!(resumed(&conversation_store, &chat, &["a", "b", "c", "d"]).await.state, ConversationState::Clean);
    })
    .await;
}
