//! Health, readiness, status, metrics, and who may ask.

use dify_sim::Fault;
use http::{Request, StatusCode};
use serde_json::json;

use crate::rig::{Plan, Rig, request, send};

fn get(path: &str) -> Request<&'static str> {
    Request::get(path).body("").unwrap()
}

#[tokio::test]
async fn health_answers_everybody_in_both_forms() {
    let rig = Rig::start(1).await;
    for addr in [rig.addr(), rig.gateway.admin()] {
        let answer = send(addr, get("/health")).await;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "healthy"));
        let json = Request::get("/health").header("accept", "application/json").body("").unwrap();
        let answer = send(addr, json).await.json();
        assert_eq!(answer["status"], "ok");
        let timestamp = answer["timestamp"].as_str().unwrap();
        assert!(timestamp.len() == 20 && timestamp.ends_with('Z'), "{timestamp}");
    }
}

#[tokio::test]
async fn the_rest_is_for_operators() {
    let token = "admin: { listen: 127.0.0.1:0, token: admin-secret }";
    let rig = Rig::start(1).await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    for path in ["/ready", "/status", "/metrics", "/reload-config"] {
        assert_eq!(rig.send(get(path)).await.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(send(rig.gateway.admin(), get(path)).await.status, StatusCode::OK, "{path}");
        // A user token is not an admin's.
        let as_user = request("GET", path).body("").unwrap();
        assert_eq!(rig.send(as_user).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let by_reason = &rig.status().await["stats"]["by_reason"];
    assert_eq!(by_reason["forbidden"], 8, "{by_reason}");
    // A token for operators closes the admin listener to others and opens the main one; it takes
    // effect with a reload.
    std::fs::write(&rig.config_path, text.replace("admin: { listen: 127.0.0.1:0 }", token))
        .unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    for addr in [rig.addr(), rig.gateway.admin()] {
        assert_eq!(send(addr, get("/status")).await.status, StatusCode::FORBIDDEN);
        let shown = Request::get("/status").header("authorization", "Bearer admin-secret");
        assert_eq!(send(addr, shown.body("").unwrap()).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn ready_means_that_every_app_has_an_instance() {
    let rig = Rig::start(1).await;
    let ready = || send(rig.gateway.admin(), get("/ready"));
    assert_eq!(ready().await.json()["status"], "ready");
    rig.difys[0].set_fault(Fault::Refused).await.unwrap();
    for _ in 0..3 {
        rig.chat("alice").await;
    }
    let answer = ready().await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["applications_without_instance"], json!(["shop", "flow"]));
}

#[tokio::test]
async fn status_has_what_dashboards_read_and_no_token() {
    let rig = Rig::start(2).await;
    rig.chat("alice").await;
    let status = rig.status().await;
    for key in ["version", "uptime", "architecture", "algorithm", "timestamp"] {
        assert!(!status[key].is_null(), "{key}: {status}");
    }
    assert_eq!(status["status"], "running");
    assert_eq!(status["architecture"], std::env::consts::ARCH);
    assert_eq!(status["deployment"], "multi-application");
    assert_eq!(status["stats"]["total_requests"], 1);
    assert!(status["stats"]["active_connections"].is_u64());
    assert!(status["timestamp"].as_i64().unwrap() > 1_700_000_000);
    let app = &status["applications"]["shop"];
    assert_eq!(app["total_requests"], 1);
    let mut requests = 0;
    for instance in app["instances"].as_object().unwrap().values() {
        assert_eq!(instance["status"], "healthy");
        assert_eq!(instance["weight"], 1);
        assert!(instance["in_flight"].is_u64() && instance["latency"].is_f64());
        assert!(instance.as_object().unwrap().contains_key("reason"));
        requests += instance["requests"].as_u64().unwrap();
    }
    assert_eq!(requests, 1);
    let text = status.to_string();
    assert!(!text.contains("app-shop") && !text.contains("usertoken"), "{text}");
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let rig = Rig::start(1).await;
    rig.chat("alice").await;
    rig.send(get("/v1/info")).await;
    let text = send(rig.gateway.admin(), get("/metrics")).await.text();
    for line in [
        "difygate_requests_total{reason=\"answered\"} 1",
        "difygate_requests_total{reason=\"unauthorized\"} 1",
        "difygate_app_requests_total{app=\"shop\",status=\"2xx\"} 1",
        "difygate_instance_requests_total{app=\"shop\",instance=\"dify1\"} 1",
        "difygate_instance_first_byte_seconds_count{app=\"shop\",instance=\"dify1\"} 1",
        "difygate_instance_first_byte_seconds_bucket{le=\"+Inf\",app=\"shop\",instance=\"dify1\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n") && !text.contains("app-shop"), "{text}");
}

#[tokio::test]
async fn an_allowed_address_may_ask_on_the_main_listener() {
    // The rig's own `admin` is replaced, since a key may stand only once.
    let rig = Plan::new(1).start().await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let allow = "admin: { listen: 127.0.0.1:0, allow: [127.0.0.0/8] }";
    std::fs::write(&rig.config_path, text.replace("admin: { listen: 127.0.0.1:0 }", allow))
        .unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    assert_eq!(rig.send(get("/status")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_preflight_is_answered_as_dify_does_without_a_token() {
    let rig = Rig::start(1).await;
    let preflight = Request::options("/v1/chat-messages")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-other")
        .body("")
        .unwrap();
    let answer = rig.send(preflight).await;
    assert_eq!(answer.status, StatusCode::OK);
    let expected = [
        ("allow", "POST, OPTIONS"),
        ("access-control-allow-origin", "https://app.example.com"),
        ("access-control-allow-headers", "authorization, content-type"),
        ("access-control-allow-methods", "DELETE, GET, OPTIONS, PATCH, POST, PUT"),
        ("vary", "Origin"),
        ("content-length", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(rig.served(), [0]);
}

#[tokio::test]
async fn head_and_no_content_travel_without_a_body() {
    let rig = Rig::start(1).await;
    let head = rig.send(request("HEAD", "/v1/info").body("").unwrap()).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert!(head.header("content-length").unwrap().parse::<u32>().unwrap() > 50);
    // The gateway's own answers, too, say how long a GET's would be.
    let refused = rig.send(request("HEAD", "/nowhere").body("").unwrap()).await;
    let shown = rig.send(request("GET", "/nowhere").body("").unwrap()).await;
    assert_eq!((refused.status, refused.body.len()), (StatusCode::NOT_FOUND, 0));
    assert_eq!(refused.header("content-length"), Some(&*shown.body.len().to_string()));

    let conversation = rig.chat("alice").await.json()["conversation_id"].clone();
    let path = format!("/v1/conversations/{}", conversation.as_str().unwrap());
    let delete = request("DELETE", &path)
        .header("content-type", "application/json")
        .body(json!({ "user": "alice" }).to_string())
        .unwrap();
    let gone = rig.send(delete).await;
    assert_eq!((gone.status, gone.body.len()), (StatusCode::NO_CONTENT, 0));
}

#[tokio::test]
async fn a_body_that_is_not_what_a_call_takes_is_an_error_like_all_others() {
    let rig = Rig::start(1).await;
    for (kind, body, status, code) in [
        ("application/json", "[]", 400, "invalid_param"),
        ("application/json", "{", 400, "invalid_param"),
        ("text/plain", "{}", 415, "unsupported_media_type"),
    ] {
        for path in ["/explain", "/shape", "/conversations/cleanup"] {
            let request = Request::post(path).header("content-type", kind).body(body).unwrap();
            let answer = send(rig.gateway.admin(), request).await;
            let shown = answer.text();
            let expected = (status, json!(code));
            assert_eq!(
                (answer.status.as_u16(), answer.json()["code"].clone()),
                expected,
                "{shown}"
            );
            assert!(!shown.contains("struct"), "{path} {body}: {shown}");
            // It says where, or what to send.
            let mends = shown.contains("at line 1 column") || shown.contains("application/json");
            assert!(mends, "{path} {body}: {shown}");
        }
    }
}
