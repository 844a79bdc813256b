//! The end user of a request, as Dify will know it.
//!
//! A key of `keys` speaks for its own users, on Dify's own paths as for AI clients: their names begin
//! with the key's. One of an app's `user_tokens` is the app's own, and names whom it likes.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use crate::dify::scan::MAX_USER_CHARS;
use crate::gateway::http::headers::Fields;
use crate::gateway::proxy::errors;
use crate::gateway::state::ai_settings::{Settings, UserForm};
use crate::gateway::state::app::App;
use crate::gateway::state::tokens::Key;
use crate::gateway::state::user_jwt;
use crate::model::GatewayError;

/// The end user of a key without one of its own.
const SOMEBODY: &str = "default";

/// The user is longer than Dify takes; it answers 500 to such a one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Whether Dify takes a user of this length.
///
/// # Errors
/// It does not.
pub(crate) fn check_length(user: &str) -> Result<(), TooLong> {
    // Letters are only counted where there are bytes enough for too many of them.
    let fits = user.len() <= MAX_USER_CHARS || user.chars().count() <= MAX_USER_CHARS;
    if fits { Ok(()) } else { Err(TooLong) }
}

/// The user of a key as Dify will know it: the client's own word at its end, so that an operator finds
/// it. What begins with the key's name already is taken as it is.
///
/// # Errors
/// It is too long for Dify.
pub(crate) fn of_key(key: &Key, given: Option<&str>, form: UserForm) -> Result<String, TooLong> {
    let given = given.map(str::trim).filter(|user| !user.is_empty());
    let (prefix, nobody) = match form {
        UserForm::Keyed => (format!("{}:", key.name), SOMEBODY),
        UserForm::OpenWebUi => ("open_webui_".to_owned(), "default_user"),
    };
    let user = match given.or(key.user.as_deref()) {
        Some(user) if user.starts_with(&prefix) => user.to_owned(),
        user => prefix + user.unwrap_or(nobody),
    };
    check_length(&user)?;
    Ok(user)
}

/// There is no valid token of `user_jwt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoIdentity;

/// The end user that headers name. It counts more than what the body says: the signed one of
/// whomever, plain ones only of those who are trusted with them, since anybody else could name another.
///
/// # Errors
/// The app wants a signed one, and none that is valid came.
pub(crate) fn forwarded(
    headers: &HeaderMap,
    settings: &Settings,
    key: &Key,
) -> Result<Option<String>, NoIdentity> {
    if let Some(jwt) = &settings.user_jwt {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let signed = header_text(headers, &jwt.header).and_then(|text| {
            user_jwt::verify(&text, jwt.secret.expose().as_bytes(), now.as_secs())
        });
        return signed.map(Some).ok_or(NoIdentity);
    }
    if !key.trusted_proxy {
        return Ok(None);
    }
    Ok(settings.user_headers.iter().find_map(|name| header_text(headers, name)))
}

/// A header that is not empty. Open WebUI writes names beyond ASCII in percent signs.
pub(crate) fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    let text = percent_decode_str(value).decode_utf8().ok()?;
    Some(text.into_owned()).filter(|text| !text.is_empty())
}

/// A key that speaks for its own users alone, on one of Dify's own paths.
pub(crate) struct Speaker {
    key: Arc<Key>,
    form: UserForm,
    /// The end user that headers name.
    forwarded: Option<String>,
}

impl Speaker {
    /// Who speaks with this key; none where it may name any user.
    ///
    /// # Errors
    /// 401: the app wants a signed end user, and none that is valid came.
    pub(crate) fn of(
        key: &Arc<Key>,
        app: &App,
        fields: &Fields,
    ) -> Result<Option<Self>, GatewayError> {
        if key.names_anybody() {
            return Ok(None);
        }
        // Only where they matter are the fields put into another form.
        let forwarded = match app.doors.user_jwt.is_some() || key.trusted_proxy {
            true => forwarded(&fields.to_map(), &app.doors, key)
                .map_err(|NoIdentity| errors::unauthorized(errors::NO_IDENTITY))?,
            false => None,
        };
        Ok(Some(Self { key: Arc::clone(key), form: app.doors.users, forwarded }))
    }

    /// A user that the request names, or names not, as Dify will know it.
    ///
    /// # Errors
    /// 400: it is too long for Dify.
    pub(crate) fn user(&self, given: Option<&str>) -> Result<String, GatewayError> {
        let given = self.forwarded.as_deref().or(given);
        of_key(&self.key, given, self.form).map_err(|TooLong| errors::too_long_for_dify())
    }
}

#[cfg(test)]
mod tests {
    use super::{TooLong, check_length, of_key};
    use crate::gateway::state::ai_settings::UserForm;
    use crate::gateway::state::tokens::Key;

    fn key(user: Option<&str>) -> Key {
        Key {
            name: "ka".into(),
            apps: [0][..].into(),
            is_user_token: false,
            is_admin: false,
            impersonates: false,
            trusted_proxy: false,
            user: user.map(str::to_owned),
        }
    }

    #[test]
    fn a_user_begins_with_its_key_once() {
        for (given, own, expected) in [
            (Some("alice"), None, "ka:alice"),
            (Some(" ka:alice "), None, "ka:alice"),
            (Some("kb:alice"), None, "ka:kb:alice"),
            (Some("kalice"), None, "ka:kalice"),
            (Some("  "), None, "ka:default"),
            (None, Some("team"), "ka:team"),
        ] {
            let user = of_key(&key(own), given, UserForm::Keyed);
            assert_eq!(user.as_deref(), Ok(expected), "{given:?}");
        }
        let user = of_key(&key(None), None, UserForm::OpenWebUi);
        assert_eq!(user.as_deref(), Ok("open_webui_default_user"));
    }

    #[test]
    fn the_prefix_counts_among_its_255_characters() {
        let user = "é".repeat(252);
        assert!(of_key(&key(None), Some(&user), UserForm::Keyed).is_ok());
        let user = "é".repeat(253);
        assert_eq!(of_key(&key(None), Some(&user), UserForm::Keyed), Err(TooLong));
        assert!(check_length(&"é".repeat(255)).is_ok() && check_length(&"é".repeat(256)).is_err());
    }
}
