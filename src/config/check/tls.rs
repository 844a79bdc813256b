//! Whether certificates are for names that clients ask for, and read where they are written.

use std::collections::HashMap;

use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::raw::RawConfig;
use crate::config::yaml::{Places, Step};
use crate::model::Scheme;

/// Checks what no single key can tell.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    hosts(raw, places, sink);
    let clients = [Step::Key("client_certificates")];
    if raw.tls.is_empty() && places.has(&clients) {
        let message = "`client_certificates` has no effect without `tls`";
        let hint = "add `tls: [{ cert: gateway.pem, key: gateway.key }]`";
        sink.add(DiagnosticBuilder::error(places.value(&clients), message).hint(hint));
    }
    for (name, app) in &raw.apps {
        for (index, instance) in app.instances.iter().enumerate() {
            let (apps, item) = (Step::Key("apps"), Step::Item(index));
            let path = [apps, Step::Key(name), Step::Key("instances"), item, Step::Key("tls")];
            let Some(address) = instance.address() else { continue };
            if address.scheme == Scheme::Http && places.has(&path) {
                let message = "`tls` has no effect: this instance is reached without TLS";
                let hint = "write its address as `url: https://…`, or take `tls` out";
                sink.add(DiagnosticBuilder::error(places.value(&path), message).hint(hint));
            }
        }
    }
}

/// Names that no client can ask for, and names with two certificates.
fn hosts(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let mut first = HashMap::new();
    for (index, certificate) in raw.tls.iter().enumerate() {
        for (number, host) in certificate.hosts.iter().enumerate() {
            let path =
                [Step::Key("tls"), Step::Item(index), Step::Key("hosts"), Step::Item(number)];
            if !is_host(host.strip_prefix("*.").unwrap_or(host)) {
                let message = "this is not a valid server name";
                let hint = "write `a.example`, or `*.b.example` for every name below it; clients \
                            that connect to an IP address ask for none";
                sink.add(DiagnosticBuilder::error(places.value(&path), message).hint(hint));
            } else if let Some(other) = first.insert(host, path) {
                let message = "another certificate has this name";
                let draft = DiagnosticBuilder::error(places.value(&path), message);
                let draft = draft.hint("remove one of them");
                sink.add(draft.related(places.value(&other), "the same name"));
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
