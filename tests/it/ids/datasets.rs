//! The knowledge API, with keys of its own.

use http::StatusCode;
use serde_json::json;

use super::stage::{Asked, Stage, line_of};

const WITH: &str = ", dataset_token: dataset-#";

const DATASET: &str = "/v1/datasets/81f05556-16f7-4f8a-b41a-8da15badf596";

fn keys(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|asked| asked.key.as_deref().unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_dataset_is_used_where_it_was_made() {
    let cases = [
        "dataset-create",
        "dataset-list",
        "dataset-get",
        "dataset-patch",
        "dataset-document-create-by-text",
        "dataset-indexing-status",
        "dataset-segments",
        "dataset-retrieve",
        "dataset-delete",
    ];
    // Each request goes to the next, unless it is known who has what it names.
    let stage = Stage::with(&cases, &cases, WITH, "method: weighted_round_robin").await;
    let body = json!({ "name": "words" }).to_string();
    let made = stage.send("POST /v1/datasets", &body).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    let owner = made.instance();
    stage.take();
    for case in &cases[2..] {
        let line = line_of(case);
        let body = if line.starts_with("POST") || line.starts_with("PATCH") { &*body } else { "" };
        for _ in 0..3 {
            let answer = stage.send(&line, body).await;
            assert!(answer.status.is_success(), "{line}: {answer:?}");
            assert_eq!(answer.instance(), owner, "{line}");
        }
    }
    let (one, two) = stage.take();
    let (asked, number) = if owner == "dify1" { (one, 1) } else { (two, 2) };
    assert_eq!(keys(&asked), vec![format!("Bearer dataset-{number}"); 3 * (cases.len() - 2)]);
}

#[tokio::test]
async fn a_list_tells_whose_its_datasets_are() {
    let here = ["dataset-list", "dataset-get"];
    let elsewhere = ["datasets-ok", &*format!("GET {DATASET} = dataset-get-unknown")];
    let stage = Stage::with(&here, &elsewhere, WITH, "method: weighted_round_robin").await;
    let lists = [(); 2].map(|()| stage.send("GET /v1/datasets?page=1&limit=5", ""));
    for list in lists {
        assert_eq!(list.await.status, StatusCode::OK);
    }
    stage.take();
    for _ in 0..4 {
        assert_eq!(stage.send(&format!("GET {DATASET}"), "").await.instance(), "dify1");
    }
    assert_eq!(stage.take().1, []);
}

#[tokio::test]
async fn datasets_are_made_where_they_are_listed_whoever_asks() {
    let cases = ["dataset-list", "dataset-create"];
    let stage = Stage::start(&cases, &cases, WITH).await;
    let home = stage.send("GET /v1/datasets", "").await.instance();
    for number in 0..8 {
        let line = format!("POST /v1/datasets?user=user-{number}");
        assert_eq!(stage.send(&line, "{}").await.instance(), home);
        let line = format!("GET /v1/datasets?user=user-{number}");
        assert_eq!(stage.send(&line, "").await.instance(), home);
    }
}

#[tokio::test]
async fn an_unknown_dataset_is_asked_around_for() {
    let elsewhere = format!("GET {DATASET} = dataset-get-unknown");
    let stage = Stage::start(&["dataset-get"], &[&elsewhere], WITH).await;
    for number in 0..4 {
        let answer = stage.send(&format!("GET {DATASET}"), "").await;
        assert_eq!((answer.status, answer.instance()), (StatusCode::OK, "dify1".to_owned()));
        let (one, two) = stage.take();
        assert_eq!(one.len(), 1);
        assert!(two.len() <= usize::from(number == 0), "then it is known");
    }
}

#[tokio::test]
async fn what_changes_an_unknown_dataset_is_sent_to_nobody_on_a_guess() {
    let get = "GET /v1/datasets/81f05556-16f7-4f8a-b41a-8da15badf596";
    let here = [
        "dataset-get",
        "dataset-patch",
        "dataset-document-create-by-text",
        "dataset-retrieve",
        "dataset-delete",
    ];
    let elsewhere = [
        &*format!("{get} = dataset-get-unknown"),
        "dataset-document-create-other-instance",
        "dataset-delete-other-instance",
    ];
    let mut stage = Stage::start(&here, &elsewhere, WITH).await;
    for case in &here[1..] {
        stage.forget().await;
        let line = line_of(case);
        let answer = stage.send(&line, "{}").await;
        assert!(answer.status.is_success(), "{line}: {answer:?}");
        let (one, two) = stage.take();
        let lines = |asked: &[Asked]| asked.iter().map(|asked| asked.line.clone()).collect();
        let (one_lines, two_lines): (Vec<_>, Vec<_>) = (lines(&one), lines(&two));
        assert_eq!(one_lines, [get, &line]);
        assert_eq!(two_lines, [get]);
        assert_eq!((keys(&one)[0], keys(&two)[0]), ("Bearer dataset-1", "Bearer dataset-2"));
        stage.send(&line, "{}").await;
        let (one, two) = stage.take();
        assert_eq!((lines(&one), two.len()), (vec![line], 0), "now it is known");
    }
}

#[tokio::test]
async fn what_changes_a_dataset_that_nobody_has_gets_one_refusal() {
    let elsewhere =
        ["dataset-delete-other-instance", &*format!("GET {DATASET} = dataset-get-unknown")];
    let stage = Stage::start(&elsewhere, &elsewhere, WITH).await;
    let line = line_of("dataset-delete");
    for number in 0..3 {
        let answer = stage.send(&line, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
        assert_eq!(answer.json()["message"], "Dataset not found.");
        let (one, two) = stage.take();
        let all: Vec<_> = one.iter().chain(&two).filter(|asked| asked.line == line).collect();
        assert_eq!(all.len(), 1, "only one is asked to");
        let gets = one.len() + two.len() - 1;
        assert_eq!(gets, if number == 0 { 2 } else { 0 }, "that is remembered for a while");
    }
}

#[tokio::test]
async fn a_known_dataset_that_is_gone_is_not_deleted_elsewhere() {
    let gone =
        ["dataset-create", &*format!("{} = dataset-delete-again", line_of("dataset-delete"))];
    let there = ["dataset-create", "dataset-delete"];
    for (one, two) in [(&gone, &there), (&there, &gone)] {
        let stage = Stage::start(one, two, WITH).await;
        let owner = stage.send("POST /v1/datasets", "{}").await.instance();
        let answer = stage.send(&line_of("dataset-delete"), "").await;
        assert_eq!(answer.instance(), owner);
        let (one, two) = stage.take();
        assert_eq!(one.len() + two.len(), 2, "{one:?} {two:?}");
    }
}

#[tokio::test]
async fn without_keys_of_its_own_the_knowledge_api_is_closed() {
    let stage = Stage::start(&["datasets-ok"], &["datasets-ok"], "").await;
    for line in ["GET /v1/datasets", "POST /v1/datasets", "GET /v1/workspaces/current/models"] {
        let answer = stage.send(line, "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
        assert_eq!(answer.json()["code"], "forbidden");
    }
    assert_eq!(stage.ask("GET /v1/datasets", "", None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.take(), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_key_of_the_knowledge_api_may_be_all_that_an_app_has() {
    let stage = Stage::with_tokens(&["datasets-ok"], &["datasets-ok"], "dataset-#").await;
    assert_eq!(stage.send("GET /v1/datasets", "").await.status, StatusCode::OK);
    let (one, two) = stage.take();
    let (asked, key) = if two.is_empty() { (one, 1) } else { (two, 2) };
    assert_eq!(keys(&asked), [format!("Bearer dataset-{key}")]);
}

#[tokio::test]
async fn the_keys_of_apps_and_of_datasets_are_not_mixed_up() {
    let stage = Stage::start(
        &["datasets-ok", "app-info-chatapp"],
        &["datasets-ok", "app-info-chatapp"],
        WITH,
    )
    .await;
    for line in ["GET /v1/info", "GET /v1/datasets", "GET /v1/workspaces/x", "GET /v1/parameters"] {
        stage.send(line, "").await;
    }
    let (one, two) = stage.take();
    for asked in one.iter().chain(&two) {
        let key = asked.key.as_deref().unwrap();
        let is_dataset = asked.line.contains("datasets") || asked.line.contains("workspaces");
        assert_eq!(key.starts_with("Bearer dataset-"), is_dataset, "{asked:?}");
        assert_eq!(key.starts_with("Bearer app-"), !is_dataset, "{asked:?}");
    }
    assert_eq!(one.len() + two.len(), 4);
}
