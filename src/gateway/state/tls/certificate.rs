//! A certificate that is shown to clients, as operators know it: where it lies, for what names, and
//! until when.
//!
//! webpki, which rustls checks certificates with, says when one ends only in the error of a check after
//! that. So one is checked far in the future, and no parser of certificates is needed beside it.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, Error, KeyUsage};

/// So long before its end a certificate is warned of: half of what is left when those that last 90
/// days are usually renewed.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// After the end of every certificate: none lasts beyond the year 9999.
const FAR: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1 << 40));

/// Names in one line; the rest is counted.
const MOST_NAMED: usize = 3;

/// A certificate that is shown to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The file that it was read from.
    pub file: String,
    /// The names that it is shown for; none: only where no other fits.
    pub names: Vec<String>,
    /// When it ends; none: it does not say, or never.
    pub until: Option<Timestamp>,
    /// SHA-256 of it.
    pub fingerprint: [u8; 32],
}

impl Certificate {
    /// What is known of a certificate in `file`, shown for `hosts` or, without any, for its own names.
    pub(crate) fn new(file: String, hosts: &[String], der: &CertificateDer<'_>) -> Self {
        let fingerprint = Sha256::digest(der).into();
        let parsed = EndEntityCert::try_from(der).ok();
        let own = parsed.as_ref().filter(|_| hosts.is_empty());
        let own = own.into_iter().flat_map(|parsed| parsed.valid_dns_names().map(str::to_owned));
        let names = hosts.iter().cloned().chain(own).collect();
        Self { file, names, until: parsed.as_ref().and_then(until), fingerprint }
    }

    /// What an operator should know of its end, if that is over or near.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let until = self.until?;
        if until < now {
            return Some(format!("the certificate {self} has expired: clients refuse it"));
        }
        let left = Duration::try_from(until.duration_since(now)).ok()?;
        let days = left.as_secs() / (24 * 3600);
        let days = match days {
            0 => "in less than a day".to_owned(),
            1 => "in 1 day".to_owned(),
            _ => format!("in {days} days"),
        };
        (left < SOON).then(|| format!("the certificate {self} expires {days}"))
    }
}

impl fmt::Display for Certificate {
    /// `certs/gateway.pem (gate.example, until 2027-01-01T00:00:00Z)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.file)?;
        for name in self.names.iter().take(MOST_NAMED) {
            write!(f, "{name}, ")?;
        }
        match self.names.len().saturating_sub(MOST_NAMED) {
            0 => {}
            more => write!(f, "{more} more, ")?,
        }
        match self.until {
            Some(until) => write!(f, "until {until})"),
            None => f.write_str("without an end)"),
        }
    }
}

fn until(certificate: &EndEntityCert<'_>) -> Option<Timestamp> {
    let checked =
        certificate.verify_for_usage(&[], &[], &[], FAR, KeyUsage::server_auth(), None, None);
    match checked.err()? {
        Error::CertExpired { not_after, .. } => {
            Timestamp::from_second(i64::try_from(not_after.as_secs()).ok()?).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::Certificate;

    /// One for `names`, until the beginning of a year.
    fn made(names: &[&str], year: i32, hosts: &[&str]) -> Certificate {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let hosts: Vec<_> = hosts.iter().map(|name| (*name).to_owned()).collect();
        Certificate::new("gate.pem".into(), &hosts, signed.der())
    }

    #[test]
    fn its_end_and_its_names_are_known() {
        for (year, until) in [
            (2021, "2021-01-01T00:00:00Z"),
            // From 2050 on, certificates write the time in another way (RFC 5280 §4.1.2.5).
            (2049, "2049-01-01T00:00:00Z"),
            (2051, "2051-01-01T00:00:00Z"),
            (9999, "9999-01-01T00:00:00Z"),
        ] {
            let found = made(&["a.example", "*.b.example", "127.0.0.1"], year, &[]);
            assert_eq!(found.until.unwrap().to_string(), until);
            assert_eq!(found.names, ["a.example", "*.b.example"]);
        }
        let found = made(&["a.example"], 2027, &["c.example"]);
        assert_eq!(found.to_string(), "gate.pem (c.example, until 2027-01-01T00:00:00Z)");
        let many = made(&["a", "b", "c", "d", "e"], 2027, &[]);
        assert_eq!(many.to_string(), "gate.pem (a, b, c, 2 more, until 2027-01-01T00:00:00Z)");
        assert_ne!(found.fingerprint, many.fingerprint);
    }

    #[test]
    fn its_end_is_warned_of_fourteen_days_before() {
        let certificate = made(&["a.example"], 2027, &[]);
        let warning = |now: &str| {
            let warning = certificate.warning(now.parse().unwrap())?;
            let known = "the certificate gate.pem (a.example, until 2027-01-01T00:00:00Z) ";
            Some(warning.strip_prefix(known).unwrap().to_owned())
        };
        assert_eq!(warning("2026-12-17T23:59:59Z"), None);
        assert_eq!(warning("2026-12-18T00:00:01Z").unwrap(), "expires in 13 days");
        assert_eq!(warning("2026-12-30T12:00:00Z").unwrap(), "expires in 1 day");
        assert_eq!(warning("2026-12-31T23:00:00Z").unwrap(), "expires in less than a day");
        assert_eq!(warning("2027-01-01T00:00:01Z").unwrap(), "has expired: clients refuse it");
    }
}
