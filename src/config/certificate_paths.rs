//! Where the files and folders are that a configuration names.

use std::path::{Path, PathBuf};

use super::access_log::AccessLog;
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
    for instance in raw.services.instances_mut() {
        instance.tls.ca.iter_mut().for_each(&mut place);
    }
    raw.watched_files.append(&mut files);
}

/// Has the other relative paths start at `base`, too.
pub(super) fn settle_folders(raw: &mut RawConfig, base: &Path) {
    let log = match &mut raw.access_log {
        AccessLog::File { path, .. } => Some(path),
        AccessLog::Off | AccessLog::Stdout(_) => None,
    };
    let folders = raw.spool_dir.iter_mut().chain(&mut raw.store.path);
    for path in folders.chain(log) {
        *path = base.join(&*path);
    }
}
