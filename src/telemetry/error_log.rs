//! The error log: what an operator reads when something is wrong, on standard error or in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// As of the access log: it tells users and paths too.
const MODE: u32 = 0o640;

/// The file, if there is one: one log per process, as `tracing` has it.
static FILE: OnceLock<Arc<LogFile>> = OnceLock::new();

/// Colour for a terminal, unless `NO_COLOR` says otherwise.
fn colour() -> Colour {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stderr().is_terminal() && !is_unwanted { Colour::Ansi } else { Colour::None }
}

/// Starts the error log on standard error. `RUST_LOG` chooses what it holds, else `filter`, such as
/// `info`. A second call, as in a test, changes nothing.
pub fn start(filter: &str) {
    install(filter, io::stderr, colour());
}

/// Starts it in a file, which is appended to.
///
/// # Errors
/// The file cannot be opened; the text names it.
pub fn start_in(path: &Path, filter: &str) -> io::Result<()> {
    let file =
        Arc::new(LogFile { path: path.to_owned(), file: ArcSwap::from_pointee(open(path)?) });
    if FILE.set(Arc::clone(&file)).is_ok() {
        install(filter, Opened(file), Colour::None);
    }
    Ok(())
}

/// Opens the file again, after a rotation moved it away. If that fails, the old one stays, and says so.
pub fn reopen() {
    let Some(log) = FILE.get() else { return };
    match open(&log.path) {
        Ok(file) => log.file.store(Arc::new(file)),
        Err(error) => tracing::error!("{error}; the old file stays in use"),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    Ansi,
    None,
}

fn install<W>(filter: &str, writer: W, colour: Colour)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colour == Colour::Ansi)
        .with_target(false)
        // A closed standard error or a full disk must not end the gateway.
        .log_internal_errors(false)
        .finish();
    // An earlier subscriber stays: there is one log per process.
    let _ = subscriber.try_init();
}

struct LogFile {
    path: PathBuf,
    file: ArcSwap<File>,
}

fn open(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().create(true).append(true).mode(MODE).open(path);
    opened.map_err(|error| {
        io::Error::new(error.kind(), format!("error log {}: {error}", path.display()))
    })
}

/// Makes a writer for each line.
struct Opened(Arc<LogFile>);

impl<'w> MakeWriter<'w> for Opened {
    type Writer = Line;

    fn make_writer(&'w self) -> Line {
        Line(self.0.file.load_full())
    }
}

/// A line, which is written by one call, so that two threads' lines do not mix.
struct Line(Arc<File>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A line that the file does not take is worth more on standard error than nowhere.
        (&*self.0).write(bytes).or_else(|_| io::stderr().write_all(bytes).map(|()| bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, read_to_string, write};
    use std::io::Write;
    use std::sync::Arc;

    use super::Line;

    #[test]
    fn a_line_that_the_file_does_not_take_goes_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("error.log");
        write(&path, "").unwrap();
        // Opened to be read: each write to it fails.
        let mut line = Line(Arc::new(File::open(&path).unwrap()));
        assert_eq!(line.write(b"a line for standard error\n").unwrap(), 26);
        assert_eq!(read_to_string(&path).unwrap(), "");
    }
}
