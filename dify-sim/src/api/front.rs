//! The checks every request passes before its route: path, method, key, app, body, user.

use super::multipart::Form;
use super::routes::{self, BodyKind, Route, UserPlace};
use super::{Call, keys, outside};
use crate::db::EndUser;
use crate::pyjson;
use crate::release::Release;
use crate::setup::Fault;
use crate::state::{AppState, Shared};
use crate::wire::answer::{Answer, Refused};
use crate::wire::head::Head;
use serde_json::Value;
use std::sync::Arc;

/// Who Dify assumes where a user may be left out.
const DEFAULT_USER: &str = "DEFAULT-USER";
/// Characters of a user that fit into its table.
const USER_LIMIT: usize = 255;

/// A request that may go on to its body.
pub(crate) struct Admitted {
    pub(crate) route: Route,
    pub(crate) caller: Caller,
}

/// Whose key came with a request.
pub(crate) enum Caller {
    App(Arc<AppState>),
    /// A dataset key, of this workspace.
    Workspace(String),
    /// No key is wanted: the path holds a secret.
    Anybody,
}

/// Looks at the head alone.
pub(crate) fn admit(shared: &Shared, head: &Head, fault: Fault) -> Result<Admitted, Refused> {
    let path = head.path();
    if path == "/v1" {
        return Err(Box::new(outside::with_slash(head)));
    }
    let release = shared.setup.release;
    let Some(route) = routes::find(&path, release) else {
        return Err(Box::new(Answer::no_route()));
    };
    if head.method == "OPTIONS" {
        return Err(Box::new(outside::options(&route, head, release)));
    }
    if !route.methods().contains(&head.method.as_str()) {
        return Err(Box::new(Answer::wrong_method(&route.allowed(release), release)));
    }
    let caller = if route.wants_app() {
        Caller::App(keys::app(shared, head, fault)?)
    } else if release.is_restx() && matches!(route, Route::Dataset(_)) {
        Caller::Workspace(keys::workspace(shared, head, fault)?)
    } else if matches!(route, Route::Mcp(_)) {
        Caller::Anybody
    } else {
        return Err(Box::new(outside::answer(shared, &route, head, fault)?));
    };
    Ok(Admitted { route, caller })
}

/// What was read of a body.
pub(crate) enum Read {
    Nothing,
    /// All bytes of it; `None` if they were too many.
    Bytes(Option<Vec<u8>>),
    Form(Form),
}

impl Admitted {
    /// Looks at body and user of a request to this app.
    pub(crate) fn call<'a>(
        &self,
        shared: &'a Arc<Shared>,
        app: &Arc<AppState>,
        head: &'a Head,
        read: Read,
    ) -> Result<Call<'a>, Refused> {
        let mut call = Call {
            shared,
            head,
            app: Arc::clone(app),
            user: DEFAULT_USER.to_owned(),
            end_user: EndUser::default(),
            json: Value::Null,
            form: Form::default(),
        };
        match read {
            Read::Nothing => {}
            Read::Form(form) => call.form = form,
            Read::Bytes(bytes) => call.json = json(head, bytes, shared.setup.release)?,
        }
        let given = self.given_user(&call)?;
        if let Some(user) = given {
            if shared.setup.release.is_restx() && user.contains('\0') {
                let message = "A string literal cannot contain NUL (0x00) characters.";
                return Err(Box::new(Answer::invalid(message)));
            }
            if user.chars().count() > USER_LIMIT {
                return Err(Box::new(Answer::crash()));
            }
            call.user = user;
        }
        Ok(call)
    }

    /// Whether the route has a user, who becomes one of the app's end users.
    pub(crate) fn has_user(&self, head: &Head) -> bool {
        self.route.user(&head.method) != UserPlace::None
    }

    fn given_user(&self, call: &Call<'_>) -> Result<Option<String>, Refused> {
        let place = self.route.user(&call.head.method);
        let given = match place {
            UserPlace::None => return Ok(None),
            UserPlace::Json | UserPlace::JsonOptional => {
                let Value::Object(fields) = &call.json else {
                    return Err(Box::new(Answer::crash()));
                };
                fields.get("user").filter(|user| !pyjson::is_falsy(user)).map(pyjson::str_of)
            }
            UserPlace::Query | UserPlace::QueryOptional => {
                call.head.query("user").filter(|user| !user.is_empty())
            }
            UserPlace::Form => call.form.field("user").filter(|user| !user.is_empty()),
        };
        if given.is_none() && matches!(place, UserPlace::Json | UserPlace::Query) {
            return Err(Box::new(Answer::invalid("Arg user must be provided.")));
        }
        Ok(given)
    }

    /// How the body is read.
    pub(crate) fn body(&self, head: &Head) -> BodyKind {
        self.route.body(&head.method)
    }
}

/// The body as Python's `json.loads` reads it: UTF-8, with a byte order mark, or UTF-16. Later
/// releases take plain UTF-8 alone.
pub(super) fn json(
    head: &Head,
    bytes: Option<Vec<u8>>,
    release: Release,
) -> Result<Value, Refused> {
    let content_type = head.header("content-type").unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json =
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    if !is_json {
        return Err(Box::new(Answer::error(
            415,
            "unsupported_media_type",
            "Did not attempt to load JSON data because the request Content-Type was not \
             'application/json'.",
        )));
    }
    let Some(bytes) = bytes else {
        return Err(Box::new(Answer::crash()));
    };
    let utf16 = |read: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|two| read([two[0], two[1]])).collect();
        String::from_utf16(&units).ok().and_then(|text| serde_json::from_str(&text).ok())
    };
    let value = match bytes.as_slice() {
        plain if release.is_restx() => serde_json::from_slice(plain).ok(),
        [0xef, 0xbb, 0xbf, rest @ ..] => serde_json::from_slice(rest).ok(),
        [0xff, 0xfe, rest @ ..] => utf16(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => utf16(u16::from_be_bytes, rest),
        [0, _, ..] => utf16(u16::from_be_bytes, &bytes),
        [_, 0, ..] => utf16(u16::from_le_bytes, &bytes),
        plain => serde_json::from_slice(plain).ok(),
    };
    value.ok_or_else(|| Box::new(Answer::bad_request()))
}
