//! Header values with parameters: `Content-Type` and `Content-Disposition`.

use std::borrow::Cow;

use super::error::MultipartError;

/// What a part is to us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The text field `user`.
    User,
    /// A file, another field, or a part without a name.
    Other,
}

/// The boundary of a `Content-Type`.
pub(super) fn boundary(content_type: &str) -> Result<String, MultipartError> {
    let (kind, rest) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(MultipartError::NotMultipart);
    }
    let boundary = parameters(rest)
        .filter(|(name, _)| name.eq_ignore_ascii_case("boundary"))
        .last()
        .map(|(_, value)| value.trim_end().to_owned())
        .ok_or(MultipartError::Boundary)?;
    let fits = (1..=70).contains(&boundary.len());
    if !fits || !boundary.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(MultipartError::Boundary);
    }
    Ok(boundary)
}

/// What the headers of a part, line ends included, say that it is.
pub(super) fn part(headers: &[u8]) -> Part {
    let text = String::from_utf8_lossy(headers);
    let mut disposition: Option<String> = None;
    let mut ours = false;
    for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            // A folded line goes on with the one before.
            if let Some(value) = disposition.as_mut().filter(|_| ours) {
                value.push_str(line);
            }
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        ours = disposition.is_none() && name.trim().eq_ignore_ascii_case("content-disposition");
        if ours {
            disposition = Some(value.to_owned());
        }
    }
    let disposition = disposition.unwrap_or_default();
    let (_, rest) = disposition.split_once(';').unwrap_or_default();
    let mut is_user = false;
    for (name, value) in parameters(rest) {
        match name.to_ascii_lowercase().as_str() {
            "name" => is_user = value == "user",
            "filename" | "filename*" => return Part::Other,
            _ => {}
        }
    }
    if is_user { Part::User } else { Part::Other }
}

/// The parameters after the first `;`, in their order, quotes and escapes removed. What is no
/// parameter is passed over up to the next `;`.
fn parameters(text: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start_matches([' ', '\t', ';']);
            if rest.is_empty() {
                return None;
            }
            let stop = rest.find(['=', ';']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(stop);
            let Some(after) = after.strip_prefix('=') else {
                rest = after;
                continue;
            };
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => unquote(quoted),
                None => {
                    let end = after.find(';').unwrap_or(after.len());
                    (Cow::Borrowed(after[..end].trim_end()), &after[end..])
                }
            };
            rest = after;
            return Some((name.trim(), value));
        }
    })
}

/// Reads up to the closing quote. As in Werkzeug a backslash counts only before a quote or another
/// backslash: browsers used to send `filename="C:\new.txt"`.
fn unquote(text: &str) -> (Cow<'_, str>, &str) {
    let mut value = String::new();
    let mut escapes = false;
    let mut letters = text.char_indices().peekable();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => {
                let value = if escapes { Cow::Owned(value) } else { Cow::Borrowed(&text[..place]) };
                return (value, &text[place + 1..]);
            }
            '\\' => match letters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, next)) => {
                    escapes = true;
                    value.push(next);
                }
                None => value.push('\\'),
            },
            _ => value.push(letter),
        }
    }
    // Not closed: Werkzeug drops such a parameter, so it must not become the name `user`.
    (Cow::Borrowed(""), "")
}
