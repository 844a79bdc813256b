//! Which parts of a configuration's text may be shown.
//!
//! Why from the text and not from the tree: a line is shown above all when something is wrong, and
//! then there may be no tree, or the secret stands where the tree has something else. So this walks
//! the lines with a rough idea of YAML and shows only what it recognises: keys, punctuation, and the
//! one word after a key that is known to be harmless. Everything else becomes `***`: values of
//! unknown keys, text without a key, comments. A key that was misspelt masks too much, never too
//! little.
//!
//! Limits: a secret that was written as the value of a harmless key (`name: hunter2`) is shown, unless it
//! looks like one of Dify's.

use std::net::SocketAddr;
use std::ops::Range;

use crate::config::key_table::{
    Kind, is_dify_key, is_foreign_name, is_known_key, is_name, kind, shown_key,
};

const MASK: &str = "***";

/// The byte ranges of a text that must not be shown, in its order.
#[derive(Debug, Default)]
pub(super) struct Masks {
    ranges: Vec<Range<usize>>,
}

impl Masks {
    pub(super) fn new(text: &str) -> Self {
        let mut walk = Walk::default();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            walk.line(line.trim_end(), start);
            start += line.len();
        }
        Self { ranges: walk.masks }
    }

    /// A line with its secrets masked, and where `marked` lies in it. Both ranges are in bytes of
    /// the text.
    pub(super) fn line(
        &self,
        text: &str,
        line: Range<usize>,
        marked: Range<usize>,
    ) -> (String, Range<usize>) {
        let mut shown = String::new();
        let (mut start, mut end) = (None, None);
        let mut at = line.start;
        let first = self.ranges.partition_point(|mask| mask.end <= line.start);
        let masks = self.ranges[first..].iter().take_while(|mask| mask.start < line.end);
        for mask in masks {
            let clear = &text[at..mask.start.max(at)];
            note(&mut start, marked.start, at, mask.start, shown.len());
            note(&mut end, marked.end, at, mask.start, shown.len());
            shown.push_str(clear);
            // A mark that begins or ends inside a mask takes in all of it.
            if start.is_none() && marked.start < mask.end {
                start = Some(shown.len());
            }
            shown.push_str(MASK);
            if end.is_none() && marked.end <= mask.end {
                let empty = marked.is_empty() && marked.start < mask.end;
                end = Some(if empty { shown.len() - MASK.len() } else { shown.len() });
            }
            at = mask.end.min(line.end);
        }
        note(&mut start, marked.start, at, line.end, shown.len());
        note(&mut end, marked.end, at, line.end, shown.len());
        shown.push_str(&text[at..line.end]);
        let start = start.unwrap_or(shown.len());
        let end = end.unwrap_or(shown.len()).max(start);
        (shown, start..end)
    }
}

/// DiagnosticSink where `place` went if it lies in the clear text `from..=to`, which begins at `shown`.
fn note(slot: &mut Option<usize>, place: usize, from: usize, to: usize, shown: usize) {
    if slot.is_none() && (from..=to).contains(&place) {
        *slot = Some(shown + place - from);
    }
}

/// A key further up that is still open, in block style.
struct Level {
    indent: usize,
    kind: Kind,
}

/// An open bracket.
struct Flow {
    kind: Kind,
    list: bool,
}

#[derive(Default)]
struct Walk {
    masks: Vec<Range<usize>>,
    levels: Vec<Level>,
    flows: Vec<Flow>,
    /// The key to the left on this line whose value has not come yet.
    key: Option<Kind>,
    /// Where the last bracket or comma stands.
    punctuated: usize,
    /// The indentation of the line that began a `|` or `>` text.
    block_text: Option<usize>,
}

impl Walk {
    fn line(&mut self, line: &str, start: usize) {
        let indent = line.len() - line.trim_start().len();
        let content = &line[indent..];
        if content.is_empty() {
            return;
        }
        if self.block_text.is_some_and(|outer| indent > outer) {
            return self.hide(start + indent..start + line.len());
        }
        self.block_text = None;
        self.key = None;
        let mut at = indent;
        let mut dashes = false;
        while let Some(rest) = line[at..].strip_prefix('-')
            && (rest.is_empty() || rest.starts_with([' ', '\t']))
        {
            if self.flows.is_empty() {
                self.levels.retain(|level| level.indent <= at);
            }
            dashes = true;
            at = line.len() - rest.trim_start().len();
        }
        if self.flows.is_empty() && !dashes {
            self.levels.retain(|level| level.indent < at);
        }
        self.words(line, at, start, dashes);
        if line.ends_with(['|', '>', '-', '+']) && line.contains([' ', '\t']) {
            let last = line.rsplit([' ', '\t']).next().unwrap_or_default();
            if last.starts_with(['|', '>']) {
                self.block_text = Some(self.levels.last().map_or(indent, |level| level.indent));
            }
        }
    }

    /// The words of a line from `at` on.
    fn words(&mut self, line: &str, mut at: usize, start: usize, dashes: bool) {
        let mut alone = dashes;
        while at < line.len() {
            let rest = &line[at..];
            let first = rest.chars().next().unwrap_or(' ');
            if first.is_whitespace() {
                at += first.len_utf8();
                continue;
            }
            if first == '#' && (at == 0 || line[..at].ends_with([' ', '\t'])) {
                let blanks = rest.len() - rest[1..].trim_start().len();
                return self.hide(start + at + blanks..start + line.len());
            }
            if self.bracket(first) {
                self.punctuated = start + at;
                at += 1;
                alone = true;
                continue;
            }
            let word = word(rest, !self.flows.is_empty());
            let end = at + word.len();
            if line[end..].starts_with('：') {
                // A mistake that is to be seen, and no secret on this side of it.
                self.take_key(word, at, start);
                at = end + '：'.len_utf8();
                alone = false;
                continue;
            }
            let colon = line[end..].strip_prefix(':').filter(|after| {
                let flow = !self.flows.is_empty() && after.starts_with([',', '}', ']', '{', '[']);
                let quoted = word.starts_with(['"', '\'']);
                after.is_empty() || after.starts_with([' ', '\t']) || flow || quoted
            });
            if colon.is_some() {
                self.take_key(word, at, start);
                at = end + 1;
            } else if let Some(name) = glued_key(word).filter(|_| self.key.is_none()) {
                self.take_key(name, at, start);
                at += name.len() + 1;
            } else {
                if !self.shows(word, alone) {
                    self.hide(start + at..start + end);
                }
                at = end;
            }
            alone = false;
        }
    }

    /// Follows brackets and commas. Whether `first` is one.
    fn bracket(&mut self, first: char) -> bool {
        match first {
            '{' | '[' => {
                let kind = self.key.take().unwrap_or_else(|| self.parent());
                self.flows.push(Flow { kind, list: first == '[' });
            }
            '}' | ']' if !self.flows.is_empty() => {
                self.flows.pop();
                self.key = None;
            }
            ',' if !self.flows.is_empty() => self.key = None,
            _ => return false,
        }
        true
    }

    fn take_key(&mut self, word: &str, at: usize, start: usize) {
        let parent = self.parent();
        let name = word.trim_matches(['"', '\'']);
        // A key of the configuration is no secret, wherever it stands, nor is what could not be sent.
        let is_harmless = is_known_key(name) || is_foreign_name(name);
        let shown = match parent {
            Kind::Secret => is_harmless,
            Kind::Apps => is_harmless || (is_name(name) && !is_dify_key(name)),
            _ => is_harmless || shown_key(name).is_some() || name.starts_with("x-"),
        };
        if !shown {
            self.hide(start + at..start + at + word.len());
        }
        let own = match parent {
            Kind::Secret | Kind::Headers => Kind::Secret,
            Kind::Apps => Kind::Structure,
            _ => kind(name),
        };
        self.key = Some(own);
        // A key among the items of a list: a bracket was not closed, and what follows is not the
        // list's.
        if let Some(flow) = self.flows.last_mut().filter(|flow| flow.list) {
            flow.kind = Kind::Secret;
        }
        if self.flows.is_empty() {
            self.levels.retain(|level| level.indent < at);
            self.levels.push(Level { indent: at, kind: own });
        }
    }

    /// What the text at this point belongs to, apart from a key on the same line.
    fn parent(&self) -> Kind {
        match self.flows.last() {
            Some(flow) => flow.kind,
            None => self.levels.last().map_or(Kind::Structure, |level| level.kind),
        }
    }

    /// Whether a word that is no key may be shown. `alone` is what stands right after a dash, a
    /// bracket or a comma.
    fn shows(&mut self, word: &str, alone: bool) -> bool {
        let parent = self.parent();
        let owner = self.key.unwrap_or(parent);
        if word.starts_with(['&', '*']) && is_anchor(&word[1..]) {
            // An anchor does not stand for the value it precedes.
            return owner != Kind::Secret && parent != Kind::Secret;
        }
        let value = self.key.take();
        if value.is_some() && (is_block_mark(word) || is_reference(word) || is_file(word)) {
            return true;
        }
        // Whoever puts a name and a password into a URL parts them from the host by `@`. A quote that
        // was not closed, or by a later one, takes in what comes after the value.
        let bare = word.trim_matches(['"', '\'']);
        let harmless = !word.contains('@') && is_closed(word) && !is_dify_key(bare);
        match value {
            Some(Kind::Open) => harmless,
            // The limit of that name; where a map belongs, anything else may be a secret.
            Some(Kind::Headers) => word.bytes().all(|byte| byte.is_ascii_digit()),
            Some(Kind::OpenList) => is_network(word),
            Some(Kind::Structure) => matches!(word, "true" | "false"),
            Some(_) => false,
            None => {
                let in_list = self.flows.last().is_none_or(|flow| flow.list);
                let item = alone && in_list;
                (item && parent == Kind::OpenList && is_network(word))
                    || (item && parent == Kind::Open && (is_status(word) || is_listener(word)))
                    || word == "---"
            }
        }
    }

    fn hide(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        match self.masks.last_mut() {
            // Words with nothing but a blank between them get one mask; punctuation is to be seen.
            Some(last) if range.start <= last.end + 1 && self.punctuated < last.end => {
                last.end = range.end;
            }
            _ => self.masks.push(range),
        }
    }
}

/// The next word: a quoted text as a whole, or up to a blank, a key's colon or, in brackets, to
/// the next punctuation. Never empty.
fn word(rest: &str, flow: bool) -> &str {
    let first = rest.chars().next().unwrap_or(' ');
    if matches!(first, '"' | '\'') {
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            if c == first && !escaped {
                return &rest[..=at];
            }
            escaped = first == '"' && c == '\\' && !escaped;
        }
        return rest;
    }
    let mut end = 0;
    while let Some(c) = rest[end..].chars().next() {
        // What stands in the braces of a reference is a part of the word.
        if let Some(close) = rest[end..].starts_with("${").then(|| rest[end..].find('}')).flatten()
        {
            end += close + 1;
            continue;
        }
        let after = &rest[end + c.len_utf8()..];
        let before = rest[..end].trim_matches(['"', '\'']);
        if c == '：' && (is_known_key(before) || is_foreign_name(before)) {
            break;
        }
        let colon = c == ':' && (after.is_empty() || after.starts_with([' ', '\t']));
        let ends = c.is_whitespace() || colon || (flow && matches!(c, ',' | '[' | ']' | '{' | '}'));
        if ends && end > 0 {
            break;
        }
        end += c.len_utf8();
    }
    &rest[..end]
}

/// The key of `key:value`, which YAML takes for one text: the blank is missing.
fn glued_key(word: &str) -> Option<&str> {
    let (name, value) = word.split_once(':')?;
    (is_known_key(name) && name != "file" && !value.starts_with("//")).then_some(name)
}

/// A name that looks like one that people give to anchors: a word and perhaps a number.
fn is_anchor(name: &str) -> bool {
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    name.len() - word.len() <= 3 && shown_key(word).is_some()
}

/// Whether a quoted word ends where it should: after one value, which has no blanks.
fn is_closed(word: &str) -> bool {
    let open = word.starts_with(['"', '\'']);
    let ends = word.len() > 1 && word.chars().next_back() == word.chars().next();
    !open || (ends && !word.contains([' ', '\t', ',']))
}

fn is_block_mark(word: &str) -> bool {
    matches!(word, "|" | ">" | "|-" | ">-" | "|+" | ">+")
}

/// `${NAME}` in upper case: the name of a variable says nothing about its value.
fn is_reference(word: &str) -> bool {
    let bare = word.trim_matches(['"', '\'']);
    let name = bare.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| {
        name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// Made of the characters of addresses and networks alone.
fn is_network(word: &str) -> bool {
    let bare = word.trim_matches(['"', '\'']);
    let digits = bare.bytes().all(|byte| byte.is_ascii_hexdigit() || b".:/".contains(&byte));
    is_reference(word) || (digits && bare.contains(['.', ':']))
}

/// Whether a word is an address with a port, which no secret looks like.
fn is_listener(word: &str) -> bool {
    word.trim_matches('"').parse::<SocketAddr>().is_ok()
}

/// Three digits, as in a list of statuses.
fn is_status(word: &str) -> bool {
    word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// `file:` with a path that looks like one.
fn is_file(word: &str) -> bool {
    let bare = word.trim_matches(['"', '\'']);
    bare.strip_prefix("file:").is_some_and(|path| path.contains('/') && !path.contains('@'))
}

#[cfg(test)]
mod tests;
