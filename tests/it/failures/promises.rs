//! The promises about failing instances, in a small form: what `make faults` measures at length.

use std::collections::BTreeMap;
use std::time::Duration;

use dify_sim::Fault;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::rig::{Answer, Plan, Rig, has_event, post, request, try_send};

/// Enough that each of three instances is the home of some.
const USERS: usize = 24;

/// What a client made of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Good,
    /// An error that the client can see.
    Error,
    /// An answer that looks whole and is not.
    CutUnseen,
}

/// A turn with a query by which it is found in the instances' logs.
fn turn(user: &str, query: &str, mode: &str) -> Request<bytes::Bytes> {
    let body = json!({ "inputs": {}, "query": query, "response_mode": mode, "user": user });
    post("/v1/chat-messages", &body)
}

fn list(user: &str) -> Request<bytes::Bytes> {
    let path = format!("/v1/conversations?user={user}");
    request("GET", &path).body(bytes::Bytes::new()).unwrap()
}

async fn see(rig: &Rig, request: Request<bytes::Bytes>) -> Seen {
    judge(try_send(rig.addr(), request).await)
}

fn judge(answer: Result<Answer, hyper::Error>) -> Seen {
    let Ok(answer) = answer else { return Seen::Error };
    if answer.status != StatusCode::OK {
        return Seen::Error;
    }
    let text = answer.text();
    let is_stream =
        answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    match is_stream {
        true if has_event(&text, "message_end") => Seen::Good,
        true if has_event(&text, "error") => Seen::Error,
        false if serde_json::from_str::<Value>(&text).is_ok() => Seen::Good,
        _ => Seen::CutUnseen,
    }
}

/// Sends each user's request at the same time.
async fn all_users(rig: &Rig, of: impl Fn(&str) -> Request<bytes::Bytes>) -> Vec<Seen> {
    let mut asking = JoinSet::new();
    for number in 0..USERS {
        let (addr, request) = (rig.addr(), of(&format!("user-{number}")));
        asking.spawn(async move { judge(try_send(addr, request).await) });
    }
    asking.join_all().await
}

/// A user of `dify2`, with a connection kept there.
async fn user_of_dify2(rig: &Rig) -> String {
    for number in 0..100 {
        let user = format!("user-{number}");
        if rig.instance_of(&user).await == "dify2" {
            return user;
        }
    }
    panic!("dify2 has no user");
}

/// How many instances received each query whole.
fn received_whole(rig: &Rig) -> BTreeMap<String, usize> {
    let mut received = BTreeMap::new();
    for dify in &rig.difys {
        let bodies = dify.served().into_iter().filter(|r| r.method == "POST").map(|r| r.body);
        let queries = bodies.filter_map(|body| {
            serde_json::from_slice::<Value>(&body).ok()?["query"].as_str().map(str::to_owned)
        });
        let mut here: Vec<_> = queries.collect();
        here.sort();
        here.dedup();
        for query in here {
            *received.entry(query).or_default() += 1;
        }
    }
    received
}

async fn nobody_notices(fault: Fault) {
    let rig = Rig::start(3).await;
    all_users(&rig, list).await;
    match fault {
        Fault::Refused => rig.refuse("dify2").await,
        _ => rig.difys[1].set_fault(fault).await.unwrap(),
    }
    for _ in 0..3 {
        let posts = all_users(&rig, |user| turn(user, "hello", "blocking")).await;
        let streams = all_users(&rig, |user| turn(user, "hello", "streaming")).await;
        let gets = all_users(&rig, list).await;
        for seen in [posts, streams, gets].concat() {
            assert_eq!(seen, Seen::Good, "{fault:?}");
        }
    }
    rig.difys[1].set_fault(Fault::None).await.unwrap();
    assert!(all_users(&rig, list).await.iter().all(|seen| *seen == Seen::Good), "{fault:?}");
}

#[tokio::test]
async fn nobody_notices_that_an_instance_was_killed() {
    nobody_notices(Fault::Killed).await;
}

#[tokio::test]
async fn nobody_notices_that_an_instance_stopped_politely() {
    nobody_notices(Fault::Stopped).await;
}

#[tokio::test]
async fn nobody_notices_that_an_instance_refuses_connections() {
    nobody_notices(Fault::Refused).await;
}

#[tokio::test]
async fn no_get_is_lost_at_an_instance_that_hangs() {
    for fault in [Fault::Frozen, Fault::BlackHole] {
        let settings = "timeouts: { connect: 500ms, first_byte_idempotent: 500ms }";
        let rig = Plan::new(3).with(settings).start().await;
        all_users(&rig, list).await;
        rig.difys[1].set_fault(fault).await.unwrap();
        for _ in 0..2 {
            let gets = all_users(&rig, list).await;
            assert!(gets.iter().all(|seen| *seen == Seen::Good), "{fault:?}: {gets:?}");
        }
    }
}

#[tokio::test]
async fn an_instance_that_hangs_is_out_by_its_probes_alone() {
    for fault in [Fault::Frozen, Fault::BlackHole] {
        let rig = Rig::start(3).await;
        let user = user_of_dify2(&rig).await;
        rig.difys[1].set_fault(fault).await.unwrap();
        let out = async {
            while rig.status().await["applications"]["shop"]["instances"]["dify2"]["status"]
                != "unhealthy"
            {
                sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), out).await.unwrap();
        assert_eq!(see(&rig, turn(&user, "hello", "blocking")).await, Seen::Good, "{fault:?}");
        assert_eq!(see(&rig, list(&user)).await, Seen::Good, "{fault:?}");
    }
}

/// Sends one request after the other and counts the errors until they end.
async fn errors_until_out(fault: Fault, mode: &str) -> usize {
    let rig = Rig::start(3).await;
    let user = user_of_dify2(&rig).await;
    rig.difys[1].set_fault(fault).await.unwrap();
    let mut errors = 0;
    for _ in 0..12 {
        match see(&rig, turn(&user, "hello", mode)).await {
            Seen::Good => {}
            Seen::Error => errors += 1,
            Seen::CutUnseen => panic!("{fault:?}: a cut answer looked whole"),
        }
    }
    errors
}

#[tokio::test]
async fn an_instance_that_breaks_its_answers_is_out_after_five() {
    for fault in [
        Fault::Reset,
        Fault::CloseAfterRequest,
        Fault::HalfHead,
        Fault::HalfBody,
        Fault::CutAfter(20),
        Fault::Garbage,
    ] {
        for mode in ["blocking", "streaming"] {
            let errors = errors_until_out(fault, mode).await;
            assert!((1..=5).contains(&errors), "{fault:?}, {mode}: {errors} errors");
        }
    }
}

#[tokio::test]
async fn an_instance_that_answers_5xx_is_out_after_five() {
    for fault in [Fault::Status(503), Fault::RunStatus(503), Fault::RunStatus(500)] {
        let errors = errors_until_out(fault, "blocking").await;
        assert!((1..=5).contains(&errors), "{fault:?}: {errors} errors");
    }
}

#[tokio::test]
async fn a_cut_answer_is_visible_as_cut() {
    for fault in [Fault::HalfBody, Fault::CutAfter(250), Fault::CutAfter(400), Fault::HalfHead] {
        // It stays in, so that all of these meet it.
        let rig = Plan::new(1).start().await;
        rig.chat("alice").await;
        rig.difys[0].set_fault(fault).await.unwrap();
        for request in [
            list("alice"),
            turn("alice", "a longer question", "blocking"),
            turn("alice", "a longer question", "streaming"),
        ] {
            assert_eq!(see(&rig, request).await, Seen::Error, "{fault:?}");
        }
    }
}

/// Sends POSTs before, during and after a fault, and counts who received them.
async fn no_post_reaches_two(fault: Fault) {
    // Those that wait for an instance that hangs do not wait for long.
    let settings = "timeouts: { connect: 300ms, first_byte: 300ms }";
    let rig = Plan::new(3).with(settings).start().await;
    // Connections are kept when the instance breaks.
    all_users(&rig, |user| turn(user, &format!("before {user}"), "blocking")).await;
    rig.difys[1].set_fault(fault).await.unwrap();
    all_users(&rig, |user| turn(user, &format!("during {user}"), "blocking")).await;
    rig.difys[1].set_fault(Fault::None).await.unwrap();
    // What was sent to an instance that hung is read only now, and nothing tells when all of it was.
    sleep(Duration::from_millis(200)).await;
    all_users(&rig, |user| turn(user, &format!("after {user}"), "blocking")).await;
    let received = received_whole(&rig);
    assert!(received.keys().any(|query| query.starts_with("during")), "{fault:?}: {received:?}");
    for (query, instances) in received {
        assert_eq!(instances, 1, "{fault:?}: {query}");
    }
}

#[tokio::test]
async fn no_fault_makes_a_post_reach_two_instances() {
    let mut cases = JoinSet::new();
    for fault in [
        Fault::Killed,
        Fault::Stopped,
        Fault::Refused,
        Fault::Frozen,
        Fault::BlackHole,
        Fault::Reset,
        Fault::CloseAfterRequest,
        Fault::HalfHead,
        Fault::HalfBody,
        Fault::Garbage,
        Fault::Status(503),
        Fault::RunStatus(500),
        Fault::Slow(Duration::from_millis(50)),
    ] {
        cases.spawn(no_post_reaches_two(fault));
    }
    cases.join_all().await;
}

#[tokio::test]
async fn a_run_that_dies_with_its_instance_is_not_run_again() {
    let slow = |setup: dify_sim::Setup| {
        setup.with_pace(dify_sim::Pace {
            blocking: Duration::from_millis(300),
            ..Default::default()
        })
    };
    // One worker has all connections.
    let rig = Plan::new(3).with("workers: 1").with_difys(slow).start().await;
    let user = user_of_dify2(&rig).await;
    // The connection of the last turn is reused.
    let asked = tokio::spawn(try_send(rig.addr(), turn(&user, "once", "blocking")));
    let received = async {
        while !received_whole(&rig).contains_key("once") {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), received).await.unwrap();
    rig.difys[1].set_fault(Fault::Killed).await.unwrap();
    assert_eq!(judge(asked.await.unwrap()), Seen::Error);
    assert_eq!(received_whole(&rig)["once"], 1);
}

/// GETs that are fine in between do not hide that every run fails.
#[tokio::test]
async fn runs_that_fail_take_an_instance_out_although_gets_are_fine() {
    let rig = Rig::start(3).await;
    let user = user_of_dify2(&rig).await;
    rig.difys[1].set_fault(Fault::RunStatus(500)).await.unwrap();
    let mut errors = 0;
    for _ in 0..12 {
        assert_eq!(see(&rig, list(&user)).await, Seen::Good);
        errors += usize::from(see(&rig, turn(&user, "hello", "blocking")).await != Seen::Good);
    }
    assert!((1..=5).contains(&errors), "{errors} errors");
}
