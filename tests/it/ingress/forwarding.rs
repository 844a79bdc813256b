//! What services are told of the client and of the URL that it asked for.

use http::Request;
use serde_json::Value;

use super::echo;
use crate::rig::Plan;

/// What a service is told of a request to `/e/x?y=1`.
async fn told(settings: &str, headers: &[(&str, &str)]) -> Value {
    let one = echo::start("one").await;
    let services = format!(
        "{settings}\nservices: {{ one: {{ instances: [{{ url: \"http://{one}\" }}], routes: [{{ prefix: \
         /e/, dify_hook_url: true }}] }} }}"
    );
    let rig = Plan::new(1).with(&services).start().await;
    let mut request = Request::get("/e/x?y=1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    rig.send(request.body("").unwrap()).await.json()["headers"].clone()
}

fn assert_told(headers: &Value, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(headers[*name].as_str(), Some(*value), "{name}: {headers}");
    }
}

const SAID: [(&str, &str); 8] = [
    ("host", "inner:8080"),
    ("x-forwarded-for", "192.0.2.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "dify.example.org"),
    ("x-forwarded-port", "443"),
    ("forwarded", "for=192.0.2.7"),
    ("dify-hook-url", "http://evil/"),
    ("x-real-ip", "1.2.3.4"),
];

#[tokio::test]
async fn what_a_stranger_says_is_overwritten() {
    let headers = told("", &SAID).await;
    assert_told(
        &headers,
        &[
            ("x-forwarded-for", "127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "inner:8080"),
            ("x-forwarded-port", "8080"),
            ("forwarded", "for=127.0.0.1;host=\"inner:8080\";proto=http"),
            ("dify-hook-url", "http://inner:8080/e/x?y=1"),
            ("host", "inner:8080"),
        ],
    );
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_kept_and_extended() {
    let headers = told("trusted_proxies: [127.0.0.0/8]", &SAID).await;
    assert_told(
        &headers,
        &[
            ("x-forwarded-for", "192.0.2.7, 127.0.0.1"),
            ("x-real-ip", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "dify.example.org"),
            ("x-forwarded-port", "443"),
            ("forwarded", "for=192.0.2.7, for=127.0.0.1;host=\"dify.example.org\";proto=https"),
            ("dify-hook-url", "https://dify.example.org/e/x?y=1"),
        ],
    );
}

#[tokio::test]
async fn the_public_url_says_what_the_hop_before_does_not() {
    let settings = "ingress: { public_url: \"https://dify.example.org:8443\" }";
    let headers = told(settings, &[("host", "inner")]).await;
    assert_told(
        &headers,
        &[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "dify.example.org:8443"),
            ("x-forwarded-port", "8443"),
            ("dify-hook-url", "https://dify.example.org:8443/e/x?y=1"),
        ],
    );
}
