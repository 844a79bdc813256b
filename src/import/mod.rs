//! Reads a Lua configuration of an OpenResty balancer and writes a configuration of difygate.
//!
//! The Lua text is parsed and looked at, never run: `text` decodes it, `guard` refuses what is nested
//! too deeply, `lua` gathers the tables that the text builds from literals, with what `calls` knows of
//! functions, `meaning` finds the apps in them and writes YAML, and `places` keeps where each part of
//! that came from. What would have to be run to be known is refused where its value is needed, and
//! passed over elsewhere. `os.getenv("NAME")` becomes `${NAME}`.
//!
//! No text of the file is repeated in what is said of it, but for the names of keys: the rest may be
//! a secret. Deliberately absent: checking the result, which is `config`'s, and reading files.

mod arithmetic;
mod calls;
mod guard;
mod literal;
mod lua;
mod meaning;
mod names;
mod places;
mod probe;
mod remark;
mod text;
mod value;
mod writer;

use std::thread;

pub use self::places::Places;
use self::remark::whole;
pub use self::remark::{Imported, Remark};
use self::text::Text;

/// A configuration for people is smaller, in bytes.
pub const LARGEST: usize = 1 << 20;
/// What the parser may use of it is bounded by `guard`; only what is used is taken.
const STACK_BYTES: usize = 256 << 20;

/// Makes a configuration from a Lua text; `name` is what its head calls the text. It is UTF-8, with a byte
/// order mark or without, or GBK.
///
/// # Errors
/// Everything that stands in the way.
pub fn import(name: &str, text: impl AsRef<[u8]>) -> Result<Imported, Vec<Remark>> {
    let bytes = text.as_ref();
    if bytes.len() > LARGEST {
        return Err(vec![whole("the file is larger than 1MiB", "name the configuration's file")]);
    }
    let Text { text, mut remarks } = text::read(bytes).map_err(|remark| vec![remark])?;
    let work = || {
        guard::check(&text).map_err(|remark| vec![remark])?;
        meaning::write(name, &lua::read(&text)?)
    };
    // The parser calls itself: on a stack of its own, no text can exhaust the program's. It also panics
    // at what it does not expect.
    let done = thread::scope(|scope| {
        let parser = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        parser.ok().and_then(|parser| parser.join().ok())
    });
    let done =
        done.unwrap_or_else(|| Err(vec![whole("the file could not be parsed", "is it Lua 5.1?")]));
    done.map(|mut imported| {
        remarks.append(&mut imported.ignored);
        Imported { ignored: remarks, ..imported }
    })
}

#[cfg(test)]
mod tests;
