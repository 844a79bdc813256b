//! What stops a start, with what is behind it where that is known.

use std::fs;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::anyhow;

use crate::config::{Config, Diagnostics};

/// What stopped a start, with what is behind it where that is known.
pub(super) fn hinted(error: anyhow::Error) -> anyhow::Error {
    let is_denied = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<Error>();
        io.is_some_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    if !error.chain().any(is_denied) {
        return error;
    }
    anyhow!(
        "{error:#}; a port below 1024 needs root or CAP_NET_BIND_SERVICE, a file or folder the rights of the user \
         that runs difygate"
    )
}

/// Why an address cannot be listened on, and who tells which program has it.
pub(super) fn in_use(error: Error, address: SocketAddr) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow!("{error}: `ss -ltnp 'sport = :{}'` shows which program has it", address.port())
        }
        _ => error.into(),
    }
}

/// Whether the folder of large bodies is there.
///
/// # Errors
/// It is not: the first large body would get 507.
pub(super) fn spool(config: &Config, name: &str) -> Result<(), Diagnostics> {
    // One in a folder that this user may not enter may be there.
    let is_missing = |folder: &&PathBuf| match fs::metadata(folder) {
        Ok(found) => !found.is_dir(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    let Some(folder) = config.spool_dir.as_ref().filter(is_missing) else { return Ok(()) };
    let shown = folder.display();
    let message = format!("`spool_dir`: there is no folder {shown}");
    let hint =
        format!("make it, for the user that runs difygate: `sudo install -d -o USER {shown}`");
    Err(Diagnostics::of_error(name, &message, &hint))
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::{hinted, in_use};

    #[test]
    fn a_start_that_is_denied_says_what_it_needs() {
        let denied = Err::<(), _>(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        let said = hinted(denied.context("cannot listen on 0.0.0.0:80").unwrap_err()).to_string();
        assert!(said.starts_with("cannot listen on 0.0.0.0:80: permission denied; "), "{said}");
        assert!(said.contains("CAP_NET_BIND_SERVICE"), "{said}");
        assert_eq!(hinted(anyhow!("the address is in use")).to_string(), "the address is in use");
    }

    #[test]
    fn a_port_that_is_taken_is_answered_with_what_shows_who_has_it() {
        let taken = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        let said = in_use(taken, "127.0.0.1:8080".parse().unwrap()).to_string();
        assert!(said.contains("`ss -ltnp 'sport = :8080'`"), "{said}");
        let other = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        assert!(!in_use(other, "127.0.0.1:8080".parse().unwrap()).to_string().contains("ss -ltnp"));
    }
}
