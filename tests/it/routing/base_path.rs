//! Instances below a path of a server that has other things, too.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use dify_sim::{App, Dify, Mode, Setup};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::rig::process::Process;
use crate::rig::{chat, open, post, release, request, requests, send, stream};

/// A server that has Difys below `/one`, `/two`, …, and nothing else. It answers only to its own name, as
/// one of several hosts would.
async fn server(difys: &[Dify]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    let difys: Vec<_> = ["/one", "/two"].into_iter().zip(difys.iter().map(Dify::addr)).collect();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let difys = difys.clone();
            let service = service_fn(move |request| pass(own, difys.clone(), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    own
}

async fn pass(
    own: SocketAddr,
    difys: Vec<(&'static str, SocketAddr)>,
    request: Request<Incoming>,
) -> Result<Response<http_body_util::Either<Incoming, Full<Bytes>>>, Infallible> {
    let target = request.uri().path_and_query().unwrap().as_str().to_owned();
    let found = difys.iter().find_map(|(path, dify)| Some((target.strip_prefix(path)?, *dify)));
    let named = request.headers()["host"] == own.to_string();
    let Some((below, dify)) = found.filter(|_| named) else {
        let mut nothing = Response::new(http_body_util::Either::Right(Full::default()));
        *nothing.status_mut() = StatusCode::NOT_FOUND;
        return Ok(nothing);
    };
    let (mut head, body) = request.into_parts();
    head.uri = below.parse::<Uri>().unwrap();
    let body = body.collect().await.unwrap().to_bytes();
    let response = open(dify, Request::from_parts(head, body)).await.unwrap();
    Ok(response.map(http_body_util::Either::Left))
}

async fn two_difys() -> Vec<Dify> {
    let mut difys = Vec::new();
    for key in ["app-one", "app-two"] {
        let app = App::new(Mode::Chat, key).with_uploads(["image"]);
        let setup = Setup::default().with_release(release()).with_app(app).with_files_url("");
        difys.push(Dify::start(setup).await.unwrap());
    }
    difys
}

fn configuration(front: SocketAddr) -> String {
    let instance = |name| {
        format!("      - {{ name: {name}, url: \"http://{front}/{name}/\", token: app-{name} }}\n")
    };
    format!(
        "listen: 127.0.0.1:0\nadmin: {{ listen: 127.0.0.1:0 }}\napps:\n  shop:\n    \
         user_tokens: [usertoken--shop]\n    instances:\n{}{}",
        instance("one"),
        instance("two")
    )
}

#[tokio::test]
async fn each_path_that_is_asked_for_stands_below_the_instances() {
    let difys = two_difys().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("difygate.yaml");
    std::fs::write(&path, configuration(server(&difys).await)).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_difygate"));
    command.args(["serve", "-c"]).arg(&path);
    let gateway = Process::run(command, folder).await;

    // Probes find both: two instances, though at one address.
    for name in ["one", "two"] {
        crate::rig::until(gateway.admin, "shop", name, "healthy").await;
    }
    let status = send(gateway.admin, request("GET", "/status").body("").unwrap()).await.json();
    let instances = &status["applications"]["shop"]["instances"];
    for name in ["one", "two"] {
        let address = instances[name]["address"].as_str().unwrap();
        assert!(address.ends_with(&format!("/{name}")), "{address}");
        assert_eq!(instances[name]["probe"]["good"], true, "{status:#}");
    }
    // Requests, with their queries.
    let homes: std::collections::BTreeSet<_> = {
        let mut homes = Vec::new();
        for number in 0..16 {
            let answer = send(gateway.listen, chat(&format!("user{number}"))).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            homes.push(answer.instance());
        }
        homes.into_iter().collect()
    };
    assert_eq!(homes.len(), 2, "{homes:?}");
    let turn = send(gateway.listen, chat("alice")).await;
    let conversation = turn.json()["conversation_id"].as_str().unwrap().to_owned();
    let list = format!("/v1/messages?conversation_id={conversation}&user=alice");
    let listed = send(gateway.listen, request("GET", &list).body("").unwrap()).await;
    assert_eq!(listed.json()["data"][0]["query"], "hello", "{listed:?}");
    // A stop goes to who runs it.
    let mut running = open(gateway.listen, stream("alice", 10_000, 0.05)).await.unwrap();
    let task = loop {
        let frame = running.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let id = text.split("task_id").nth(1).and_then(|rest| rest.split('"').nth(2));
        if let Some(id) = id {
            break id.to_owned();
        }
    };
    let stop = format!("/v1/chat-messages/{task}/stop");
    let stopped = send(gateway.listen, post(&stop, &json!({ "user": "alice" }))).await;
    assert_eq!(stopped.json()["result"], "success", "{stopped:?}");
    let paths = difys.iter().flat_map(requests).map(|request| request.path);
    assert!(paths.clone().all(|path| path.starts_with("/v1/")), "{:?}", paths.collect::<Vec<_>>());
}

#[tokio::test]
async fn an_owner_is_found_and_a_file_fetched_below_the_instances_path() {
    let difys = two_difys().await;
    let front = server(&difys).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("difygate.yaml");
    std::fs::write(&path, configuration(front)).unwrap();
    // A conversation that the gateway has never seen.
    let told = request("POST", "/v1/chat-messages").header("content-type", "application/json");
    let body =
        json!({ "inputs": {}, "query": "hello", "response_mode": "blocking", "user": "bob" });
    let mut told = told.body(body.to_string()).unwrap();
    told.headers_mut().insert("authorization", "Bearer app-two".parse().unwrap());
    let conversation = send(difys[1].addr(), told).await.json()["conversation_id"].clone();

    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_difygate"));
    command.args(["serve", "-c"]).arg(&path);
    let gateway = Process::run(command, folder).await;
    let list = format!("/v1/messages?conversation_id={}&user=bob", conversation.as_str().unwrap());
    let listed = send(gateway.listen, request("GET", &list).body("").unwrap()).await;
    assert_eq!((listed.status.as_u16(), &*listed.instance()), (200, "two"), "{listed:?}");

    // A file's link: Dify signs it, and the gateway finds who has it.
    let png = b"\x89PNG\r\n\x1a\n0000";
    let form = crate::rig::form(&[("file", Some("a.png"), png), ("user", None, b"bob")]);
    let upload = request("POST", "/v1/files/upload");
    let upload = upload.header("content-type", "multipart/form-data; boundary=rig");
    let uploaded = send(gateway.listen, upload.body(form).unwrap()).await;
    assert_eq!(uploaded.status, 201, "{uploaded:?}");
    let id = uploaded.json()["id"].as_str().unwrap().to_owned();
    let link = format!("/files/{id}/file-preview?timestamp=1&nonce=1&sign=x");
    send(gateway.listen, Request::get(link.as_str()).body("").unwrap()).await;
    let asked = difys.iter().flat_map(requests).any(|request| request.path.contains("/files/"));
    assert!(asked, "no instance was asked for the file");
}
