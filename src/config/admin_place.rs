//! Where the admin listener of a configuration is, read without the rest of it.
//!
//! Whoever asks a running gateway has often not what the gateway was started with: not its environment,
//! and no right to read its files of secrets. So nothing but `admin` is looked at, and a token that cannot
//! be read here is no error.

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

use super::admin::Admin;
use super::diagnostic::{DiagnosticBuilder, DiagnosticSink, Diagnostics};
use super::files::bounded_read::read_file;
use super::load::{Environment, LARGEST, unreadable};
use super::secret;
use super::unset::Missing;
use super::yaml::{build, read};
use crate::model::Token;

/// Where operators ask, and by what.
#[derive(Clone, Debug)]
pub struct AdminPlace {
    /// `admin.listen`.
    pub listen: SocketAddr,
    /// `admin.token`, if it can be read here.
    pub token: Option<Token>,
    /// Why it cannot, if there is one.
    pub no_token: Option<String>,
}

/// Why nothing was found.
#[derive(Debug)]
pub enum NoAdminPlace {
    /// The file is not there, or not for this user.
    Unread(Diagnostics),
    /// It does not say where.
    Wrong(Diagnostics),
}

/// Reads `admin` of a configuration file.
///
/// # Errors
/// The file cannot be read, or not understood as far as it is needed here.
pub fn admin_place(path: &Path, env: &Environment) -> Result<AdminPlace, NoAdminPlace> {
    let name = path.display().to_string();
    let bytes = read_file(path, LARGEST).map_err(|error| {
        let mut sink = DiagnosticSink::default();
        sink.add(unreadable(path, &error, env.role));
        NoAdminPlace::Unread(Diagnostics::new(&name, "", sink))
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let refusing = Environment { missing: Missing::Refused, ..env.clone() };
    let mut sink = DiagnosticSink::default();
    let wrong = |sink| Err(NoAdminPlace::Wrong(Diagnostics::new(&name, &text, sink)));
    let Some(tree) = build(&text, &refusing, &mut sink) else { return wrong(sink) };
    // What is not set elsewhere is none of our business.
    let mut sink = DiagnosticSink::default();
    let Some(admin) = tree.below("admin") else { return Ok(found(&Admin::default(), path)) };
    if let Some(span) = admin.faulty("listen") {
        let message = "this `admin.listen` names an environment variable that is not set here";
        let draft = DiagnosticBuilder::error(span, message);
        sink.add(draft.hint("set it, or name the listener: `--admin HOST:PORT`"));
        return wrong(sink);
    }
    let (read, _) = read::<Written>(&admin, &mut sink);
    let Some(Written(place)) = read.filter(|_| !sink.has_errors()) else { return wrong(sink) };
    let mut place = found(&place, path);
    if admin.faulty("token").is_some() {
        place.no_token = Some("it names an environment variable that is not set here".to_owned());
    }
    Ok(place)
}

/// `admin` by itself.
#[derive(Deserialize)]
#[serde(transparent)]
struct Written(Admin);

fn found(admin: &Admin, path: &Path) -> AdminPlace {
    let (listen, written) = (admin.listen, admin.token.clone());
    let file = written.as_ref().and_then(|token| token.expose().strip_prefix("file:"));
    let base = path.parent().unwrap_or(Path::new(""));
    match file.map(|file| secret::text(&base.join(file))) {
        None => AdminPlace { listen, token: written, no_token: None },
        Some(Ok(secret)) => AdminPlace { listen, token: Some(Token::new(secret)), no_token: None },
        Some(Err(what)) => AdminPlace { listen, token: None, no_token: Some(what) },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{AdminPlace, NoAdminPlace, admin_place};
    use crate::config::Environment;

    fn of(admin: &str) -> Result<AdminPlace, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.yaml");
        fs::write(folder.path().join("token"), "t-secret\n").unwrap();
        let text = format!(
            "{admin}\napps: {{ a: {{ user_tokens: [\"${{NOT_SET}}\"], instances: 7 }} }}\n"
        );
        fs::write(&path, text).unwrap();
        let vars = [("SET".to_owned(), "127.0.0.1:7".to_owned())].into();
        admin_place(&path, &Environment { vars, ..Environment::default() }).map_err(|error| {
            let (NoAdminPlace::Unread(findings) | NoAdminPlace::Wrong(findings)) = error;
            findings.to_string()
        })
    }

    #[test]
    fn it_is_found_whatever_else_is_not_set_or_wrong() {
        for (admin, listen, token, no_token) in [
            ("", "127.0.0.1:9090", None, None),
            ("admin: { listen: 127.0.0.1:5 }", "127.0.0.1:5", None, None),
            ("admin: { listen: \"${SET}\", token: abc }", "127.0.0.1:7", Some("abc"), None),
            ("admin: { token: \"${NOT_SET}\" }", "127.0.0.1:9090", None, Some("not set here")),
            ("admin: { token: file:token }", "127.0.0.1:9090", Some("t-secret"), None),
            ("admin: { token: file:other }", "127.0.0.1:9090", None, Some("no such file")),
        ] {
            let place = of(admin).unwrap();
            assert_eq!(place.listen.to_string(), listen, "{admin}");
            assert_eq!(place.token.as_ref().map(|token| token.expose()), token, "{admin}");
            let said = place.no_token.unwrap_or_default();
            assert_eq!(said.is_empty(), no_token.is_none(), "{admin}: {said}");
            assert!(said.contains(no_token.unwrap_or("")), "{admin}: {said}");
        }
    }

    #[test]
    fn what_would_lead_elsewhere_is_an_error() {
        for (admin, said) in [
            ("admin: { listen: \"${NOT_SET}\" }", "not set here"),
            ("admin: { listen: nowhere }", "must be an IP address"),
            ("admin: { listen", "not YAML"),
        ] {
            let wrong = of(admin).unwrap_err();
            assert!(wrong.contains(said), "{admin}: {wrong}");
        }
    }
}
