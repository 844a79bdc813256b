//! The tables.

/// A table of bytes to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Dify's ids to the instances that own them.
    Owners,
    /// Dify's conversations as the doors know them.
    Conversations,
    /// Digests of transcripts to conversations.
    Turns,
    /// Chats of clients to their newest conversations.
    Chats,
    /// Dify's messages to conversations.
    Answers,
    /// Chats that another gateway knew, to its conversations.
    Imported,
    /// Secrets that were made once.
    Keys,
}

impl Table {
    /// All tables, in the order of their declaration.
    pub(super) const ALL: [Self; 7] = [
        Self::Owners,
        Self::Conversations,
        Self::Turns,
        Self::Chats,
        Self::Answers,
        Self::Imported,
        Self::Keys,
    ];

    /// Its name in the file; the number is that of the rows' form.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Owners => "owners-1",
            Self::Conversations => "conversations-1",
            Self::Turns => "turns-1",
            Self::Chats => "chats-1",
            Self::Answers => "answers-1",
            Self::Imported => "imported-1",
            Self::Keys => "keys-1",
        }
    }
}
