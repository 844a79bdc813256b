//! Certificates and keys out of PEM text.

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificates of a file, at least one.
///
/// # Errors
/// What is wrong with the text, without any of it.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err("holds no certificate in PEM".into()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("is not PEM: {}", fault(&error))),
    }
}

/// The private key of a file: PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// What is wrong with the text, without any of it.
pub(crate) fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound if text.windows(9).any(|part| part == b"ENCRYPTED") => {
            "holds a key that is locked with a passphrase: give one without".into()
        }
        pem::Error::NoItemsFound => "holds no private key in PEM".into(),
        error => format!("is not PEM: {}", fault(&error)),
    })
}

/// Puts the certificates of a file among those that others are checked by.
///
/// # Errors
/// What is wrong with the text, without any of it.
pub(crate) fn add_authorities(roots: &mut RootCertStore, text: &[u8]) -> Result<(), String> {
    for certificate in certificates(text)? {
        roots.add(certificate).map_err(|error| format!("holds no usable certificate: {error}"))?;
    }
    Ok(())
}

/// rustls repeats the line that it cannot read, which may be a part of a key.
fn fault(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section begins with something else",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be read",
    }
}
