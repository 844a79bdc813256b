//! The ways to choose an instance, on real sockets, and the figures they reach.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dify_sim::Fault;
use difygate::balance::{AttemptOrder, HashAlgorithm, Load, Method, Rendezvous, Ring};
use difygate::gateway::key;
use http::{Request, StatusCode};
use hyper::Response;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::rig::{Plan, Rig, chat, open, request, stream};

const CONVERSATION: &str = "/v1/conversations/0b799e6d-9af7-4a5f-9f9a-2a5a2e4c1f4a";

const MESSAGES: &str = "/v1/messages?conversation_id=0b799e6d-9af7-4a5f-9f9a-2a5a2e4c1f4a";

async fn rig(count: usize, settings: &str) -> Rig {
    Plan::new(count).with("trusted_proxies: [127.0.0.1]").with(settings).start().await
}

/// A chat turn of a user from an address, as a proxy in front says it.
fn from(address: &str, user: &str) -> Request<Bytes> {
    let mut request = chat(user);
    request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
    request
}

/// Keeps an answer of a user under way until it is dropped.
async fn running(rig: &Rig, user: &str) -> (String, Response<Incoming>) {
    let answer = open(rig.addr(), stream(user, 1000, 0.05)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    (answer.headers()["x-difygate-instance"].to_str().unwrap().to_owned(), answer)
}

async fn shop(rig: &Rig) -> Value {
    rig.status().await["applications"]["shop"].clone()
}

#[tokio::test]
async fn every_hash_keeps_users_where_they_are() {
    for hash in ["sha256", "xxh3", "sha1", "md5", "crc32"] {
        for method in ["consistent_hash", "rendezvous"] {
            let settings =
                format!("method: {method}\nconsistent_hash: {{ hash_algorithm: {hash} }}");
            let rig = rig(3, &settings).await;
            let mut used = BTreeSet::new();
            for user in 0..12 {
                let user = format!("user-{user}");
                let instance = rig.instance_of(&user).await;
                assert_eq!(rig.instance_of(&user).await, instance);
                used.insert(instance);
            }
            assert!(used.len() > 1, "{settings}: {used:?}");
            let shop = shop(&rig).await;
            assert_eq!((&shop["method"], &shop["hash_algorithm"]), (&json!(method), &json!(hash)));
        }
    }
}

#[tokio::test]
async fn without_one_instance_rendezvous_moves_only_its_users() {
    let rig = rig(3, "method: rendezvous").await;
    let mut before = BTreeMap::new();
    for user in 0..20 {
        let user = format!("user-{user}");
        before.insert(user.clone(), rig.instance_of(&user).await);
    }
    rig.refuse("dify2").await;
    for (user, instance) in before {
        let now = rig.instance_of(&user).await;
        assert!(now == instance || instance == "dify2", "{user}: {instance} to {now}");
        assert_ne!(now, "dify2");
    }
}

#[tokio::test]
async fn weighted_round_robin_serves_in_turn_whoever_asks() {
    let rig = rig(3, "method: weighted_round_robin").await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let heavier = text.replace("token: app-shop-2", "token: app-shop-2, weight: 2");
    std::fs::write(&rig.config_path, heavier).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    let mut answered = Vec::new();
    for _ in 0..8 {
        answered.push(rig.instance_of("alice").await);
    }
    assert_eq!(answered[..4], answered[4..]);
    answered.sort_unstable();
    let expected = ["dify1", "dify1", "dify2", "dify2", "dify2", "dify2", "dify3", "dify3"];
    assert_eq!(answered, expected);
    let status = rig.status().await;
    assert_eq!(status["algorithm"], "weighted_round_robin");
    assert_eq!(status["applications"]["shop"]["hash_algorithm"], Value::Null);
}

#[tokio::test]
async fn who_is_out_leaves_its_turns_to_all_others() {
    let rig = rig(3, "method: weighted_round_robin").await;
    rig.difys[0].set_fault(Fault::Refused).await.unwrap();
    for _ in 0..12 {
        rig.instance_of("alice").await;
    }
    let served = rig.served();
    assert_eq!(served[0], 0);
    assert!(served[1].abs_diff(served[2]) <= 2, "{served:?}");
}

#[tokio::test]
async fn least_connections_asks_an_idle_instance_whoever_asks() {
    let rig = rig(3, "method: least_connections").await;
    let (first, _one) = running(&rig, "alice").await;
    let (second, _other) = running(&rig, "alice").await;
    assert_ne!(first, second);
    for _ in 0..4 {
        let third = rig.instance_of("alice").await;
        assert!(third != first && third != second, "{third}");
    }
    assert_eq!(shop(&rig).await["method"], "least_connections");
}

#[tokio::test]
async fn with_ip_hash_the_address_decides_and_not_the_user() {
    let rig = rig(3, "method: ip_hash").await;
    let mut used = BTreeSet::new();
    for number in 0..12 {
        let address = format!("198.51.100.{number}");
        let instance = rig.send(from(&address, "alice")).await.instance();
        assert_eq!(rig.send(from(&address, "bob")).await.instance(), instance);
        // What a client says of itself before the trusted proxy's own word does not count.
        let claimed = format!("203.0.113.{number}, {address}");
        assert_eq!(rig.send(from(&claimed, "alice")).await.instance(), instance);
        let mapped = format!("::ffff:{address}");
        assert_eq!(rig.send(from(&mapped, "alice")).await.instance(), instance);
        used.insert(instance);
    }
    assert_eq!(used.len(), 3);
    let without = request("GET", "/v1/parameters").header("x-forwarded-for", "198.51.100.1");
    let without = rig.send(without.body("").unwrap()).await.instance();
    assert_eq!(without, rig.send(from("198.51.100.1", "alice")).await.instance());
}

#[tokio::test]
async fn under_max_load_a_busy_user_overflows_but_an_id_does_not() {
    for method in ["consistent_hash", "rendezvous", "ip_hash"] {
        let rig = rig(2, &format!("method: {method}\nmax_load: 1.25")).await;
        let (home, _first) = running(&rig, "alice").await;
        // Two in flight over two: ceil(2 × 1/2 × 1.25) = 2. Three: ceil(3 × 1/2 × 1.25) = 2.
        let (second, _second) = running(&rig, "alice").await;
        assert_eq!(second, home, "{method}");
        assert_ne!(rig.instance_of("alice").await, home, "{method}");
        for (method, path) in [("DELETE", CONVERSATION), ("GET", MESSAGES)] {
            let named = request(method, path).header("x-user-id", "alice");
            assert_eq!(rig.send(named.body("").unwrap()).await.instance(), home, "{path}");
        }
        assert_eq!(shop(&rig).await["max_load"], 1.25);
    }
}

#[tokio::test]
async fn a_full_instance_is_passed_over_unless_users_live_there() {
    for (settings, status) in [
        ("method: weighted_round_robin", StatusCode::OK),
        ("method: least_connections", StatusCode::OK),
        ("method: rendezvous\nmax_load: 100", StatusCode::OK),
        ("method: rendezvous", StatusCode::TOO_MANY_REQUESTS),
        ("method: ip_hash", StatusCode::TOO_MANY_REQUESTS),
    ] {
        let full = ", max_concurrent: 1, queue: { size: 0, timeout: 1s }";
        let rig = Plan::new(2).with(settings).with_instances(full).start().await;
        let _running = running(&rig, "alice").await;
        for _ in 0..3 {
            assert_eq!(rig.chat("alice").await.status, status, "{settings}");
        }
    }
}

#[tokio::test]
async fn without_max_load_a_busy_user_stays() {
    let rig = rig(2, "").await;
    let (home, _first) = running(&rig, "alice").await;
    let (_, _second) = running(&rig, "alice").await;
    assert_eq!(rig.instance_of("alice").await, home);
    assert_eq!(shop(&rig).await["max_load"], Value::Null);
}

#[tokio::test]
async fn an_app_has_a_method_of_its_own() {
    let rig = rig(2, "method: least_connections").await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let own = text.replace("  flow:\n", "  flow:\n    method: rendezvous\n    max_load: 2\n");
    std::fs::write(&rig.config_path, own).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    let apps = rig.status().await["applications"].clone();
    assert_eq!(apps["shop"]["method"], "least_connections");
    assert_eq!(
        (&apps["flow"]["method"], &apps["flow"]["max_load"]),
        (&json!("rendezvous"), &json!(2.0))
    );
}

const USERS: u32 = 100_000;

/// The instance of each of many users.
fn owners(method: &Method, members: usize) -> Vec<usize> {
    let load = |_| Load { in_flight: 0, weight: 1 };
    let owner = |user| {
        let key = key("customer_service", &format!("user-{user}"));
        AttemptOrder::new(method, Some(key.as_bytes()), members, || 0).next(method, load).unwrap()
    };
    (0..USERS).map(owner).collect()
}

/// The figures of `docs/balancing.md`, over as many users as a large company has.
#[test]
fn shares_and_moves_of_a_hundred_thousand_users() {
    use HashAlgorithm::{Crc32, Md5, Sha1, Sha256, Xxh3};
    type Build = fn(&[(&str, u32)], HashAlgorithm) -> Method;
    let ring: Build =
        |members, hash| Method::ConsistentHash(Arc::new(Ring::new(members, 160, hash)));
    let rendezvous: Build =
        |members, hash| Method::Rendezvous(Rendezvous::new(members, hash).into());
    let even = ["dify1", "dify2", "dify3", "dify4", "dify5"].map(|name| (name, 1));
    let mut heavier = even;
    heavier[4].1 = 2;
    println!(
        "method | hash | largest share / mean | moved without dify5 | of others | by weight 1 to 2 | between others"
    );
    for (name, build, most) in [("consistent_hash", ring, 1.15), ("rendezvous", rendezvous, 1.02)] {
        for hash in [Sha256, Xxh3, Sha1, Md5, Crc32] {
            let before = owners(&build(&even, hash), 5);
            let mut shares = [0_u32; 5];
            before.iter().for_each(|owner| shares[*owner] += 1);
            let largest = f64::from(*shares.iter().max().unwrap()) / f64::from(USERS / 5);

            let moves = |after: &[usize]| {
                let moved = before.iter().zip(after).filter(|(before, after)| before != after);
                let others = moved.clone().filter(|(before, after)| **before != 4 && **after != 4);
                (moved.count(), others.count())
            };
            let gone = moves(&owners(&build(&even[..4], hash), 4));
            let grown = moves(&owners(&build(&heavier, hash), 5));
            println!(
                "{name} | {} | {largest:.3} | {} | {} | {} | {}",
                hash.label(),
                gone.0,
                gone.1,
                grown.0,
                grown.1
            );
            assert!(largest <= most || (name == "consistent_hash" && hash != Sha256), "{shares:?}");
            assert_eq!(gone, (shares[4] as usize, 0));
            assert_eq!(grown.1, 0);
        }
    }
}
