//! From files of certificates to what the gateway shakes hands with.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config;
use crate::gateway::tls::{Authorities, InstanceTls};
use crate::model::Scheme;

/// A file of certificates is no larger: some hundreds fit into it.
const LARGEST: u64 = 4 << 20;

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

/// The content of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
    match read {
        Ok(_) if text.len() as u64 > LARGEST => Err("is larger than 4MiB".into()),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}
