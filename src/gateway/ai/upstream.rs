//! What the head of an instance's answer says beside its status: whether it is Dify's at all, and when to
//! come back.

use std::sync::Arc;
use std::time::SystemTime;

use crate::gateway::http::head::AnswerHead;
use crate::gateway::http::header_name::Name;
use crate::gateway::proxy::record::Record;
use crate::gateway::state::member::Member;
use crate::gateway::upstream::probe_expect::redirect;

/// The longest that a client is told to wait, in seconds: its library would sleep for as long.
const MAX_RETRY_AFTER_S: u32 = 300;

/// Whether an answer is that of a run, and not a page for people where Dify has none.
pub(super) fn is_run(head: &AnswerHead) -> bool {
    let kind = head.fields.get(Name::ContentType);
    let is_page = kind.and_then(|kind| kind.get(..9));
    let is_page = is_page.is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"));
    head.status.is_success() && !is_page
}

/// Whether a body that Dify writes in JSON may be Dify's.
pub(super) fn is_json(body: &[u8]) -> bool {
    body.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'['))
}

/// `Retry-After`, in seconds, at most [`MAX_RETRY_AFTER_S`]. It may be a date (RFC 9110 §10.2.3).
pub(super) fn retry_after_s(head: &AnswerHead) -> Option<u32> {
    let value = field(head, "retry-after")?;
    let seconds = match value.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            date.duration_since(SystemTime::now()).unwrap_or_default().as_secs()
        }
    };
    Some(u32::try_from(seconds).unwrap_or(u32::MAX).min(MAX_RETRY_AFTER_S))
}

/// Notes for the log who answered, how, and where a redirect leads.
pub(super) fn note_refusal(record: &mut Record, member: &Arc<Member>, head: &AnswerHead) {
    let status = head.status;
    record.refused_by(member, status.as_u16());
    if let Some(place) = redirect(status, &head.fields.to_map()) {
        record.note(format!("{} answered {status}{place}", member.name()));
    }
}

fn field<'a>(head: &'a AnswerHead, name: &str) -> Option<&'a str> {
    let mut found = head.fields.iter();
    let found = found.find(|field| field.spelt.eq_ignore_ascii_case(name.as_bytes()))?;
    std::str::from_utf8(found.value).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::{StatusCode, Version};

    use super::{is_json, is_run, retry_after_s};
    use crate::gateway::http::head::AnswerHead;
    use crate::gateway::http::headers::Fields;

    fn head(fields: &[(&str, &str)]) -> AnswerHead {
        let (status, version) = (StatusCode::OK, Version::HTTP_11);
        AnswerHead { status, version, fields: Fields::of_lines(fields) }
    }

    #[test]
    fn a_wait_is_a_number_or_a_date_and_not_too_long() {
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(10_000));
        for (value, expected) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("86400", Some(300)),
            ("99999999999999999", Some(300)),
            (later.as_str(), Some(300)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after_s(&head(&[("Retry-After", value)])), expected, "{value}");
        }
        assert_eq!(retry_after_s(&head(&[])), None);
    }

    #[test]
    fn a_page_is_no_run_and_no_json() {
        assert!(is_run(&head(&[("Content-Type", "text/event-stream")])));
        assert!(is_run(&head(&[("content-type", "application/json")])));
        assert!(!is_run(&head(&[("content-type", "Text/HTML; charset=utf-8")])));
        assert!(is_json(b"\n {}") && !is_json(b"<html>") && !is_json(b""));
    }
}
