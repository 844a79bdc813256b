//! Text to a tree of pieces with places; anchors, aliases and merge keys are resolved here.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use serde_saphyr::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::expand::{Unexpanded, expand};
use super::references::Hidden;
use crate::background;
use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::environment::Environment;
use crate::config::key_table::shown_key;
use crate::config::unset::Missing;

/// Values in a document at most, each alias counted as what it stands for.
pub(super) const MAX_VALUES: usize = 1_000_000;

/// Levels of nesting at most.
pub(super) const MAX_DEPTH: usize = 32;

/// A value with its place. Neither this nor what it is made of can be printed: it holds secrets.
pub(super) struct Piece {
    /// Differs from every other piece of the tree; what aliases share has one.
    pub(super) id: u32,
    /// Bytes of the text.
    pub(super) span: Range<usize>,
    pub(super) content: Content,
    /// Values in it, itself included.
    size: usize,
    /// Levels in it, itself included.
    depth: usize,
}

pub(super) enum Content {
    /// Nothing, `~` or `null`.
    Null,
    Text {
        text: String,
        /// Whether a part comes from the environment and must not be shown.
        expanded: bool,
        /// Whether it names a variable that is not set, which is allowed.
        unset: bool,
    },
    /// A scalar about which a finding has been noted already.
    Faulty,
    List(Vec<Rc<Piece>>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_id: u32,
    pub(super) key_span: Range<usize>,
    pub(super) value: Rc<Piece>,
}

/// A document.
pub(crate) struct Tree {
    pub(super) root: Rc<Piece>,
    /// Whether nothing in it is [faulty](Content::Faulty).
    pub(super) is_whole: bool,
}

impl Tree {
    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.root.content {
            Content::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// What stands below a key at the top.
    pub(crate) fn below(&self, key: &str) -> Option<Self> {
        let root = Rc::clone(&self.entry(key)?.value);
        Some(Self { root, is_whole: self.is_whole })
    }

    /// Where the value of a key at the top stands, if a finding was noted about it.
    pub(crate) fn faulty(&self, key: &str) -> Option<Range<usize>> {
        let value = &self.entry(key)?.value;
        matches!(value.content, Content::Faulty).then(|| value.span.clone())
    }
}

/// Builds a tree. `None` if the text is not YAML at all; the notes then say why.
pub(crate) fn build(text: &str, env: &Environment, sink: &mut DiagnosticSink) -> Option<Tree> {
    let hidden = Hidden::new(text);
    let mut builder = Builder::new(&hidden, env, sink);
    for event in Parser::new_from_str(&hidden.text) {
        let built = match event {
            Ok((event, span)) => builder.take(event, &builder.range(&span)),
            Err(error) => Err(broken(text, &error)),
        };
        if let Err(draft) = built {
            builder.sink.add(draft);
            return None;
        }
    }
    let empty = Piece { id: 0, span: 0..0, content: Content::Null, size: 1, depth: 1 };
    let root = builder.root.take().unwrap_or_else(|| Rc::new(empty));
    Some(Tree { root, is_whole: builder.is_whole })
}

/// The parser's message holds no text of the document, at most one character of it.
fn broken(text: &str, error: &ScanError) -> DiagnosticBuilder {
    let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
    let message = match error.kind() {
        ErrorKind::UnknownAnchor => "there is no anchor of this name".to_owned(),
        _ => error.info().to_lowercase(),
    };
    let hint = if message.contains("tab") {
        "indent with spaces"
    } else if message.contains("anchor") {
        "an anchor `&name` must come before its `*name`"
    } else if message.contains("mapping values") {
        "a comma or a line break may be missing, or quotes around a text with `: `"
    } else {
        "look at indentation, quotes and brackets here and just above"
    };
    DiagnosticBuilder::error(at..at, format!("this is not YAML: {message}")).hint(hint)
}

/// A list or map that is not complete yet.
struct Frame {
    start: usize,
    anchor: usize,
    id: u32,
    kind: Kind,
}

enum Kind {
    List(Vec<Rc<Piece>>),
    Map { entries: Vec<Entry>, merged: Vec<Rc<Piece>>, key: Option<Key> },
}

enum Key {
    Plain {
        text: String,
        id: u32,
        span: Range<usize>,
    },
    Merge,
    /// A finding has been noted.
    Unusable,
}

struct Builder<'a> {
    hidden: &'a Hidden<'a>,
    env: &'a Environment,
    sink: &'a mut DiagnosticSink,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Rc<Piece>>,
    root: Option<Rc<Piece>>,
    next_id: u32,
    documents: usize,
    is_whole: bool,
}

type Built = Result<(), DiagnosticBuilder>;

impl<'a> Builder<'a> {
    fn new(hidden: &'a Hidden<'a>, env: &'a Environment, sink: &'a mut DiagnosticSink) -> Self {
        Self {
            hidden,
            env,
            sink,
            frames: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            next_id: 1,
            documents: 0,
            is_whole: true,
        }
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or(0..0);
        let end = self.hidden.text.len();
        range.start.min(end)..range.end.min(end)
    }

    fn id(&mut self) -> u32 {
        self.next_id = self.next_id.saturating_add(1);
        self.next_id
    }

    fn take(&mut self, event: Event<'_>, span: &Range<usize>) -> Built {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = "a second document begins here";
                    return Err(DiagnosticBuilder::error(span.clone(), message)
                        .hint("remove the `---`, or move what follows to another file"));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                check_tag(tag.as_deref(), span)?;
                let text = self.hidden.restore(&text);
                return self.scalar(&text, style, anchor, span);
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), span)?;
                return self.open(Kind::List(Vec::new()), anchor, span);
            }
            Event::MappingStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), span)?;
                let kind = Kind::Map { entries: Vec::new(), merged: Vec::new(), key: None };
                return self.open(kind, anchor, span);
            }
            Event::SequenceEnd | Event::MappingEnd => return self.close(span.end),
            Event::Alias(anchor) => {
                let Some(piece) = self.anchors.get(&anchor).cloned() else {
                    return Err(DiagnosticBuilder::error(
                        span.clone(),
                        "this alias is inside its own anchor",
                    ));
                };
                if self.frames.last().is_some_and(Frame::wants_key) {
                    return Err(DiagnosticBuilder::error(span.clone(), "an alias cannot be a key"));
                }
                return self.place(piece);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, kind: Kind, anchor: usize, span: &Range<usize>) -> Built {
        if self.frames.last().is_some_and(Frame::wants_key) {
            return Err(DiagnosticBuilder::error(span.clone(), "a key must be a single word"));
        }
        if self.frames.len() >= MAX_DEPTH {
            return Err(DiagnosticBuilder::error(span.clone(), "this is nested too deeply"));
        }
        let id = self.id();
        self.frames.push(Frame { start: span.start, anchor, id, kind });
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        span: &Range<usize>,
    ) -> Built {
        let id = self.id();
        let plain = matches!(style, ScalarStyle::Plain);
        if self.frames.last().is_some_and(Frame::wants_key) {
            let key = if plain && text == "<<" { Key::Merge } else { self.key(text, id, span) };
            if let Some(Frame { kind: Kind::Map { key: slot, .. }, .. }) = self.frames.last_mut() {
                *slot = Some(key);
            }
            return Ok(());
        }
        let content = self.content(text, plain, span);
        let piece = Rc::new(Piece { id, span: span.clone(), content, size: 1, depth: 1 });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&piece));
        }
        self.place(piece)
    }

    /// A key as it stands, unless the map has it already: the first one counts.
    fn key(&mut self, text: &str, id: u32, span: &Range<usize>) -> Key {
        if let Some(Frame { kind: Kind::Map { entries, .. }, .. }) = self.frames.last()
            && let Some(first) = entries.iter().find(|entry| entry.key == text)
        {
            let what = shown_key(text).map_or("this key".to_owned(), |key| format!("`{key}`"));
            let draft = DiagnosticBuilder::error(span.clone(), format!("{what} is written twice"))
                .hint("remove one of them")
                .related(first.key_span.clone(), "first written here");
            self.sink.add(draft);
            return Key::Unusable;
        }
        Key::Plain { text: text.to_owned(), id, span: span.clone() }
    }

    fn content(&mut self, text: &str, plain: bool, span: &Range<usize>) -> Content {
        if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Content::Null;
        }
        match expand(text, &self.env.vars) {
            Ok(new) if plain && new.is_empty() => Content::Null,
            Ok(new) => {
                let expanded = matches!(new, std::borrow::Cow::Owned(_));
                Content::Text { text: new.into_owned(), expanded, unset: false }
            }
            Err(Unexpanded::Unset(name)) if self.env.missing != Missing::Refused => {
                self.sink.unset(span.clone(), &name);
                Content::Text { text: text.to_owned(), expanded: true, unset: true }
            }
            Err(fault) => {
                self.sink.add(unexpanded(&fault, span));
                self.is_whole = false;
                Content::Faulty
            }
        }
    }

    fn close(&mut self, end: usize) -> Built {
        background::give_way();
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let span = frame.start..end.max(frame.start);
        let content = match frame.kind {
            Kind::List(items) => Content::List(items),
            Kind::Map { mut entries, merged, .. } => {
                for source in &merged {
                    merge(&mut entries, source)?;
                }
                Content::Map(entries)
            }
        };
        let children: Vec<&Rc<Piece>> = match &content {
            Content::List(items) => items.iter().collect(),
            Content::Map(entries) => entries.iter().map(|entry| &entry.value).collect(),
            _ => Vec::new(),
        };
        let size = children.iter().fold(1usize, |sum, child| sum.saturating_add(child.size));
        let depth = 1 + children.iter().map(|child| child.depth).max().unwrap_or(0);
        if size > MAX_VALUES || depth > MAX_DEPTH {
            return Err(DiagnosticBuilder::error(span, "this has too many values"));
        }
        let piece = Rc::new(Piece { id: frame.id, span, content, size, depth });
        if frame.anchor != 0 {
            self.anchors.insert(frame.anchor, Rc::clone(&piece));
        }
        self.place(piece)
    }

    fn place(&mut self, piece: Rc<Piece>) -> Built {
        match self.frames.last_mut().map(|frame| &mut frame.kind) {
            None => self.root = Some(piece),
            Some(Kind::List(items)) => items.push(piece),
            Some(Kind::Map { entries, merged, key }) => match key.take() {
                Some(Key::Plain { text, id, span }) => {
                    entries.push(Entry { key: text, key_id: id, key_span: span, value: piece });
                }
                Some(Key::Merge) => merged.push(piece),
                Some(Key::Unusable) | None => {}
            },
        }
        Ok(())
    }
}

impl Frame {
    fn wants_key(&self) -> bool {
        matches!(self.kind, Kind::Map { key: None, .. })
    }
}

/// Adds what the map does not have itself; of several sources the first counts.
fn merge(entries: &mut Vec<Entry>, source: &Piece) -> Built {
    match &source.content {
        Content::Map(more) => {
            for entry in more {
                if !entries.iter().any(|own| own.key == entry.key) {
                    entries.push(entry.clone());
                }
            }
            Ok(())
        }
        Content::List(sources) => sources.iter().try_for_each(|source| merge(entries, source)),
        _ => {
            Err(DiagnosticBuilder::error(source.span.clone(), "`<<` takes a map or a list of maps")
                .hint("write `<<: *name` with a `&name` in front of a map further up"))
        }
    }
}

fn check_tag(tag: Option<&Tag>, span: &Range<usize>) -> Built {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(DiagnosticBuilder::error(span.clone(), "tags such as `!name` are not supported")
                .hint("remove the tag, or quote a value that begins with `!`"))
        }
        _ => Ok(()),
    }
}

/// A variable that is needed.
pub(crate) fn unset(name: &str, span: Range<usize>) -> DiagnosticBuilder {
    DiagnosticBuilder::error(span, format!("the environment variable `{name}` is not set"))
        .hint(format!("set it, or write `${{{name}:-default}}`"))
}

fn unexpanded(fault: &Unexpanded, span: &Range<usize>) -> DiagnosticBuilder {
    match fault {
        Unexpanded::Unset(name) => unset(name, span.clone()),
        Unexpanded::Malformed => {
            DiagnosticBuilder::error(span.clone(), "this `${…}` is not understood")
                .hint("write `${NAME}` or `${NAME:-default}`, and `$${` for a plain `${`")
        }
    }
}
