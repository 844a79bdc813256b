//! `DIFY_API_KEYS`: a model for each key, called as Dify calls the app.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Duration, sleep, timeout};

use super::opendify::{ANY_PORT, difygate, ran};
use crate::rig::process::{Process, difys, text};
use crate::rig::{open, requests, send};

/// Keys and what their apps are called.
type Names = Arc<ArcSwap<BTreeMap<&'static str, &'static str>>>;

/// A Dify whose apps are renamed: it answers `/v1/info` itself, to the keys that it knows.
async fn renamed(listener: TcpListener, dify: std::net::SocketAddr, names: Names) {
    while let Ok((stream, _)) = listener.accept().await {
        let names = Arc::clone(&names);
        let service = service_fn(move |request| answer(dify, Arc::clone(&names), request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    dify: std::net::SocketAddr,
    names: Names,
    request: Request<Incoming>,
) -> Result<Response<Either<Incoming, Full<Bytes>>>, Infallible> {
    if request.uri().path() == "/v1/info" {
        let key = request.headers()["authorization"].to_str().unwrap().replace("Bearer ", "");
        let name = names.load().get(&*key).copied();
        let info = json!({ "name": name, "description": "", "tags": [], "mode": "chat", "author_name": "a" });
        let mut response = Response::new(Either::Right(Full::from(info.to_string())));
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        if name.is_none() {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        return Ok(response);
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let response = open(dify, Request::from_parts(head, body)).await.unwrap();
    Ok(response.map(Either::Left))
}

async fn models(gateway: &Process) -> Vec<String> {
    let listed = send(gateway.listen, Request::get("/v1/models").body("").unwrap()).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    let listed = listed.json();
    let models = listed["data"].as_array().unwrap().iter();
    models.map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

async fn until(gateway: &Process, expected: &[&str]) {
    let reached = async {
        while models(gateway).await != expected {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let reached = timeout(Duration::from_secs(60), reached).await;
    assert!(reached.is_ok(), "{:?} and not {expected:?}", models(gateway).await);
}

async fn applications(gateway: &Process) -> Vec<Value> {
    let status = send(gateway.admin, Request::get("/status").body("").unwrap()).await.json();
    status["applications"].as_object().unwrap().values().cloned().collect()
}

#[tokio::test]
async fn a_model_for_each_key_is_called_as_dify_calls_the_app_once_that_answers() {
    let difys = difys(1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    // Nobody listens there yet.
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let base = format!("http://{addr}/v1");
    let vars = [("DIFY_API_KEYS", "app-shop-1, app-flow-1,app-third"), ("DIFY_API_BASE", &*base)];
    let command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
    let mut gateway = Process::run(command, folder).await;
    assert!(models(&gateway).await.is_empty());
    let line = gateway.says("is no model yet").await;
    assert!(line.contains("app `dify-") && !line.contains("app-shop"), "{line}");
    let apps = applications(&gateway).await;
    assert!(apps.iter().all(|app| app["unnamed"].is_string()), "{apps:?}");
    let admin = gateway.admin.to_string();
    let said = crate::rig::process::command(&["status", "--admin", &admin]).await;
    assert_eq!(text(&said.stdout).matches(": no model yet: ").count(), 3, "{said:?}");

    let names = Names::default();
    names.store(Arc::new(
        [("app-shop-1", "客服  助手"), ("app-flow-1", "shop"), ("app-third", "shop")].into(),
    ));
    let listener = TcpListener::bind(addr).await.unwrap();
    tokio::spawn(renamed(listener, difys[0].addr(), Arc::clone(&names)));
    let reached = async {
        while models(&gateway).await.len() < 3 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), reached).await.unwrap();
    let listed = models(&gateway).await;
    // Two of one name are told apart by the marks of their keys.
    assert_eq!(listed[0], "客服 助手");
    let plain = listed[1..].iter().filter(|name| *name == "shop").count();
    let marked = listed[1..].iter().filter(|name| name.starts_with("shop-") && name.len() == 13);
    assert_eq!((plain, marked.count()), (1, 1), "{listed:?}");
    let apps = applications(&gateway).await;
    assert_eq!(apps[0]["models"], json!(["客服 助手"]));
    assert!(apps.iter().all(|app| app["unnamed"].is_null()), "{apps:?}");
    // Names are Dify's, and no change of the configuration.
    let beside = tempfile::tempdir().unwrap();
    let plan = ["plan", "--admin", &admin, "--json"];
    let (status, said) = ran(beside.path(), &plan, &[&vars[..], &ANY_PORT].concat());
    assert_eq!(status, Some(0), "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["changes"]["apps"], json!([]), "{said}");

    let body =
        json!({ "model": "客服 助手", "messages": [{ "role": "user", "content": "hello" }] });
    let ask = Request::post("/v1/chat/completions").header("content-type", "application/json");
    let answer = send(gateway.listen, ask.body(body.to_string()).unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let turn = requests(&difys[0]).into_iter().find(|request| request.path == "/v1/chat-messages");
    assert_eq!(turn.unwrap().key.unwrap(), "app-shop-1");

    // A reload asks again, as time does; conversations and counters are by the key and stay.
    let called = [("app-shop-1", "Help desk"), ("app-flow-1", "shop"), ("app-third", "shop")];
    names.store(Arc::new(called.into()));
    gateway.signal(Signal::HUP);
    gateway.says("the model `客服 助手` is now called `Help desk`").await;
    assert_eq!(models(&gateway).await[0], "Help desk");
    assert_eq!(applications(&gateway).await[0]["total_requests"], 1);
    // Who does not answer any more keeps the name.
    names.store(Arc::new(called[1..].iter().copied().collect()));
    gateway.signal(Signal::HUP);
    let line = gateway.says("keeps its name").await;
    assert!(line.contains("Dify does not know the key (401)"), "{line}");
    assert_eq!(models(&gateway).await[0], "Help desk");
}

#[tokio::test]
async fn a_name_that_is_taken_already_is_told_apart_and_a_key_is_one_model() {
    let difys = difys(1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let names = Names::default();
    names.store(Arc::new([("app-shop-1", "never asked"), ("app-flow-1", "shop")].into()));
    tokio::spawn(renamed(listener, difys[0].addr(), names));
    let folder = tempfile::tempdir().unwrap();
    let vars = [
        ("MODEL_CONFIG", "{'shop': 'app-shop-1'}"),
        ("DIFY_API_KEYS", "['app-flow-1', 'app-shop-1', 'app-flow-1']"),
        ("DIFY_API_BASE", &*base),
    ];
    let command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
    let gateway = Process::run(command, folder).await;
    let mark = difygate::model::Token::new("app-flow-1").fingerprint();
    until(&gateway, &["shop", &format!("shop-{mark}")]).await;
}

#[test]
fn keys_alone_are_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let base = ("DIFY_API_BASE", "http://127.0.0.1:1/v1");
    let (status, said) = ran(folder.path(), &["check"], &[base, ("DIFY_API_KEYS", "app-shop-1")]);
    assert!(status == Some(0) && said.contains("is valid: 1 app, 1 key, 1 instance"), "{said}");
    let (status, said) = ran(folder.path(), &["check"], &[base, ("DIFY_API_KEYS", ",")]);
    assert!(status == Some(2) && said.contains("`MODEL_CONFIG`"), "{said}");
}
