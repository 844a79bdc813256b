//! The JSON body of an operator's request.

use std::error::Error;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::Response;
use serde::de::DeserializeOwned;

use crate::admin::refusal::refuse;

/// A body that was read; what is wrong with it is said in the shape of all errors here.
pub(super) struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(match rejection.status() {
                StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                    let text = "Send the body as `application/json`.";
                    refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", text)
                }
                StatusCode::PAYLOAD_TOO_LARGE => {
                    let text = "The body is larger than this call takes: send it in parts.";
                    refuse(StatusCode::PAYLOAD_TOO_LARGE, "request_entity_too_large", text)
                }
                _ => {
                    let text = format!("The body cannot be read: {}.", why(&rejection));
                    refuse(StatusCode::BAD_REQUEST, "invalid_param", &text)
                }
            }),
        }
    }
}

/// What is wrong, and where. Names of our types say nothing to a client.
fn why(rejection: &JsonRejection) -> String {
    let mut error: &dyn Error = rejection;
    while let Some(source) = error.source() {
        error = source;
    }
    let text = error.to_string();
    let mut words = text.split(' ');
    let mut out = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "struct" => {
                words.next();
                out.push("an object");
            }
            word => out.push(word),
        }
    }
    out.join(" ")
}
