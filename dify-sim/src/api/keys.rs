//! The key of a request: what its header says, and whose it is.

use crate::setup::Fault;
use crate::state::{AppState, Shared};
use crate::wire::answer::{Answer, Refused};
use crate::wire::head::Head;
use std::sync::Arc;

/// The app of the key.
pub(super) fn app(shared: &Shared, head: &Head, fault: Fault) -> Result<Arc<AppState>, Refused> {
    let key = bearer(head)?;
    if fault == Fault::DatabaseDown {
        return Err(Box::new(Answer::crash()));
    }
    let Some(app) = shared.apps.get(&key) else {
        return Err(Box::new(Answer::unauthorized("Access token is invalid")));
    };
    if app.app.disabled {
        let message = "The app's API service has been disabled.";
        return Err(Box::new(Answer::error(403, "forbidden", message)));
    }
    Ok(Arc::clone(app))
}

/// The workspace of the dataset key.
pub(super) fn workspace(shared: &Shared, head: &Head, fault: Fault) -> Result<String, Refused> {
    let key = bearer(head)?;
    if fault == Fault::DatabaseDown {
        return Err(Box::new(Answer::crash()));
    }
    match shared.setup.dataset_keys.iter().find(|(known, _)| *known == key) {
        Some((_, workspace)) => Ok(workspace.clone()),
        None => Err(Box::new(Answer::unauthorized("Access token is invalid"))),
    }
}

/// The key of the `Authorization` header.
pub(crate) fn bearer(head: &Head) -> Result<String, Refused> {
    let header = head.header("authorization").unwrap_or_default();
    let Some((scheme, key)) = header.split_once(' ') else {
        return Err(Box::new(Answer::unauthorized(
            "Authorization header must be provided and start with 'Bearer'",
        )));
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Box::new(Answer::unauthorized("Authorization scheme must be 'Bearer'")));
    }
    Ok(key.trim().to_owned())
}
