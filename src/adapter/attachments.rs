//! Files that come with a message, as Dify takes them: with a name whose ending fits the type.
//!
//! Dify judges a file by its ending first and refuses some characters in names (1.5.0:
//! `FileService.upload_file`), so every file gets a name here that it will take.

use bytes::Bytes;

use super::completion_request::{Attachment, FileContent, FileKind};
use super::data_url::{self, DataError};
use super::media_type::{self, UNKNOWN};

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
    ("vtt", "text/vtt"),
    ("epub", "application/epub+zip"),
    ("eml", "message/rfc822"),
    ("doc", "application/msword"),
    ("xls", "application/vnd.ms-excel"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("mp3", "audio/mpeg"),
    ("mpga", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("m4a", "audio/mp4"),
    ("amr", "audio/amr"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
    ("webm", "audio/webm"),
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("mpeg", "video/mpeg"),
    ("webm", "video/webm"),
];

/// The endings of documents that Dify knows beside those of [`TYPES`].
const DOCUMENTS: [&str; 4] = ["markdown", "mdx", "properties", "msg"];

/// The ending of a text that Dify would not know by its own.
const TEXT: (&str, &str) = ("txt", "text/plain");

/// Why there is no file. The texts continue a sentence and quote nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A URL of another scheme.
    #[error("must be a data URL or an http(s) URL")]
    Scheme,
    /// The bytes are not an image.
    #[error("is not an image: its media type must start with image/")]
    NotAnImage,
}

/// A picture: a `data:` URL, or an `http` or `https` URL that Dify fetches.
pub fn picture(url: &str) -> Result<Attachment, AttachError> {
    let Some(encoded) = data_of(url) else { return remote(FileKind::Image, url) };
    let (media_type, bytes) = data_url::decode(encoded)?;
    picture_of(None, &media_type, bytes)
}

/// A picture, and what it is called. Its bytes know better than its sender what it is.
pub fn picture_of(
    name: Option<&str>,
    written: &str,
    bytes: Bytes,
) -> Result<Attachment, AttachError> {
    let written = media_type::usual(written);
    let is_picture = |media_type: &String| media_type.starts_with("image/");
    let seen = media_type::of_bytes(&bytes).filter(is_picture);
    let written = Some(written).filter(|written| is_picture(written) && !written.ends_with("/*"));
    let media_type = seen.or(written).ok_or(AttachError::NotAnImage)?;
    Ok(file_of(name, media_type, bytes))
}

/// A file: a `data:` URL or bare base64, and what it is called.
pub fn file(data: &str, name: Option<&str>) -> Result<Attachment, AttachError> {
    let (written, bytes) = match data_of(data) {
        Some(url) => data_url::decode(url).map(|(media_type, bytes)| (Some(media_type), bytes))?,
        None => (None, data_url::base64(data)?),
    };
    Ok(unsure(name, written.as_deref().unwrap_or_default(), bytes))
}

/// A file of which its sender may not have known the type.
pub fn unsure(name: Option<&str>, written: &str, bytes: Bytes) -> Attachment {
    let usual = media_type::usual(written);
    // What is written of any file says less than the name.
    let specific = Some(&usual).filter(|usual| !media_type::is_vague(usual));
    let specific = specific.filter(|usual| *usual != TEXT.1).cloned();
    let seen = || media_type::of_bytes(&bytes).filter(|seen| seen != "application/zip");
    let named = || name.and_then(ending).and_then(media_type_of).map(str::to_owned);
    let text = || Some(TEXT.1.to_owned()).filter(|_| usual == TEXT.1);
    let found = specific.or_else(seen).or_else(named).or_else(text);
    let media_type = found.unwrap_or_else(|| UNKNOWN.to_owned());
    file_of(name, media_type, bytes)
}

/// A sound in bare base64 (or a `data:` URL), of a format such as `wav`.
pub fn sound(data: &str, format: &str) -> Result<Attachment, AttachError> {
    let bytes = match data_of(data) {
        Some(url) => data_url::decode(url)?.1,
        None => data_url::base64(data)?,
    };
    let seen = media_type::of_bytes(&bytes).filter(|seen| seen.starts_with("audio/"));
    let media_type = seen.unwrap_or_else(|| media_type::usual(&format!("audio/{format}")));
    Ok(file_of(None, media_type, bytes))
}

/// A file that Dify fetches itself.
pub fn remote(kind: FileKind, url: &str) -> Result<Attachment, AttachError> {
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    let is_web = lower.starts_with("http://") || lower == "https://";
    if !is_web || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(AttachError::Scheme);
    }
    Ok(Attachment { kind, content: FileContent::Url(url.to_owned()) })
}

/// A file of known type under a name that Dify takes.
pub fn file_of(name: Option<&str>, media_type: String, bytes: Bytes) -> Attachment {
    let name = file_name(name, &media_type);
    let end = ending(&name).unwrap_or_default();
    let is_known = media_type_of(end).is_some_and(|known| known != "application/json")
        || DOCUMENTS.iter().any(|known| known.eq_ignore_ascii_case(end));
    // A browser calls `main.ts` a video; whatever it is called, a text is one.
    let is_as_it_says = is_known && FileKind::of(&media_type) == kind_of(end);
    let (name, media_type) = match is_as_it_says || !media_type::is_text(&bytes) {
        true => (name, media_type),
        false => {
            let name = name.strip_suffix(".bin").unwrap_or(&name);
            (format!("{name}.{}", TEXT.0), TEXT.1.to_owned())
        }
    };
    let kind = FileKind::of(&media_type);
    Attachment { kind, content: FileContent::Data { name, media_type, bytes } }
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
    // An ending that says another kind than the file is would make it another file to Dify.
    let says_so = |end: &&str| match FileKind::of(media_type) {
        FileKind::Document => true,
        kind => known == "bin" || media_type_of(end).is_some() && kind_of(end) == kind,
    };
    let own = ending(&clean).filter(says_so);
    let end = own.unwrap_or(known);
    let stem = match own {
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

/// What a file with this ending is to Dify.
fn kind_of(ending: &str) -> FileKind {
    media_type_of(ending).map_or(FileKind::Document, FileKind::of)
}

fn data_of(url: &str) -> Option<&str> {
    url.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:")).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(attachment: Attachment) -> (FileKind, String, String, Vec<u8>) {
        let FileContent::Data { name, media_type, bytes } = attachment.content else {
            panic!("a URL")
        };
        (attachment.kind, name, media_type, bytes.to_vec())
    }

    #[test]
    fn a_picture_gets_a_name_that_fits_its_type() {
        for (url, name, media_type) in [
            ("data:image/png;base64,iVBORw==", "image.png", "image/png"),
            ("data:image/jpeg;base64,/9j/", "image.jpg", "image/jpeg"),
            ("data:;base64,iVBORw==", "image.png", "image/png"),
            ("data:image/*;base64,iVBORw==", "image.png", "image/png"),
            ("data:image/jpg;base64,/9j/", "image.jpg", "image/jpeg"),
            ("data:image/png;base64,/9j/", "image.jpg", "image/jpeg"),
            ("data:application/octet-stream;base64,/9j/", "image.jpg", "image/jpeg"),
            ("data:image/pjpeg;base64,AAAA", "image.jpg", "image/jpeg"),
            ("data:image/svg+xml,%3Csvg%2F%3E", "image.svg", "image/svg+xml"),
            ("data:image/x-odd;base64,AAAA", "image.bin", "image/x-odd"),
        ] {
            let (kind, found, found_type, _) = data(picture(url).unwrap());
            assert_eq!(
                (kind, found.as_str(), found_type.as_str()),
                (FileKind::Image, name, media_type)
            );
        }
        for url in ["data:text/plain;base64,AAAA", "data:image/*;base64,AAAA"] {
            assert_eq!(picture(url), Err(AttachError::NotAnImage), "{url}");
        }
    }

    #[test]
    fn only_dify_fetches_and_only_from_the_web() {
        let url = "HTTPS://example.com/a.png";
        assert_eq!(picture(url).unwrap().content, FileContent::Url(url.into()));
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
            ("iVBORw==", Some("blob.dat"), "blob.dat.png", "image/png", FileKind::Image),
            (
                "data:application/x-pdf;base64,JVBERi0=",
                Some("a.PDF"),
                "a.PDF",
                "application/pdf",
                FileKind::Document,
            ),
            ("data:*/*;base64,SUQzBAA=", None, "audio.mp3", "audio/mpeg", FileKind::Audio),
            (
                "data:audio/x-m4a;base64,AAAA",
                Some("note"),
                "note.m4a",
                "audio/mp4",
                FileKind::Audio,
            ),
            (
                "data:video/mp2t,let%20x%20%3D%201%3B",
                Some("main.ts"),
                "main.ts.txt",
                "text/plain",
                FileKind::Document,
            ),
            (
                "data:text/x-python,print()",
                Some("a.py"),
                "a.py.txt",
                "text/plain",
                FileKind::Document,
            ),
            (
                "data:application/json,%7B%7D",
                Some("a.json"),
                "a.json.txt",
                "text/plain",
                FileKind::Document,
            ),
            (
                "data:application/octet-stream,all:",
                Some("Makefile"),
                "Makefile.txt",
                "text/plain",
                FileKind::Document,
            ),
            ("data:text/csv,a", None, "document.csv", "text/csv", FileKind::Document),
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
