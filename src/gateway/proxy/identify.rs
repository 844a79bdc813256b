//! Who asks: the token names the app, the request names the user.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body::Body;
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use tokio::time::{Instant, timeout_at};

use crate::dify;
use crate::dify::multipart::{FormInfo, MultipartScanner};
use crate::dify::scan::{BodyInfo, BodyScanner};
use crate::gateway::http::body_memory::BodyMemory;
use crate::gateway::http::buffered_body::BodyBuffer;
use crate::gateway::http::buffered_body::BufferedBody;
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::headers::{Headers, Occurrence, decimal};
use crate::gateway::http::limits::BodyLimit;
use crate::gateway::http::limits::Limits;
use crate::gateway::http::query;
use crate::gateway::http::request_body::IncomingBody;
use crate::gateway::proxy::end_user::{TooLong, check_length};
use crate::gateway::proxy::errors::{self, bad_request, unauthorized};
use crate::gateway::proxy::form_pairs::FormPairs;
use crate::gateway::state::app::App;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::state::tokens::Key;
use crate::model::GatewayError;

/// Longer than any body takes, and still a time that can be added to another.
const NO_LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The app that a request's token opens, and what is known of who sends it.
///
/// # Errors
/// 401 in Dify's words; 400 when the token opens several apps and none is named.
pub(crate) fn app<'s>(
    snapshot: &'s Snapshot,
    headers: &Headers,
) -> Result<(Arc<App>, &'s Arc<Key>), GatewayError> {
    let token = bearer(headers)?;
    let unknown = || unauthorized(dify::error::UNAUTHORIZED_KEY);
    let (places, key) = snapshot.tokens.find(token).ok_or_else(unknown)?;
    let apps = places.iter().filter_map(|place| snapshot.apps.get(*place));
    let app = match headers.get(KnownHeader::App) {
        None if places.len() > 1 => return Err(ambiguous(apps)),
        None => apps.into_iter().next(),
        Some(named) => {
            let found = apps.clone().find(|app| app.name.as_str().as_bytes() == named);
            if found.is_none() {
                return Err(ambiguous(apps));
            }
            found
        }
    };
    let app = app.ok_or_else(unknown)?;
    app.prefetch();
    Ok((Arc::clone(app), key))
}

fn ambiguous<'a>(apps: impl Iterator<Item = &'a Arc<App>>) -> GatewayError {
    let names: Vec<_> = apps.map(|app| app.name.as_str()).collect();
    errors::ambiguous_app(&names.join(", "))
}

/// The token of `Authorization: Bearer <token>`. Dify takes any case and several blanks, and joins
/// two headers to one wrong token.
pub(crate) fn bearer(headers: &Headers) -> Result<&[u8], GatewayError> {
    let value = match headers.said(KnownHeader::Authorization) {
        Occurrence::Once(value) => value,
        Occurrence::Often => return Err(unauthorized(dify::error::UNAUTHORIZED_KEY)),
        Occurrence::Never => return Err(unauthorized(dify::error::UNAUTHORIZED_NO_KEY)),
    };
    let Some(blank) = value.iter().position(|byte| *byte == b' ') else {
        return Err(unauthorized(dify::error::UNAUTHORIZED_NO_KEY));
    };
    if !value[..blank].eq_ignore_ascii_case(b"bearer") {
        return Err(unauthorized(dify::error::UNAUTHORIZED_SCHEME));
    }
    Ok(value[blank..].trim_ascii())
}

/// What a request says of its user, and the rest of what its body says.
pub(crate) struct Identified {
    /// That of header `X-User-ID`, query `user_id`, cookie `user_id`, JSON or form field `user`, query
    /// `user`; the first of these that is not empty.
    pub user: Option<String>,
    pub facts: BodyInfo,
    pub body: BufferedBody,
    /// The same as pairs, where that is its type.
    pub pairs: Option<Box<FormPairs>>,
}

/// How a body is read whose headers say that it is encoded. Dify unpacks nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoded {
    /// What is no JSON after all is Dify's to refuse.
    Allowed,
    /// It must be what its type says: whose user it names matters.
    Refused,
}

/// Reads a request's user and takes in its body.
///
/// # Errors
/// The body is too large, too slow, not what it says it is, or could not be kept; a user is longer than
/// Dify takes.
pub(crate) async fn user(
    head: &RequestHead,
    body: &mut IncomingBody,
    snapshot: &Snapshot,
    encoded: Encoded,
) -> Result<Identified, GatewayError> {
    // Handed on by reference, and bound before: what waits would hold it once for each hand.
    let mut scan = match Scan::of(&head.headers, &snapshot.body_memory, encoded) {
        Ok(scan) => scan,
        Err(refusal) => return Err(refusal),
    };
    let most = BodyLimit::any(&snapshot.limits);
    let body = take_in(head, body, snapshot, (&mut scan, most)).await?;
    let (facts, pairs) = match scan {
        _ if body.is_empty() => (BodyInfo::default(), None),
        Scan::Pairs(pairs) => (pairs.facts()?, Some(pairs)),
        scan => (scan.finish()?, None),
    };
    let [query_id, query] = in_query(head, ["user_id", "user"]);
    let elsewhere = [in_header(&head.headers)?, query_id, in_cookie(&head.headers), query];
    // Dify would answer 500, whichever of them it reads.
    for user in elsewhere.iter().flatten() {
        check_length(user).map_err(|TooLong| errors::too_long_for_dify())?;
    }
    let [header, query_id, cookie, query] = elsewhere;
    let user = header.or(query_id).or(cookie).or_else(|| facts.user.clone()).or(query);
    Ok(Identified { user, facts, body, pairs })
}

fn in_header(headers: &Headers) -> Result<Option<String>, GatewayError> {
    match headers.get(KnownHeader::UserId).map(std::str::from_utf8) {
        None => Ok(None),
        Some(Ok(user)) => Ok(Some(user.to_owned()).filter(|user| !user.is_empty())),
        Some(Err(_)) => Err(bad_request(errors::BAD_USER_HEADER)),
    }
}

/// The first values of parameters of the query that are not empty.
fn in_query<const N: usize>(head: &RequestHead, names: [&str; N]) -> [Option<String>; N] {
    let found = query::values(head.uri.query().unwrap_or_default(), names);
    found.map(|value| value.map(Cow::into_owned))
}

fn in_cookie(headers: &Headers) -> Option<String> {
    let cookies =
        headers.all(KnownHeader::Cookie).filter_map(|value| std::str::from_utf8(value).ok());
    cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix("user_id="))
        .map(|value| percent_decode_str(value.trim_matches('"')).decode_utf8_lossy().into_owned())
        .find(|value| !value.is_empty())
}

/// What looks for the user and for ids while the body comes in.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual case, and lives once")]
enum Scan {
    Json(BodyScanner),
    /// Boxed: it is larger than the usual case.
    Form(Box<MultipartScanner>),
    /// JSON that is said to be encoded. Dify unpacks nothing: what is JSON all the same counts for it, and
    /// of anything else it says itself what is wrong. None: it is no JSON.
    Encoded(Option<Box<BodyScanner>>),
    /// Pairs, as long as there are not too many of them.
    Pairs(Box<FormPairs>),
    /// Any other type: Dify answers 415 itself.
    None,
}

impl Scan {
    fn of(headers: &Headers, room: &BodyMemory, encoded: Encoded) -> Result<Self, GatewayError> {
        let is_packed =
            encoded == Encoded::Allowed && headers.all(KnownHeader::ContentEncoding).any(is_coded);
        if encoded == Encoded::Refused
            && headers.said(KnownHeader::ContentType) == Occurrence::Often
        {
            return Err(bad_request(errors::TWO_TYPES));
        }
        if headers.get(KnownHeader::ContentType) == Some(b"application/json") && !is_packed {
            return Ok(Self::Json(BodyScanner::new()));
        }
        let kind = headers.text(KnownHeader::ContentType).unwrap_or("");
        let essence = kind.split(';').next().unwrap_or("").trim();
        let is_json = |suffix: &[u8]| suffix.eq_ignore_ascii_case(b"+json");
        if essence.eq_ignore_ascii_case("application/json")
            || essence.as_bytes().last_chunk::<5>().is_some_and(|end| is_json(end))
        {
            match is_packed {
                true => Ok(Self::Encoded(Some(Box::default()))),
                false => Ok(Self::Json(BodyScanner::new())),
            }
        } else if is_packed {
            Ok(Self::None)
        } else if essence.eq_ignore_ascii_case("multipart/form-data") {
            let scan =
                MultipartScanner::new(kind).map_err(|error| bad_request(error.to_string()))?;
            Ok(Self::Form(Box::new(scan)))
        } else if FormPairs::is_type(essence) {
            Ok(Self::Pairs(Box::new(FormPairs::new(room))))
        } else {
            Ok(Self::None)
        }
    }

    fn feed(&mut self, piece: &[u8]) -> Result<(), GatewayError> {
        match self {
            Self::Json(scan) => scan.feed(piece).map_err(|error| bad_request(error.to_string())),
            Self::Form(scan) => scan.feed(piece).map_err(|error| bad_request(error.to_string())),
            Self::Encoded(encoded) => {
                encoded.take_if(|scan| scan.feed(piece).is_err());
                Ok(())
            }
            Self::Pairs(pairs) => pairs.feed(piece),
            Self::None => Ok(()),
        }
    }

    fn finish(self) -> Result<BodyInfo, GatewayError> {
        match self {
            Self::Json(scan) => scan.finish().map_err(|error| bad_request(error.to_string())),
            Self::Form(scan) => {
                let FormInfo { user, slot: user_slot } =
                    scan.finish().map_err(|error| bad_request(error.to_string()))?;
                Ok(BodyInfo { user, user_slot, ..BodyInfo::default() })
            }
            Self::Pairs(pairs) => pairs.facts(),
            Self::Encoded(encoded) => {
                Ok(encoded.and_then(|scan| scan.finish().ok()).unwrap_or_default())
            }
            Self::None => Ok(BodyInfo::default()),
        }
    }
}

/// Whether a value of `Content-Encoding` names more than `identity`, which is no coding.
fn is_coded(value: &[u8]) -> bool {
    let mut names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names.any(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
}

/// The whole body, whatever is in it.
///
/// # Errors
/// As of [`user`].
pub(crate) async fn body(
    head: &RequestHead,
    body: &mut IncomingBody,
    snapshot: &Snapshot,
    most: BodyLimit,
) -> Result<BufferedBody, GatewayError> {
    take_in(head, body, snapshot, (&mut Scan::None, most)).await
}

async fn take_in(
    head: &RequestHead,
    body: &mut IncomingBody,
    snapshot: &Snapshot,
    (scan, most): (&mut Scan, BodyLimit),
) -> Result<BufferedBody, GatewayError> {
    let limits = &snapshot.limits;
    if body.is_end_stream() {
        return Ok(BufferedBody::EMPTY);
    }
    if announced(&head.headers).is_some_and(|bytes| bytes > most.bytes) {
        return Err(errors::body_too_large(most));
    }
    let mut buffer =
        BodyBuffer::new(limits.memory_body_bytes, &limits.spool_dir, &snapshot.body_memory);
    let mut began = None;
    loop {
        let mut coming = body.frame();
        // The usual body is here with its head: no clock, no timer.
        let frame = match poll_fn(|context| Poll::Ready(Pin::new(&mut coming).poll(context))).await
        {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let (now, wait) = (Instant::now(), snapshot.timeouts.body);
                let began = *began.get_or_insert(now);
                let slow = began + wait + allowed(buffer.len(), limits);
                let next = timeout_at((now + wait).min(slow), coming).await;
                next.map_err(|_| errors::body_too_slow(wait, limits.body_rate))?
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| errors::body_incomplete(&error))?;
        let Ok(piece) = frame.into_data() else { continue };
        if buffer.len() + piece.len() as u64 > most.bytes {
            return Err(errors::body_too_large(most));
        }
        scan.feed(&piece)?;
        buffer.push(piece).await.map_err(|error| not_kept(&error, limits))?;
    }
    buffer.finish().await.map_err(|error| not_kept(&error, limits))
}

/// How long so many bytes may take.
fn allowed(bytes: u64, limits: &Limits) -> Duration {
    match limits.body_rate {
        0 => NO_LIMIT,
        rate => Duration::from_secs(bytes / rate).min(NO_LIMIT),
    }
}

fn announced(headers: &Headers) -> Option<u64> {
    decimal(headers.get(KnownHeader::ContentLength)?)
}

/// The body could not be kept, in memory or in the spool.
pub(crate) fn not_kept(error: &io::Error, limits: &Limits) -> GatewayError {
    if error.kind() == io::ErrorKind::QuotaExceeded {
        return errors::bodies_full();
    }
    let folder = limits.spool_dir.display();
    errors::spool_failed(error).with_detail(format!("spool_dir {folder}: {error}"))
}
