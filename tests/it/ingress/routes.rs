//! Which service a request goes to, and which requests stay with apps and the gateway itself.

use std::process::Command;

use bytes::Bytes;
use dify_sim::{App, Mode};
use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment, Source};
use http::{Request, StatusCode};
use serde_json::Value;

use super::echo;
use crate::rig::{Plan, Rig, chat, requests};

/// A gateway with `dify: compose`, whose plugin daemon and web app are echoes, and whose API is a Dify
/// that has an app more than the gateway's own.
async fn dify() -> Rig {
    let (daemon, web) = (echo::start("plugin_daemon").await, echo::start("web").await);
    let api = dify_sim::Dify::start(
        dify_sim::Setup::default()
            .with_release(crate::rig::release())
            .with_app(App::new(Mode::Chat, "app-nobody-knows")),
    )
    .await
    .unwrap();
    let services = format!(
        "services: {{ dify: compose, api: {{ instances: [{{ name: whole, url: \"{}\" }}] }}, \
         plugin_daemon: {{ instances: [{{ url: \"http://{daemon}\" }}] }}, \
         web: {{ instances: [{{ url: \"http://{web}\" }}] }} }}",
        api.url()
    );
    let mut rig = Plan::new(1).with(&services).start().await;
    rig.difys.push(api);
    rig
}

async fn asked(rig: &Rig, method: &str, path: &str) -> crate::rig::Answer {
    rig.send(Request::builder().method(method).uri(path).body(Bytes::new()).unwrap()).await
}

async fn with_key(rig: &Rig, path: &str, key: &str) -> crate::rig::Answer {
    let request = Request::get(path).header("authorization", format!("Bearer {key}"));
    rig.send(request.body("").unwrap()).await
}

#[tokio::test]
async fn the_services_of_dify_get_what_its_nginx_sends_them() {
    let rig = dify().await;
    for (path, server) in
        [("/", "web"), ("/apps?x=1", "web"), ("/explore", "web"), ("/e/hook/x?y", "plugin_daemon")]
    {
        let answer = asked(&rig, "GET", path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        let said = answer.json();
        assert_eq!((said["server"].as_str(), said["target"].as_str()), (Some(server), Some(path)));
    }
    let api = &rig.difys[1];
    for path in [
        "/console/api/setup",
        "/api/x",
        "/files/x/y/z",
        "/mcp",
        "/triggers/t",
        "/openapi",
        "/socket.io/",
    ] {
        let before = requests(api).len();
        let answer = asked(&rig, "GET", path).await;
        assert_eq!(answer.instance(), "whole", "{path}");
        let served = requests(api);
        assert_eq!(served.len(), before + 1, "{path}");
        assert_eq!(served.last().unwrap().path, path);
    }
    let options = asked(&rig, "OPTIONS", "/apps").await;
    assert_eq!(options.json()["method"], "OPTIONS");
}

#[tokio::test]
async fn what_only_operators_may_see_is_reached_by_no_path() {
    let rig = dify().await;
    let before = requests(&rig.difys[1]).len();
    for path in ["/threads", "/threads/", "//threads", "/%74hreads", "/db-pool-stat", "/health/"] {
        assert_eq!(asked(&rig, "GET", path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/api/../threads", "/api/%2e%2e/threads", "/api/..%2fthreads"] {
        assert_eq!(asked(&rig, "GET", path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    for path in ["/health", "/ready"] {
        let answer = asked(&rig, "GET", path).await;
        assert!(answer.header("x-difygate-instance").is_none(), "{path}: {answer:?}");
    }
    assert_eq!(requests(&rig.difys[1]).len(), before);
}

#[tokio::test]
async fn dify_s_api_has_two_owners_that_the_key_tells_apart() {
    let rig = dify().await;
    assert_eq!(rig.send(chat("u")).await.instance(), "dify1", "a key of an app");
    let own = with_key(&rig, "/v1/parameters", "app-nobody-knows").await;
    assert_eq!((own.status, own.instance().as_str()), (StatusCode::OK, "whole"), "{own:?}");
    let served = requests(&rig.difys[1]);
    let key = served.last().unwrap().key.as_deref();
    assert_eq!(key, Some("app-nobody-knows"), "it goes on as it came");
    let unknown = with_key(&rig, "/v1/datasets", "dataset-nobody-knows").await;
    assert_eq!(unknown.instance(), "whole");
    assert_eq!(asked(&rig, "GET", "/v1/").await.instance(), "whole");
    for (path, key) in [
        ("/v1/parameters", "usertoken--nobody"),
        ("/v1/models", "app-nobody-knows"),
        ("/v1/models", "app-nobody-has-it"),
    ] {
        let answer = with_key(&rig, path, key).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {key}");
        assert!(answer.header("x-difygate-instance").is_none(), "{path} {key}");
    }
    let none = asked(&rig, "GET", "/v1/parameters").await;
    assert_eq!(none.status, StatusCode::UNAUTHORIZED);
    assert!(none.header("x-difygate-instance").is_none());
}

#[tokio::test]
async fn without_services_a_key_that_no_app_has_is_refused() {
    let rig = Rig::start(1).await;
    let answer = with_key(&rig, "/v1/parameters", "app-shop-1").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(asked(&rig, "GET", "/apps").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn services_alone_need_no_app() {
    let (api, web) = (echo::start("api").await, echo::start("web").await);
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: {{ listen: 127.0.0.1:0 }}\nservices: {{ dify: compose, \
         api: {{ instances: [{{ url: \"http://{api}\" }}] }}, web: {{ instances: [{{ url: \
         \"http://{web}\" }}] }} }}\n"
    );
    let config = config::parse("x", &text, &Environment::default()).unwrap().config;
    let source = Source::File("gateway.yaml".into());
    let gateway = Gateway::start(config, source, None).await.unwrap();
    let ask = async |path: &str, key: &str| {
        let request = Request::get(path).header("authorization", format!("Bearer {key}"));
        crate::rig::send(gateway.listen(), request.body("").unwrap()).await
    };
    assert_eq!(ask("/apps", "any").await.json()["server"], "web");
    assert_eq!(ask("/v1/parameters", "app-1").await.json()["server"], "api");
    assert_eq!(ask("/v1/", "").await.json()["server"], "api");
    assert_eq!(ask("/mcp/server/u1WeaAPJCdCKIHnc/mcp", "").await.json()["server"], "api");
    for path in ["/v1/parameters", "/v1/models"] {
        assert_eq!(ask(path, "nobody's").await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/health", "/status", "/ready", "/metrics"] {
        let answer = crate::rig::send(gateway.admin(), Request::get(path).body("").unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_body_arrives_whole_and_the_client_s_own_key_and_cookies_too() {
    let one = echo::start("one").await;
    let services = format!(
        "services: {{ one: {{ instances: [{{ url: \"http://{one}\" }}], routes: [{{ prefix: /one, \
         methods: [POST], hosts: [\"*.example.com\"] }}] }} }}"
    );
    let rig = Plan::new(1).with(&services).start().await;
    let body = "x".repeat(1 << 20);
    let request = |host: &str| {
        Request::post("/one/two?three=4")
            .header("host", host)
            .header("authorization", "Bearer somebody's")
            .header("cookie", "a=b")
            .header("dify-hook-url", "http://evil/")
            .header("x-difygate-app", "shop")
            .body(body.clone())
            .unwrap()
    };
    let said = rig.send(request("a.EXAMPLE.com:80")).await.json();
    assert_eq!(said["body"].as_str(), Some(body.as_str()));
    assert_eq!(said["target"], "/one/two?three=4");
    let headers = &said["headers"];
    assert_eq!(headers["authorization"], "Bearer somebody's");
    assert_eq!(headers["cookie"], "a=b");
    assert_eq!(headers["host"], "a.EXAMPLE.com:80");
    assert_eq!(
        (&headers["dify-hook-url"], &headers["x-difygate-app"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(rig.send(request("example.com")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(asked(&rig, "GET", "/one").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn check_prints_the_table_that_results() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.yaml");
    let text = "services:\n  dify: compose\n  web: { instances: [{ host: front, port: 80 }, { host: \
        back, port: 81 }] }\n  store: { instances: [{ url: \"http://s3:9000\" }], routes: [{ prefix: \
        /files, methods: [GET] }, { prefix: /api }] }\napps: { a: { user_tokens: [u], instances: [{ \
        name: one, host: dify, token: t }] } }\n";
    std::fs::write(&path, text).unwrap();
    let run = |option: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_difygate"))
            .args(["check", "-c"])
            .arg(&path)
            .args(option)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let table = run(&[]);
    let rows: Vec<Vec<_>> =
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    let position = |row: &[&str]| {
        let found = rows.iter().position(|found| found == row);
        found.unwrap_or_else(|| panic!("{row:?} is not in\n{table}"))
    };
    position(&["/console/api", "any", "any", "api", "api:5001"]);
    position(&["/e/", "any", "any", "plugin_daemon", "plugin_daemon:5002"]);
    position(&["/files", "any", "GET", "store", "s3:9000"]);
    position(&["/files", "any", "any", "api", "api:5001"]);
    position(&["/api", "any", "any", "store", "s3:9000"]);
    let last = position(&["/", "any", "any", "web", "front:80,", "back:81"]);
    assert!(last > position(&["/v1", "any", "any", "api", "api:5001"]), "{table}");
    assert!(!rows.contains(&vec!["/api", "any", "any", "api", "api:5001"]), "{table}");
    let json: Value = serde_json::from_str(&run(&["--json"])).unwrap();
    let routes = json["routes"].as_array().unwrap();
    assert!(
        routes.iter().any(|route| route["prefix"] == "/socket.io/" && route["service"] == "api")
    );
}

#[tokio::test]
async fn a_reload_changes_routes_and_keeps_what_is_known_of_instances() {
    let one = echo::start("one").await;
    let services = format!(
        "services: {{ one: {{ instances: [{{ url: \"http://{one}\" }}], routes: [{{ prefix: /one }}] }} }}"
    );
    let rig = Plan::new(1).with(&services).start().await;
    assert_eq!(asked(&rig, "GET", "/one").await.status, StatusCode::OK);
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    std::fs::write(&rig.config_path, text.replace("prefix: /one", "prefix: /two")).unwrap();
    let reload = Request::post("/reload-config").body("").unwrap();
    let reloaded = crate::rig::send(rig.gateway.admin(), reload).await;
    assert_eq!(reloaded.status, StatusCode::OK, "{reloaded:?}");
    assert_eq!(asked(&rig, "GET", "/two").await.json()["server"], "one");
    assert_eq!(asked(&rig, "GET", "/one").await.status, StatusCode::NOT_FOUND);
}
