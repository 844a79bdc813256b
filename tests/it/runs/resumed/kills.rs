//! Native clients of flows whose API process is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use dify_sim::{Fault, Ran, Release, RunEnd};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::stage::{Begun, events, kill, plan, resumed, run, settles, start, told, turn};
use crate::rig::{Plan, has_event, open, requests};

const KILLS: usize = 50;

#[tokio::test]
async fn in_fifty_kills_nothing_is_said_twice_and_nothing_is_missing() {
    let rig = plan(Release::Main).start().await;
    let dify = &rig.difys[0];
    let query = "a \"long\" Grüße\ntokens 30 0.25";
    let chat = told(&Begun::until(&rig, turn("alice", query), ("", 0)).await.rest().await);
    let flow = told(&Begun::until(&rig, run("alice", query), ("", 0)).await.rest().await);
    assert!(chat.text.len() > 100 && flow.text.len() > 100, "{chat:?} {flow:?}");
    for number in 0..KILLS {
        // From the run's first event to its last.
        let (part, times) = ("\n\n", 2 + number % 42);
        let chatting = Begun::until(&rig, turn("alice", query), (part, times)).await;
        let flowing = Begun::until(&rig, run("bob", query), (part, 2)).await;
        kill(dify).await;
        if number % 2 == 1 {
            // Only the child of gunicorn: its master keeps the socket, and connections hang.
            dify.set_fault(Fault::Frozen).await.unwrap();
        }
        // Some runs end while nobody passes them on.
        sleep(Duration::from_millis(20 * (number as u64 % 10))).await;
        start(dify).await;
        let (chatting, flowing) = tokio::join!(chatting.rest(), flowing.rest());
        for (stream, whole) in [(chatting, &chat), (flowing, &flow)] {
            let told = told(&stream);
            let said = (&told.text, &told.ends);
            assert_eq!(said, (&whole.text, &whole.ends), "kill {number}\n{stream}");
            // Of a run that ended while nobody passed it on, Dify tells no more than its end.
            let once: BTreeSet<_> = told.nodes.iter().collect();
            assert_eq!(once.len(), told.nodes.len(), "kill {number}\n{stream}");
            assert!(once.iter().all(|node| whole.nodes.contains(node)), "{stream}");
        }
    }
    let (continued, failed) = (resumed(&rig, "continued").await, resumed(&rig, "failed").await);
    assert!(continued > KILLS as u64 && failed == 0, "{continued} {failed}");
    settles(&rig).await;
}

#[tokio::test]
async fn a_run_is_taken_up_as_often_as_its_process_dies_and_the_log_says_so() {
    let rig = plan(Release::V1_14).start().await;
    let beside = rig.beside().await;
    let query = "tokens 60 1";
    let whole = told(&Begun::until(&rig, turn("alice", query), ("", 0)).await.rest().await);
    let body = open(beside.addr(), turn("bob", query)).await.unwrap().into_body();
    let mut begun = Begun { body, text: String::new() };
    while !begun.text.contains("\"message\"") {
        assert!(begun.next().await);
    }
    for _ in 0..3 {
        kill(&rig.difys[0]).await;
        start(&rig.difys[0]).await;
        let asked = rig.difys[0].served_count() + 1;
        timeout(Duration::from_secs(20), rig.difys[0].wait_for_served(asked)).await.unwrap();
    }
    let stream = begun.rest().await;
    assert_eq!(told(&stream), whole, "{stream}");
    let logged = beside.logged().await;
    assert_eq!(logged.len(), 1, "{logged:?}");
    let (line, detail) = (&logged[0], logged[0]["detail"].as_str().unwrap());
    assert!(detail.starts_with("resumed after ") && detail.contains("dify1: answer cut"), "{line}");
    assert_eq!((&line["reason"], &line["status"]), (&json!("answered"), &json!(200)), "{line}");
    assert_eq!(line["total_tokens"], events(&stream).last().unwrap()["data"]["total_tokens"]);
}

#[tokio::test]
async fn a_run_that_ended_while_nobody_could_tell_it_is_told_whole() {
    let rig = plan(Release::Main).start().await;
    for (request, mode) in
        [(turn("alice", "tokens 20 1"), "chat"), (run("bob", "tokens 20 1"), "flow")]
    {
        let whole = told(&Begun::until(&rig, request.clone(), ("", 0)).await.rest().await);
        let begun = Begun::until(&rig, request, ("\n\n", 9)).await;
        kill(&rig.difys[0]).await;
        let ran = |ran: &Ran| ran.end == RunEnd::Running;
        while rig.difys[0].runs().iter().any(ran) {
            sleep(Duration::from_millis(20)).await;
        }
        start(&rig.difys[0]).await;
        let stream = begun.rest().await;
        let told = told(&stream);
        assert_eq!((&told.text, &told.ends), (&whole.text, &whole.ends), "{mode} {stream}");
    }
    assert_eq!(resumed(&rig, "continued").await, 2);
}

#[tokio::test]
async fn a_run_is_not_taken_up_where_that_is_off_or_unknown_to_dify() {
    for (release, settings) in [
        (Release::Main, "retry: { resume: false }"),
        (Release::V1_13, "retry: { resume: true }"),
        (Release::V1_12, ""),
    ] {
        let rig = plan(release).with(settings).start().await;
        let begun = Begun::until(&rig, turn("alice", "tokens 400 1"), ("\"message\"", 3)).await;
        kill(&rig.difys[0]).await;
        start(&rig.difys[0]).await;
        let stream = begun.rest().await;
        assert!(has_event(&stream, "error") && stream.contains("broke off"), "{release} {stream}");
        let asked = requests(&rig.difys[0]);
        assert!(asked.iter().all(|served| !served.path.contains("/events?")), "{release}");
        assert_eq!(resumed(&rig, "failed").await, 0);
    }
}

#[tokio::test]
async fn a_dify_that_does_not_know_the_run_is_asked_once() {
    for status in [404, 410, 400, 401] {
        let rig = plan(Release::Main).start().await;
        let begun = Begun::until(&rig, turn("alice", "tokens 400 1"), ("\"message\"", 3)).await;
        kill(&rig.difys[0]).await;
        rig.difys[0].set_fault(Fault::Status(status)).await.unwrap();
        let stream = begun.rest().await;
        assert_eq!(events(&stream).last().unwrap()["event"], "error", "{status} {stream}");
        let asked = requests(&rig.difys[0]);
        let asked = asked.iter().filter(|served| served.path.contains("/events?")).count();
        assert_eq!((asked, resumed(&rig, "failed").await), (1, 1), "{status}");
        settles(&rig).await;
    }
}

#[tokio::test]
async fn a_proxy_whose_dify_is_away_is_asked_again() {
    let rig = plan(Release::Main).start().await;
    let query = "tokens 60 1";
    let whole = told(&Begun::until(&rig, turn("alice", query), ("", 0)).await.rest().await);
    let begun = Begun::until(&rig, turn("alice", query), ("\"message\"", 3)).await;
    kill(&rig.difys[0]).await;
    rig.difys[0].set_fault(Fault::Status(502)).await.unwrap();
    let before = rig.difys[0].served_count();
    timeout(Duration::from_secs(20), rig.difys[0].wait_for_served(before + 2)).await.unwrap();
    start(&rig.difys[0]).await;
    let stream = begun.rest().await;
    assert_eq!(told(&stream), whole, "{stream}");
}

#[tokio::test]
async fn a_client_that_leaves_meanwhile_has_its_run_stopped() {
    let rig = plan(Release::Main).start().await;
    let begun = Begun::until(&rig, turn("alice", "tokens 4000 1"), ("\"message\"", 3)).await;
    kill(&rig.difys[0]).await;
    sleep(Duration::from_millis(100)).await;
    drop(begun);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.status().await["stats"]["in_flight"], 1, "it waits for its instance");
    start(&rig.difys[0]).await;
    let stopped = rig.difys[0].wait_for_run(|ran| ran.end == RunEnd::Stopped);
    timeout(Duration::from_secs(20), stopped).await.unwrap();
    settles(&rig).await;
    let status = rig.status().await;
    assert_eq!(status["stats"]["by_reason"]["client_gone"], 1, "{status}");
    assert_eq!(status["applications"]["shop"]["stopped"], 1, "{status}");
}

#[tokio::test]
async fn a_plain_chat_that_its_api_process_does_itself_is_lost() {
    let plan = Plan::new(1).without_probes().with_difys(|setup| setup.with_release(Release::Main));
    let rig = plan.start().await;
    let begun = Begun::until(&rig, turn("alice", "tokens 400 0.05"), ("\"message\"", 3)).await;
    kill(&rig.difys[0]).await;
    start(&rig.difys[0]).await;
    let stream = begun.rest().await;
    assert_eq!(events(&stream).last().unwrap()["event"], "error", "{stream}");
    let asked = requests(&rig.difys[0]);
    assert!(asked.iter().all(|served| !served.path.contains("/events?")));
}
