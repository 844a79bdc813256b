//! From files of certificates to what the gateway shakes hands with.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::config::{self, Config};
use crate::gateway::state::tls::certificate::Certificate;
use crate::gateway::state::tls::instance::{Authorities, InstanceTls};
use crate::gateway::state::tls::listener::{
    ClientAuthorities, Identity, ListenerTls, TlsConfigError, WithoutCertificate,
};
use crate::model::Scheme;

/// What files of certificates are to be.
pub const CERTIFICATES: &str =
    "a certificate and its key are two PEM files, the key without a passphrase";

/// What to do about a certificate that ends.
pub const RENEW: &str = "renew it; the new file is read by itself";

/// A file of certificates is no larger: some hundreds fit into it.
const LARGEST: u64 = 4 << 20;

/// Reads all certificates that a configuration names, as its gateway does, and gives what should be
/// known of those that are shown to clients.
///
/// # Errors
/// Which file is unusable, and why. Nothing of what is in it is repeated.
pub fn certificates(config: &Config) -> Result<Vec<String>, String> {
    let shown = listener(config, None)?;
    let mut trust = Trust::default();
    config.instances().try_for_each(|instance| trust.of(instance).map(drop))?;
    Ok(warnings(shown.as_ref()))
}

/// Which of the certificates that are shown to clients have expired, or soon do.
pub fn warnings(shown: Option<&ListenerTls>) -> Vec<String> {
    let now = Timestamp::now();
    let shown = shown.into_iter().flat_map(ListenerTls::certificates);
    shown.filter_map(|certificate| certificate.warning(now)).collect()
}

/// The certificates that are shown to clients now and were not before.
pub(super) fn exchanged(old: Option<&ListenerTls>, new: Option<&ListenerTls>) -> Vec<Certificate> {
    let was_shown = |certificate: &Certificate| {
        let mut before = old.into_iter().flat_map(ListenerTls::certificates);
        before.any(|known| known.fingerprint == certificate.fingerprint)
    };
    let now = new.into_iter().flat_map(ListenerTls::certificates);
    now.filter(|certificate| !was_shown(certificate)).cloned().collect()
}

/// What is in each file of authorities, of clients and of instances, by SHA-256. One that cannot be
/// read is left out: it is refused where it is needed.
pub(super) type AuthorityFiles = BTreeMap<PathBuf, [u8; 32]>;

/// The files of authorities that a configuration names.
pub(super) fn authority_files(config: &Config) -> AuthorityFiles {
    let instances = config.instances();
    let of_clients = config.client_certificates.iter().map(|written| written.ca.as_path());
    let named = instances.filter_map(|instance| instance.tls.ca.as_deref()).chain(of_clients);
    let named: BTreeSet<_> = named.collect();
    let digest = |file: &Path| Some((file.to_owned(), Sha256::digest(read(file).ok()?).into()));
    named.into_iter().filter_map(digest).collect()
}

/// Those files that were there before, and in which something else stands now.
pub(super) fn exchanged_files(old: &AuthorityFiles, new: &AuthorityFiles) -> Vec<PathBuf> {
    let other = |(file, now): &(&PathBuf, &[u8; 32])| old.get(*file).is_some_and(|old| old != *now);
    new.iter().filter(other).map(|(file, _)| file.clone()).collect()
}

/// Reads what instances are trusted by, each file once.
#[derive(Default)]
pub(super) struct Trust {
    by_ca: HashMap<Option<PathBuf>, Authorities>,
}

impl Trust {
    /// How TLS is spoken with an instance; none if it is spoken to in the clear.
    ///
    /// # Errors
    /// Its authorities cannot be read, or its name cannot be one of a certificate.
    pub(super) fn of(
        &mut self,
        written: &config::Instance,
    ) -> Result<Option<Arc<InstanceTls>>, String> {
        if written.address.scheme == Scheme::Http {
            return Ok(None);
        }
        let name = written.tls.sni.as_deref().unwrap_or(&written.address.host);
        let tls = self
            .authorities(written.tls.ca.as_deref())
            .and_then(|authorities| InstanceTls::new(&authorities, name));
        tls.map(|tls| Some(Arc::new(tls))).map_err(|fault| format!("`{}`: {fault}", written.name))
    }

    fn authorities(&mut self, ca: Option<&Path>) -> Result<Authorities, String> {
        let key = ca.map(Path::to_owned);
        if let Some(known) = self.by_ca.get(&key) {
            return Ok(known.clone());
        }
        let named = |fault: String| match ca {
            Some(ca) => format!("`tls.ca`, {}: {fault}", ca.display()),
            None => fault,
        };
        let text = ca.map(read).transpose().map_err(named)?;
        let authorities = Authorities::new(text.as_deref()).map_err(named)?;
        self.by_ca.insert(key, authorities.clone());
        Ok(authorities)
    }
}

/// How TLS is spoken with clients, if it is; sessions of `older` go on.
///
/// # Errors
/// Which file is unusable, and why. Nothing of what is in it is repeated.
pub(super) fn listener(
    config: &Config,
    older: Option<&ListenerTls>,
) -> Result<Option<ListenerTls>, String> {
    if config.tls.is_empty() {
        return Ok(None);
    }
    let in_file = |what: &str, path: &Path, fault| format!("{what}, {}: {fault}", path.display());
    let cert = |place: usize, fault| in_file("`tls.cert`", &config.tls[place].cert, fault);
    let key = |place: usize, fault| in_file("`tls.key`", &config.tls[place].key, fault);
    let mut identities = Vec::new();
    for (place, written) in config.tls.iter().enumerate() {
        identities.push(Identity {
            file: written.cert.display().to_string(),
            certificates: read(&written.cert).map_err(|fault| cert(place, fault))?,
            key: read(&written.key).map_err(|fault| key(place, fault))?,
            hosts: written.hosts.clone(),
        });
    }
    let written = config.client_certificates.as_ref();
    let client_ca = |fault| match written {
        Some(written) => in_file("`client_certificates.ca`", &written.ca, fault),
        None => fault,
    };
    let clients = match written {
        None => None,
        Some(written) => Some(ClientAuthorities {
            ca: read(&written.ca).map_err(client_ca)?,
            without: if written.required {
                WithoutCertificate::Refused
            } else {
                WithoutCertificate::Admitted
            },
        }),
    };
    let tls =
        ListenerTls::new(identities, clients.as_ref(), older).map_err(|fault| match fault {
            TlsConfigError::Certificate(place, fault) => cert(place, fault),
            TlsConfigError::Key(place, fault) => key(place, fault),
            TlsConfigError::Clients(fault) => client_ca(fault),
            TlsConfigError::Other(fault) => format!("`tls`: {fault}"),
        })?;
    Ok(Some(tls))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
    match read {
        Ok(_) if text.len() as u64 > LARGEST => Err("is larger than 4MiB".into()),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}
