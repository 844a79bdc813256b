//! Files of a turn.

use bytes::Bytes;
use dify_sim::Release;
use http::{Request, StatusCode};
use serde_json::json;

use super::landscapes::{by, rig, stranger};
use crate::rig::{has_event, post, upload};

fn with_file(file: &str, user: &str, mode: &str) -> Request<Bytes> {
    let files = json!([
        { "type": "document", "transfer_method": "local_file", "upload_file_id": file }
    ]);
    let body = json!({ "inputs": {}, "query": "read it", "response_mode": mode, "user": user,
        "files": files });
    post("/v1/chat-messages", &body)
}

#[tokio::test]
async fn a_turn_whose_file_is_elsewhere_moves_on() {
    // 1.13 and the release 1.14.2 are silent where a file is missing in a streamed flow.
    for (release, mode) in [
        (Release::V1_5, "blocking"),
        (Release::V1_5, "streaming"),
        (Release::V1_12, "streaming"),
        (Release::V1_13, "blocking"),
        (Release::V1_14, "blocking"),
        (Release::Main, "blocking"),
        (Release::Main, "streaming"),
    ] {
        let rig = rig(&[release; 3], "").await;
        let parts: [(&str, Option<&str>, &[u8]); 2] =
            [("file", Some("a.txt"), b"text"), ("user", None, b"alice")];
        let uploaded = rig.send(upload(&parts)).await;
        assert_eq!(uploaded.status, StatusCode::CREATED, "{uploaded:?}");
        let (home, file) =
            (uploaded.instance(), uploaded.json()["id"].as_str().unwrap().to_owned());
        let stranger = stranger(&rig, &home).await;
        // A gateway that has not seen the upload.
        let other = rig.beside().await;
        let answer = other.send(by(&stranger, with_file(&file, "alice", mode))).await;
        assert_eq!((answer.status, answer.instance()), (StatusCode::OK, home), "{release} {mode}");
        assert!(answer.text().contains("a.txt"), "{release} {mode}: {answer:?}");
        if mode == "streaming" {
            assert!(has_event(&answer.text(), "message_end"), "{release}: {answer:?}");
            assert!(!answer.text().contains("Invalid upload file"), "{release}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_file_of_another_user_is_refused_where_dify_refuses_it() {
    for release in Release::ALL {
        let rig = rig(&[release; 2], "").await;
        let parts: [(&str, Option<&str>, &[u8]); 2] =
            [("file", Some("a.txt"), b"text"), ("user", None, b"alice")];
        let uploaded = rig.send(upload(&parts)).await;
        let file = uploaded.json()["id"].as_str().unwrap().to_owned();
        let answer = rig.send(with_file(&file, "bob", "blocking")).await;
        let expected = match release {
            Release::V1_14 | Release::Main => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        };
        assert_eq!(answer.status, expected, "{release}: {answer:?}");
        // Whose it is stays known.
        let own = rig.send(with_file(&file, "alice", "blocking")).await;
        assert_eq!((own.status, own.instance()), (StatusCode::OK, uploaded.instance()));
    }
}

#[tokio::test]
async fn a_file_that_nobody_has_is_difys_own_refusal() {
    for release in Release::ALL {
        let rig = rig(&[release; 2], "").await;
        let nobodys = "11111111-2222-4333-8444-555555555555";
        let answer = rig.send(with_file(nobodys, "alice", "blocking")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{release}: {answer:?}");
        assert_eq!(answer.json()["message"], "Invalid upload file", "{release}");
    }
}
