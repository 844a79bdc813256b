//! Certificates: files that the gateway shows, and files that it trusts. What is in them is read by
//! `control`; here are only their paths.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_app;
use super::notes::{Draft, Notes};
use super::schema;
use super::written::Written;
use super::yaml::{Places, Step};
use crate::model::Scheme;

/// How TLS is spoken with an instance whose `url` begins with `https://`. Its certificate is always
/// checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InstanceTls {
    /// A PEM file of authorities that may vouch for it beside the public ones; absent: none. A
    /// relative path starts at the configuration's folder.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must have, and that is asked for (SNI); absent: the host of its
    /// `url`.
    pub sni: Option<String>,
}

/// A certificate that clients are shown. Its files are read again at each reload and when they
/// change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// A PEM file with the certificate and those that lead from it to an authority. A relative path
    /// starts at the configuration's folder.
    pub cert: PathBuf,
    /// A PEM file with its private key, without a passphrase.
    pub key: PathBuf,
    /// The names that it is shown for, such as `a.example` or `*.b.example`; absent: those that it
    /// is for.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// Certificates that clients show of themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// A PEM file of the authorities that vouch for clients.
    pub ca: PathBuf,
    /// Whether a client without one is turned away. One that shows a wrong certificate always is.
    #[serde(default = "yes")]
    #[schemars(schema_with = "schema::boolean")]
    pub required: bool,
}

fn yes() -> bool {
    true
}

/// Has relative paths start at `base`, and the files watched.
pub(super) fn settle(written: &mut Written, base: &Path) {
    let mut files = Vec::new();
    for host in written.tls.iter_mut().flat_map(|certificate| &mut certificate.hosts) {
        host.make_ascii_lowercase();
    }
    let mut place = |path: &mut PathBuf| {
        *path = base.join(&*path);
        files.push(path.clone());
    };
    for certificate in &mut written.tls {
        place(&mut certificate.cert);
        place(&mut certificate.key);
    }
    if let Some(clients) = &mut written.client_certificates {
        place(&mut clients.ca);
    }
    for instance in written.apps.values_mut().flat_map(|app| &mut app.instances) {
        instance.tls.ca.iter_mut().for_each(&mut place);
    }
    written.watched_files.append(&mut files);
}

/// Checks what no single key can tell.
pub(super) fn check(written: &Written, places: &Places<'_>, notes: &mut Notes) {
    hosts(written, places, notes);
    let clients = [Step::Key("client_certificates")];
    if written.tls.is_empty() && places.has(&clients) {
        let message = "`client_certificates` is not read: without `tls` clients show none";
        let hint = "add `tls: [{ cert: gateway.pem, key: gateway.key }]`";
        notes.add(Draft::error(places.value(&clients), message).hint(hint));
    }
    for (name, app) in &written.apps {
        for (index, instance) in app.instances.iter().enumerate() {
            let (apps, item) = (Step::Key("apps"), Step::Item(index));
            let path = [apps, Step::Key(name), Step::Key("instances"), item, Step::Key("tls")];
            let Some(address) = check_app::address(instance) else { continue };
            if address.scheme == Scheme::Http && places.has(&path) {
                let message = "`tls` is not read: this instance is spoken to in the clear";
                let hint = "write its address as `url: https://…`, or take `tls` out";
                notes.add(Draft::error(places.value(&path), message).hint(hint));
            }
        }
    }
}

/// Names that no client can ask for, and names with two certificates.
fn hosts(written: &Written, places: &Places<'_>, notes: &mut Notes) {
    let mut first = HashMap::new();
    for (index, certificate) in written.tls.iter().enumerate() {
        for (number, host) in certificate.hosts.iter().enumerate() {
            let path =
                [Step::Key("tls"), Step::Item(index), Step::Key("hosts"), Step::Item(number)];
            if !is_host(host.strip_prefix("*.").unwrap_or(host)) {
                let message = "this is not a name that a client can ask for";
                let hint = "write `a.example`, or `*.b.example` for every name below it; clients \
                            that connect to an IP address ask for none";
                notes.add(Draft::error(places.value(&path), message).hint(hint));
            } else if let Some(other) = first.insert(host, path) {
                let message = "another certificate is shown for this name";
                let draft = Draft::error(places.value(&path), message);
                let draft = draft.hint("take one of them out");
                notes.add(draft.related(places.value(&other), "the same name"));
            }
        }
    }
}

/// Whether a host's name can be so: labels with a letter somewhere, no address.
pub(super) fn is_host(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(fits);
    name.len() <= 253
        && name.split('.').all(label)
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
}
