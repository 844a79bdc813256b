//! What is answered without an app: OPTIONS, the index, health, signed files, console, datasets.

use super::routes::Route;
use super::{keys, models, pydantic};
use crate::db::File;
use crate::release::Release;
use crate::run::files;
use crate::setup::Fault;
use crate::state::Shared;
use crate::wire::answer::{Answer, EXPOSED, Refused};
use crate::wire::head::Head;
use serde_json::json;
use uuid::Uuid;

/// Headers a preflight of the service API may ask for.
const ALLOWED_HEADERS: [&str; 3] = ["authorization", "content-type", "x-app-code"];

/// 308 from `/v1` to `/v1/`, absolute by Host; https if a proxy on this machine says so.
pub(super) fn with_slash(head: &Head) -> Answer {
    let scheme = match head.header("x-forwarded-proto") {
        Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    let host = head.header("host").unwrap_or_default();
    Answer::redirect(&format!("{scheme}://{host}/v1/"))
}

/// The answer to OPTIONS: a preflight if it asks like one.
pub(super) fn options(route: &Route, head: &Head, release: Release) -> Answer {
    let mut headers = vec![("Allow", route.allowed(release))];
    if matches!(route, Route::Health | Route::Threads | Route::PoolStat) {
        return Answer::options(headers);
    }
    let origin = head.header("origin");
    headers.push(("Access-Control-Allow-Origin", origin.clone().unwrap_or_else(|| "*".to_owned())));
    if release.is_restx() {
        headers.push(("Access-Control-Expose-Headers", EXPOSED.to_owned()));
    } else if route.is_console() {
        headers.push(("Access-Control-Expose-Headers", "X-Env, X-Version".to_owned()));
    }
    if route.is_console() {
        headers.push(("Access-Control-Allow-Credentials", "true".to_owned()));
    }
    if head.header("access-control-request-method").is_some() {
        let asked = head.header("access-control-request-headers").unwrap_or_default();
        let mut allowed: Vec<String> = asked
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| ALLOWED_HEADERS.contains(&name.as_str()))
            .collect();
        allowed.sort();
        if !allowed.is_empty() {
            headers.push(("Access-Control-Allow-Headers", allowed.join(", ")));
        }
        let methods = "DELETE, GET, OPTIONS, PATCH, POST, PUT";
        headers.push(("Access-Control-Allow-Methods", methods.to_owned()));
    }
    if origin.is_some() {
        let vary = if release.is_restx() { "Origin, Cookie" } else { "Origin" };
        headers.push(("Vary", vary.to_owned()));
    }
    Answer::options(headers)
}

/// The routes without an app key.
pub(super) fn answer(
    shared: &Shared,
    route: &Route,
    head: &Head,
    fault: Fault,
) -> Result<Answer, Refused> {
    let release = shared.setup.release;
    let version = release.version();
    let pid = std::process::id();
    Ok(match route {
        Route::Index if release.is_restx() => Answer::no_index(),
        Route::Threads | Route::PoolStat if release.is_restx() => Answer::no_operator(),
        Route::Index => Answer::restful(
            200,
            &json!({"welcome": "Dify OpenAPI", "api_version": "v1", "server_version": version}),
        ),
        Route::Health => Answer::json(
            200,
            format!("{{\"pid\": {pid}, \"status\": \"ok\", \"version\": \"{version}\"}}"),
        )
        .without_cors(),
        Route::Threads => Answer::json(
            200,
            format!(
                "{{\"pid\":{pid},\"thread_num\":1,\"threads\":[{{\"id\":139895785649536,\
                 \"is_alive\":true,\"name\":\"MainThread\"}}]}}\n"
            ),
        )
        .without_cors(),
        Route::PoolStat => Answer::json(
            200,
            format!(
                "{{\"checked_in_connections\":5,\"checked_out_connections\":0,\
                 \"connection_timeout\":30.0,\"overflow_connections\":-25,\"pid\":{pid},\
                 \"pool_size\":30,\"recycle_time\":3600}}\n"
            ),
        )
        .without_cors(),
        Route::Console => Answer::unauthorized("Invalid Authorization token.")
            .without_cors()
            .with_tail("Vary", "Cookie"),
        Route::Web if release.is_restx() => {
            Answer::unauthorized("App token is missing.").without_cors()
        }
        Route::Web => Answer::unauthorized("Authorization header is missing.").without_cors(),
        _ if fault == Fault::DatabaseDown => Answer::crash(),
        Route::ConsoleSetup => {
            let body = "{\"step\": \"finished\", \"setup_at\": \"2026-11-21T07:59:27\"}\n";
            let compact = "{\"step\":\"finished\",\"setup_at\":\"2026-11-29T23:17:51\"}";
            Answer::json(200, if release.is_restx() { compact } else { body }).without_cors()
        }
        Route::ConsoleFeatures if release.is_restx() => {
            Answer::json(200, LATER_FEATURES).without_cors()
        }
        Route::ConsoleFeatures => Answer::json(200, FEATURES).without_cors(),
        Route::FilePreview(id) => file(shared, *id, head)?,
        _ => dataset(shared, head, fault)?,
    })
}

fn file(shared: &Shared, id: Uuid, head: &Head) -> Result<Answer, Refused> {
    if shared.setup.release.is_restx() {
        pydantic::check(&models::SIGNED_FILE, &head.query_object())?;
    }
    let missing =
        |name| Box::new(Answer::parameter("Missing required parameter in the query string", name));
    let timestamp = head.query("timestamp").ok_or_else(|| missing("timestamp"))?;
    let nonce = head.query("nonce").ok_or_else(|| missing("nonce"))?;
    let sign = head.query("sign").ok_or_else(|| missing("sign"))?;
    let gone = || Box::new(Answer::not_found("File not found or signature is invalid"));
    if sign != files::signature(shared, id, &timestamp, &nonce) {
        return Err(gone());
    }
    let db = shared.db();
    let file = db.files.get(id).ok_or_else(gone)?;
    if head.query("as_attachment").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return Ok(attachment(file));
    }
    let content_type = match file.mime_type.as_str() {
        "text/plain" | "text/markdown" if shared.setup.release.is_restx() => {
            "application/octet-stream"
        }
        "text/plain" => "text/plain; charset=utf-8",
        "text/markdown" => "text/markdown; charset=utf-8",
        other => shown_type(other),
    };
    Ok(Answer::file(content_type, file.content.clone()))
}

/// The type that a browser shows a file as.
pub(super) fn shown_type(mime_type: &str) -> &'static str {
    match mime_type {
        "image/png" => "image/png",
        "image/jpeg" => "image/jpeg",
        "image/gif" => "image/gif",
        "application/pdf" => "application/pdf",
        _ => "application/octet-stream",
    }
}

/// The file as one to be saved.
pub(super) fn attachment(file: &File) -> Answer {
    let name = percent_encoding::utf8_percent_encode(&file.name, FILE_NAME);
    Answer::file("application/octet-stream", file.content.clone())
        .with_extra("Content-Disposition", format!("attachment; filename*=UTF-8''{name}"))
}

const FILE_NAME: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// Every dataset route of 1.5 answers as one without a plugin daemon, once the key is right.
fn dataset(shared: &Shared, head: &Head, fault: Fault) -> Result<Answer, Refused> {
    let workspace = keys::workspace(shared, head, fault)?;
    Ok(Answer::invalid(&format!(
        "Failed to request plugin daemon, url: plugin/{}/management/models",
        shared.tenant(&workspace)
    )))
}

const FEATURES: &str = "{\"sso_enforced_for_signin\": false, \"sso_enforced_for_signin_protocol\": \
    \"\", \"enable_marketplace\": false, \"max_plugin_package_size\": 15728640, \
    \"enable_email_code_login\": false, \"enable_email_password_login\": true, \
    \"enable_social_oauth_login\": false, \"is_allow_register\": false, \
    \"is_allow_create_workspace\": false, \"is_email_setup\": false, \"license\": {\"status\": \
    \"none\", \"expired_at\": \"\", \"workspaces\": {\"enabled\": false, \"size\": 0, \"limit\": \
    0}}, \"branding\": {\"enabled\": false, \"application_title\": \"\", \"login_page_logo\": \
    \"\", \"workspace_logo\": \"\", \"favicon\": \"\"}, \"webapp_auth\": {\"enabled\": false, \
    \"allow_sso\": false, \"sso_config\": {\"protocol\": \"\"}, \"allow_email_code_login\": \
    false, \"allow_email_password_login\": false}, \"plugin_installation_permission\": \
    {\"plugin_installation_scope\": \"all\", \"restrict_to_marketplace_only\": false}}\n";

const LATER_FEATURES: &str = "{\"sso_enforced_for_signin\":false,\"sso_enforced_for_signin_protocol\":\"\",\"enable_marketplace\":false,\
    \"max_plugin_package_size\":15728640,\"enable_email_code_login\":false,\"enable_email_password_login\":true,\
    \"enable_social_oauth_login\":false,\"enable_collaboration_mode\":true,\"is_allow_register\":false,\
    \"is_allow_create_workspace\":false,\"is_email_setup\":false,\"license\":{\"status\":\"none\",\
    \"expired_at\":\"\",\"workspaces\":{\"enabled\":false,\"size\":0,\"limit\":0}},\"branding\":{\"enabled\":false,\
    \"application_title\":\"\",\"login_page_logo\":\"\",\"workspace_logo\":\"\",\"favicon\":\"\"},\
    \"webapp_auth\":{\"enabled\":false,\"allow_sso\":false,\"sso_config\":{\"protocol\":\"\"},\
    \"allow_email_code_login\":false,\"allow_email_password_login\":false},\"plugin_installation_permission\":{\"plugin_installation_scope\":\"all\",\
    \"restrict_to_marketplace_only\":false},\"enable_change_email\":true,\"plugin_manager\":{\"enabled\":false},\
    \"enable_creators_platform\":true,\"enable_trial_app\":false,\"enable_explore_banner\":false}\n";
