//! YAML with places: text to a tree, and the tree to serde types.
//!
//! Why a tree of our own and not serde-saphyr's deserializer: serde stops at the first error, and
//! an operator wants all of them at once. Here a faulty entry is noted, set aside, and the rest is
//! read again, so that derived types give every finding. The tree also keeps what an error needs
//! (the range of every key and value), replaces `${NAME}` in quoted text too, and lets checks across
//! fields ask for the place of any key by its path. The events come from the parser that
//! serde-saphyr is built on.
//!
//! Limits: [`tree::MAX_VALUES`] values counted with every alias followed, [`tree::MAX_DEPTH`] levels.
//! Deliberately absent: tags of one's own, several documents, maps as keys.

mod expand;
mod fault;
mod places;
mod reader;
mod references;
mod tree;

pub(super) use places::{Places, Step};
pub(super) use reader::read;
pub(super) use tree::{build, unset};
