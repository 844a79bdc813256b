//! The hash functions of the ring.

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

/// How a ring point and a request's key become a number.
///
/// These numbers decide which instance holds a user's conversations, so they must never change:
/// the tests pin them. Two gateways with the same configuration agree because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashAlgorithm {
    /// The first eight bytes of SHA-256, big endian.
    Sha256,
    /// XXH3 with 64 bits and seed 0.
    Xxh3,
}

impl HashAlgorithm {
    /// The place of `bytes` on the ring.
    pub fn hash(self, bytes: &[u8]) -> u64 {
        match self {
            Self::Sha256 => {
                let digest = Sha256::digest(bytes);
                let mut head = [0_u8; 8];
                head.copy_from_slice(&digest[..8]);
                u64::from_be_bytes(head)
            }
            Self::Xxh3 => xxh3_64(bytes),
        }
    }

    /// The name in the configuration and in `/status`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Xxh3 => "xxh3",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HashAlgorithm::{Sha256, Xxh3};

    #[test]
    fn hashes_are_pinned() {
        // SHA-256 of the empty text and of "abc" are published with the standard (FIPS 180-4).
        assert_eq!(Sha256.hash(b""), 0xe3b0_c442_98fc_1c14);
        assert_eq!(Sha256.hash(b"abc"), 0xba78_16bf_8f01_cfea);
        // XXH3 of the empty text is published with its reference implementation.
        assert_eq!(Xxh3.hash(b""), 0x2d06_8005_38d3_94c2);
        // Computed with independent implementations of both.
        assert_eq!(Xxh3.hash(b"customer_service:alice"), 0x577b_a23a_771f_4046);
        assert_eq!(Sha256.hash(b"customer_service:alice"), 0x5076_bb67_5400_cc8f);
        assert_eq!(Sha256.hash(b"dify1#0"), 0x3b0b_d8e6_1160_9560);
        assert_eq!(Xxh3.hash(b"dify1#0"), 0xa780_52c7_963a_577e);
    }
}
