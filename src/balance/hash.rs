//! The hash functions of the ring and of rendezvous.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use crate::model::HashAlgorithm;

impl HashAlgorithm {
    /// The place of `bytes` on the ring.
    pub fn hash(self, bytes: &[u8]) -> u64 {
        match self {
            Self::Sha256 => head(&Sha256::digest(bytes)),
            Self::Xxh3 => xxh3_64(bytes),
            Self::Sha1 => head(&Sha1::digest(bytes)),
            Self::Md5 => head(&Md5::digest(bytes)),
            Self::Crc32 => {
                let crc = u64::from(crc32fast::hash(bytes));
                crc << 32 | crc
            }
        }
    }
}

/// The first eight bytes of a digest, big endian.
fn head(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |head, byte| head << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::HashAlgorithm::{Crc32, Md5, Sha1, Sha256, Xxh3};

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
        assert_eq!(Sha1.hash(b"abc"), 0xa999_3e36_4706_816a);
        assert_eq!(Sha1.hash(b"customer_service:alice"), 0x7deb_3cd9_e571_4068);
        assert_eq!(Sha1.hash(b"dify1#0"), 0xdbec_8ca5_bfa7_7280);
        assert_eq!(Md5.hash(b"abc"), 0x9001_5098_3cd2_4fb0);
        assert_eq!(Md5.hash(b"customer_service:alice"), 0x4dbf_1fe6_e18c_d4b1);
        assert_eq!(Md5.hash(b"dify1#0"), 0x8820_3703_48ce_d53b);
        // The check value of CRC-32 (IEEE), and two more, each twice side by side.
        assert_eq!(Crc32.hash(b"123456789"), 0xcbf4_3926_cbf4_3926);
        assert_eq!(Crc32.hash(b"customer_service:alice"), 0xb2a0_bf4a_b2a0_bf4a);
        assert_eq!(Crc32.hash(b"dify1#0"), 0x70f2_4c8b_70f2_4c8b);
    }
}
