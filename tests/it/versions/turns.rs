//! Turns of conversations: found before they are sent, never sent on a guess.

use dify_sim::{Fault, Release};
use http::StatusCode;
use serde_json::json;

use super::landscapes::{by, counted, id, landscapes, rig, stranger, turn, turns_of};
use crate::rig::{has_event, post, request};

const NOBODYS: &str = "11111111-2222-4333-8444-555555555555";

#[tokio::test]
async fn a_turn_of_an_unknown_conversation_goes_to_its_owner_alone() {
    for releases in landscapes() {
        for mode in ["blocking", "streaming"] {
            let rig = rig(&releases, "").await;
            let first = rig.send(turn("alice", "", mode)).await;
            assert_eq!(first.status, StatusCode::OK, "{releases:?} {first:?}");
            let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
            let stranger = stranger(&rig, &home).await;
            let other = rig.beside().await;
            let before = turns_of(&rig.difys);
            let second = other.send(by(&stranger, turn("alice", &conversation, mode))).await;
            assert_eq!((second.status, second.instance()), (StatusCode::OK, home), "{releases:?}");
            assert_eq!(id(&second, "conversation_id"), conversation, "{releases:?} {mode}");
            let sent: usize =
                turns_of(&rig.difys).iter().zip(before).map(|(now, was)| now - was).sum();
            assert_eq!(sent, 1, "{releases:?} {mode}: nobody else got it");
        }
    }
}

#[tokio::test]
async fn what_nobody_has_is_what_its_home_says() {
    for release in Release::ALL {
        let rig = rig(&[release; 2], "").await;
        assert_eq!(rig.chat("alice").await.status, StatusCode::OK);
        let answer = rig.send(turn("alice", NOBODYS, "blocking")).await;
        let expected = match release {
            Release::Main => StatusCode::OK,
            _ => StatusCode::NOT_FOUND,
        };
        assert_eq!(answer.status, expected, "{release}: {answer:?}");
        assert_eq!(counted(&rig, "located_nobody").await, 1, "{release}");
        // A new conversation where another was asked for is said aloud.
        let strayed = u64::from(release == Release::Main);
        assert_eq!(counted(&rig, "wrong_conversation").await, strayed, "{release}");
        assert_eq!(rig.send(turn("alice", NOBODYS, "blocking")).await.status, expected);
        assert_eq!(counted(&rig, "located_nobody").await, 1, "{release}: it is remembered");
        let status = rig.status().await;
        let instances = status["applications"]["shop"]["instances"].as_object().unwrap();
        assert!(instances.values().all(|instance| instance["failures"] == 0), "{instances:?}");
    }
}

#[tokio::test]
async fn who_does_not_answer_may_have_it() {
    for release in [Release::V1_5, Release::Main] {
        let settings = "retry: { attempts: 0 }\nprobe: { enabled: false }";
        let rig = rig(&[release; 2], settings).await;
        let first = rig.send(turn("alice", "", "blocking")).await;
        let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
        let stranger = stranger(&rig, &home).await;
        let other = rig.beside().await;
        rig.dify(&home).set_fault(Fault::Status(503)).await.unwrap();
        let before = turns_of(&rig.difys);
        let answer = other.send(by(&stranger, turn("alice", &conversation, "blocking"))).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{release}: {answer:?}");
        assert_eq!(answer.json()["code"], "owner_unavailable");
        assert_eq!(turns_of(&rig.difys), before, "{release}: nobody got the turn");
    }
}

#[tokio::test]
async fn where_restart_is_allowed_a_turn_leaves_the_conversation_that_cannot_be_found() {
    for release in [Release::V1_5, Release::V1_14, Release::Main] {
        let settings = "retry: { attempts: 0 }\nprobe: { enabled: false }\non_owner_down: restart";
        let rig = rig(&[release; 2], settings).await;
        let first = rig.send(turn("alice", "", "blocking")).await;
        let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
        let stranger = stranger(&rig, &home).await;
        let other = rig.beside().await;
        rig.dify(&home).set_fault(Fault::Status(503)).await.unwrap();
        let answer = other.send(by(&stranger, turn("alice", &conversation, "blocking"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{release}: {answer:?}");
        assert_ne!(id(&answer, "conversation_id"), conversation, "{release}");
        let told = answer.header("x-difygate-conversation").unwrap();
        assert_eq!(told, format!("restarted; was={conversation}"), "{release}");
    }
}

#[tokio::test]
async fn too_many_searches_at_a_time_are_refused() {
    let rig = rig(&[Release::Main; 2], "probe: { enabled: false }").await;
    for dify in &rig.difys {
        dify.set_fault(Fault::Frozen).await.unwrap();
    }
    let search = |number: u128| {
        let conversation = uuid::Uuid::from_u128(0x4000_8000_0000_0000_0000 + number).to_string();
        tokio::spawn(crate::rig::try_send(rig.addr(), turn("alice", &conversation, "blocking")))
    };
    let mut statuses = Vec::new();
    for answer in (1..=7).map(search).collect::<Vec<_>>() {
        statuses.push(answer.await.unwrap().unwrap());
    }
    let refused = statuses.iter().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 2, "{statuses:?}");
    assert_eq!(refused[0].header("retry-after"), Some("1"));
    let rest = statuses.iter().filter(|a| a.status == StatusCode::SERVICE_UNAVAILABLE).count();
    assert_eq!(rest, 5, "{statuses:?}");
}

#[tokio::test]
async fn at_the_ai_endpoints_a_lost_conversation_begins_anew_with_the_transcript() {
    for release in [Release::V1_5, Release::V1_13, Release::Main] {
        let rig = rig(&[release; 2], "owners: { max_entries: 8 }").await;
        let said = |messages| {
            post(
                "/v1/chat/completions",
                &json!({ "model": "shop", "user": "alice", "messages": messages }),
            )
        };
        let first = rig.send(said(json!([{ "role": "user", "content": "blue" }]))).await;
        assert_eq!(first.status, StatusCode::OK, "{release}: {first:?}");
        let answer = first.json()["choices"][0]["message"]["content"].clone();
        let conversation = first.header("x-difygate-conversation").unwrap().to_owned();
        let path = format!("/v1/conversations/{conversation}");
        // It is deleted behind the gateway's back, by the user that Dify knows.
        for (number, dify) in (1..).zip(&rig.difys) {
            for served in dify.served() {
                let body: serde_json::Value =
                    serde_json::from_slice(&served.body).unwrap_or_default();
                let Some(name) = body["user"].as_str() else { continue };
                let delete = http::Request::delete(format!("{}{path}", dify.url()))
                    .header("authorization", format!("Bearer app-shop-{number}"))
                    .header("content-type", "application/json")
                    .body(json!({ "user": name }).to_string())
                    .unwrap();
                let _ = crate::rig::send(dify.addr(), delete).await;
            }
        }
        // Other ids push it out: nobody is known to have it any more. The table counts ages in whole
        // seconds, so these have to be of a later one.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        for number in 0..10 {
            rig.chat(&format!("other-{number}")).await;
        }
        let second = rig
            .send(said(json!([
                { "role": "user", "content": "blue" },
                { "role": "assistant", "content": answer },
                { "role": "user", "content": "and now?" },
            ])))
            .await;
        assert_eq!(second.status, StatusCode::OK, "{release}: {second:?}");
        assert_ne!(
            second.header("x-difygate-conversation"),
            Some(conversation.as_str()),
            "{release}"
        );
        let text = second.json()["choices"][0]["message"]["content"].to_string();
        assert!(text.contains("blue"), "{release}: the transcript is not lost: {text}");
        assert_eq!(counted(&rig, "wrong_conversation").await, 0, "{release}");
        // What the client names itself is its own affair.
        let mut named = said(json!([{ "role": "user", "content": "hello" }]));
        named.headers_mut().insert("x-dify-conversation-id", NOBODYS.parse().unwrap());
        let named = rig.send(named).await;
        assert_eq!(named.status, StatusCode::NOT_FOUND, "{release}: {named:?}");
    }
}

#[tokio::test]
async fn another_users_404_makes_no_owner_forgotten() {
    for release in [Release::V1_5, Release::V1_12, Release::Main] {
        let rig = rig(&[release; 2], "").await;
        let first = rig.send(turn("alice", "", "blocking")).await;
        let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
        let stranger = stranger(&rig, &home).await;
        let path = |user: &str| format!("/v1/messages?conversation_id={conversation}&user={user}");
        let eve = rig.send(request("GET", &path("eve")).body("").unwrap()).await;
        assert_eq!(eve.status, StatusCode::NOT_FOUND, "{release}: {eve:?}");
        let before = counted(&rig, "asked_around").await;
        let list = request("GET", &path("alice")).header("x-user-id", &stranger).body("").unwrap();
        let list = rig.send(list).await;
        assert_eq!((list.status, list.instance()), (StatusCode::OK, home), "{release}");
        assert_eq!(
            counted(&rig, "asked_around").await,
            before,
            "{release}: the owner is still known"
        );
    }
}

#[tokio::test]
async fn first_turns_at_once_are_one_users() {
    for release in [Release::V1_12, Release::V1_14, Release::Main] {
        // Dify takes its time to make a user, so all are there before the first is known.
        let plan = crate::rig::Plan::new(1).with_difys(|_| {
            let mut setup = super::landscapes::setup(release, 1);
            setup.pace.newcomer = std::time::Duration::from_millis(300);
            setup
        });
        let rig = plan.start().await;
        let sent = (0..6).map(|_| {
            let request = turn("newcomer", "", "streaming");
            tokio::spawn(crate::rig::try_send(rig.addr(), request))
        });
        let mut conversations = Vec::new();
        for answer in sent.collect::<Vec<_>>() {
            let answer = answer.await.unwrap().unwrap();
            assert!(has_event(&answer.text(), "message_end"), "{release}: {answer:?}");
            conversations.push(id(&answer, "conversation_id"));
        }
        for conversation in conversations {
            let path = format!("/v1/messages?conversation_id={conversation}&user=newcomer");
            let list = rig.send(request("GET", &path).body("").unwrap()).await;
            assert_eq!(list.status, StatusCode::OK, "{release}: {list:?}");
        }
        assert!(counted(&rig, "waited_for_first_turn").await >= 1, "{release}");
        let before = counted(&rig, "waited_for_first_turn").await;
        rig.send(turn("newcomer", "", "blocking")).await;
        assert_eq!(
            counted(&rig, "waited_for_first_turn").await,
            before,
            "{release}: they have met"
        );
    }
}

#[tokio::test]
async fn what_says_nothing_of_the_conversation_is_no_answer_to_the_search() {
    for (status, body) in [
        (404, "404 page not found"),
        (403, "<h1>blocked</h1>"),
        (401, r#"{"code": "unauthorized", "message": "Access token is invalid", "status": 401}"#),
        (200, "<h1>login</h1>"),
    ] {
        let (between, addr) = super::landscapes::between(status, body).await;
        let rig = rig(&[Release::Main], "probe: { enabled: false }").await;
        // Something else answers for an instance that may have the conversation.
        let text = std::fs::read_to_string(&rig.config_path).unwrap().replacen(
            "      - { name: dify1,",
            &format!("      - {{ name: other, url: \"http://{addr}\", token: app-x }}\n      - {{ name: dify1,"),
            1,
        );
        std::fs::write(&rig.config_path, text).unwrap();
        rig.gateway.reloader().reload().await.unwrap();
        let answer = rig.send(turn("alice", NOBODYS, "blocking")).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{status} {body}: {answer:?}");
        assert_eq!(turns_of(&rig.difys), [0], "{status} {body}");
        assert_eq!(counted(&rig, "located_nobody").await, 0);
        between.abort();
    }
}

#[tokio::test]
async fn an_escaped_path_and_a_header_of_packing_hide_nothing() {
    for release in [Release::V1_5, Release::Main] {
        let rig = rig(&[release; 2], "").await;
        let first = rig.send(turn("alice", "", "blocking")).await;
        let (home, conversation) = (first.instance(), id(&first, "conversation_id"));
        let stranger = stranger(&rig, &home).await;
        let packed = |value: &'static str| {
            let mut request = by(&stranger, turn("alice", &conversation, "blocking"));
            request.headers_mut().insert("content-encoding", value.parse().unwrap());
            request
        };
        let mut escaped = by(&stranger, turn("alice", &conversation, "blocking"));
        *escaped.uri_mut() = "/v1/chat%2Dmess%61ges".parse().unwrap();
        for request in [escaped, packed("identity"), packed("gzip")] {
            let answer = rig.send(request).await;
            assert_eq!(
                (answer.status, answer.instance()),
                (StatusCode::OK, home.clone()),
                "{release}"
            );
            assert_eq!(id(&answer, "conversation_id"), conversation, "{release}");
        }
    }
}

#[tokio::test]
async fn a_list_a_search_and_first_turns_at_once_are_one_users() {
    for round in 0..5 {
        let rig = rig(&[Release::Main; 2], "").await;
        let user = format!("newcomer-{round}");
        let list =
            request("GET", &format!("/v1/conversations?user={user}")).body(bytes::Bytes::new());
        let unknown = uuid::Uuid::new_v4().to_string();
        let requests =
            [list.unwrap(), turn(&user, &unknown, "blocking"), turn(&user, "", "blocking")];
        let sent = requests.map(|request| tokio::spawn(crate::rig::try_send(rig.addr(), request)));
        let mut last = None;
        for answer in sent {
            last = Some(answer.await.unwrap().unwrap());
        }
        let conversation = id(&last.unwrap(), "conversation_id");
        let path = format!("/v1/messages?conversation_id={conversation}&user={user}");
        let seen = rig.send(request("GET", &path).body("").unwrap()).await;
        assert_eq!(seen.status, StatusCode::OK, "{round}: {seen:?}");
    }
}

#[tokio::test]
async fn who_is_silent_and_asked_last_does_not_hold_up_a_search_for_long() {
    let rig = rig(&[Release::Main; 3], "probe: { enabled: false }").await;
    rig.difys[0].set_fault(Fault::Frozen).await.unwrap();
    let sent = (0..6).map(|number| {
        let path = format!("/v1/messages/{NOBODYS}/suggested?user=user-{number}");
        let ask = request("GET", &path).body(bytes::Bytes::new()).unwrap();
        tokio::spawn(crate::rig::try_send(rig.addr(), ask))
    });
    // It would be `timeouts.first_byte`, 20 minutes.
    let minute = std::time::Duration::from_secs(60);
    for answer in sent.collect::<Vec<_>>() {
        let answer = tokio::time::timeout(minute, answer).await.unwrap().unwrap().unwrap();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    }
}
