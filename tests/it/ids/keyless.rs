//! Signed links and servers of tools: no key opens them, and none is sent.

use http::StatusCode;
use serde_json::json;

use super::stage::{Asked, Replay, Stage, TOKEN, line_of};

const QUERY: &str = "?timestamp=1795994911&nonce=9d0a5a60d23155234116890c0e62602b&sign=Wpa2GaaW%3D";

const CODE: &str = "POST /mcp/server/u1WeaAPJCdCKIHnc/mcp";

/// What a server of tools may be sent; two at once, too.
fn call() -> String {
    json!([{ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }]).to_string()
}

fn has_no_key(replay: &Replay) -> usize {
    let asked = replay.take();
    assert!(asked.iter().all(|asked: &Asked| asked.key.is_none()), "{asked:?}");
    asked.len()
}

#[tokio::test]
async fn a_signed_link_is_served_by_who_signed_it() {
    let link = line_of("x-fileurl-attach");
    let head = link.replace("GET", "HEAD");
    let mut stage = Stage::start(
        &["x-fileurl-attach", &format!("{head} = x-fileurl-attach")],
        &["x-fileurl-other", &format!("{head} = x-fileurl-other")],
        "",
    )
    .await;
    for line in [&link, &head] {
        stage.forget().await;
        for (number, token) in [None, Some(TOKEN), Some("unknown"), None].into_iter().enumerate() {
            let answer = stage.ask(&format!("{line}{QUERY}"), "", token).await;
            assert_eq!((answer.status, answer.instance()), (StatusCode::OK, "dify1".into()));
            let file = if line == &head { "" } else { "hello from 1" };
            assert_eq!(answer.text(), file);
            assert_eq!(has_no_key(&stage.one), 1);
            let others = has_no_key(&stage.two);
            assert!(others <= usize::from(number == 0), "then it is known: {others}");
        }
    }
}

#[tokio::test]
async fn a_link_of_a_known_file_that_is_too_old_is_asked_of_its_instance_alone() {
    let link = line_of("x-fileurl-attach");
    let head = link.replace("GET", "HEAD");
    let stage = Stage::start(
        &["x-fileurl-attach", &format!("{head} = x-fileurl-other")],
        &["x-fileurl-other", &format!("{head} = x-fileurl-other")],
        "",
    )
    .await;
    assert_eq!(stage.ask(&format!("{link}{QUERY}"), "", None).await.status, StatusCode::OK);
    stage.take();
    // As if it were: this instance has the file, and refuses.
    for _ in 0..3 {
        let answer = stage.ask(&format!("{head}{QUERY}"), "", None).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    assert_eq!((has_no_key(&stage.one), has_no_key(&stage.two)), (3, 0));
}

#[tokio::test]
async fn a_link_that_nobody_signed_is_asked_of_all_and_takes_nobody_out() {
    let link = line_of("x-fileurl-other");
    let stage = Stage::start(&["x-fileurl-other"], &["x-fileurl-other"], "").await;
    for _ in 0..8 {
        let answer = stage.ask(&format!("{link}{QUERY}"), "", None).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.json()["message"], "File not found or signature is invalid");
        assert_eq!((has_no_key(&stage.one), has_no_key(&stage.two)), (1, 1));
    }
    assert!(stage.are_both_in().await);
    // What is no link of Dify is not even asked.
    let answer = stage.ask(&link, "", None).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(has_no_key(&stage.one) + has_no_key(&stage.two), 1, "without a signature");
}

#[tokio::test]
async fn nothing_else_of_the_files_is_let_through() {
    let link = line_of("x-fileurl-other");
    let path = link.strip_prefix("GET ").unwrap();
    let stage = Stage::start(&["x-fileurl-other"], &["x-fileurl-other"], "").await;
    for line in [
        format!("POST {path}{QUERY}"),
        format!("PUT {path}"),
        format!("DELETE {path}"),
        "POST /files/upload/for-plugin?sign=x".to_owned(),
        "GET /files/upload/for-plugin?sign=x".to_owned(),
        format!("GET {path}/../../../console/api/setup"),
        format!("GET /files/workspaces/{}/webapp-logo", &path[7..43]),
        "GET /mcp/server/x".to_owned(),
        "GET /console/api/setup".to_owned(),
    ] {
        for token in [None, Some(TOKEN)] {
            let answer = stage.ask(&line, "", token).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{line}");
            assert_eq!(answer.header("x-difygate-instance"), None, "{line}");
        }
    }
    let preflight = stage.ask(&format!("OPTIONS {path}"), "", None).await;
    assert_eq!(preflight.header("allow"), Some("GET, HEAD, OPTIONS"), "{preflight:?}");
    assert_eq!(stage.take(), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_code_leads_to_its_server_of_tools_and_is_remembered() {
    let mut stage = Stage::start(&["mcp-tools-list", "mcp-get"], &["mcp-other-instance"], "").await;
    for token in [None, Some(TOKEN), Some("unknown")] {
        stage.forget().await;
        for number in 0..4 {
            let answer = stage.ask(CODE, &call(), token).await;
            assert_eq!((answer.status, answer.instance()), (StatusCode::OK, "dify1".into()));
            assert_eq!(has_no_key(&stage.one), 1);
            assert!(has_no_key(&stage.two) <= usize::from(number == 0));
        }
    }
}

#[tokio::test]
async fn a_server_that_is_known_says_itself_what_it_does_not_do() {
    let stage = Stage::start(
        &[&format!("{CODE} ~ nope = mcp-unknown-method"), "mcp-tools-list", "mcp-get"],
        &["mcp-other-instance", "mcp-get"],
        "",
    )
    .await;
    // All say so of any code, so nothing is learned of it.
    for _ in 0..2 {
        let answer = stage.ask(&CODE.replace("POST", "GET"), "", None).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    assert_eq!(stage.ask(CODE, &call(), None).await.instance(), "dify1");
    stage.take();
    for _ in 0..4 {
        let answer = stage.ask(CODE, &call().replace("tools/list", "nope"), None).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.instance(), "dify1");
    }
    assert_eq!((has_no_key(&stage.one), has_no_key(&stage.two)), (4, 0));
    assert_eq!(stage.ask(CODE, &call(), None).await.instance(), "dify1", "and it is still known");
}

#[tokio::test]
async fn a_code_that_nobody_knows_is_500_and_takes_nobody_out() {
    let stage = Stage::start(&["mcp-other-instance"], &["mcp-other-instance"], "").await;
    for _ in 0..8 {
        let answer = stage.ask(CODE, &call(), None).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.json()["code"], "unknown");
        assert_eq!((has_no_key(&stage.one), has_no_key(&stage.two)), (1, 1));
    }
    assert!(stage.are_both_in().await);
}
