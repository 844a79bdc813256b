//! Secrets that stand in files: `file:` and a path.
//!
//! A relative path starts at the configuration's folder. The content counts without its last line
//! break. A file that everybody on the machine may read is worth a warning, except below
//! `/run/secrets`, where container engines put secrets that only the container sees.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use super::environment::Environment;
use super::files::bounded_read::read_file;
use super::files::file_access::{KEEP, is_open_to_all};
use super::raw::{RawAi, RawConfig, RawProbe};
use super::unset::Missing;
use super::yaml::{Places, Step};
use crate::model::Token;

/// A secret is a line, not a document.
const LARGEST: usize = 64 << 10;

/// Replaces one secret; the path says where it stands.
type Fetch<'f> = dyn FnMut(&mut Token, &[Step<'_>]) + 'f;

/// Replaces every secret that names a file by the file's content. One that cannot be read is noted
/// and stays as it is.
pub(super) fn fetch_all(
    raw: &mut RawConfig,
    places: &Places<'_>,
    env: &Environment,
    sink: &mut DiagnosticSink,
) {
    let mut fetcher = Fetcher { places, env, sink, files: Vec::new(), holds_secrets: false };
    let mut fetch = |token: &mut Token, path: &[Step<'_>]| fetcher.fetch(token, path);
    if let Some(token) = &mut raw.admin.token {
        fetch(token, &[Step::Key("admin"), Step::Key("token")]);
    }
    for (index, key) in raw.keys.iter_mut().enumerate() {
        let Some(secret) = &mut key.secret else { continue };
        fetch(secret, &[Step::Key("keys"), Step::Item(index), Step::Key("secret")]);
    }
    if let Some(url) = &mut raw.store.redis {
        fetch(url, &[Step::Key("store"), Step::Key("redis")]);
    }
    let probe_key = Step::Key("probe");
    let fetch_headers = |fetch: &mut Fetch<'_>, probe: &mut RawProbe, at: &[Step<'_>]| {
        for (name, value) in probe.headers.iter_mut().flatten() {
            fetch(value, &[at, &[probe_key, Step::Key("headers"), Step::Key(name)]].concat());
        }
    };
    let fetch_jwt = |fetch: &mut Fetch<'_>, ai: &mut RawAi, at: &[Step<'_>]| {
        let Some(jwt) = &mut ai.user_jwt else { return };
        let path = [Step::Key("ai"), Step::Key("user_jwt"), Step::Key("secret")];
        fetch(&mut jwt.secret, &[at, &path].concat());
    };
    fetch_headers(&mut fetch, &mut raw.probe, &[]);
    fetch_jwt(&mut fetch, &mut raw.ai, &[]);
    for (name, app) in &mut raw.apps {
        let at = [Step::Key("apps"), Step::Key(name)];
        fetch_headers(&mut fetch, &mut app.probe, &at);
        fetch_jwt(&mut fetch, &mut app.ai, &at);
        for (index, token) in app.user_tokens.iter_mut().enumerate() {
            fetch(token, &[at[0], at[1], Step::Key("user_tokens"), Step::Item(index)]);
        }
        for (index, instance) in app.instances.iter_mut().enumerate() {
            let item = [at[0], at[1], Step::Key("instances"), Step::Item(index)];
            fetch_headers(&mut fetch, &mut instance.probe, &item);
            for (key, token) in
                [("token", &mut instance.token), ("dataset_token", &mut instance.dataset_token)]
            {
                let Some(token) = token else { continue };
                fetch(token, &[&item[..], &[Step::Key(key)]].concat());
            }
        }
    }
    for (name, service) in &mut raw.services.named {
        fetch_headers(&mut fetch, &mut service.probe, &[Step::Key("services"), Step::Key(name)]);
    }
    raw.holds_secrets = fetcher.holds_secrets;
    raw.watched_files = fetcher.files;
}

struct Fetcher<'a> {
    places: &'a Places<'a>,
    env: &'a Environment,
    sink: &'a mut DiagnosticSink,
    files: Vec<PathBuf>,
    holds_secrets: bool,
}

impl Fetcher<'_> {
    fn fetch(&mut self, token: &mut Token, path: &[Step<'_>]) {
        let Self { places, env, sink, files, holds_secrets } = self;
        let span = places.value(path);
        sink.wants_secret(&span, token);
        let Some(named) = token.expose().strip_prefix("file:") else {
            *holds_secrets |= !places.is_from_environment(path);
            return;
        };
        if sink.is_unset(&span) {
            return;
        }
        let file = env.base.join(named);
        match read(&file) {
            Ok((secret, open)) => {
                if open {
                    let draft = DiagnosticBuilder::warning(
                        span,
                        "this secret's file is readable by everybody",
                    );
                    sink.add(draft.hint(KEEP));
                }
                *token = Token::new(secret);
                files.push(file);
            }
            Err(_) if env.missing != Missing::Refused => {
                sink.unset(span.clone(), token.expose());
                sink.wants_secret(&span, token);
            }
            Err(fault) => {
                sink.add(DiagnosticBuilder::error(span, fault.message).hint(fault.hint));
            }
        }
    }
}

/// The secret in a file, or what is wrong with that.
pub(super) fn text(file: &Path) -> Result<String, String> {
    read(file).map(|(secret, _)| secret).map_err(|fault| fault.message)
}

struct Fault {
    message: String,
    hint: &'static str,
}

/// The secret, and whether everybody may read it. The path is not repeated: it may come from the
/// environment, and the shown line has it otherwise.
fn read(file: &Path) -> Result<(String, bool), Fault> {
    let unreadable = |error: Error| Fault {
        message: format!("this secret's file cannot be read: {}", reason(&error)),
        hint: match error.kind() {
            ErrorKind::PermissionDenied => {
                "let the user that runs difygate read it: `chgrp` to its group and `chmod g+r`, or `chown`"
            }
            _ => "a relative path starts at the configuration's folder",
        },
    };
    let meta = fs::metadata(file).map_err(unreadable)?;
    if !meta.is_file() && !is_pipe(&meta) {
        return Err(Fault {
            message: "this secret's path is not a file".to_owned(),
            hint: "write `file:` and the path of a file that contains only the secret",
        });
    }
    // A pipe does not say how long it is.
    let bytes = read_file(file, LARGEST).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => Fault {
            message: "this secret's file is larger than 64KiB".to_owned(),
            hint: "the file must contain only the secret",
        },
        _ => unreadable(error),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| Fault {
        message: "this secret's file is not text".to_owned(),
        hint: "the file must contain only the secret",
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Fault {
            message: "this secret's file is empty".to_owned(),
            hint: "write the secret into it",
        });
    }
    Ok((line.to_owned(), is_open(file)))
}

/// The kind of an error alone, in the words of a shell.
pub(super) fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        kind => kind.to_string(),
    }
}

fn is_open(file: &Path) -> bool {
    let real = fs::canonicalize(file).unwrap_or_else(|_| PathBuf::from(file));
    let engine = ["/run/secrets", "/var/run/secrets"];
    let kept = engine.iter().any(|folder| file.starts_with(folder) || real.starts_with(folder));
    !kept && is_open_to_all(file)
}

/// A shell's `<(…)`, as a password store's command is used.
fn is_pipe(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;

    meta.file_type().is_fifo()
}
