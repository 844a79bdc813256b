//! What each Dify from 1.5 to main does, and what the gateway does then: a test for each row of the table
//! in the guide ("Versions of Dify"), against every release that is simulated.

use bytes::Bytes;
use dify_sim::{App, Dify, Flow, Mode, Pace, Release, Setup};
use http::Request;
use serde_json::{Value, json};

use crate::rig::{Answer, Plan, Rig, post};

/// Difys of these releases with one chatflow, one plain chat and one workflow, and a gateway before them.
pub(super) async fn rig(releases: &[Release], settings: &str) -> Rig {
    let number = std::cell::Cell::new(0);
    let plan = Plan::new(releases.len()).with(settings).with_difys(|_| {
        let at = number.get();
        number.set(at + 1);
        setup(releases[at], at + 1)
    });
    plan.start().await
}

/// A fast Dify whose `shop` is a chatflow.
pub(super) fn setup(release: Release, number: usize) -> Setup {
    // A second of Dify's is 20 ms.
    let second = std::time::Duration::from_millis(20);
    let pace = Pace { second, ping_interval: second * 10, ..Pace::default() };
    let files = ["image", "document"];
    Setup::default()
        .with_release(release)
        .with_pace(pace)
        .with_app(
            App::new(Mode::AdvancedChat, format!("app-shop-{number}"))
                .with_flow(Flow::Llm)
                .with_uploads(files),
        )
        .with_app(App::new(Mode::Workflow, format!("app-flow-{number}")).with_flow(Flow::Llm))
}

/// Two of each release, and one of each behind one app.
pub(super) fn landscapes() -> Vec<Vec<Release>> {
    let mut all: Vec<_> = Release::ALL.iter().map(|release| vec![*release; 2]).collect();
    all.push(Release::ALL.to_vec());
    all
}

/// A turn of a user, in a conversation unless that is empty.
pub(super) fn turn(user: &str, conversation: &str, mode: &str) -> Request<Bytes> {
    let body = json!({ "inputs": {}, "query": "hello", "response_mode": mode, "user": user,
        "conversation_id": conversation });
    post("/v1/chat-messages", &body)
}

/// The same, but hashed by another user, so that its home is another.
pub(super) fn by(hash: &str, mut request: Request<Bytes>) -> Request<Bytes> {
    request.headers_mut().insert("x-user-id", hash.parse().unwrap());
    request
}

/// A user whose home is another instance than this one.
pub(super) async fn stranger(rig: &Rig, home: &str) -> String {
    for number in 0.. {
        let user = format!("stranger-{number}");
        if rig.instance_of(&user).await != home {
            return user;
        }
    }
    unreachable!()
}

/// A member of an answer, which may be a stream.
pub(super) fn id(answer: &Answer, name: &str) -> String {
    let text = answer.text();
    let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let mut all = events.chain([text.as_str()]);
    let found = all.find_map(|json| {
        let value: Value = serde_json::from_str(json).ok()?;
        value[name].as_str().map(str::to_owned)
    });
    found.unwrap_or_else(|| panic!("{name}: {answer:?}"))
}

/// What `/status` counts for the app.
pub(super) async fn counted(rig: &Rig, name: &str) -> u64 {
    rig.status().await["applications"]["shop"][name].as_u64().unwrap()
}

/// Turns that each Dify got.
pub(super) fn turns_of(difys: &[Dify]) -> Vec<usize> {
    let turns = |dify: &Dify| {
        dify.served().iter().filter(|served| served.path == "/v1/chat-messages").count()
    };
    difys.iter().map(turns).collect()
}

/// Something that answers whatever it is asked with this status and body, and is no Dify.
pub(super) async fn between(
    status: u16,
    body: &'static str,
) -> (tokio::task::JoinHandle<()>, std::net::SocketAddr) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let answer = format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let task = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = socket.read(&mut head).await;
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    (task, addr)
}
