//! What exists in one Dify only is asked for there, whoever asks.

use dify_sim::{Dify, Fault, Served};
use http::StatusCode;
use serde_json::{Value, json};

use crate::rig::{Answer, Plan, Rig, post, request, send, upload};

/// A blocking turn of a conversation, or the first one.
fn turn(user: &str, conversation: &str) -> http::Request<bytes::Bytes> {
    let body = json!({
        "inputs": {}, "query": "hello", "response_mode": "blocking", "user": user,
        "conversation_id": conversation,
    });
    post("/v1/chat-messages", &body)
}

fn id(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()[name].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// A user whose own instance is another than `instance`.
async fn stranger(rig: &Rig, instance: &str) -> String {
    for number in 0..100 {
        let user = format!("stranger-{number}");
        let get = request("GET", &format!("/v1/conversations?user={user}")).body("").unwrap();
        if rig.send(get).await.instance() != instance {
            return user;
        }
    }
    panic!("all users are on {instance}");
}

/// Makes a Dify log nothing of what was.
fn clear(rig: &Rig) {
    rig.difys.iter().for_each(Dify::clear_served);
}

/// A request to the gateway that is hashed to another instance than the conversation's: the header
/// goes before the body's user.
fn from(user: &str, mut request: http::Request<bytes::Bytes>) -> http::Request<bytes::Bytes> {
    request.headers_mut().insert("x-user-id", user.parse().unwrap());
    request
}

#[tokio::test]
async fn a_conversation_goes_on_where_it_began_whoever_the_hash_would_choose() {
    let rig = Rig::start(3).await;
    let first = rig.send(turn("alice", "")).await;
    let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
    let stranger = stranger(&rig, &home).await;
    clear(&rig);
    let second = rig.send(from(&stranger, turn("alice", &conversation))).await;
    assert_eq!((second.status, second.instance()), (StatusCode::OK, home.clone()));
    let path = format!("/v1/messages?user=alice&conversation_id={conversation}");
    let list = request("GET", &path).header("x-user-id", &stranger).body("").unwrap();
    let list = rig.send(list).await;
    assert_eq!((list.status, list.instance()), (StatusCode::OK, home.clone()));
    let message = id(&second, "message_id");
    let path = format!("/v1/messages/{message}/feedbacks");
    let like = post(&path, &json!({ "rating": "like", "user": "alice" }));
    let like = rig.send(from(&stranger, like)).await;
    assert_eq!((like.status, like.instance()), (StatusCode::OK, home.clone()), "{like:?}");
    let elsewhere = rig.difys.iter().filter(|dify| dify.url() != rig.dify(&home).url());
    assert!(elsewhere.flat_map(Dify::served).all(|served| served.path == "/v1/"));
}

#[tokio::test]
async fn an_unknown_conversation_is_located_before_its_turn_and_remembered() {
    let rig = Rig::start(3).await;
    let first = rig.send(turn("alice", "")).await;
    let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
    // A second gateway before the same Difys knows nothing yet.
    let stranger = stranger(&rig, &home).await;
    let other = rig.beside().await;
    clear(&rig);
    let answer = other.send(from(&stranger, turn("alice", &conversation))).await;
    assert_eq!((answer.status, answer.instance()), (StatusCode::OK, home.clone()), "{answer:?}");
    assert_eq!(posts(&rig).iter().sum::<usize>(), 1, "it goes to nobody on a guess");
    assert!(gets(&rig).iter().sum::<usize>() >= 1, "the owner was asked for it");
    clear(&rig);
    let answer = other.send(from(&stranger, turn("alice", &conversation))).await;
    assert_eq!((answer.status, answer.instance()), (StatusCode::OK, home));
    assert_eq!(posts(&rig).iter().sum::<usize>(), 1, "now it is known");
    assert_eq!(gets(&rig), [0, 0, 0]);
}

/// Questions for messages that each Dify got.
fn gets(rig: &Rig) -> Vec<usize> {
    let asks = |served: &&Served| served.path.starts_with("/v1/messages?");
    let gets = |dify: &Dify| dify.served().iter().filter(asks).count();
    rig.difys.iter().map(gets).collect()
}

/// Turns that each Dify got.
fn posts(rig: &Rig) -> Vec<usize> {
    let posts = |dify: &Dify| dify.served().iter().filter(|s| s.method == "POST").count();
    rig.difys.iter().map(posts).collect()
}

#[tokio::test]
async fn what_nobody_has_is_the_homes_404() {
    let rig = Rig::start(3).await;
    let nobodys = "11111111-2222-4333-8444-555555555555";
    let home = rig.instance_of("alice").await;
    clear(&rig);
    let answer = rig.send(turn("alice", nobodys)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("Conversation Not Exists."), "{message}");
    assert_eq!(answer.instance(), home);
    assert_eq!(posts(&rig).iter().sum::<usize>(), 1, "its home alone got the turn");
    assert_eq!(gets(&rig), [1, 1, 1]);
    clear(&rig);
    let again = rig.send(turn("alice", nobodys)).await;
    assert_eq!((again.status, again.instance()), (StatusCode::NOT_FOUND, home));
    assert_eq!(gets(&rig), [0, 0, 0], "that nobody has it is remembered");
    let status = rig.status().await;
    assert_eq!(status["applications"]["shop"]["located_nobody"], 1);
    let path = format!("/v1/messages/{nobodys}/suggested?user=alice");
    let answer = rig.send(request("GET", &path).body("").unwrap()).await;
    assert_eq!(answer.json()["message"], "Message Not Exists.", "{answer:?}");
}

#[tokio::test]
async fn a_404_that_an_instance_that_is_out_might_contradict_is_a_503() {
    let rig = Plan::new(2).with("retry: { attempts: 0 }").start().await;
    let first = rig.send(turn("alice", "")).await;
    let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
    let stranger = stranger(&rig, &home).await;
    let other = rig.beside().await;
    rig.refuse(&home).await;
    other.until("shop", &home, "unhealthy").await;
    let answer = other.send(from(&stranger, turn("alice", &conversation))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.json()["code"], "owner_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_file_ties_the_first_turn_to_the_instance_that_has_it() {
    let rig = Rig::start(3).await;
    let parts: [(&str, Option<&str>, &[u8]); 2] =
        [("file", Some("a.txt"), b"text"), ("user", None, b"alice")];
    let uploaded = rig.send(upload(&parts)).await;
    assert_eq!(uploaded.status, StatusCode::CREATED, "{uploaded:?}");
    let (home, file) = (uploaded.instance(), uploaded.json()["id"].as_str().unwrap().to_owned());
    let stranger = stranger(&rig, &home).await;
    let turn = || {
        let files = json!([
            { "type": "document", "transfer_method": "local_file", "upload_file_id": file }
        ]);
        let body = json!({
            "inputs": {}, "query": "read it", "response_mode": "blocking", "user": "alice",
            "files": files,
        });
        from(&stranger, post("/v1/chat-messages", &body))
    };
    let answer = rig.send(turn()).await;
    assert_eq!((answer.status, answer.instance()), (StatusCode::OK, home.clone()), "{answer:?}");
    // Also where it must be asked around for.
    let answer = rig.beside().await.send(turn()).await;
    assert_eq!((answer.status, answer.instance()), (StatusCode::OK, home), "{answer:?}");
}

#[tokio::test]
async fn a_workflow_run_of_nulls_is_not_taken_for_the_run() {
    let rig = Rig::start(3).await;
    let run = json!({ "inputs": { "text": "x" }, "response_mode": "blocking", "user": "alice" });
    let token = |request: &mut http::Request<bytes::Bytes>| {
        let token = "Bearer usertoken--flow".parse().unwrap();
        request.headers_mut().insert("authorization", token);
    };
    let mut start = post("/v1/workflows/run", &run);
    token(&mut start);
    let started = rig.send(start).await;
    let home = started.instance();
    let run = id(&started, "workflow_run_id");
    let other = rig.beside().await;
    for gateway in [rig.addr(), other.addr()] {
        let mut detail = request("GET", &format!("/v1/workflows/run/{run}"))
            .header("x-user-id", "somebody-else")
            .body(bytes::Bytes::new())
            .unwrap();
        token(&mut detail);
        let detail = send(gateway, detail).await;
        assert_eq!(detail.json()["id"], run.as_str(), "{detail:?}");
        assert_eq!(detail.instance(), home);
    }
}

#[tokio::test]
async fn a_stop_for_an_unknown_task_reaches_every_instance() {
    let rig = Rig::start(3).await;
    let stop =
        |task: &str| post(&format!("/v1/chat-messages/{task}/stop"), &json!({ "user": "a" }));
    let answer = rig.send(stop("22222222-2222-4333-8444-555555555555")).await;
    assert_eq!(answer.json(), json!({ "result": "success" }));
    assert_eq!(posts(&rig), [1, 1, 1]);
    // One that hangs does not keep it from the others, nor the client waiting for ever.
    let rig = Plan::new(3).with("timeouts: { first_byte_idempotent: 300ms }").start().await;
    rig.difys[1].set_fault(Fault::Frozen).await.unwrap();
    let answer = rig.send(stop("not-even-a-uuid")).await;
    assert_eq!(answer.json(), json!({ "result": "success" }));
    assert_eq!((posts(&rig)[0], posts(&rig)[2]), (1, 1));
    let instances = &rig.status().await["applications"]["shop"]["instances"];
    let failures = ["dify1", "dify2", "dify3"].map(|name| instances[name]["failures"].as_u64());
    assert_eq!(failures, [Some(0), Some(1), Some(0)], "{instances}");
}

#[tokio::test]
async fn a_stop_that_failed_somewhere_is_in_the_access_log() {
    let rig = Plan::new(2).without_probes().start().await;
    rig.difys[1].set_fault(Fault::CloseAfterRequest).await.unwrap();
    let beside = rig.beside().await;
    let stop = post("/v1/chat-messages/unknown/stop", &json!({ "user": "a" }));
    assert_eq!(beside.send(stop).await.json(), json!({ "result": "success" }));
    let line = &beside.logged().await[0];
    assert_eq!(line["failed_attempts"], json!(["dify2: instance_closed"]), "{line}");
}

#[tokio::test]
async fn an_owner_that_is_out_is_a_typed_503_and_nobody_else_is_asked() {
    let rig = Rig::start(2).await;
    let first = rig.send(turn("alice", "")).await;
    let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
    rig.dify(&home).set_fault(Fault::Killed).await.unwrap();
    clear(&rig);
    for _ in 0..5 {
        let answer = rig.send(turn("alice", &conversation)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert_eq!(answer.json()["code"], "owner_unavailable");
    }
    assert_eq!(posts(&rig).iter().sum::<usize>(), 0);
    // A new conversation goes elsewhere.
    assert_eq!(rig.send(turn("alice", "")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_owner_that_is_out_is_waited_for_where_the_app_says_so() {
    let rig = Plan::new(2).with("on_owner_down: queue").start().await;
    let first = rig.send(turn("alice", "")).await;
    let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
    rig.refuse(&home).await;
    let waiting = tokio::spawn(send(rig.addr(), turn("alice", &conversation)));
    rig.until_status(|status| status["stats"]["in_flight"] == 1).await;
    // Nothing must come meanwhile.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    rig.dify(&home).set_fault(Fault::None).await.unwrap();
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, answer.instance()), (StatusCode::OK, home.clone()), "{answer:?}");

    let rig = Plan::new(2)
        .with("on_owner_down: queue")
        .with_instances(", queue: { timeout: 300ms }")
        .start()
        .await;
    let first = rig.send(turn("alice", "")).await;
    rig.refuse(&first.instance()).await;
    let answer = rig.send(turn("alice", &id(&first, "conversation_id"))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
}

#[tokio::test]
async fn a_chat_begins_anew_elsewhere_where_the_app_says_so() {
    let rig = Plan::new(2).with("on_owner_down: restart").start().await;
    let first = rig.send(turn("alice", "")).await;
    let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
    rig.refuse(&home).await;
    let answer = rig.send(turn("alice", &conversation)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_ne!(answer.instance(), home);
    let told = format!("restarted; was={conversation}");
    assert_eq!(answer.header("x-difygate-conversation"), Some(told.as_str()));
    let new = id(&answer, "conversation_id");
    assert_ne!(new, conversation);
    let next = rig.send(turn("alice", &new)).await;
    assert_eq!((next.status, next.instance()), (StatusCode::OK, answer.instance()));
    assert_eq!(next.header("x-difygate-conversation"), None);
    // What is no turn of a chat cannot begin anew.
    let path = format!("/v1/messages?user=alice&conversation_id={conversation}");
    let list = rig.send(request("GET", &path).body("").unwrap()).await;
    assert_eq!(list.status, StatusCode::SERVICE_UNAVAILABLE, "{list:?}");
}

#[tokio::test]
async fn shared_storage_needs_no_owner() {
    let rig = Plan::new(2).with("storage: shared").start().await;
    let first = rig.send(turn("alice", "")).await;
    let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
    let stranger = stranger(&rig, &home).await;
    clear(&rig);
    let answer = rig.send(from(&stranger, turn("alice", &conversation))).await;
    // The simulated ones share nothing, so the 404 shows that the hash alone decided.
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    assert_ne!(answer.instance(), home);
    assert_eq!(posts(&rig).iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn two_turns_of_a_conversation_follow_each_other_where_the_app_says_so() {
    for (setting, most) in [("true", 1), ("false", 2)] {
        let plan = Plan::new(1).with(&format!("one_turn_at_a_time: {setting}"));
        let rig = plan.start().await;
        let first = rig.send(turn("alice", "")).await;
        let slow = Fault::Slow(std::time::Duration::from_millis(500));
        rig.difys[0].set_fault(slow).await.unwrap();
        let conversation = id(&first, "conversation_id");
        let turn = || rig.send(turn("alice", &conversation));
        let watch = async {
            let mut seen: u64 = 0;
            for _ in 0..60 {
                let status: Value = rig.status().await;
                let instance = &status["applications"]["shop"]["instances"]["dify1"];
                seen = seen.max(instance["in_flight"].as_u64().unwrap());
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            seen
        };
        let (one, other, seen) = tokio::join!(turn(), turn(), watch);
        assert_eq!((one.status, other.status), (StatusCode::OK, StatusCode::OK));
        assert!(seen <= most && (most == 1 || seen == 2), "{setting}: {seen} at a time");
    }
}
