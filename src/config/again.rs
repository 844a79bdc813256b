//! Reading a configuration again: apps whose text has not changed are taken over as they are.
//!
//! Most of a reload is reading, and most of a large configuration is apps that nobody has touched.
//! The text is cut where an app begins, by its indentation; each piece has a digest. What is new is
//! read together with all that stands around the apps, as a smaller text; what is known is not.
//!
//! Cutting is a guess, so it is proved: for both texts the places that the YAML parser found for the
//! apps must be those of the pieces. Where that fails, where anything at all was found to be wrong,
//! or what stands around the apps is new, the whole text is read, which also gives every finding its
//! true place. A piece with an anchor, an alias or a secret from a file is always read.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;
use memchr::{memchr, memchr_iter, memchr2, memmem};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::diagnostic::Diagnostics;
use super::load::{Environment, LARGEST, Loaded, examine};
use super::notes::Notes;
use super::resolve::resolve;
use super::types::{App, Config, Instance};
use super::written::Written;
use super::yaml::{MAX_REFERENCES, MAX_VALUES, Tree};
use crate::model::{Address, AppName, Token};

/// A text of a configuration, cut into the pieces of its apps.
#[derive(Clone, Default)]
pub struct Outline {
    /// Of all that is not an app's.
    around: u128,
    pieces: Vec<Piece>,
}

#[derive(Clone)]
struct Piece {
    digest: u128,
    app: AppName,
    /// Values in it.
    size: usize,
    /// Whether it says the same wherever and whenever it is read.
    is_lasting: bool,
}

impl PartialEq for Outline {
    /// How a configuration is written is no part of what it says.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Outline {}

impl fmt::Debug for Outline {
    /// No digest: a short secret could be guessed by it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outline({} apps)", self.pieces.len())
    }
}

impl Outline {
    /// The outline of a text that was read without any finding. `None` if it cannot be cut.
    pub(super) fn of(text: &str, tree: &Tree, written: &Written) -> Option<Self> {
        let cut = Cut::new(text)?;
        let found = tree.apps(cut.key)?;
        if found.len() != cut.apps.len() {
            return None;
        }
        let mut pieces = Vec::with_capacity(found.len());
        // What ends by its indentation ends for the parser where the next begins.
        let last = found.last()?.value.end;
        let apart = cut.apps.iter().zip(&found).all(|(range, app)| {
            range.start + cut.indent == app.key_start && range.contains(&app.value.start)
        });
        if !apart || last > cut.apps.last()?.end {
            return None;
        }
        for (range, app) in cut.apps.iter().zip(found) {
            let piece = &text[range.clone()];
            let read = written.apps.get(app.name)?;
            let from_files = written.apps_with_files.contains(app.name)
                || read.instances.iter().any(|instance| instance.tls.ca.is_some());
            pieces.push(Piece {
                digest: xxh3_128(piece.as_bytes()),
                app: app.name.into(),
                size: app.size,
                is_lasting: !from_files && memchr2(b'&', b'*', piece.as_bytes()).is_none(),
            });
        }
        Some(Self { around: cut.around(text), pieces })
    }
}

/// Where the apps of a text seem to stand.
struct Cut {
    /// Where the line of `apps:` begins.
    key: usize,
    /// Blanks in front of the name of an app.
    indent: usize,
    /// Whole lines, one range after the other.
    apps: Vec<Range<usize>>,
}

impl Cut {
    fn new(text: &str) -> Option<Self> {
        let mut lines = lines(text);
        let is_key = |line: &str| {
            let rest = line.strip_prefix("apps:").or_else(|| line.strip_prefix("applications:"));
            rest.is_some_and(is_empty)
        };
        let key = lines.by_ref().find(|(_, line)| is_key(line))?.0;
        let (mut starts, mut indent, mut end) = (Vec::new(), 0, text.len());
        for (start, line) in lines {
            if is_empty(line) {
                continue;
            }
            let blanks = line.len() - line.trim_start_matches(' ').len();
            if starts.is_empty() {
                indent = blanks;
            }
            if blanks == indent {
                starts.push(start);
            } else if blanks < indent {
                end = start;
                break;
            }
        }
        if indent == 0 {
            return None;
        }
        let ends = starts.iter().skip(1).copied().chain([end]);
        let apps = starts.iter().zip(ends).map(|(start, end)| *start..end).collect();
        Some(Self { key, indent, apps })
    }

    fn head<'t>(&self, text: &'t str) -> &'t str {
        &text[..self.apps.first().map_or(0, |first| first.start)]
    }

    fn tail<'t>(&self, text: &'t str) -> &'t str {
        &text[self.apps.last().map_or(text.len(), |last| last.end)..]
    }

    fn around(&self, text: &str) -> u128 {
        let mut digest = Xxh3::new();
        digest.update(self.head(text).as_bytes());
        // What no text holds: where the one ends and the other begins matters.
        digest.update(&[0xFF]);
        digest.update(self.tail(text).as_bytes());
        digest.digest128()
    }
}

/// Lines with the place where each begins.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let ends = memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1).chain([text.len()]);
    let mut start = 0;
    ends.map(move |end| {
        let line = (start, &text[start..end]);
        start = end;
        line
    })
}

/// Whether a line, or the rest of one, has nothing but blanks and a comment.
fn is_empty(line: &str) -> bool {
    let rest = line.trim_start_matches([' ', '\t']).trim_end();
    rest.is_empty() || rest.starts_with('#')
}

/// Reads a text again that `earlier` was read from, in the same environment. `None` if it has to be
/// read as a whole.
pub(super) fn again(name: &str, text: &str, env: &Environment, earlier: &Config) -> Option<Loaded> {
    let outline = earlier.outline.as_deref()?;
    // What hides references from YAML looks at the whole text.
    let references = memmem::find_iter(text.as_bytes(), "${").take(MAX_REFERENCES).count();
    let is_plain = memchr(0xF3, text.as_bytes()).is_none() && references < MAX_REFERENCES;
    let cut = Cut::new(text).filter(|_| is_plain && text.len() <= LARGEST)?;
    if cut.around(text) != outline.around {
        return None;
    }
    let lasting = outline.pieces.iter().filter(|piece| piece.is_lasting);
    let mut known: HashMap<_, _> = lasting.map(|piece| (piece.digest, piece)).collect();
    let find = |range: &Range<usize>| known.remove(&xxh3_128(text[range.clone()].as_bytes()));
    let mut pieces: Vec<_> = cut.apps.iter().map(find).collect();
    // Without any app there would be nothing to read.
    if let (true, Some(first)) = (pieces.iter().all(Option::is_some), pieces.first_mut()) {
        *first = None;
    }
    let new = cut.apps.iter().zip(&pieces).filter(|(_, piece)| piece.is_none());
    let new: String = new.map(|(range, _)| &text[range.clone()]).collect();
    let elsewhere = pieces.iter().flatten().map(|piece| piece.app.to_string()).collect();
    let mut notes = Notes::default();
    let smaller = [cut.head(text), &new, cut.tail(text)].concat();
    let written = examine(&smaller, env, &mut notes, elsewhere)?;
    let read = written.outline.clone().filter(|read| read.around == outline.around)?;
    let config = together(earlier, &pieces, resolve(written)?, &read)?;
    let changes = Diagnostics::new(name, text, Notes::default());
    Some(Loaded { config, warnings: Diagnostics::new(name, text, notes), changes })
}

/// The `pieces` of the `earlier` configuration with what was `read` in the place of those that are
/// none.
fn together(
    earlier: &Config,
    pieces: &[Option<&Piece>],
    mut config: Config,
    read: &Outline,
) -> Option<Config> {
    let mut new = read.pieces.iter();
    let mut outline = Outline { around: read.around, pieces: Vec::with_capacity(pieces.len()) };
    let (mut apps, mut kept) = (IndexMap::with_capacity(pieces.len()), Vec::new());
    for known in pieces {
        let (piece, source) = match known {
            Some(piece) => (*piece, earlier),
            None => (new.next()?, &config),
        };
        let app = source.apps.get(&piece.app)?;
        if known.is_some() {
            kept.push(app);
        }
        if apps.insert(piece.app.clone(), Arc::clone(app)).is_some() {
            return None;
        }
        outline.pieces.push(piece.clone());
    }
    let size: usize = outline.pieces.iter().map(|piece| piece.size).sum();
    // With room for what stands around.
    let fits = new.next().is_none() && size <= MAX_VALUES / 2;
    if !fits || meet(&config.apps, &kept) || !are_models_apart(&apps) {
        return None;
    }
    config.apps = apps;
    config.outline = Some(Arc::new(outline));
    Some(config)
}

/// Whether something of the apps that were read concerns those that were not: then a check of both
/// together may find something.
fn meet(read: &IndexMap<AppName, Arc<App>>, kept: &[&Arc<App>]) -> bool {
    let instances = || read.values().flat_map(|app| &app.instances);
    let by_address: HashMap<&Address, &Instance> =
        instances().map(|instance| (&instance.address, instance)).collect();
    let users: HashSet<_> = read.values().flat_map(|app| &app.user_tokens).collect();
    let keys: HashSet<_> = instances().flat_map(keys_of).collect();
    let differs = |one: &Instance| {
        let other = by_address.get(&one.address);
        other.is_some_and(|other| !is_same_at_address(one, other))
    };
    kept.iter().any(|app| {
        app.user_tokens.iter().any(|token| keys.contains(token))
            || app
                .instances
                .iter()
                .any(|one| keys_of(one).any(|key| users.contains(key)) || differs(one))
    })
}

/// What opens Dify itself.
fn keys_of(instance: &Instance) -> impl Iterator<Item = &Token> {
    [&instance.token].into_iter().chain(&instance.dataset_token)
}

/// Whether two instances with one address agree in what is kept by address.
fn is_same_at_address(one: &Instance, other: &Instance) -> bool {
    one.tls == other.tls
        && one.max_concurrent == other.max_concurrent
        && one.max_runs == other.max_runs
        && one.queue == other.queue
        && one.max_fails == other.max_fails
        && one.fail_timeout == other.fail_timeout
}

fn are_models_apart(apps: &IndexMap<AppName, Arc<App>>) -> bool {
    let mut ids = HashSet::new();
    let aliases = apps.values().flat_map(|app| &app.aliases).map(String::as_str);
    apps.keys().map(AppName::as_str).chain(aliases).all(|id| ids.insert(id))
}
