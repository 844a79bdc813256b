//! Requests of recordings as bytes again: the files hold text, with long and binary parts cut.

use super::recording::Recording;

/// A picture of one red pixel, as the recorded one.
pub(crate) const PICTURE: &[u8; 69] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde\0\0\0\x0cIDAT\
      x\x9cc\xf8\xcf\xc0\0\0\x03\x01\x01\0\xc9\xfe\x92\xef\0\0\0\0IEND\xaeB`\x82";
const END: &str = "\r\n------recboundary7MA4YWxk--\r\n";

/// The bytes to send.
pub(crate) fn request(recording: &Recording, text: &str) -> Vec<u8> {
    if !text.contains("... [") && !text.contains("\r\n\r\n") || text.is_empty() {
        return text.as_bytes().to_vec();
    }
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return whole(text, " HTTP/1.1\r\nHost: a\r\n\r\n", 'a');
    };
    if recording.name == "raw-long-header" {
        return whole(text, "\r\n\r\n", 'a');
    }
    let body = match recording.name.as_str() {
        "chat-66-utf16" => utf16(body),
        "body-latin1-query" => latin1(body),
        "chat-1MB-query" => fill(head, body, r#"", "response_mode": "blocking", "user": "alice"}"#),
        "chat-20MB-wrongkey" => fill(head, body, "\"}"),
        "upload-image-11MB" | "upload-txt-16MB" | "upload-audio-20MB-wrongkey" => {
            fill(head, body, END)
        }
        _ if head.contains("multipart/form-data") => multipart(body),
        _ => body.as_bytes().to_vec(),
    };
    let mut head = head.to_owned();
    if text.contains('\u{fffd}') && !recording.name.starts_with("raw") {
        let lines = head.lines().map(|line| match line.strip_prefix("Content-Length: ") {
            Some(_) => format!("Content-Length: {}", body.len()),
            None => line.to_owned(),
        });
        head = lines.collect::<Vec<_>>().join("\r\n");
    }
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(&body);
    bytes
}

/// A request whose text was cut, filled up to `[N bytes in all]`.
fn whole(text: &str, end: &str, filler: char) -> Vec<u8> {
    let Some((start, rest)) = text.split_once("... [") else { return text.as_bytes().to_vec() };
    let total: usize = rest.split(' ').next().unwrap().parse().unwrap();
    let mut bytes = start.as_bytes().to_vec();
    bytes.resize(total - end.len(), filler as u8);
    bytes.extend_from_slice(end.as_bytes());
    bytes
}

/// A body that was cut, filled up to its Content-Length.
fn fill(head: &str, body: &str, end: &str) -> Vec<u8> {
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let length: usize = length.trim().parse().unwrap();
    let start = body.split("... [").next().unwrap();
    let filler = start.bytes().last().unwrap();
    // Lossy bytes would make the start longer than it was.
    let start = start.split('\u{fffd}').next().unwrap();
    let mut bytes = start.as_bytes().to_vec();
    bytes.resize(length - end.len(), filler);
    bytes.extend_from_slice(end.as_bytes());
    bytes
}

/// A body with a byte that is no UTF-8.
fn latin1(body: &str) -> Vec<u8> {
    let letters = body.chars().map(|letter| if letter == '\u{fffd}' { 0xe9 } else { letter as u8 });
    letters.collect()
}

fn utf16(body: &str) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend(body.chars().filter(|ch| *ch != '\u{fffd}').map(|ch| ch as u8));
    bytes
}

fn multipart(body: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, part) in body.split("\r\n\r\n").enumerate() {
        if at > 0 {
            bytes.extend_from_slice(b"\r\n\r\n");
        }
        match part.rsplit_once("\r\n------rec") {
            Some((content, next)) if content.contains('\u{fffd}') => {
                bytes.extend_from_slice(PICTURE);
                bytes.extend_from_slice(b"\r\n------rec");
                bytes.extend_from_slice(next.as_bytes());
            }
            _ => bytes.extend_from_slice(part.as_bytes()),
        }
    }
    bytes
}
