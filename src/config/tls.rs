//! Certificates: files that the gateway shows, and files that it trusts. What is in them is read by
//! `control`; here are only their paths.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_app;
use super::notes::{Draft, Notes};
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

/// Has relative paths start at `base`, and the files watched.
pub(super) fn settle(written: &mut Written, base: &Path) {
    let mut files = Vec::new();
    let mut place = |path: &mut PathBuf| {
        *path = base.join(&*path);
        files.push(path.clone());
    };
    for instance in written.apps.values_mut().flat_map(|app| &mut app.instances) {
        instance.tls.ca.iter_mut().for_each(&mut place);
    }
    written.watched_files.append(&mut files);
}

/// Checks what no single key can tell.
pub(super) fn check(written: &Written, places: &Places<'_>, notes: &mut Notes) {
    for (name, app) in &written.apps {
        for (index, instance) in app.instances.iter().enumerate() {
            let at =
                [Step::Key("apps"), Step::Key(name), Step::Key("instances"), Step::Item(index)];
            let path = [&at[..], &[Step::Key("tls")]].concat();
            let Some(address) = check_app::address(instance) else { continue };
            if address.scheme == Scheme::Http && places.has(&path) {
                let message = "`tls` is not read: this instance is spoken to in the clear";
                let hint = "write its address as `url: https://…`, or take `tls` out";
                notes.add(Draft::error(places.value(&path), message).hint(hint));
            }
        }
    }
}
