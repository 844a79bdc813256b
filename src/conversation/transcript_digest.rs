//! From a transcript to the digest under which it is known. Pure.
//!
//! A [`TranscriptHash`] is a SHA-256 over who talks and over every turn so far, each field with its length
//! before it, so that no two transcripts run into one another. It stays in memory. What is stored is
//! its [`Digest`]: a MAC of it, with a key that never leaves the store, so that nobody can try out
//! texts against an export. Whoever has the store itself can.
//!
//! Clients do not send texts back as they got them: line ends, blanks around them, invisible
//! characters and blocks of reasoning differ. [`normal`] takes that out.

use std::borrow::{Borrow, Cow};
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

/// Who talks, in which app and chat: nobody resumes a conversation of another thread.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Thread {
    /// The name or fingerprint of the client's key.
    pub key: String,
    /// The app.
    pub app: String,
    /// The user as Dify sees it.
    pub user: String,
    /// The chat, where the client names one.
    pub chat: Option<String>,
}

/// The longest name of a chat that is stored as it is, in bytes.
pub(super) const LONGEST_CHAT: usize = 256;

impl Thread {
    /// As it is stored: with a digest in place of a name of a chat that is too long.
    pub(super) fn kept(self) -> Self {
        let kept = |chat: String| match chat.len() > LONGEST_CHAT {
            true => format!("{:?}", Digest(MacKey([0; 32]).mac(chat.as_bytes()))),
            false => chat,
        };
        Self { chat: self.chat.map(kept), ..self }
    }
}

impl fmt::Debug for Thread {
    /// Without the user and the chat.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").field("app", &self.app).finish_non_exhaustive()
    }
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The person, or a program in its place.
    User,
    /// The app.
    Assistant,
}

/// One message of a transcript. System messages are none: front ends put the time of day into them.
#[derive(Clone)]
pub struct Turn<'a> {
    /// Who said it.
    pub role: Role,
    /// Its text, all parts together, as the client sent it or was given it.
    pub text: Cow<'a, str>,
    /// A digest, or a URL, of each file that came with it.
    pub files: Vec<Cow<'a, str>>,
}

impl fmt::Debug for Turn<'_> {
    /// Without the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("role", &self.role).finish_non_exhaustive()
    }
}

impl<'a> Turn<'a> {
    /// A turn of the user, without files.
    pub fn user(text: impl Into<Cow<'a, str>>) -> Self {
        Self { role: Role::User, text: text.into(), files: Vec::new() }
    }

    /// A turn of the app.
    pub fn assistant(text: impl Into<Cow<'a, str>>) -> Self {
        Self { role: Role::Assistant, text: text.into(), files: Vec::new() }
    }
}

/// What a transcript comes to, before the key. It never leaves the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TranscriptHash([u8; 32]);

impl fmt::Debug for TranscriptHash {
    /// Without the digest: texts could be tried out against it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chain")
    }
}

impl TranscriptHash {
    /// The beginning of a thread.
    pub(super) fn root(thread: &Thread) -> Self {
        let chat = thread.chat.as_deref();
        Self::of("thread", &[&thread.key, &thread.app, &thread.user, chat.unwrap_or_default()])
            .with(&[u8::from(chat.is_some())])
    }

    /// A transcript that goes on where a stored one ends.
    pub(super) fn after(thread: &Thread, tail: Digest) -> Self {
        Self::root(thread).with(b"after").with(&tail.0)
    }

    /// What another gateway knew by the name of its chat alone.
    pub(super) fn imported(app: &str, chat: &str) -> Self {
        Self::of("imported", &[app, chat])
    }

    /// The end of a transcript that a client may have shortened: the last answer and the question
    /// before it. None without an answer.
    pub(super) fn ending<'a, T: Borrow<Turn<'a>>>(
        turns: impl IntoIterator<Item = T, IntoIter: DoubleEndedIterator>,
    ) -> Option<Self> {
        let mut turns = turns.into_iter();
        let answer = turns.rfind(|turn| turn.borrow().role == Role::Assistant)?;
        let question = turns.rfind(|turn| turn.borrow().role == Role::User);
        Some(Self::ending_with(question.as_ref().map(Borrow::borrow)).and(answer.borrow()))
    }

    /// The same without its answer.
    pub(super) fn ending_with(question: Option<&Turn<'_>>) -> Self {
        let ending = Self::of("ending", &[]);
        question.map_or(ending, |question| ending.and(question))
    }

    pub(super) fn and(self, turn: &Turn<'_>) -> Self {
        let role: &[u8] = match turn.role {
            Role::User => b"user",
            Role::Assistant => b"assistant",
        };
        let mut hasher = Hasher::new(&self.0);
        hasher.add(role).add(normal(turn.role, &turn.text).as_bytes());
        turn.files.iter().for_each(|file| {
            hasher.add(file.as_bytes());
        });
        Self(hasher.0.finalize().into())
    }

    pub(super) fn through<'a, T: Borrow<Turn<'a>>>(
        self,
        turns: impl IntoIterator<Item = T>,
    ) -> Self {
        turns.into_iter().fold(self, |hash, turn| hash.and(turn.borrow()))
    }

    fn of(kind: &str, fields: &[&str]) -> Self {
        let mut hasher = Hasher::new(&[]);
        hasher.add(kind.as_bytes());
        fields.iter().for_each(|field| {
            hasher.add(field.as_bytes());
        });
        Self(hasher.0.finalize().into())
    }

    fn with(self, field: &[u8]) -> Self {
        let mut hasher = Hasher::new(&self.0);
        hasher.add(field);
        Self(hasher.0.finalize().into())
    }
}

struct Hasher(Sha256);

impl Hasher {
    fn new(before: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(before))
    }

    fn add(&mut self, field: &[u8]) -> &mut Self {
        self.0.update((field.len() as u64).to_be_bytes());
        self.0.update(field);
        self
    }
}

/// What is stored of a transcript.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub(super) [u8; 16]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The key of all digests of a store.
#[derive(Clone, Copy)]
pub(super) struct MacKey(pub(super) [u8; 32]);

impl MacKey {
    /// From the store's row, of any length.
    pub(super) fn read(row: &[u8]) -> Self {
        Self(Sha256::digest(row).into())
    }

    pub(super) fn digest(&self, chain: TranscriptHash) -> Digest {
        Digest(self.mac(&chain.0))
    }

    /// Says which key this is, and nothing of it.
    pub(super) fn mark(&self) -> String {
        let mark = u128::from_be_bytes(self.mac(b"difygate: which key is this"));
        format!("{:016x}", mark >> 64)
    }

    fn mac(&self, bytes: &[u8]) -> [u8; 16] {
        // A key may have any length.
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; 16] };
        let whole: [u8; 32] = mac.chain_update(bytes).finalize().into_bytes().into();
        let mut cut = [0; 16];
        cut.copy_from_slice(&whole[..16]);
        cut
    }
}

/// Blocks that stand before an answer and that clients send back or leave out.
const REASONING: [(&str, &str); 2] = [("<think>", "</think>"), ("<details", "</details>")];

/// A text without what clients change on its way back.
pub(super) fn normal(role: Role, text: &str) -> Cow<'_, str> {
    let invisible = |c: char| matches!(c, '\u{200B}'..='\u{200D}' | '\u{FEFF}');
    let text = if text.contains(|c: char| invisible(c) || c == '\r') {
        let visible: String = text.chars().filter(|c| !invisible(*c)).collect();
        Cow::Owned(visible.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    };
    let bare = |text: &str| match role {
        Role::User => text.trim().len(),
        Role::Assistant => without_reasoning(text.trim()).len(),
    };
    // What is left is always an end of the trimmed text.
    let (kept, end) = (bare(&text), text.trim_end().len());
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[end - kept..end]),
        Cow::Owned(text) => Cow::Owned(text[end - kept..end].to_owned()),
    }
}

/// Takes blocks of reasoning off the beginning. One that has no end is the answer.
fn without_reasoning(mut text: &str) -> &str {
    loop {
        let block = REASONING.iter().find(|(begin, _)| text.starts_with(begin));
        let Some((_, after)) = block.and_then(|(_, end)| text.split_once(end)) else {
            return text;
        };
        text = after.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, proptest};
    use proptest::{prop_assert, prop_assert_eq};

    use super::{MacKey, Role, Thread, TranscriptHash, Turn, normal};

    fn thread(chat: Option<&str>) -> Thread {
        let [key, app, user] = ["k", "shop", "k:alice"].map(str::to_owned);
        Thread { key, app, user, chat: chat.map(str::to_owned) }
    }

    #[test]
    fn what_clients_change_does_not_count() {
        for (text, expected) in [
            (" a\r\nb\n", "a\nb"),
            ("\u{FEFF}a\u{200B}b\u{200D} ", "ab"),
            ("<think>hm\nhm</think>\n\nyes", "yes"),
            ("<details type=\"reasoning\" done=\"true\">\nhm</details>\nyes", "yes"),
            ("<think>a</think> <details>b</details> yes", "yes"),
            ("<think>never ends", "<think>never ends"),
            ("yes <think>no</think>", "yes <think>no</think>"),
            ("<think>only</think>", ""),
            ("", ""),
        ] {
            assert_eq!(normal(Role::Assistant, text), expected, "{text:?}");
        }
        assert_eq!(normal(Role::User, " <think>a</think> b"), "<think>a</think> b");
    }

    #[test]
    fn a_digest_is_the_one_another_implementation_computes() {
        // Python's hashlib and hmac.
        let root = TranscriptHash::root(&thread(Some("c")));
        let chain = root.through(&[Turn::user("hi"), Turn::assistant(" hello\r\n")]);
        assert_eq!(
            format!("{:?}", MacKey([0; 32]).digest(chain)),
            "484f7f776585957b71f47488af8a53a3"
        );
    }

    #[test]
    fn every_field_of_a_thread_counts() {
        let root = |change: fn(&mut Thread)| {
            let mut thread = thread(Some(""));
            change(&mut thread);
            TranscriptHash::root(&thread)
        };
        let all = [
            root(|_| ()),
            root(|thread| thread.chat = None),
            root(|thread| thread.chat = Some("c".to_owned())),
            root(|thread| thread.key = "other".to_owned()),
            root(|thread| thread.app = "other".to_owned()),
            root(|thread| thread.user = "other".to_owned()),
            root(|thread| (thread.key, thread.app) = ("ks".to_owned(), "hop".to_owned())),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one), "{at}");
        }
    }

    #[test]
    fn an_ending_is_the_last_answer_and_its_question() {
        let whole =
            [Turn::user("1"), Turn::assistant("one"), Turn::user("2"), Turn::assistant("two")];
        assert!(TranscriptHash::ending(&whole) == TranscriptHash::ending(&whole[2..]));
        assert!(TranscriptHash::ending(&whole) != TranscriptHash::ending(&whole[..2]));
        assert!(TranscriptHash::ending(&whole) != TranscriptHash::ending(&whole[3..]));
        assert!(
            TranscriptHash::ending(&[Turn::user("1")]).is_none()
                && TranscriptHash::ending(&[] as &[Turn<'_>]).is_none()
        );
    }

    fn turns() -> impl Strategy<Value = Vec<Turn<'static>>> {
        let turn = (
            any::<bool>(),
            "[ab <>/think\u{200B}\r\n]{0,12}",
            prop::collection::vec("[ab]?", 0..3),
        );
        let turn = turn.prop_map(|(user, text, files)| Turn {
            role: if user { Role::User } else { Role::Assistant },
            text: text.into(),
            files: files.into_iter().map(Into::into).collect(),
        });
        prop::collection::vec(turn, 0..5)
    }

    fn shape(turns: &[Turn<'_>]) -> Vec<(Role, String, Vec<String>)> {
        let files = |turn: &Turn<'_>| turn.files.iter().map(|file| file.to_string()).collect();
        let one =
            |turn: &Turn<'_>| (turn.role, normal(turn.role, &turn.text).into_owned(), files(turn));
        turns.iter().map(one).collect()
    }

    proptest! {
        #[test]
        fn what_is_normal_stays_as_it_is(text in "\\PC{0,40}", user in any::<bool>()) {
            let role = if user { Role::User } else { Role::Assistant };
            let once = normal(role, &text).into_owned();
            prop_assert_eq!(&normal(role, &once), &once);
        }

        #[test]
        fn two_transcripts_are_one_only_if_they_say_the_same(a in turns(), b in turns()) {
            let root = TranscriptHash::root(&thread(None));
            prop_assert_eq!(root.through(&a) == root.through(&b), shape(&a) == shape(&b));
            prop_assert!(root.through(&a) != TranscriptHash::root(&thread(Some(""))).through(&a));
        }
    }
}
