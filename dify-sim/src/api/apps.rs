//! What an app says about itself: info, parameters, meta, site; annotations; speech.

use super::Call;
use super::arguments::{number, required};
use crate::app::{Field, FieldKind, Flow, Speech};
use crate::clock::now;
use crate::db::Annotation;
use crate::pyjson;
use crate::wire::answer::{Answer, Refused};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub(super) fn info(call: &Call<'_>) -> Answer {
    let app = &call.app.app;
    Answer::restful(
        200,
        &json!({
            "name": app.name,
            "description": app.description,
            "tags": [],
            "mode": app.mode.name(),
            "author_name": app.author(),
        }),
    )
}

pub(super) fn meta() -> Answer {
    Answer::restful(200, &json!({"tool_icons": {}}))
}

pub(super) fn site(call: &Call<'_>) -> Answer {
    let later = call.release().is_restx();
    let robot = call.app.app.mode.is_flow() || later;
    let mut site = Map::new();
    let mut put = |name: &str, value: Value| site.insert(name.to_owned(), value);
    put("title", call.app.app.name.clone().into());
    put("chat_color_theme", Value::Null);
    put("chat_color_theme_inverted", false.into());
    put("icon_type", "emoji".into());
    put("icon", if robot { "\u{1f916}" } else { "x" }.into());
    put("icon_background", if robot { "#FFEAD5" } else { "#fff" }.into());
    if !later {
        put("icon_url", Value::Null);
    }
    for name in ["description", "copyright", "privacy_policy"] {
        put(name, Value::Null);
    }
    put("custom_disclaimer", "".into());
    put("default_language", "en-US".into());
    put("show_workflow_steps", true.into());
    put("use_icon_as_answer_icon", false.into());
    if later {
        put("icon_url", Value::Null);
    }
    Answer::restful(200, &Value::Object(site))
}

pub(super) fn parameters(call: &Call<'_>) -> Answer {
    if call.app.app.flow == Flow::Unpublished {
        let message = "App unavailable, please check your app configurations.";
        return Answer::error(400, "app_unavailable", message);
    }
    let flow = call.app.app.mode.is_flow();
    let later = call.release().is_restx();
    let fields = call.app.app.fields(call.release());
    let (statement, questions) = match &call.app.app.opening {
        Some((statement, questions)) => (json!(statement), json!(questions)),
        None => (if flow { json!("") } else { Value::Null }, json!([])),
    };
    let after_answer = call.app.app.opening.is_some()
        || call.app.app.suggested && !flow && call.app.app.flow != Flow::NoModel;
    let off = json!({"enabled": false});
    let speaks = call.app.app.speech == Speech::On;
    let speech = if flow || speaks {
        json!({"enabled": speaks, "language": "", "voice": ""})
    } else {
        off.clone()
    };
    let configs = if later { json!({"config": {}}) } else { json!({"configs": []}) };
    let mut avoidance = off.clone();
    if !flow {
        avoidance["type"] = "".into();
        for (name, value) in configs.as_object().into_iter().flatten() {
            avoidance[name] = value.clone();
        }
    }
    Answer::restful(
        200,
        &json!({
            "opening_statement": statement,
            "suggested_questions": questions,
            "suggested_questions_after_answer": {"enabled": after_answer},
            "speech_to_text": {"enabled": speaks},
            "text_to_speech": speech,
            "retriever_resource": {"enabled": true},
            "annotation_reply": off,
            "more_like_this": off,
            "user_input_form": fields.iter().map(|field| shown(call, field)).collect::<Vec<_>>(),
            "sensitive_word_avoidance": avoidance,
            "file_upload": uploads(call),
            "system_parameters": {
                "image_file_size_limit": 10,
                "video_file_size_limit": 100,
                "audio_file_size_limit": 50,
                "file_size_limit": 15,
                "workflow_file_upload_limit": 10,
            },
        }),
    )
}

fn uploads(call: &Call<'_>) -> Value {
    let app = &call.app.app;
    let methods = ["local_file", "remote_url"];
    let types = match app.uploads.as_slice() {
        [] if app.mode.is_flow() => vec!["image".to_owned(), "document".to_owned()],
        types => types.to_vec(),
    };
    let mut uploads = json!({
        "enabled": true,
        "allowed_file_types": types,
        "allowed_file_extensions": [],
        "allowed_file_upload_methods": methods,
        "number_limits": 3,
    });
    if app.mode.is_flow() && call.release().is_restx() {
        return sorted(uploads);
    }
    if app.mode.is_flow() {
        return uploads;
    }
    let image = json!({
        "enabled": types.iter().any(|kind| kind == "image"),
        "number_limits": 3,
        "detail": "high",
        "transfer_methods": ["remote_url", "local_file"],
    });
    if types.is_empty() {
        return json!({"image": image});
    }
    uploads["image"] = image;
    uploads
}

/// A field as the form of the app shows it: other keys in completion apps than in flows.
fn shown(call: &Call<'_>, field: &Field) -> Value {
    let label = label(&field.name);
    let kind = match &field.kind {
        FieldKind::TextInput => "text-input",
        FieldKind::Paragraph => "paragraph",
        FieldKind::Select(_) => "select",
        FieldKind::Number => "number",
        FieldKind::File => "file",
        FieldKind::FileList => "file-list",
    };
    let (name, required) = (&field.name, field.required);
    let mut shown = match &field.kind {
        FieldKind::File | FieldKind::FileList => json!({
            "variable": name,
            "label": label,
            "type": kind,
            "required": required,
            "allowed_file_types": ["image", "document"],
            "allowed_file_upload_methods": ["local_file", "remote_url"],
            "allowed_file_extensions": [],
        }),
        _ if call.app.app.mode.is_flow() => json!({
            "variable": name,
            "label": label,
            "type": kind,
            "required": required,
            "max_length": field.max_length,
        }),
        _ => json!({"label": label, "variable": name, "required": required, "default": ""}),
    };
    if let FieldKind::Select(options) = &field.kind {
        shown["options"] = json!(options);
    } else if call.app.app.mode.is_flow() {
        shown["options"] = json!([]);
    }
    if call.app.app.mode.is_flow() && call.release().is_restx() {
        shown = sorted(shown);
    }
    json!({kind: shown})
}

/// An object with its names in order, as later releases store what a flow is made of.
fn sorted(object: Value) -> Value {
    let Value::Object(fields) = object else { return object };
    let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    Value::Object(fields.into_iter().collect())
}

/// A name with a capital.
fn label(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Speech of the text, or of the answer of a message. A message of another Dify is 200 `null`, as
/// recorded; what an app that speaks gives is made after Dify's source.
pub(super) fn text_to_audio(call: &Call<'_>) -> Result<Answer, Refused> {
    if let Some(id) = call.json.get("message_id").filter(|id| !pyjson::is_falsy(id)) {
        let known = Uuid::parse_str(&pyjson::str_of(id))
            .is_ok_and(|id| call.shared.db().messages.get(id).is_some());
        if !known {
            return Ok(Answer::restful(200, &Value::Null));
        }
    }
    if call.app.app.speech == Speech::Off {
        return Err(Box::new(Answer::invalid("TTS is not enabled")));
    }
    let word = |name: &str| {
        let value = call.json.get(name).filter(|value| !pyjson::is_falsy(value));
        value.map(pyjson::str_of)
    };
    let message = word("message_id").and_then(|id| Uuid::parse_str(&id).ok());
    let said = match message {
        Some(id) => call.shared.db().messages.get(id).map(|message| message.answer.clone()),
        None => word("text"),
    };
    let said = said.unwrap_or_default();
    let voice = word("voice").unwrap_or_else(|| "default".to_owned());
    // Enough of a head for who looks at the first bytes.
    let sound = format!("ID3\x04\0\0\0\0\0\0voice {voice}: {said}");
    Ok(Answer::file("audio/mpeg", sound.into_bytes()))
}

fn row(id: Uuid, annotation: &Annotation) -> Value {
    json!({
        "id": id.to_string(),
        "question": annotation.question,
        "answer": annotation.answer,
        "hit_count": annotation.hits,
        "created_at": annotation.created_at,
    })
}

/// GET lists them, POST makes one.
pub(super) fn annotations(call: &Call<'_>) -> Result<Answer, Refused> {
    let mut db = call.shared.db();
    if call.head.method == "POST" {
        let annotation = Annotation {
            app: call.app.id,
            question: pyjson::str_of(required(&call.json, "question")?),
            answer: pyjson::str_of(required(&call.json, "answer")?),
            hits: 0,
            created_at: now(),
        };
        let id = Uuid::new_v4();
        let body = row(id, &annotation);
        db.annotations.insert(id, annotation, body.to_string().len());
        let status = if call.release().is_restx() { 201 } else { 200 };
        return Ok(Answer::restful(status, &body));
    }
    let page = number(call, "page", 1, 99_999)?;
    let limit = number(call, "limit", 20, 100)?;
    let keyword = call.head.query("keyword").unwrap_or_default();
    let rows: Vec<Value> = db
        .annotations
        .iter()
        .rev()
        .filter(|(_, found)| found.app == call.app.id && found.question.contains(&keyword))
        .map(|(id, found)| row(id, found))
        .collect();
    let total = rows.len();
    let data: Vec<Value> = rows.into_iter().skip((page - 1) * limit).take(limit).collect();
    Ok(Answer::restful(
        200,
        &json!({
            "data": data,
            "has_more": data.len() == limit,
            "limit": limit,
            "total": total,
            "page": page,
        }),
    ))
}

/// PUT changes it, DELETE removes it.
pub(super) fn annotation(call: &Call<'_>, id: Uuid) -> Result<Answer, Refused> {
    let mut db = call.shared.db();
    if db.annotations.get(id).is_none_or(|found| found.app != call.app.id) {
        return Err(Box::new(Answer::not_found("Annotation not found")));
    }
    if call.head.method == "DELETE" {
        db.annotations.remove(id);
        return Ok(Answer::no_content());
    }
    let question = pyjson::str_of(required(&call.json, "question")?);
    let answer = pyjson::str_of(required(&call.json, "answer")?);
    let Some(annotation) = db.annotations.get_mut(id) else {
        return Err(Box::new(Answer::not_found("Annotation not found")));
    };
    annotation.question = question;
    annotation.answer = answer;
    Ok(Answer::restful(200, &row(id, annotation)))
}

/// Switches the answering by annotations on or off; a job does it.
pub(super) fn annotation_reply(call: &Call<'_>, action: &str) -> Result<Answer, Refused> {
    let mut db = call.shared.db();
    match action {
        "enable" => db.annotation_replies.insert(call.app.id),
        "disable" => db.annotation_replies.remove(&call.app.id),
        _ => return Err(Box::new(Answer::no_route())),
    };
    let job = Uuid::new_v4();
    db.jobs.insert(job, call.app.id, 0);
    Ok(Answer::restful(200, &json!({"job_id": job.to_string(), "job_status": "waiting"})))
}

/// How far such a job is: always done by now. Jobs are known to their own instance only.
pub(super) fn annotation_reply_status(call: &Call<'_>, job: Uuid) -> Result<Answer, Refused> {
    if call.shared.db().jobs.get(job).is_none() {
        return Err(Box::new(Answer::invalid("The job does not exist.")));
    }
    let body = json!({"job_id": job.to_string(), "job_status": "completed", "error_msg": ""});
    Ok(Answer::restful(200, &body))
}
