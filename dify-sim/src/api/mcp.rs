//! An app as a server of the Model Context Protocol: what a client asks before it calls.

use crate::app::{Field, FieldKind};
use crate::pyjson;
use crate::state::Shared;
use crate::wire::answer::{Answer, Refused};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What Dify speaks, whatever the client asks for.
const PROTOCOL: &str = "2024-11-05";

/// The answer to one message. An unknown code is a crash, as is a method that is not simulated.
pub(super) fn answer(shared: &Arc<Shared>, code: &str, json: &Value) -> Result<Answer, Refused> {
    let crash = || Box::new(Answer::crash().without_cors());
    let mut apps = shared.apps.values().map(|app| &app.app);
    let found = apps.find_map(|app| {
        let (known, description) = app.mcp.as_ref()?;
        (known == code).then_some((app, description))
    });
    let (app, description) = found.ok_or_else(crash)?;
    let method = json.get("method").and_then(Value::as_str).unwrap_or_default();
    if method.starts_with("notifications/") {
        return Ok(Answer::json(202, "").without_cors());
    }
    let result = match method {
        "initialize" => json!({
            "protocolVersion": PROTOCOL,
            "capabilities": {"tools": {"listChanged": false}},
            "serverInfo": {"name": "Dify", "version": shared.setup.release.version()},
            "instructions": description,
        }),
        "ping" => json!({}),
        "tools/list" => {
            let fields = app.fields(shared.setup.release);
            json!({"tools": [{
                "name": app.name,
                "description": description,
                "inputSchema": schema(&fields),
            }]})
        }
        _ => return Err(crash()),
    };
    let id = json.get("id").cloned().unwrap_or_default();
    let body = json!({"jsonrpc": "2.0", "id": id, "result": result});
    Ok(Answer::run(200, pyjson::text(&body)).without_cors())
}

/// The texts of a form as JSON schema.
fn schema(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields.iter().filter(|field| !field.is_file()) {
        let kind = if field.kind == FieldKind::Number { "number" } else { "string" };
        properties.insert(
            field.name.clone(),
            json!({"description": format!("a {}", field.name), "type": kind}),
        );
        if field.required {
            required.push(field.name.clone());
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}
