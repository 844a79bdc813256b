//! Files that come with a message, as Dify takes them: with a name whose ending fits the type.
//!
//! Dify judges a file by its ending first and refuses some characters in names (1.5.0:
//! `FileService.upload_file`), so every file gets a name here that it will take.

use bytes::Bytes;

use super::ask::{Attachment, Content, FileKind};
use super::data_url::{self, DataError};

/// The most characters of a file's name; Dify cuts at 200.
const MAX_NAME: usize = 160;

/// `ending, media type`. The first of a media type is the ending that a nameless file gets.
const TYPES: &[(&str, &str)] = &[
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("svg", "image/svg+xml"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("csv", "text/csv"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("epub", "application/epub+zip"),
    ("eml", "message/rfc822"),
    ("doc", "application/msword"),
    ("xls", "application/vnd.ms-excel"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("mp3", "audio/mpeg"),
    ("mp3", "audio/mp3"),
    ("mpga", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("m4a", "audio/mp4"),
    ("m4a", "audio/x-m4a"),
    ("amr", "audio/amr"),
    ("webm", "audio/webm"),
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("mpeg", "video/mpeg"),
    ("webm", "video/webm"),
];

/// The media type of a file whose type nobody knows.
const UNKNOWN: &str = "application/octet-stream";

/// Why there is no file. The texts continue a sentence and quote nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A URL of another scheme.
    #[error("must be a data URL or an http(s) URL")]
    Scheme,
    /// The bytes are no picture.
    #[error("is no picture: its media type must begin with image/")]
    NoPicture,
}

/// A picture: a `data:` URL, or an `http` or `https` URL that Dify fetches.
pub fn picture(url: &str) -> Result<Attachment, AttachError> {
    let Some(encoded) = data_of(url) else { return remote(FileKind::Image, url) };
    let (media_type, bytes) = data_url::decode(encoded)?;
    let media_type = if media_type.starts_with("image/") {
        media_type
    } else {
        sniff(&bytes)
            .filter(|seen| seen.starts_with("image/"))
            .ok_or(AttachError::NoPicture)?
            .into()
    };
    Ok(file_of(None, media_type, bytes))
}

/// A file: a `data:` URL or bare base64, and what it is called.
pub fn file(data: &str, name: Option<&str>) -> Result<Attachment, AttachError> {
    let (written, bytes) = match data_of(data) {
        Some(url) => data_url::decode(url).map(|(media_type, bytes)| (Some(media_type), bytes))?,
        None => (None, data_url::base64(data)?),
    };
    // What a data URL says of any file, or does not say, says less than the name.
    let specific = written.as_deref().filter(|written| !matches!(*written, UNKNOWN | "text/plain"));
    let media_type = specific
        .or_else(|| name.and_then(ending).and_then(media_type_of))
        .or_else(|| sniff(&bytes))
        .or(written.as_deref())
        .unwrap_or(UNKNOWN)
        .to_owned();
    Ok(file_of(name, media_type, bytes))
}

/// A sound in bare base64 (or a `data:` URL), of a format such as `wav`.
pub fn sound(data: &str, format: &str) -> Result<Attachment, AttachError> {
    let bytes = match data_of(data) {
        Some(url) => data_url::decode(url)?.1,
        None => data_url::base64(data)?,
    };
    let media_type = if format == "mp3" { "audio/mpeg".into() } else { format!("audio/{format}") };
    Ok(file_of(None, media_type, bytes))
}

/// A file that Dify fetches itself.
pub fn remote(kind: FileKind, url: &str) -> Result<Attachment, AttachError> {
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    let is_web = lower.starts_with("http://") || lower == "https://";
    if !is_web || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(AttachError::Scheme);
    }
    Ok(Attachment { kind, content: Content::Url(url.to_owned()) })
}

/// A file of known type under a name that Dify takes.
pub fn file_of(name: Option<&str>, media_type: String, bytes: Bytes) -> Attachment {
    let kind = FileKind::of(&media_type);
    let name = file_name(name, &media_type);
    Attachment { kind, content: Content::Data { name, media_type, bytes } }
}

/// A name that Dify takes, with an ending.
pub fn file_name(name: Option<&str>, media_type: &str) -> String {
    let last = name.and_then(|name| name.rsplit(['/', '\\']).next()).unwrap_or("").trim();
    let clean: String = last
        .chars()
        .filter(|c| !c.is_control())
        .map(|c| if matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|') { '_' } else { c })
        .collect();
    let known = TYPES.iter().find(|(_, known)| *known == media_type).map_or("bin", |(e, _)| *e);
    let end = ending(&clean).unwrap_or(known);
    let stem = match ending(&clean) {
        Some(end) => &clean[..clean.len() - end.len() - 1],
        None if clean.is_empty() => FileKind::of(media_type).name(),
        None => &clean,
    };
    let stem: String = stem.chars().take(MAX_NAME).collect();
    format!("{stem}.{end}")
}

/// The ending of a name, without the dot.
pub fn ending(name: &str) -> Option<&str> {
    let (stem, end) = name.rsplit_once('.')?;
    let plain = (1..=10).contains(&end.len()) && end.bytes().all(|b| b.is_ascii_alphanumeric());
    (plain && !stem.is_empty()).then_some(end)
}

/// The media type of files with this ending.
fn media_type_of(ending: &str) -> Option<&'static str> {
    TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, media)| *media)
}

/// What the first bytes say.
fn sniff(bytes: &[u8]) -> Option<&'static str> {
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    match bytes {
        _ if webp => Some("image/webp"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xFF, 0xD8, 0xFF, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'%', b'P', b'D', b'F', ..] => Some("application/pdf"),
        _ => None,
    }
}

fn data_of(url: &str) -> Option<&str> {
    url.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:")).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(attachment: Attachment) -> (FileKind, String, String, Vec<u8>) {
        let Content::Data { name, media_type, bytes } = attachment.content else { panic!("a URL") };
        (attachment.kind, name, media_type, bytes.to_vec())
    }

    #[test]
    fn a_picture_gets_a_name_that_fits_its_type() {
        for (url, name, media_type) in [
            ("data:image/png;base64,iVBORw==", "image.png", "image/png"),
            ("data:image/jpeg;base64,/9j/", "image.jpg", "image/jpeg"),
            ("data:;base64,iVBORw==", "image.png", "image/png"),
            ("data:image/x-odd;base64,AAAA", "image.bin", "image/x-odd"),
        ] {
            let (kind, found, found_type, _) = data(picture(url).unwrap());
            assert_eq!(
                (kind, found.as_str(), found_type.as_str()),
                (FileKind::Image, name, media_type)
            );
        }
        assert_eq!(picture("data:text/plain;base64,AAAA"), Err(AttachError::NoPicture));
    }

    #[test]
    fn only_dify_fetches_and_only_from_the_web() {
        let url = "HTTPS://example.com/a.png";
        assert_eq!(picture(url).unwrap().content, Content::Url(url.into()));
        for url in ["", "a.png", "file:///etc/passwd", "ftp://a/b", "blob:http://a", "http://a\nb"]
        {
            assert_eq!(picture(url), Err(AttachError::Scheme), "{url}");
        }
    }

    #[test]
    fn a_file_is_of_the_type_its_url_its_name_or_its_bytes_say() {
        for (text, name, expected_name, expected_type, kind) in [
            (
                "data:application/pdf;base64,AAAA",
                None,
                "document.pdf",
                "application/pdf",
                FileKind::Document,
            ),
            ("AAAA", Some("notes.md"), "notes.md", "text/markdown", FileKind::Document),
            (
                "data:application/octet-stream;base64,AAAA",
                Some("x.MP3"),
                "x.MP3",
                "audio/mpeg",
                FileKind::Audio,
            ),
            ("JVBERi0=", None, "document.pdf", "application/pdf", FileKind::Document),
            ("data:,abc", Some("a.txt"), "a.txt", "text/plain", FileKind::Document),
            ("AAAA", Some("odd"), "odd.bin", UNKNOWN, FileKind::Document),
            ("iVBORw==", Some("p"), "p.png", "image/png", FileKind::Image),
        ] {
            let (found_kind, found_name, found_type, _) = data(file(text, name).unwrap());
            assert_eq!(
                (found_name.as_str(), found_type.as_str(), found_kind),
                (expected_name, expected_type, kind)
            );
        }
    }

    #[test]
    fn a_name_is_one_that_dify_takes() {
        let long = format!("{}.pdf", "x".repeat(300));
        for (name, expected) in [
            ("../../etc/a:b?.txt", "a_b_.txt"),
            ("C:\\temp\\r\u{1}\n.csv", "r.csv"),
            (".hidden", ".hidden.pdf"),
            ("Grüße 你.docx", "Grüße 你.docx"),
            ("a.", "a..pdf"),
            ("  ", "document.pdf"),
            (long.as_str(), &format!("{}.pdf", "x".repeat(MAX_NAME))),
        ] {
            assert_eq!(file_name(Some(name), "application/pdf"), expected);
        }
    }

    #[test]
    fn a_sound_is_audio() {
        let (kind, name, media_type, bytes) = data(sound("AAAA", "mp3").unwrap());
        assert_eq!(
            (kind, name.as_str(), media_type.as_str()),
            (FileKind::Audio, "audio.mp3", "audio/mpeg")
        );
        assert_eq!(bytes, [0, 0, 0]);
        assert_eq!(data(sound("AAAA", "wav").unwrap()).1, "audio.wav");
    }
}
