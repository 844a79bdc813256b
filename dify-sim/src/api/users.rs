//! End users as later releases show them, each to its own app.

use super::Call;
use crate::wire::answer::{Answer, Refused};
use serde_json::json;
use uuid::Uuid;

pub(super) fn get(call: &Call<'_>, id: Uuid) -> Result<Answer, Refused> {
    let db = call.shared.db();
    let Some((name, created_at)) = db.end_user(call.app.id, id) else {
        return Err(Box::new(Answer::error(404, "end_user_not_found", "End user not found.")));
    };
    let time = jiff::Timestamp::from_second(created_at).unwrap_or_default();
    let time = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    Ok(Answer::restful(
        200,
        &json!({
            "id": id.to_string(),
            "tenant_id": call.shared.tenant(&call.app.app.workspace).to_string(),
            "app_id": call.app.id.to_string(),
            "type": "service-api",
            "external_user_id": name,
            "name": null,
            "is_anonymous": false,
            "session_id": name,
            "created_at": time,
            "updated_at": time,
        }),
    ))
}
