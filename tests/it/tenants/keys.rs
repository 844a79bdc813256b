//! Keys that open several apps, on Dify's own paths.

use http::Request;
use serde_json::json;

use crate::rig::{Plan, requests};

#[tokio::test]
async fn a_key_opens_its_apps_and_the_header_names_one() {
    let keys = "keys: [{ name: both, secret: sk-both }, { name: one, secret: sk-one, apps: [flow] }, \
                { name: none, secret: sk-none, apps: [], admin: true }]\n";
    let rig = Plan::new(1).with(keys).start().await;
    let ask = async |secret: &str, app: Option<&str>| {
        let mut request =
            Request::get("/v1/info").header("authorization", format!("Bearer {secret}"));
        if let Some(app) = app {
            request = request.header("x-difygate-app", app);
        }
        let answer = rig.send(request.body("").unwrap()).await;
        (answer.status.as_u16(), answer.json()["code"].clone())
    };
    assert_eq!(ask("sk-both", None).await, (400, json!("invalid_param")));
    assert_eq!(ask("sk-both", Some("shop")).await.0, 200);
    assert_eq!(ask("sk-both", Some("flow")).await.0, 200);
    assert_eq!(ask("sk-one", None).await.0, 200);
    assert_eq!(ask("sk-one", Some("shop")).await.0, 400);
    assert_eq!(ask("usertoken--shop", None).await.0, 200);
    for nobody in ["sk-none", "sk-other", "both"] {
        assert_eq!(ask(nobody, None).await, (401, json!("unauthorized")), "{nobody}");
    }
    // Each app's own key went to Dify, and the client's did not.
    let served = requests(&rig.difys[0]);
    let keys: Vec<_> = served.iter().map(|request| request.key.as_deref()).collect();
    let expected = ["app-shop-1", "app-flow-1", "app-flow-1", "app-shop-1"];
    assert_eq!(keys, expected.map(Some));
}

#[tokio::test]
async fn the_access_log_names_the_key_in_every_protocol() {
    let keys = "keys: [{ name: team, secret: sk-team, apps: [shop] }]\n";
    let rig = Plan::new(1).with(keys).without_probes().start().await;
    let beside = rig.beside().await;
    for (path, key) in [("/v1/info", "sk-team"), ("/v1/models", "sk-team"), ("/v1/info", "nobody")]
    {
        let request = Request::get(path).header("authorization", format!("Bearer {key}"));
        let status = beside.send(request.body("").unwrap()).await.status;
        assert_eq!(status.is_success(), key == "sk-team", "{path} {key}: {status}");
    }
    let lines = beside.logged().await;
    let named = |path: &str, status: u16| {
        let line = lines.iter().find(|line| line["path"] == path && line["status"] == status);
        line.map(|line| line["key"].clone())
    };
    assert_eq!(named("/v1/info", 200), Some(json!("team")), "{lines:?}");
    assert_eq!(named("/v1/models", 200), Some(json!("team")), "{lines:?}");
    assert_eq!(named("/v1/info", 401), Some(json!(null)), "{lines:?}");
}
