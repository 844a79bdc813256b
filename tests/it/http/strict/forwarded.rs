//! Who asks behind a proxy, and what of a head does not reach an instance, on raw sockets.

use std::net::SocketAddr;

use super::limits::status;
use crate::rig::process::{Process, difys};
use crate::rig::{Plan, Rig, TOKEN, raw, requests};

/// A rig behind a trusted proxy, whose operators' network needs no token.
async fn behind_a_proxy() -> Rig {
    let rig = Plan::new(1).with("trusted_proxies: [127.0.0.0/8, fd00::/16]").start().await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let allow = "admin: { listen: 127.0.0.1:0, allow: [10.1.2.0/24, \"fd01::/16\"] }";
    std::fs::write(&rig.config_path, text.replace("admin: { listen: 127.0.0.1:0 }", allow))
        .unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    rig
}

async fn asks(addr: SocketAddr, method: &str, path: &str, fields: &str) -> String {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{fields}\r\n");
    raw(addr, request.as_bytes()).await
}

#[tokio::test]
async fn an_address_that_a_client_made_up_opens_nothing() {
    let rig = behind_a_proxy().await;
    let operators = [
        "X-Forwarded-For: 10.1.2.3\r\n",
        "X-Forwarded-For: 10.1.2.3:4711\r\n",
        "X-Forwarded-For: [fd01::1]:4711\r\n",
        "X-Forwarded-For: 203.0.113.9, 10.1.2.3\r\n",
        "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.1.2.3, 127.0.0.9:80\r\n",
        "Forwarded: for=203.0.113.9, for=\"10.1.2.3:4711\";proto=https\r\n",
        "Forwarded: for=\"[fd01::1]\", for=\"[fd00::1]:80\"\r\n",
    ];
    for fields in operators {
        let answer = asks(rig.addr(), "GET", "/status", fields).await;
        assert_eq!(status(&answer), "200", "{fields} {answer}");
    }
    let strangers = [
        "X-Forwarded-For: 10.1.2.3, 203.0.113.9\r\n",
        "X-Forwarded-For: 10.1.2.3, 203.0.113.9:4711\r\n",
        "X-Forwarded-For: 10.1.2.3, [2001:db8::9]\r\n",
        "X-Forwarded-For: 10.1.2.3, [2001:db8::9]:4711\r\n",
        "X-Forwarded-For: 10.1.2.3, unknown\r\n",
        "X-Forwarded-For: 10.1.2.3, _hidden\r\n",
        "X-Forwarded-For: 10.1.2.3, fe80::1%eth0\r\n",
        "X-Forwarded-For: 10.1.2.3, [fe80::1%2]:80\r\n",
        "X-Forwarded-For: 10.1.2.3,\r\n",
        "X-Forwarded-For: 10.1.2.3, , 127.0.0.9\r\n",
        "X-Forwarded-For: 10.1.2.3\r\nX-Forwarded-For:\r\n",
        "X-Forwarded-For: 10.1.2.3, 203.0.113.9:\r\n",
        "X-Forwarded-For: 10.1.2.3, 203.0.113.9:99999\r\n",
        "Forwarded: for=10.1.2.3, for=203.0.113.9:4711\r\n",
        "Forwarded: for=10.1.2.3, for=\"[2001:db8::9]\"\r\n",
        "Forwarded: for=10.1.2.3, for=unknown\r\n",
        "Forwarded: for=10.1.2.3, proto=https\r\n",
        "Forwarded: for=10.1.2.3;x=\", for=203.0.113.9\r\n",
        "Forwarded: for=10.1.2.3\r\nX-Forwarded-For: 203.0.113.9\r\n",
        "Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 10.1.2.3\r\n",
    ];
    let generation = |text: &str| {
        let body = text.split("\r\n\r\n").nth(1).unwrap();
        let status: serde_json::Value = serde_json::from_str(body).unwrap();
        status["configuration"]["generation"].as_u64().unwrap()
    };
    let before = generation(&asks(rig.addr(), "GET", "/status", operators[0]).await);
    for fields in strangers {
        for (method, path) in [("GET", "/status"), ("GET", "/metrics"), ("POST", "/reload-config")]
        {
            let answer = asks(rig.addr(), method, path, fields).await;
            assert_eq!(status(&answer), "403", "{path} {fields} {answer}");
        }
    }
    assert_eq!(generation(&asks(rig.addr(), "GET", "/status", operators[0]).await), before);
    println!("strict: {} ways to name a client behind a proxy", operators.len() + strangers.len());
}

#[tokio::test]
async fn what_an_instance_would_take_for_the_gateways_own_word_does_not_reach_it() {
    let fields = format!(
        "Authorization: Bearer {TOKEN}\r\nX_Forwarded_For: 10.1.2.3\r\nX-Forwarded_Proto: https\r\n\
         x_real_ip: 10.1.2.3\r\nAuthorization_: Bearer x\r\nContent_Length: 7\r\nX-Kept: 1\r\n\
         X-Forwarded-Port: 4711\r\nX-Forwarded-Prefix: /evil\r\n"
    );
    for (settings, believed) in [("", false), ("trusted_proxies: [127.0.0.1]", true)] {
        let rig = Plan::new(1).without_probes().with(settings).start().await;
        let answer = asks(rig.addr(), "GET", "/v1/info", &fields).await;
        assert_eq!(status(&answer), "200", "{answer}");
        let served = requests(&rig.difys[0]).pop().unwrap();
        let has = |name: &str| served.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let folded: Vec<_> = served.headers.iter().filter(|(name, _)| name.contains('_')).collect();
        assert!(folded.is_empty(), "{folded:?}");
        assert!(has("x-kept") && has("x-forwarded-for"));
        assert_eq!(has("x-forwarded-port"), believed);
        assert_eq!(has("x-forwarded-prefix"), believed);
    }
}

#[tokio::test]
async fn heads_that_are_none_are_in_the_error_log_and_do_not_fill_it() {
    let difys = difys(1).await;
    let mut gateway = Process::start(&difys, "workers: 1\nprobe: { enabled: false }").await;
    for _ in 0..40 {
        let answer = raw(gateway.listen, b"GET /v1/secret-of-mine HTTP/9.9\r\n\r\n").await;
        assert_eq!(status(&answer), "400", "{answer}");
    }
    let line = gateway.says("client 127.0.0.1:").await;
    assert!(line.contains("400") && line.contains("not valid HTTP/1.1"), "{line}");
    assert!(!line.contains("secret-of-mine"), "{line}");
    gateway.says("more requests had no valid head").await;
}
