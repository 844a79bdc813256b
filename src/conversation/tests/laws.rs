//! Whatever clients do, a conversation is resumed only where it ends.

use std::collections::HashMap;

use proptest::prelude::{Strategy, any, prop, proptest};
use uuid::Uuid;

use crate::conversation::codec::Conversation;
use crate::conversation::lookup::{StoreView, Transcript, TranscriptMatch};
use crate::conversation::transcript_digest::{MacKey, Thread, TranscriptHash, Turn};
use crate::conversation::write_op::{EndedTurn, WriteOp};
use crate::store::{Store, in_memory};

#[derive(Clone, Copy, Debug)]
enum End {
    /// As it should, with this answer.
    Answered(u8),
    /// The client or the gateway went away.
    Cut,
    /// Dify refused it before it did anything.
    Refused,
    /// Dify does not have the conversation.
    Gone,
}

/// A client's request: its thread, what was said before, its question.
type Request = (usize, Vec<u8>, u8, End);

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let end = (0..8u8, 0..2u8).prop_map(|(end, answer)| match end {
        0 => End::Cut,
        1 => End::Refused,
        2 => End::Gone,
        _ => End::Answered(answer),
    });
    // Two words, so that transcripts meet; whole ones and shortened ones.
    let before = prop::collection::vec(0..2u8, 0..3).prop_flat_map(|half| {
        any::<bool>().prop_map(move |odd| {
            [half.clone(), half[usize::from(odd && !half.is_empty())..].to_vec()].concat()
        })
    });
    prop::collection::vec((0..3usize, before, 0..2u8, end), 0..40)
}

fn turns(words: &[u8]) -> Vec<Turn<'static>> {
    let turn = |(at, word): (usize, &u8)| {
        let text = word.to_string();
        if at % 2 == 0 { Turn::user(text) } else { Turn::assistant(text) }
    };
    words.iter().enumerate().map(turn).collect()
}

fn thread(number: usize) -> Thread {
    let (user, chat) = [("a", None), ("a", Some("c")), ("b", Some("c"))][number];
    let [key, app, user] = ["k", "shop", user].map(str::to_owned);
    Thread { key, app, user, chat: chat.map(str::to_owned) }
}

/// What a conversation truly is.
#[derive(Debug)]
struct Truth {
    thread: usize,
    said: Vec<u8>,
    cut: bool,
}

fn made(view: &StoreView<'_>, write: &WriteOp) -> bool {
    let step = write.step(view, 7).unwrap();
    step.is_some_and(|step| view.store.apply(&[step]).unwrap() == [true])
}

fn command(view: &StoreView<'_>, number: usize, before: &[u8]) -> TranscriptMatch {
    let (thread, turns) = (thread(number), turns(before));
    let root = TranscriptHash::root(&thread);
    let (at, ending) = (root.through(&turns), TranscriptHash::ending(&turns));
    view.find(&Transcript { thread, root, at, ending }).unwrap()
}

fn check(found: &Conversation, truth: &Truth, number: usize, before: &[u8]) {
    assert!(!truth.cut, "{found:?} was cut");
    assert_eq!(truth.thread, number, "{found:?} is another's");
    let shortened = thread(number).chat.is_some()
        && TranscriptHash::ending(&turns(&truth.said)) == TranscriptHash::ending(&turns(before));
    assert!(truth.said == before || shortened, "{truth:?} is not where {before:?} ends");
}

fn ended(number: usize, said: &[u8], conversation: Uuid) -> WriteOp {
    let (thread, turns) = (thread(number), turns(said));
    let root = TranscriptHash::root(&thread);
    let (tail, ending) = (root.through(&turns), TranscriptHash::ending(&turns));
    let message = Some(Uuid::new_v4());
    WriteOp::Finish(Box::new(EndedTurn {
        thread,
        root,
        tail,
        ending,
        conversation,
        message,
        at_s: 7,
    }))
}

fn play(store: &dyn Store, requests: Vec<Request>) {
    let view = StoreView { store, key: MacKey([7; 32]), oldest_s: 0 };
    let mut truths: HashMap<Uuid, Truth> = HashMap::new();
    for (number, before, question, end) in requests {
        let resumed = match command(&view, number, &before) {
            TranscriptMatch::Resume(found) => Some(found),
            _ => None,
        };
        if let Some(found) = &resumed {
            check(found, &truths[&found.id], number, &before);
            assert!(made(&view, &WriteOp::Begin(found.clone())));
            assert!(!made(&view, &WriteOp::Begin(found.clone())), "two turns at a time");
        }
        match (end, resumed) {
            (End::Answered(answer), resumed) => {
                let id = resumed.map_or_else(Uuid::new_v4, |found| found.id);
                let said = [&before[..], &[question, answer]].concat();
                assert!(made(&view, &ended(number, &said, id)));
                let TranscriptMatch::Resume(again) = command(&view, number, &said) else {
                    panic!("{said:?} is not resumed");
                };
                assert_eq!(again.id, id);
                truths.insert(id, Truth { thread: number, said, cut: false });
            }
            (End::Cut, Some(found)) => {
                truths.get_mut(&found.id).unwrap().cut = true;
            }
            (End::Refused, Some(found)) => assert!(made(&view, &WriteOp::Release(found))),
            (End::Gone, Some(found)) => assert!(made(&view, &WriteOp::Forget(found.id))),
            (_, None) => {}
        }
    }
}

proptest! {
    #[test]
    fn a_conversation_is_resumed_only_where_it_ends(requests in requests()) {
        play(in_memory().as_ref(), requests);
    }
}
