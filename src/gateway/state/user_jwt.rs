//! The end user in a signed header: a JSON Web Token (RFC 7519) with HS256, and with nothing else.
//!
//! The algorithm is ours and not the token's: one that names another, `none` above all, is refused
//! (RFC 8725 §3.1). So is one without an end, or with extensions that must be understood.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;

#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<serde::de::IgnoredAny>,
}

/// Times are in seconds since 1970, and may have fractions.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    email: Option<String>,
    exp: f64,
    #[serde(default)]
    nbf: f64,
}

/// The user that a token names, its `sub` or else its `email`, if it is signed with `secret` and valid
/// at `now_s`, in seconds since 1970.
pub fn verify(jwt: &str, secret: &[u8], now_s: u64) -> Option<String> {
    let (signed, signature) = jwt.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: Header = decoded(header)?;
    if header.alg != "HS256" || header.crit.is_some() {
        return None;
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(signed.as_bytes());
    mac.verify_slice(&signature).ok()?;
    let claims: Claims = decoded(claims)?;
    let now_s = now_s as f64;
    if now_s >= claims.exp || now_s < claims.nbf {
        return None;
    }
    [claims.sub, claims.email].into_iter().flatten().find(|user| !user.is_empty())
}

fn decoded<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use serde_json::{Value, json};
    use sha2::Sha256;

    use super::verify;

    /// Made by Python's `hmac` and `base64` with the secret `hush`, in the form of Open WebUI.
    const JWT: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI3YzFmIiwiZW1haWwiOiJhbGljZUBleGFtcGxlLm9yZyIsIm5hbWUiOiJBbGljZSIsInJvbGUiOiJ1c2VyIiwiaXNzIjoib3Blbi13ZWJ1aSIsImlhdCI6MTc5NTI2MTAwMCwiZXhwIjoxNzk1MjYxMzAwfQ.Ci7pU4gOvQ8fiUVtQTOwvmJFb0vXiRbj_PeL23QqyRQ";
    const EXP: u64 = 1_795_261_300;

    fn token(header: &Value, claims: &Value) -> String {
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let mut mac = Hmac::<Sha256>::new_from_slice(b"hush").unwrap();
        mac.update(signed.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    fn user(header: &Value, claims: &Value) -> Option<String> {
        verify(&token(header, claims), b"hush", 100)
    }

    #[test]
    fn a_token_of_another_implementation_names_its_user_until_it_ends() {
        assert_eq!(verify(JWT, b"hush", EXP - 1).as_deref(), Some("7c1f"));
        assert_eq!(verify(JWT, b"hush", EXP), None);
        assert_eq!(verify(JWT, b"Hush", EXP - 1), None);
        assert_eq!(verify(JWT, b"", EXP - 1), None);
    }

    #[test]
    fn no_changed_character_goes_unnoticed() {
        for at in 0..JWT.len() {
            let mut changed = JWT.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(verify(&changed, b"hush", EXP - 1), None, "{at}");
            assert_eq!(verify(&JWT[..at], b"hush", EXP - 1), None, "{at}");
        }
        for more in ["A", "=", ".", ".x", "\n"] {
            assert_eq!(verify(&format!("{JWT}{more}"), b"hush", EXP - 1), None, "{more:?}");
        }
    }

    #[test]
    fn only_hs256_counts() {
        let claims = json!({ "sub": "alice", "exp": 200 });
        assert_eq!(user(&json!({ "alg": "HS256" }), &claims).as_deref(), Some("alice"));
        for header in [
            json!({ "alg": "none" }),
            json!({ "alg": "hs256" }),
            json!({ "alg": "HS512" }),
            json!({ "alg": "RS256" }),
            json!({ "alg": "HS256", "crit": ["exp"] }),
            json!({}),
            json!("HS256"),
        ] {
            assert_eq!(user(&header, &claims), None, "{header}");
        }
        let unsigned = token(&json!({ "alg": "none" }), &claims);
        let unsigned = unsigned.rsplit_once('.').unwrap().0;
        assert_eq!(verify(&format!("{unsigned}."), b"hush", 100), None);
    }

    #[test]
    fn claims_name_a_user_and_a_time() {
        for (claims, expected) in [
            (json!({ "sub": "alice", "email": "a@b", "exp": 100.5 }), Some("alice")),
            (json!({ "sub": "", "email": "a@b", "exp": 101 }), Some("a@b")),
            (json!({ "email": "a@b", "exp": 101, "nbf": 100 }), Some("a@b")),
            (json!({ "sub": "alice", "exp": 101, "nbf": 101 }), None),
            (json!({ "sub": "alice", "exp": 100 }), None),
            (json!({ "sub": "alice", "exp": -1 }), None),
            (json!({ "sub": "alice", "exp": "101" }), None),
            (json!({ "sub": "alice" }), None),
            (json!({ "sub": 7, "exp": 101 }), None),
            (json!({ "exp": 101 }), None),
            (json!([]), None),
        ] {
            let user = user(&json!({ "alg": "HS256" }), &claims);
            assert_eq!(user.as_deref(), expected, "{claims}");
        }
    }
}
