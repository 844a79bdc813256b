//! Reads a Lua configuration of an OpenResty balancer and writes a configuration of difygate.
//!
//! The Lua text is parsed and looked at, never run: `guard` refuses what is nested too deeply,
//! `lua` gathers the tables that the text builds from literals, `meaning` finds the apps in them and
//! writes YAML. What would have to be run to be known is refused where its value is needed, and
//! passed over elsewhere. `os.getenv("NAME")` becomes `${NAME}`.
//!
//! No text of the file is repeated in what is said of it, but for the names of keys: the rest may be
//! a secret. Deliberately absent: checking the result, which is `config`'s, and reading files.

mod guard;
mod lua;
mod meaning;
mod remark;
mod value;

use std::thread;

use self::remark::whole;
pub use self::remark::{Imported, Remark};

/// A configuration for people is smaller.
const LARGEST: usize = 1 << 20;
/// What the parser may use of it is bounded by `guard`; only what is used is taken.
const STACK_BYTES: usize = 256 << 20;

/// Makes a configuration from a Lua text; `name` is what its head calls the text.
///
/// # Errors
/// Everything that stands in the way.
pub fn import(name: &str, text: &str) -> Result<Imported, Vec<Remark>> {
    if text.len() > LARGEST {
        return Err(vec![whole("the file is larger than 1MiB", "name the configuration's file")]);
    }
    guard::check(text).map_err(|remark| vec![remark])?;
    let work = || meaning::write(name, &lua::read(text)?);
    // The parser calls itself: on a stack of its own, no text can exhaust the program's.
    let done = thread::scope(|scope| {
        let parser = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        parser.ok().and_then(|parser| parser.join().ok())
    });
    done.unwrap_or_else(|| Err(vec![whole("the file could not be parsed", "is it Lua 5.1?")]))
}

#[cfg(test)]
mod tests;
