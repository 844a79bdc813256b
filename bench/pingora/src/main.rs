//! What the comparison asks of a proxy, as a small program on Pingora: token to app, the user in
//! the JSON body to an instance by Pingora's own ring, the instance's key, and three failures that
//! take an instance out for two seconds.
//!
//! `difygate-bench-pingora FILE`; the file is JSON, see [`Scene`]. Bodies are read before an
//! instance is asked by Pingora's buffer for retries, which holds 64 KiB.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use pingora_ketama::{Bucket, Continuum};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use serde::Deserialize;

/// Failures that take an instance out, and for how long.
const FAILURES: u64 = 3;
const OUT_S: u64 = 2;

/// What it is configured for.
#[derive(Deserialize)]
struct Scene {
    listen: SocketAddr,
    instances: Vec<SocketAddr>,
    /// Values of `Authorization` with the app's number. None: a plain reverse proxy.
    tokens: HashMap<String, usize>,
    /// Values of `Authorization` by app and instance.
    keys: Vec<Vec<String>>,
}

struct Proxy {
    scene: Scene,
    ring: Continuum,
    /// Failures and the second of the last one, by instance.
    failures: Vec<(AtomicU64, AtomicU64)>,
}

/// What is known of a request.
#[derive(Default)]
struct Known {
    app: usize,
    user: Vec<u8>,
    instance: usize,
}

/// What is looked for in a body.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    user: std::borrow::Cow<'a, str>,
}

impl Proxy {
    fn is_in(&self, instance: usize) -> bool {
        self.failures.get(instance).is_none_or(|(count, last)| {
            count.load(Ordering::Relaxed) < FAILURES
                || last.load(Ordering::Relaxed) + OUT_S < seconds()
        })
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Known;

    fn new_ctx(&self) -> Known {
        Known::default()
    }

    async fn request_filter(&self, session: &mut Session, known: &mut Known) -> Result<bool> {
        if self.scene.tokens.is_empty() {
            return Ok(false);
        }
        let token = session.req_header().headers.get("authorization");
        let app = token.and_then(|token| self.scene.tokens.get(token.to_str().ok()?));
        let Some(&app) = app else {
            session.respond_error(401).await?;
            return Ok(true);
        };
        known.app = app;
        session.as_mut().enable_retry_buffering();
        let mut body = Vec::new();
        while let Some(piece) = session.as_mut().read_request_body().await? {
            body.extend_from_slice(&piece);
        }
        known.user = match serde_json::from_slice::<Body<'_>>(&body) {
            Ok(body) => body.user.as_bytes().to_vec(),
            Err(_) => Vec::new(),
        };
        Ok(false)
    }

    async fn upstream_peer(&self, _: &mut Session, known: &mut Known) -> Result<Box<HttpPeer>> {
        let instances = &self.scene.instances;
        let mut order = self.ring.node_iter(&known.user).take(160);
        let place = |addr: &SocketAddr| instances.iter().position(|one| one == addr);
        known.instance =
            order.find_map(|addr| place(addr).filter(|place| self.is_in(*place))).unwrap_or(0);
        let mut peer = HttpPeer::new(instances[known.instance], false, String::new());
        peer.options.connection_timeout = Some(Duration::from_secs(5));
        peer.options.idle_timeout = Some(Duration::from_secs(300));
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        known: &mut Known,
    ) -> Result<()> {
        if let Some(key) = self.scene.keys.get(known.app).and_then(|keys| keys.get(known.instance))
        {
            request.insert_header("authorization", key.as_str())?;
        }
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        _: &pingora_core::Error,
        known: &mut Known,
    ) -> FailToProxy {
        if let Some((count, last)) = self.failures.get(known.instance) {
            let again = last.swap(seconds(), Ordering::Relaxed) + OUT_S >= seconds();
            count.store(
                if again { count.load(Ordering::Relaxed) + 1 } else { 1 },
                Ordering::Relaxed,
            );
        }
        let _ = session.respond_error(502).await;
        FailToProxy { error_code: 502, can_reuse_downstream: false }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_default();
    if path == "--version" {
        println!("Pingora {}", pingora());
        return Ok(());
    }
    let scene: Scene = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 20_000,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let buckets: Vec<_> = scene.instances.iter().map(|addr| Bucket::new(*addr, 1)).collect();
    let listen = scene.listen.to_string();
    let proxy = Proxy {
        ring: Continuum::new(&buckets),
        failures: buckets.iter().map(|_| Default::default()).collect(),
        scene,
    };
    let mut service = pingora_proxy::http_proxy_service(&server.configuration, proxy);
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}

/// The version in the lock file, as the crates do not tell theirs.
fn pingora() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let found = lock.split("name = \"pingora-proxy\"\nversion = \"").nth(1);
    found.and_then(|rest| rest.split('"').next()).unwrap_or("unknown")
}
