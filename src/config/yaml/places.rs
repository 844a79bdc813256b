//! Where something stands: ranges of keys and values by their path.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

use super::tree::{Content, Entry, Piece, Tree};
use crate::config::spelling::{intended, other_name};

/// One step of a path into the document.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// A key of a map.
    Key(&'a str),
    /// An item of a list, counted without those that were set aside.
    Item(usize),
}

/// A map with more entries than this is looked up by an index.
const FEW: usize = 16;

/// The places of a tree that has been read.
pub(crate) struct Places<'t> {
    tree: &'t Tree,
    dropped: HashSet<u32>,
    /// Where the keys of the large maps at the top stand: without it, looking up something in each
    /// of many apps would take a time that grows with the square of their number.
    large: HashMap<u32, HashMap<&'t str, usize>>,
}

/// How far a path leads.
struct Reached<'t> {
    piece: &'t Piece,
    key: Option<&'t Entry>,
    whole: bool,
}

impl<'t> Places<'t> {
    pub(crate) fn new(tree: &'t Tree, dropped: HashSet<u32>) -> Self {
        let mut large = HashMap::new();
        if let Content::Map(entries) = &tree.root.content {
            for piece in entries.iter().map(|entry| &entry.value) {
                let Content::Map(entries) = &piece.content else { continue };
                if entries.len() > FEW {
                    let places = entries.iter().enumerate();
                    let places = places.map(|(place, entry)| (entry.key.as_str(), place));
                    large.insert(piece.id, places.collect());
                }
            }
        }
        Self { tree, dropped, large }
    }

    /// The value at `path`, or what of the path exists; a value that is not written has the place
    /// of its key.
    pub(crate) fn value(&self, path: &[Step<'_>]) -> Range<usize> {
        let reached = self.reach(path);
        match reached.key {
            Some(entry) if entry.value.span.is_empty() => entry.key_span.clone(),
            _ => reached.piece.span.clone(),
        }
    }

    /// The key at the end of `path`, or what of the path exists.
    pub(crate) fn key(&self, path: &[Step<'_>]) -> Range<usize> {
        self.reach(path).key.map_or_else(|| self.value(path), |entry| entry.key_span.clone())
    }

    /// The key at the end of `path` by the name under which it is written; `None` if it is not.
    pub(crate) fn name(&self, path: &[Step<'_>]) -> Option<&'t str> {
        let reached = self.reach(path);
        reached.key.filter(|_| reached.whole).map(|entry| entry.key.as_str())
    }

    /// Whether something stands at `path`, be it right, wrong or under a name that was meant to be
    /// this one: then there is a finding already, and a second would only confuse.
    pub(crate) fn has(&self, path: &[Step<'_>]) -> bool {
        let reached = self.reach(path);
        if !reached.whole {
            return path.split_last().is_some_and(|(last, parents)| {
                let parent = self.reach(parents);
                parent.whole && self.has_misspelt(parent.piece, last)
            });
        }
        !match &reached.piece.content {
            Content::Null => true,
            Content::List(items) => items.is_empty(),
            Content::Map(entries) => entries.is_empty(),
            Content::Text { .. } | Content::Faulty => false,
        }
    }

    fn has_misspelt(&self, piece: &Piece, last: &Step<'_>) -> bool {
        match (&piece.content, last) {
            (Content::Map(entries), Step::Key(key)) => entries
                .iter()
                .any(|entry| self.is_aside(entry) && intended(&entry.key, &[key]).is_some()),
            _ => false,
        }
    }

    /// Every text that is a value, with its key; none that comes from the environment.
    pub(crate) fn each_text(&self, visit: &mut dyn FnMut(&str, &str, &Range<usize>)) {
        let mut pieces: Vec<&Piece> = vec![&self.tree.root];
        while let Some(piece) = pieces.pop() {
            match &piece.content {
                Content::List(items) => pieces.extend(items.iter().map(|item| &**item)),
                Content::Map(entries) => {
                    for entry in entries {
                        if let Content::Text { text, expanded: false, .. } = &entry.value.content {
                            visit(&entry.key, text, &entry.value.span);
                        }
                        pieces.push(&entry.value);
                    }
                }
                Content::Null | Content::Text { .. } | Content::Faulty => {}
            }
        }
    }

    /// Whether the text at `path` comes from the environment, in part or whole.
    pub(crate) fn is_from_environment(&self, path: &[Step<'_>]) -> bool {
        matches!(self.reach(path).piece.content, Content::Text { expanded: true, .. })
    }

    fn reach(&self, path: &[Step<'_>]) -> Reached<'t> {
        let mut reached = Reached { piece: &self.tree.root, key: None, whole: true };
        for step in path {
            let next = match (step, &reached.piece.content) {
                (Step::Key(key), Content::Map(entries)) => {
                    self.entry(reached.piece.id, entries, key)
                }
                (Step::Item(index), Content::List(items)) => {
                    self.item(items, *index).map(|piece| (piece, None))
                }
                _ => None,
            };
            match next {
                Some((piece, key)) => reached = Reached { piece, key, whole: true },
                None => return Reached { whole: false, ..reached },
            }
        }
        reached
    }

    /// An entry that was read counts before one that was set aside.
    fn entry(
        &self,
        map: u32,
        entries: &'t [Entry],
        key: &str,
    ) -> Option<(&'t Piece, Option<&'t Entry>)> {
        if let Some(index) = self.large.get(&map).filter(|_| entries.len() > FEW) {
            let entry = entries.get(*index.get(key)?)?;
            return Some((&*entry.value, Some(entry)));
        }
        let with = |name: &'static str| entries.iter().filter(move |entry| entry.key == name);
        let other = other_name(key);
        let named = || {
            let own = entries.iter().filter(|entry| entry.key == key);
            own.chain(other.into_iter().flat_map(with))
        };
        let entry = named().find(|entry| !self.is_aside(entry)).or_else(|| named().next())?;
        Some((&*entry.value, Some(entry)))
    }

    fn is_aside(&self, entry: &Entry) -> bool {
        matches!(entry.value.content, Content::Faulty) || self.dropped.contains(&entry.key_id)
    }

    fn item(&self, items: &'t [Rc<Piece>], index: usize) -> Option<&'t Piece> {
        if self.dropped.is_empty() && self.tree.is_whole {
            return items.get(index).map(|item| &**item);
        }
        let read = |item: &&Rc<Piece>| {
            !matches!(item.content, Content::Faulty) && !self.dropped.contains(&item.id)
        };
        items.iter().filter(read).nth(index).map(|item| &**item)
    }
}
