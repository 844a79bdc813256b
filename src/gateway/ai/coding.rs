//! Compressed request bodies (RFC 9110 §8.4): `gzip`, `deflate`, `br` and `zstd`.
//!
//! What comes out is bounded while it comes out, so that a small body which stands for gigabytes is
//! given up at the limit. The decoders are in Rust throughout: what reads a client's bytes before
//! anything is known of them is not written in C here.

use std::io::{self, BufReader, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};
use ruzstd::decoding::StreamingDecoder;

use crate::gateway::http::body_memory::Held;

/// How much is decoded at a time, and between two looks at the limits.
const STEP_BYTES: usize = 64 * 1024;
/// What zstd may look back: what every decoder must have (RFC 8878 §3.1.1.1.2) is less.
const WINDOW_BYTES: u64 = 16 << 20;
/// Nobody packs a body more often.
const MOST_CODINGS: usize = 3;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Why a body cannot be unpacked.
#[derive(Debug)]
pub(super) enum Undecodable {
    /// It is not what its coding says.
    Malformed,
    /// It is larger than the limit.
    TooLarge,
    /// There is no room for it in memory.
    NoRoom(io::Error),
}

/// The codings of a body, in the order in which they were applied. `identity` is none.
///
/// # Errors
/// One is unknown, or there are too many.
pub(super) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, ()> {
    let values = headers.get_all(CONTENT_ENCODING).into_iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = names.map(<[u8]>::trim_ascii);
    let names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
    let codings: Vec<_> = names.map(coding).collect::<Result<_, _>>()?;
    if codings.len() > MOST_CODINGS { Err(()) } else { Ok(codings) }
}

fn coding(name: &[u8]) -> Result<Coding, ()> {
    match name.to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => Ok(Coding::Gzip),
        b"deflate" => Ok(Coding::Deflate),
        b"br" => Ok(Coding::Brotli),
        b"zstd" => Ok(Coding::Zstd),
        _ => Err(()),
    }
}

/// Unpacks a body of these codings. `held` grows with it.
///
/// # Errors
/// It is broken, or larger than `limit` at any step.
pub(super) fn decode(
    mut body: Bytes,
    codings: &[Coding],
    limit: u64,
    held: &mut Held,
) -> Result<Bytes, Undecodable> {
    for coding in codings.iter().rev() {
        body = decode_one(&body, *coding, limit, held)?;
    }
    held.resize(body.len() as u64).map_err(Undecodable::NoRoom)?;
    Ok(body)
}

fn decode_one(
    packed: &[u8],
    coding: Coding,
    limit: u64,
    held: &mut Held,
) -> Result<Bytes, Undecodable> {
    let mut rest = packed;
    let malformed = |_| Undecodable::Malformed;
    let decoder: Box<dyn Read + '_> = match coding {
        Coding::Gzip => Box::new(MultiGzDecoder::new(&mut rest)),
        Coding::Deflate if is_zlib(packed) => Box::new(ZlibDecoder::new(&mut rest)),
        // Some clients leave out the frame that RFC 9110 §8.4.1.2 asks for.
        Coding::Deflate => Box::new(DeflateDecoder::new(&mut rest)),
        Coding::Brotli => Box::new(brotli_decompressor::Decompressor::new(&mut rest, STEP_BYTES)),
        Coding::Zstd => {
            let decoder = StreamingDecoder::new_with_max_window_size(&mut rest, WINDOW_BYTES);
            Box::new(decoder.map_err(|_| Undecodable::Malformed)?)
        }
    };
    let mut decoder = BufReader::with_capacity(STEP_BYTES, decoder).take(limit + 1);
    let mut unpacked = Vec::new();
    loop {
        let read = decoder.by_ref().take(STEP_BYTES as u64).read_to_end(&mut unpacked);
        if read.map_err(malformed)? == 0 {
            break;
        }
        if unpacked.len() as u64 > limit {
            return Err(Undecodable::TooLarge);
        }
        let both = (packed.len() + unpacked.len()) as u64;
        held.resize(both).map_err(Undecodable::NoRoom)?;
    }
    drop(decoder);
    // What follows the end would be lost.
    if coding == Coding::Zstd && !rest.is_empty() {
        return Err(Undecodable::Malformed);
    }
    Ok(unpacked.into())
}

/// Whether it begins with the head of zlib (RFC 1950 §2.2).
fn is_zlib(packed: &[u8]) -> bool {
    let [first, second, ..] = *packed else { return false };
    first & 0x0F == 8 && (u16::from(first) << 8 | u16::from(second)).is_multiple_of(31)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::HeaderMap;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::{Coding, Undecodable, codings, decode};
    use crate::gateway::http::body_memory::Room;

    fn unpack(body: Vec<u8>, codings: &[Coding], limit: u64) -> Result<Bytes, Undecodable> {
        let room = Room { bodies: Default::default(), limit: 1 << 30 };
        let mut held = room.hold();
        let unpacked = decode(body.into(), codings, limit, &mut held)?;
        assert_eq!(room.bodies.held_bytes(), unpacked.len() as u64);
        Ok(unpacked)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// `{"packed":"br"}` as other software packs it: one block that is not compressed.
    const BROTLI: &[u8] = b"\x0b\x07\x80{\"packed\":\"br\"}\x03";

    #[test]
    fn every_coding_is_undone_and_so_are_several() {
        let text = br#"{"model":"shop"}"#.repeat(1000);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&text).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(&text).unwrap();
        let zstd = compress_to_vec(&text[..], CompressionLevel::Fastest);
        for (packed, codings) in [
            (text.clone(), &[][..]),
            (gzip(&text), &[Coding::Gzip]),
            (zlib.finish().unwrap(), &[Coding::Deflate]),
            (bare.finish().unwrap(), &[Coding::Deflate]),
            (gzip(&zstd), &[Coding::Zstd, Coding::Gzip]),
            (zstd, &[Coding::Zstd]),
        ] {
            assert_eq!(unpack(packed, codings, 1 << 20).unwrap(), text, "{codings:?}");
        }
        let brotli = unpack(BROTLI.to_vec(), &[Coding::Brotli], 1 << 20).unwrap();
        assert_eq!(brotli, r#"{"packed":"br"}"#);
    }

    #[test]
    fn what_stands_for_more_than_the_limit_is_given_up_there() {
        let zeros = vec![0; 10_000_000];
        for (packed, coding) in [
            (gzip(&zeros), Coding::Gzip),
            (compress_to_vec(&zeros[..], CompressionLevel::Fastest), Coding::Zstd),
        ] {
            assert!(packed.len() < 100_000, "{coding:?}: {}", packed.len());
            let refused = unpack(packed.clone(), &[coding], 9_999_999);
            assert!(matches!(refused, Err(Undecodable::TooLarge)), "{coding:?}");
            assert_eq!(unpack(packed, &[coding], 10_000_000).unwrap().len(), 10_000_000);
        }
    }

    #[test]
    fn what_is_broken_or_cut_is_refused() {
        let packed = gzip(b"hello");
        let zstd = compress_to_vec(&b"hello"[..], CompressionLevel::Fastest);
        for (body, coding) in [
            (b"{}".to_vec(), Coding::Gzip),
            (packed[..packed.len() - 9].to_vec(), Coding::Gzip),
            (b"{}".to_vec(), Coding::Deflate),
            (b"{}".to_vec(), Coding::Zstd),
            (zstd[..zstd.len() - 6].to_vec(), Coding::Zstd),
            ([zstd.clone(), zstd].concat(), Coding::Zstd),
            (BROTLI[..9].to_vec(), Coding::Brotli),
        ] {
            let refused = unpack(body.clone(), &[coding], 1 << 20);
            assert!(matches!(refused, Err(Undecodable::Malformed)), "{coding:?} {body:?}");
        }
    }

    #[test]
    fn codings_are_read_in_any_case_and_identity_is_none() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("content-encoding", value.parse().unwrap());
            }
            codings(&headers)
        };
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(read(&["Identity", " ,identity"]), Ok(vec![]));
        assert_eq!(read(&["GZip, br", "zstd"]).unwrap().len(), 3);
        assert_eq!(read(&["x-gzip,deflate"]), Ok(vec![Coding::Gzip, Coding::Deflate]));
        assert_eq!(read(&["compress"]), Err(()));
        assert_eq!(read(&["gzip,gzip,gzip,gzip"]), Err(()));
    }
}
