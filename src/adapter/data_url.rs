//! Files inside a request: `data:` URLs (RFC 2397) and bare base64 (RFC 4648).
//!
//! Encoders differ, so both alphabets, missing padding and line breaks are taken. Limits: none of
//! its own; the request's body has one.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use bytes::Bytes;

const ANY_PADDING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, ANY_PADDING);
const FOR_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, ANY_PADDING);

/// Why there is no file. The texts continue a sentence and quote nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// It does not begin with `data:`.
    #[error("is not a data URL: write data:<media type>;base64,<data>")]
    OtherUrl,
    /// There is no comma between media type and data.
    #[error("is a data URL without a comma before its data")]
    NoComma,
    /// Characters or a length that base64 does not have.
    #[error("is not valid base64")]
    Base64,
    /// There is not one byte of data.
    #[error("holds an empty file")]
    Empty,
}

/// The media type, in lower case and without parameters, and the bytes of a `data:` URL.
///
/// Without a media type it is `text/plain` (RFC 2397).
pub fn decode(url: &str) -> Result<(String, Bytes), DataError> {
    let start = url.get(..5).ok_or(DataError::OtherUrl)?;
    if !start.eq_ignore_ascii_case("data:") {
        return Err(DataError::OtherUrl);
    }
    let (head, data) = url[5..].split_once(',').ok_or(DataError::NoComma)?;
    let mut words = head.split(';').map(str::trim);
    let media_type = match words.next() {
        None | Some("") => "text/plain".to_owned(),
        Some(media_type) => media_type.to_ascii_lowercase(),
    };
    let bytes = if words.any(|word| word.eq_ignore_ascii_case("base64")) {
        // Some encoders escape `+`, `/` and `=` as in any URL.
        match percent_encoding::percent_decode_str(data).into() {
            Cow::Borrowed(_) => base64(data)?,
            Cow::Owned(raw) => base64(std::str::from_utf8(&raw).map_err(|_| DataError::Base64)?)?,
        }
    } else {
        Bytes::from(percent_encoding::percent_decode_str(data).collect::<Vec<u8>>())
    };
    if bytes.is_empty() {
        return Err(DataError::Empty);
    }
    Ok((media_type, bytes))
}

/// The bytes of base64, of either alphabet, with or without padding and line breaks.
pub fn base64(text: &str) -> Result<Bytes, DataError> {
    let packed: Cow<'_, str> = if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        text.split_ascii_whitespace().collect::<String>().into()
    } else {
        text.into()
    };
    if packed.is_empty() {
        return Err(DataError::Empty);
    }
    let engine = if packed.bytes().any(|b| matches!(b, b'-' | b'_')) { FOR_URLS } else { PLAIN };
    engine.decode(packed.as_bytes()).map(Bytes::from).map_err(|_| DataError::Base64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(url: &str) -> Result<(String, Vec<u8>), DataError> {
        decode(url).map(|(media_type, bytes)| (media_type, bytes.to_vec()))
    }

    #[test]
    fn a_picture_is_its_bytes_and_its_type() {
        let url = "data:image/PNG;base64,iVBORw==";
        assert_eq!(decoded(url), Ok(("image/png".into(), b"\x89PNG".to_vec())));
    }

    #[test]
    fn encoders_may_differ() {
        let bytes = vec![0xfb, 0xff, 0xfe, 0x01];
        for url in [
            "data:a/b;base64,+//+AQ==",
            "data:a/b;base64,+//+AQ",
            "data:a/b;base64,-__-AQ==",
            "DATA:a/b;Base64,+//+\r\n AQ==",
            "data:a/b;base64,%2B%2F%2F%2BAQ%3D%3D",
            "data:a/b;name=x.bin; base64,+//+AQ==",
            "data:a/b,%FB%ff%FE%01",
        ] {
            assert_eq!(decoded(url), Ok(("a/b".into(), bytes.clone())), "{url}");
        }
    }

    #[test]
    fn a_text_needs_neither_type_nor_base64() {
        assert_eq!(decoded("data:,a%20b"), Ok(("text/plain".into(), b"a b".to_vec())));
        assert_eq!(decoded("data:;charset=utf-8,a,b"), Ok(("text/plain".into(), b"a,b".to_vec())));
    }

    #[test]
    fn what_is_no_file_is_told_apart() {
        for (url, error) in [
            ("", DataError::OtherUrl),
            ("dátax:", DataError::OtherUrl),
            ("https://a/b.png", DataError::OtherUrl),
            ("data:image/png;base64", DataError::NoComma),
            ("data:image/png;base64,", DataError::Empty),
            ("data:image/png;base64, \n", DataError::Empty),
            ("data:image/png,", DataError::Empty),
            ("data:image/png;base64,????", DataError::Base64),
            ("data:image/png;base64,A", DataError::Base64),
            ("data:image/png;base64,%ff", DataError::Base64),
        ] {
            assert_eq!(decoded(url), Err(error), "{url}");
        }
    }

    proptest! {
        #[test]
        fn every_file_comes_out_as_it_went_in(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            for engine in [PLAIN, FOR_URLS] {
                let url = format!("data:a/b;base64,{}", engine.encode(&bytes));
                prop_assert_eq!(decoded(&url), Ok(("a/b".into(), bytes.clone())));
            }
        }

        #[test]
        fn no_text_breaks_it(text in ".{0,60}") {
            let _ = decode(&text);
            let _ = decode(&format!("data:;base64,{text}"));
        }
    }
}
