//! `workflows/run`, its runs, its logs.

use super::arguments::{is_streaming, number, required};
use super::chat::{self, Active, begin, files, form};
use super::{Call, Reply};
use crate::app::Mode;
use crate::db::Run;
use crate::run::turn::Ask;
use crate::wire::answer::{Answer, Refused};
use serde_json::{Value, json};
use uuid::Uuid;

fn workflow_app(call: &Call<'_>) -> Result<(), Refused> {
    if call.app.app.mode != Mode::Workflow {
        return Err(Box::new(Answer::wrong_mode("not_workflow_app")));
    }
    Ok(())
}

pub(super) async fn run(call: Call<'_>) -> Result<Reply, Refused> {
    workflow_app(&call)?;
    let inputs = required(&call.json, "inputs")?;
    let streaming = is_streaming(&call.json)?;
    let active = Active::take(&call)?;
    chat::published(&call)?;
    let mut given = files(&call, call.json.get("files"))?;
    for field in call.app.app.fields().iter().filter(|field| field.is_file()) {
        match inputs.get(&field.name) {
            Some(list @ Value::Array(_)) => given.extend(files(&call, Some(list))?),
            Some(file @ Value::Object(_)) => given.extend(files(&call, Some(&json!([file])))?),
            _ => {}
        }
    }
    let ask = Ask {
        user: call.user.clone(),
        query: String::new(),
        inputs: form(&call, inputs)?,
        sent_inputs: inputs.clone(),
        files: given,
        conversation: None,
        auto_generate_name: false,
        streamed: streaming,
    };
    Ok(begin(&call, active, ask).await)
}

pub(super) fn stop(call: &Call<'_>, task: &str) -> Result<Answer, Refused> {
    workflow_app(call)?;
    chat::stop(call, task)
}

/// A run by its id alone: neither app nor user is looked at, and an unknown id is 200 with nulls.
pub(super) fn get(call: &Call<'_>, id: &str) -> Result<Answer, Refused> {
    let Ok(id) = Uuid::parse_str(id) else {
        return Err(Box::new(Answer::crash()));
    };
    let db = call.shared.db();
    let body = match db.runs.get(id) {
        Some(run) => json!({
            "id": id.to_string(),
            "workflow_id": run.workflow.to_string(),
            "status": run.status,
            "inputs": run.inputs,
            "outputs": run.outputs,
            "error": run.error,
            "total_steps": run.steps,
            "total_tokens": run.tokens,
            "created_at": run.created_at,
            "finished_at": run.finished_at,
            "elapsed_time": run.elapsed,
        }),
        None => json!({
            "id": null,
            "workflow_id": null,
            "status": null,
            "inputs": null,
            "outputs": null,
            "error": null,
            "total_steps": 0,
            "total_tokens": 0,
            "created_at": null,
            "finished_at": null,
            "elapsed_time": null,
        }),
    };
    Ok(Answer::restful(200, &body))
}

/// Ended runs of the app, the newest first.
pub(super) fn logs(call: &Call<'_>) -> Result<Answer, Refused> {
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
        .filter_map(|(id, run)| line(id, run))
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

fn line(id: Uuid, run: &Run) -> Option<Value> {
    let (log, logged_at) = run.log?;
    Some(json!({
        "id": log.to_string(),
        "workflow_run": {
            "id": id.to_string(),
            "version": run.published,
            "status": run.status,
            "error": run.error,
            "elapsed_time": run.elapsed,
            "total_tokens": run.tokens,
            "total_steps": run.steps,
            "created_at": run.created_at,
            "finished_at": run.finished_at,
            "exceptions_count": 0,
        },
        "created_from": "service-api",
        "created_by_role": "end_user",
        "created_by_account": null,
        "created_by_end_user": {
            "id": run.user_id.to_string(),
            "type": "service_api",
            "is_anonymous": false,
            "session_id": run.user,
        },
        "created_at": logged_at,
    }))
}
