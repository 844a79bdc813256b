//! Conversations as text, to be taken from one gateway to another: our own form, and that of OpenDify.
//!
//! Our own form is lines of JSON: a [`ExportHeader`], then an [`ExportRow`] row for each conversation.
//! OpenDify's `conversation_mappings.json` is an object of chats, whose values are ids or objects
//! with `dify_conversation_id`, `created_at` and `last_used`, or a list of such objects with
//! `webui_chat_id`. Neither holds a text of a message.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The first line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHeader {
    /// The form, 1.
    pub difygate_conversations: u32,
    /// Which key the digests were made with.
    pub digests: String,
}

/// A conversation of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportRow {
    /// Dify's id.
    pub conversation: String,
    /// The app.
    pub app: String,
    /// The name of the client's key; absent: whoever names the chat first has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The user as Dify sees it; absent with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// Dify's id of the last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How many turns it has.
    #[serde(default)]
    pub turns: u32,
    /// When it was first known, in seconds since 1970.
    pub created: u32,
    /// When it was used last, in seconds since 1970.
    pub used: u32,
    /// `clean`, `open` or `imported`; absent: `imported`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The digest of its transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
    /// The digest of its last question and answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
}

/// Why a text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is not JSON, or not of a form that is known.
    #[error("line {line}: {what}")]
    Form {
        /// Where, counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// OpenDify's form does not say which app the chats belong to.
    #[error("this is OpenDify's form, which names no app: name it with `--app`")]
    NoApp,
}

/// What a text holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedImport {
    /// Of our own form.
    pub header: Option<ExportHeader>,
    /// The conversations.
    pub rows: Vec<ExportRow>,
    /// Rows that name no conversation of Dify.
    pub skipped: usize,
}

/// Reads either form. `app` is whose chats those of OpenDify's form are; what has no time was used
/// at `now_s`.
///
/// # Errors
/// The text is of neither form, or the app is missing.
pub fn parse(text: &str, app: Option<&str>, now_s: u32) -> Result<ParsedImport, ParseError> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header = lines.next().and_then(|(_, line)| serde_json::from_str::<ExportHeader>(line).ok());
    let Some(header) = header else { return open_dify(text, app, now_s) };
    let refuse = |line, what: String| ParseError::Form { line: line + 1, what };
    if header.difygate_conversations != 1 {
        return Err(refuse(0, "this form is newer than this difygate".to_owned()));
    }
    let row = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| refuse(number, error.to_string()))
    };
    let rows = lines.map(row).collect::<Result<_, _>>()?;
    Ok(ParsedImport { header: Some(header), rows, skipped: 0 })
}

fn open_dify(text: &str, app: Option<&str>, now_s: u32) -> Result<ParsedImport, ParseError> {
    let refuse = |line: usize, what: &str| ParseError::Form { line, what: what.to_owned() };
    let all: Value = serde_json::from_str(text)
        .map_err(|error| refuse(error.line(), &format!("not valid JSON: {error}")))?;
    let rows: Vec<(Option<String>, &Value)> = match &all {
        Value::Object(chats) => chats.iter().map(|(chat, row)| (Some(chat.clone()), row)).collect(),
        Value::Array(rows) => {
            rows.iter().map(|row| (text_of(row, &["webui_chat_id", "chat_id"]), row)).collect()
        }
        _ => return Err(refuse(1, "neither an export of difygate nor OpenDify's mappings")),
    };
    let app = app.ok_or(ParseError::NoApp)?;
    let mut parsed = ParsedImport::default();
    for (chat, row) in rows {
        let names = ["dify_conversation_id", "conversation_id"];
        let id = row.as_str().map(str::to_owned).or_else(|| text_of(row, &names));
        let id = id.and_then(|id| Uuid::parse_str(&id).ok());
        let (Some(chat), Some(id)) = (chat.filter(|chat| !chat.is_empty()), id) else {
            parsed.skipped += 1;
            continue;
        };
        let created = second(row, "created_at");
        let used = second(row, "last_used").or(created).unwrap_or(now_s);
        parsed.rows.push(ExportRow {
            conversation: id.to_string(),
            app: app.to_owned(),
            chat: Some(chat),
            created: created.unwrap_or(used),
            used,
            ..ExportRow::default()
        });
    }
    Ok(parsed)
}

fn text_of(row: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| row[*name].as_str()).map(str::to_owned)
}

/// Seconds since 1970, whole or not.
fn second(row: &Value, name: &str) -> Option<u32> {
    let second = row[name].as_f64()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let second = second as u32;
    Some(second)
}

#[cfg(test)]
mod tests {
    use super::{ExportRow, ParseError, parse};

    const ID: &str = "91eff0d0-4d0e-4735-97c4-eb8cc4cd9784";

    #[test]
    fn the_mappings_of_opendify_are_read_in_each_of_their_forms() {
        let row = |created, used| ExportRow {
            conversation: ID.to_owned(),
            app: "shop".to_owned(),
            chat: Some("chat-1".to_owned()),
            created,
            used,
            ..ExportRow::default()
        };
        for (text, expected) in [
            (format!("{{\"chat-1\": \"{ID}\"}}"), row(99, 99)),
            (
                format!(
                    "{{\n \"chat-1\": {{\"dify_conversation_id\": \"{ID}\", \"created_at\": 7, \"last_used\": 8.9}}}}"
                ),
                row(7, 8),
            ),
            (
                format!("{{\"chat-1\": {{\"conversation_id\": \"{ID}\", \"created_at\": 7}}}}"),
                row(7, 7),
            ),
            (
                format!(
                    "[{{\"webui_chat_id\": \"chat-1\", \"dify_conversation_id\": \"{ID}\", \"last_used\": 9}}]"
                ),
                row(9, 9),
            ),
        ] {
            let parsed = parse(&text, Some("shop"), 99).unwrap();
            assert_eq!((parsed.rows, parsed.skipped, parsed.header), (vec![expected], 0, None));
        }
        let parsed = parse("{\"a\": \"conv_1\", \"b\": 7, \"\": null}", Some("shop"), 99).unwrap();
        assert_eq!((parsed.rows.len(), parsed.skipped), (0, 3));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(parse("{}", None, 0), Err(ParseError::NoApp));
        let message = |text: &str| parse(text, Some("shop"), 0).unwrap_err().to_string();
        assert!(message("{\n\"a\": x}").starts_with("line 2: not valid JSON"));
        assert!(message("7").contains("neither an export"));
        let header = "{\"difygate_conversations\": 1, \"digests\": \"ab\"}";
        assert!(message(&format!("{header}\n\n{{\"app\": \"a\"}}")).starts_with("line 3: missing"));
        assert!(message(&header.replace('1', "2")).contains("newer than this difygate"));
    }
}
