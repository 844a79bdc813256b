//! `workflows/run`, its runs, its logs.

use super::arguments::{is_streaming, number, required};
use super::order::Wanted;
use super::{Call, Reply, chat, models, pydantic};
use crate::app::Mode;
use crate::db::Run;
use crate::release::Release;
use crate::wire::answer::{Answer, Refused};
use serde_json::{Value, json};
use uuid::Uuid;

fn workflow_app(call: &Call<'_>) -> Result<(), Refused> {
    if call.app.app.mode != Mode::Workflow {
        return Err(Box::new(Answer::wrong_mode("not_workflow_app")));
    }
    Ok(())
}

/// A run of the published version, or of the version with this id.
pub(super) async fn run(call: Call<'_>, version: Option<&str>) -> Result<Reply, Refused> {
    workflow_app(&call)?;
    if call.release().is_restx() {
        pydantic::check(&models::WORKFLOW, &call.json)?;
    }
    required(&call.json, "inputs")?;
    let streaming = is_streaming(&call.json)?;
    let place = chat::place(&call, streaming)?;
    if let Some(version) = version {
        chat::version(&call, version)?;
    }
    chat::published(&call)?;
    chat::begin(Wanted::new(&call, streaming), place).await
}

pub(super) fn stop(call: &Call<'_>, task: &str) -> Result<Answer, Refused> {
    workflow_app(call)?;
    chat::stop(call, task)
}

/// A run by its id. Before 1.13 neither app nor user is looked at, and an unknown id is 200 with
/// nulls; later it is a run of the app, whoever asks.
pub(super) fn get(call: &Call<'_>, id: &str) -> Result<Answer, Refused> {
    let Ok(id) = Uuid::parse_str(id) else {
        return Err(Box::new(Answer::crash()));
    };
    let later = call.release().is_restx();
    let own = |run: &&Run| !call.release().misses_unknown_runs() || run.app == call.app.id;
    let db = call.shared.db();
    let body = match db.runs.get(id).filter(own) {
        Some(run) => json!({
            "id": id.to_string(),
            "workflow_id": run.workflow.to_string(),
            "status": run.status,
            "inputs": run.inputs,
            "outputs": outputs(run, call.release()),
            "error": run.error,
            "total_steps": run.steps,
            "total_tokens": run.tokens,
            "created_at": run.created_at,
            "finished_at": run.finished_at,
            "elapsed_time": run.elapsed,
        }),
        None if call.release().misses_unknown_runs() => {
            return Err(Box::new(Answer::not_found("Workflow run not found.")));
        }
        None => json!({
            "id": null,
            "workflow_id": null,
            "status": null,
            "inputs": null,
            "outputs": null,
            "error": null,
            "total_steps": if later { Value::Null } else { 0.into() },
            "total_tokens": if later { Value::Null } else { 0.into() },
            "created_at": null,
            "finished_at": null,
            "elapsed_time": null,
        }),
    };
    Ok(Answer::restful(200, &body))
}

/// Text in 1.5, an object later.
fn outputs(run: &Run, release: Release) -> Value {
    if !release.is_restx() {
        return json!(run.outputs);
    }
    let text = run.outputs.as_deref().unwrap_or("{}");
    serde_json::from_str(text).unwrap_or_default()
}

/// Ended runs of the app, the newest first.
pub(super) fn logs(call: &Call<'_>) -> Result<Answer, Refused> {
    let later = call.release().is_restx();
    if later {
        pydantic::check(&models::WORKFLOW_LOGS, &call.head.query_object())?;
    }
    let page = number(call, "page", 1, 99_999)?;
    let limit = number(call, "limit", 20, 100)?;
    let status = call.head.query("status");
    let user = call.head.query("created_by_end_user_session_id");
    let keyword = call.head.query("keyword").unwrap_or_default();
    let db = call.shared.db();
    let rows: Vec<Value> = db
        .runs
        .iter()
        .rev()
        .filter(|(_, run)| run.app == call.app.id)
        .filter(|(_, run)| status.as_deref().is_none_or(|status| status == run.status))
        .filter(|(_, run)| user.as_deref().is_none_or(|user| user == run.user))
        .filter(|(_, run)| {
            run.inputs.contains(&keyword)
                || run.outputs.as_deref().is_some_and(|text| text.contains(&keyword))
        })
        .filter_map(|(id, run)| line(id, run, call.release()))
        .collect();
    let total = rows.len();
    let data: Vec<Value> = rows.into_iter().skip((page - 1) * limit).take(limit).collect();
    let body = json!({
        "page": page,
        "limit": limit,
        "total": total,
        "has_more": total > page * limit,
        "data": data,
    });
    Ok(Answer::restful(200, &body))
}

fn line(id: Uuid, run: &Run, release: Release) -> Option<Value> {
    let later = release.is_restx();
    let (log, logged_at) = run.log?;
    let mut shown = json!({
        "id": id.to_string(),
        "version": run.published,
        "status": run.status,
    });
    if later {
        shown["triggered_from"] = "app-run".into();
    }
    let rest = json!({
        "error": run.error,
        "elapsed_time": run.elapsed,
        "total_tokens": run.tokens,
        "total_steps": run.steps,
        "created_at": run.created_at,
        "finished_at": run.finished_at,
        "exceptions_count": if later { run.exceptions } else { 0 },
    });
    extend(&mut shown, rest);
    let mut line = json!({"id": log.to_string(), "workflow_run": shown});
    if later {
        line["details"] = Value::Null;
    }
    let rest = json!({
        "created_from": "service-api",
        "created_by_role": "end_user",
        "created_by_account": null,
        "created_by_end_user": {
            "id": run.user_id.to_string(),
            "type": if later { "service-api" } else { "service_api" },
            "is_anonymous": false,
            "session_id": run.user,
        },
        "created_at": logged_at,
    });
    extend(&mut line, rest);
    Some(line)
}

/// Adds the fields of one object to another.
fn extend(object: &mut Value, fields: Value) {
    if let (Value::Object(object), Value::Object(fields)) = (object, fields) {
        object.extend(fields);
    }
}
