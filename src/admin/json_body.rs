//! The JSON body of an operator's request.

use axum::Json;
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
                    let text = "The body is too large.";
                    refuse(StatusCode::PAYLOAD_TOO_LARGE, "request_entity_too_large", text)
                }
                _ => {
                    let text =
                        "The body is not the JSON that this call takes, or did not come whole.";
                    refuse(StatusCode::BAD_REQUEST, "invalid_param", text)
                }
            }),
        }
    }
}
