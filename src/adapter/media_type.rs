//! What a file is: by what its sender writes, by its first bytes, by the ending of its name.
//!
//! Senders write the same type in several ways (`image/jpg`, `application/x-pdf`), or none
//! (`image/*`, `application/octet-stream`). Dify goes by the ending of the name and takes a document of
//! an ending that it does not know for no document (`DOCUMENT_EXTENSIONS` of its `constants`), so that
//! source text needs one that it knows.

use bytes::Bytes;

/// The media type of a file whose type nobody knows.
pub const UNKNOWN: &str = "application/octet-stream";

/// How far a text is looked at, to see whether it is one.
const LOOK: usize = 64 * 1024;

/// Other names of a type.
const ALIASES: &[(&str, &str)] = &[
    ("image/jpg", "image/jpeg"),
    ("image/pjpeg", "image/jpeg"),
    ("image/x-citrix-jpeg", "image/jpeg"),
    ("image/jfif", "image/jpeg"),
    ("image/x-png", "image/png"),
    ("image/apng", "image/png"),
    ("image/x-webp", "image/webp"),
    ("image/svg", "image/svg+xml"),
    ("application/x-pdf", "application/pdf"),
    ("application/acrobat", "application/pdf"),
    ("text/pdf", "application/pdf"),
    ("text/x-pdf", "application/pdf"),
    ("application/vnd.pdf", "application/pdf"),
    ("audio/x-wav", "audio/wav"),
    ("audio/wave", "audio/wav"),
    ("audio/x-pn-wav", "audio/wav"),
    ("audio/vnd.wave", "audio/wav"),
    ("audio/mp3", "audio/mpeg"),
    ("audio/x-mp3", "audio/mpeg"),
    ("audio/mpeg3", "audio/mpeg"),
    ("audio/x-mpeg", "audio/mpeg"),
    ("audio/m4a", "audio/mp4"),
    ("audio/x-m4a", "audio/mp4"),
    ("audio/x-flac", "audio/flac"),
    ("audio/x-ogg", "audio/ogg"),
    ("text/x-markdown", "text/markdown"),
    ("text/md", "text/markdown"),
    ("application/markdown", "text/markdown"),
    ("application/xhtml+xml", "text/html"),
    ("text/xml", "application/xml"),
    ("application/csv", "text/csv"),
    ("text/x-csv", "text/csv"),
    ("application/epub", "application/epub+zip"),
    ("application/x-msword", "application/msword"),
    ("application/excel", "application/vnd.ms-excel"),
    ("application/x-excel", "application/vnd.ms-excel"),
    ("application/powerpoint", "application/vnd.ms-powerpoint"),
];

/// A type as it is usually written: lower case, no parameters, no alias.
pub fn usual(written: &str) -> String {
    let plain = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = ALIASES.iter().find(|(alias, _)| *alias == plain);
    known.map_or(plain, |(_, usual)| (*usual).to_owned())
}

/// Whether a type says nothing of the file, or no more than what kind it is.
pub fn is_vague(usual: &str) -> bool {
    let unknown =
        [UNKNOWN, "binary/octet-stream", "application/binary", "application/unknown", "image"];
    usual.is_empty() || usual.ends_with("/*") || usual == "*" || unknown.contains(&usual)
}

/// What the first bytes say.
pub fn of_bytes(bytes: &[u8]) -> Option<String> {
    let start = bytes.get(..bytes.len().min(1024)).unwrap_or_default();
    let start = String::from_utf8_lossy(start);
    let start = start.trim_start_matches('\u{feff}').trim_start();
    if start.starts_with("<svg") || (start.starts_with("<?xml") && start.contains("<svg")) {
        return Some("image/svg+xml".to_owned());
    }
    infer::get(bytes).map(|found| usual(found.mime_type()))
}

/// Whether a file is text that people write: UTF-8 without control characters.
pub fn is_text(bytes: &Bytes) -> bool {
    let start = bytes.get(..bytes.len().min(LOOK)).unwrap_or_default();
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The look may end within a character.
        Err(error) if error.error_len().is_none() && start.len() < bytes.len() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_odd =
        |letter: char| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t' | '\x0c');
    !text.is_empty() && !text.chars().any(is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_one_name() {
        for (written, expected) in [
            ("image/jpg", "image/jpeg"),
            ("Image/PJPEG; q=1", "image/jpeg"),
            ("application/x-pdf", "application/pdf"),
            ("audio/x-wav", "audio/wav"),
            ("text/plain;charset=utf-8", "text/plain"),
            ("x/odd", "x/odd"),
        ] {
            assert_eq!(usual(written), expected);
        }
        for vague in ["", "image/*", "*/*", UNKNOWN, "binary/octet-stream"] {
            assert!(is_vague(vague), "{vague}");
        }
        assert!(!is_vague("image/png") && !is_vague("text/plain"));
    }

    #[test]
    fn the_first_bytes_say_what_a_file_is() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n"[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"%PDF-1.7", Some("application/pdf")),
            (b"ID3\x04\0", Some("audio/mpeg")),
            (b"RIFF\0\0\0\0WAVEfmt ", Some("audio/wav")),
            (b"\n<?xml version=\"1.0\"?><svg xmlns=\"x\"/>", Some("image/svg+xml")),
            (b"plain words", None),
            (b"\0\0\0", None),
        ] {
            let found = of_bytes(bytes);
            assert_eq!(found.as_deref(), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn source_text_is_text() {
        let text = |bytes: &'static [u8]| is_text(&Bytes::from_static(bytes));
        assert!(text(b"fn main() {}\n\tlet x = \"\xe4\xbd\xa0\";"));
        assert!(!text(b"") && !text(b"a\0b") && !text(b"\xff\xfe"));
        let long = format!("{}{}", "x".repeat(LOOK - 1), "你".repeat(10));
        assert!(is_text(&Bytes::from(long)));
    }
}
