//! Where the files of certificates and of the error log are.

use std::path::{Path, PathBuf};

use super::error_log::ErrorLog;
use super::raw::RawConfig;

/// Has relative paths start at `base`, and the files of certificates watched.
pub(super) fn settle(raw: &mut RawConfig, base: &Path) {
    let mut files = Vec::new();
    for host in raw.tls.iter_mut().flat_map(|certificate| &mut certificate.hosts) {
        host.make_ascii_lowercase();
    }
    if let ErrorLog::File(path) = &mut raw.error_log {
        *path = base.join(&*path);
    }
    let mut place = |path: &mut PathBuf| {
        *path = base.join(&*path);
        files.push(path.clone());
    };
    for certificate in &mut raw.tls {
        place(&mut certificate.cert);
        place(&mut certificate.key);
    }
    if let Some(clients) = &mut raw.client_certificates {
        place(&mut clients.ca);
    }
    for instance in raw.apps.values_mut().flat_map(|app| &mut app.instances) {
        instance.tls.ca.iter_mut().for_each(&mut place);
    }
    raw.watched_files.append(&mut files);
}
