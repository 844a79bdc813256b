//! What is sent to a second instance, and what is not.

use dify_sim::{App, Dify, Fault, Mode};
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::rig::{Plan, Rig, chat, open, request, stream, upload};

async fn get(rig: &Rig, user: &str) -> crate::rig::Answer {
    let path = format!("/v1/conversations?user={user}");
    rig.send(request("GET", &path).body("").unwrap()).await
}

fn posts(rig: &Rig) -> usize {
    let served = rig.difys.iter().flat_map(Dify::served);
    served.filter(|served| served.method == "POST").count()
}

#[tokio::test]
async fn a_listed_status_is_thrown_away_for_a_get_and_passed_on_for_a_post() {
    let rig = Plan::new(2).with("retry: { statuses: [503] }").start().await;
    let home = rig.instance_of("alice").await;
    rig.dify(&home).set_fault(Fault::Status(503)).await.unwrap();
    let answer = get(&rig, "alice").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_ne!(answer.instance(), home);
    rig.difys.iter().for_each(Dify::clear_served);
    let answer = rig.chat("alice").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!((answer.instance(), posts(&rig)), (home, 1));
    assert_eq!(rig.status().await["applications"]["shop"]["retries"], 1);
}

#[tokio::test]
async fn a_status_that_all_give_is_the_answer() {
    let rig = Plan::new(2).with("retry: { statuses: [503] }").start().await;
    for dify in &rig.difys {
        dify.set_fault(Fault::Status(503)).await.unwrap();
    }
    let answer = get(&rig, "alice").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(answer.header("x-difygate-instance").is_some(), "it is an instance's own: {answer:?}");
}

#[tokio::test]
async fn a_post_is_sent_twice_only_where_the_app_says_so() {
    for (setting, status) in [("true", StatusCode::OK), ("false", StatusCode::BAD_GATEWAY)] {
        let settings =
            format!("retry: {{ non_idempotent: {setting} }}\ntimeouts: {{ upstream_idle: 50ms }}");
        let rig = Plan::new(2).with(&settings).without_probes().start().await;
        let home = rig.instance_of("alice").await;
        rig.until_disconnected().await;
        rig.dify(&home).set_fault(Fault::CloseAfterRequest).await.unwrap();
        assert_eq!(rig.chat("alice").await.status, status, "{setting}");
    }
}

/// An instance that breaks the connection in the middle of a request's body.
fn breaker_of_uploads() -> std::net::SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    // The kernel would take in megabytes for who does not read.
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(64).unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for _ in 0..100 {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut some = vec![0; 200_000];
                let mut read = socket.read(&mut some).await.unwrap_or(0);
                if some.starts_with(b"GET /v1/ ") {
                    let ok = b"HTTP/1.1 200 OK\r\nX-Version: 1.5.0\r\nX-Env: PRODUCTION\r\n\
                               Content-Length: 2\r\n\r\n{}";
                    let _ = socket.write_all(ok).await;
                    return;
                }
                while read < 100_000 {
                    match socket.read(&mut some).await {
                        Ok(more) if more > 0 => read += more,
                        _ => return,
                    }
                }
            });
        }
    });
    addr
}

#[tokio::test]
async fn an_upload_that_broke_off_in_the_middle_goes_to_another_instance() {
    let rig = Rig::start(1).await;
    let broken = breaker_of_uploads();
    let text = std::fs::read_to_string(&rig.config_path).unwrap().replace(
        "      - { name: dify1,",
        &format!(
            "      - {{ name: broken, url: \"http://{broken}\", token: app-x }}\n      - {{ name: dify1,"
        ),
    );
    std::fs::write(&rig.config_path, text).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    let mut moved = 0;
    let file = vec![b'x'; 12 << 20];
    for number in 0..8 {
        let user = format!("user-{number}");
        let parts: [(&str, Option<&str>, &[u8]); 2] =
            [("user", None, user.as_bytes()), ("file", Some("a.txt"), &file)];
        let answer = rig.send(upload(&parts)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{user}: {answer:?}");
        moved = rig.status().await["applications"]["shop"]["retries"].as_u64().unwrap();
    }
    assert!(moved > 0, "no user was on the broken one");
    // Each of them got there once.
    assert_eq!(posts(&rig), 8);
}

#[tokio::test]
async fn an_app_that_takes_no_more_runs_is_busy_and_not_the_clients_fault() {
    let limited = |setup: dify_sim::Setup| {
        let mut setup = setup;
        setup.apps = setup
            .apps
            .into_iter()
            .map(|app: App| match app.mode {
                Mode::Chat => app.with_max_active_requests(1),
                _ => app,
            })
            .collect();
        setup
    };
    let rig = Plan::new(2).with_difys(limited).start().await;
    let mut running = open(rig.addr(), stream("alice", 200, 0.05)).await.unwrap();
    let home = running.headers()["x-difygate-instance"].to_str().unwrap().to_owned();
    running.body_mut().frame().await.unwrap().unwrap();
    let answer = rig.chat("alice").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
    assert_eq!(answer.json()["code"], "too_many_requests");
    assert_eq!(answer.header("retry-after"), Some("1"));
    // Who is not tied down goes to the other; nobody was taken out.
    let rig2 = Plan::new(2).with_difys(limited).with("method: least_connections").start().await;
    let mut one = open(rig2.addr(), stream("alice", 200, 0.05)).await.unwrap();
    one.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(rig2.chat("bob").await.status, StatusCode::OK);
    let status = rig.status().await;
    assert_eq!(status["applications"]["shop"]["instances"][home]["status"], "healthy", "{status}");
}

#[tokio::test]
async fn retries_end_with_the_budget() {
    let settings = "retry: { budget: 0%, attempts: 1 }";
    let rig = Plan::new(2).with(settings).with_instances(", max_fails: 1000");
    // A probe that fails would take the instance out before the budget ends.
    let rig = rig.without_probes().start().await;
    let home = rig.instance_of("alice").await;
    rig.dify(&home).set_fault(Fault::CloseAfterRequest).await.unwrap();
    let mut served = 0;
    while get(&rig, "alice").await.status == StatusCode::OK {
        served += 1;
        assert!(served <= 100, "the reserve of 100 retries does not end");
    }
    let shop = &rig.status().await["applications"]["shop"];
    assert_eq!(
        (shop["retries"].as_u64(), shop["retry_budget_left"].as_u64()),
        (Some(100), Some(0))
    );
    assert!(shop["retries_refused"].as_u64().unwrap() >= 1);
}

#[tokio::test]
async fn all_attempts_together_have_a_limit() {
    let timeouts = "timeouts: { all_attempts: 700ms, first_byte_idempotent: 400ms }";
    let rig = Plan::new(3).with(timeouts).start().await;
    for dify in &rig.difys {
        dify.set_fault(Fault::Frozen).await.unwrap();
    }
    let began = std::time::Instant::now();
    let answer = rig.send(chat("alice")).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{answer:?}");
    assert!(began.elapsed() >= std::time::Duration::from_millis(600));
    let answer = get(&rig, "alice").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{answer:?}");
}
