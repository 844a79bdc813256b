//! A service of which no instance can be reached.

use dify_sim::{App, Dify, Fault, Mode, Setup};
use http::{Request, StatusCode};

use crate::rig::{Answer, Plan, Rig, release};

/// A gateway whose services are all one Dify that refuses connections.
async fn refused(wait: &str) -> (Rig, Dify) {
    let app = App::new(Mode::Chat, "app-nobody-knows");
    let api = Dify::start(Setup::default().with_release(release()).with_app(app)).await.unwrap();
    let instances = format!("instances: [{{ url: \"{}\" }}]", api.url());
    let services = format!(
        "ingress: {{ wait: {wait} }}\nservices: {{ dify: compose, api: {{ {instances} }}, web: {{ {instances} }} }}"
    );
    let rig = Plan::new(1).with(&services).start().await;
    api.set_fault(Fault::Refused).await.unwrap();
    (rig, api)
}

async fn asked(rig: &Rig, path: &str, accept: &str) -> Answer {
    let request = Request::get(path)
        .header("accept", accept)
        .header("x-request-id", "<7>")
        .header("authorization", "Bearer app-nobody-knows");
    rig.send(request.body("").unwrap()).await
}

#[tokio::test]
async fn browsers_get_a_page_and_programs_dify_s_json() {
    let (rig, _api) = refused("100ms").await;
    let page = asked(&rig, "/apps", "text/html,*/*;q=0.8").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("retry-after"), Some("5"));
    let id = page.header("x-request-id").unwrap().to_owned();
    let shown = id.replace('<', "&lt;").replace('>', "&gt;");
    assert!(page.text().contains(&shown) && !page.text().contains("<7>"), "{}", page.text());
    for path in ["/v1/parameters", "/api/x", "/console/api/x"] {
        let answer = asked(&rig, path, "text/html").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.header("retry-after"), Some("5"), "{path}");
        assert!(answer.header("x-request-id").is_some(), "{path}");
        let error = answer.json();
        assert_eq!(
            (&error["code"], &error["status"]),
            (&"service_unavailable".into(), &503.into())
        );
    }
}

#[tokio::test]
async fn status_and_log_say_why() {
    let (rig, _api) = refused("50ms").await;
    rig.until_status(|status| {
        status["services"]["web"]["instances"]["web"]["status"] == "unhealthy"
    })
    .await;
    let status = rig.status().await;
    let web = &status["services"]["web"];
    assert_eq!((&web["method"], &web["waiting"]), (&"least_connections".into(), &0.into()));
    assert!(web["instances"]["web"]["reason"].is_string(), "{web}");
    let beside = rig.beside().await;
    let request = Request::get("/apps").header("accept", "*/*").body("").unwrap();
    assert_eq!(beside.send(request).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let logged = beside.logged().await;
    let detail = logged[0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("service web: "), "{detail}");
    assert_eq!(logged[0]["status"], 503);
}

#[tokio::test]
async fn requests_wait_for_an_instance_that_comes_back() {
    let (rig, api) = refused("20s").await;
    let waiting = asked(&rig, "/v1/parameters", "*/*");
    let back = async {
        // Its connection is refused first; a request that came later would prove nothing.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        api.set_fault(Fault::None).await.unwrap();
    };
    let (answer, ()) = tokio::join!(waiting, back);
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}
