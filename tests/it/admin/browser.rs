//! What a page in a real browser can do to the admin side: Chromium, where it is installed (`make tools`).

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::rig::{Plan, raw};

const BROWSER: &str = "chromium-headless-shell";
/// A browser starts slowly on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(90);

/// All that a page can send without being asked for leave: POSTs by script and by form, images, links.
const PAGE: &str = r#"<!doctype html><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
const within = promise => Promise.race([promise, wait(10000)]);
const loaded = (element, url) => within(new Promise(done => {
  element.onload = element.onerror = done;
  element.src = url;
  document.documentElement.append(element);
}));
const form = url => within(new Promise(done => {
  const frame = document.createElement('iframe');
  frame.name = 'frame' + Math.random();
  frame.onload = done;
  document.documentElement.append(frame);
  const form = document.createElement('form');
  Object.assign(form, { method: 'POST', action: url, target: frame.name });
  document.documentElement.append(form);
  form.submit();
}));
(async () => {
  for (const port of PORTS) for (const host of ['127.0.0.1', 'localhost', 'difygate', 'evil.example']) {
    const url = `http://${host}:${port}/reload-config`;
    await within(fetch(url, { method: 'POST', mode: 'no-cors' }).catch(() => {}));
    await within(fetch(url, { mode: 'no-cors', referrerPolicy: 'no-referrer' }).catch(() => {}));
    await form(url);
    const image = new Image();
    image.referrerPolicy = 'no-referrer';
    await loaded(image, url);
    await loaded(document.createElement('iframe'), url);
  }
  await fetch('/done');
})();
</script>"#;

/// Serves the page, and notes what else it hears.
struct Site {
    address: SocketAddr,
    heard: UnboundedReceiver<String>,
    done: Arc<Notify>,
}

impl Site {
    async fn start(admin: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let page = PAGE.replace("PORTS", &format!("[{}, {admin}]", address.port()));
        let (hears, heard) = unbounded_channel();
        let site = Self { address, heard, done: Arc::default() };
        let done = Arc::clone(&site.done);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (hears, done, page) = (hears.clone(), Arc::clone(&done), page.clone());
                tokio::spawn(async move {
                    let head = answer(stream, &page).await;
                    if head.starts_with("GET /done ") {
                        done.notify_one();
                    } else if head.contains(" /reload-config ") {
                        // Nobody listens once the test is over.
                        let _ = hears.send(head.to_ascii_lowercase());
                    }
                });
            }
        });
        site
    }

    /// The heads that it has heard.
    fn heard(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }
}

/// Answers one request with the page; its head.
async fn answer(mut stream: TcpStream, page: &str) -> String {
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(read @ 1..) => head.extend_from_slice(&part[..read]),
            _ => break,
        }
    }
    let page = if head.starts_with(b"GET / ") { page } else { "" };
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}",
        page.len()
    );
    // A browser may have gone on already.
    let _ = stream.write_all(answer.as_bytes()).await;
    String::from_utf8_lossy(&head).into_owned()
}

/// The browser, for which each of these names leads to this machine; none where it is not installed.
#[expect(clippy::print_stdout, reason = "says why a test is skipped")]
fn browser(folder: &std::path::Path) -> Option<Command> {
    let program = std::path::Path::new("/usr/bin").join(BROWSER);
    if !program.exists() {
        println!("skipped: {BROWSER} is not installed");
        return None;
    }
    let mut command = Command::new(program);
    command.args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.arg("--host-resolver-rules=MAP evil.example 127.0.0.1, MAP difygate 127.0.0.1");
    command.arg(format!("--user-data-dir={}", folder.display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    Some(command)
}

/// What a browser shows of an address that its user has typed in.
async fn shown(url: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut browser = browser(folder.path())?;
    let output = timeout(PATIENCE, browser.args(["--dump-dom", url]).output()).await.unwrap();
    Some(String::from_utf8_lossy(&output.unwrap().stdout).into_owned())
}

async fn generation(admin: SocketAddr) -> u64 {
    let get = b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let answer = raw(admin, get).await;
    let status: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    status["configuration"]["generation"].as_u64().unwrap()
}

#[tokio::test]
async fn no_page_reloads_the_configuration() {
    let rig = Plan::new(1).without_probes().start().await;
    let admin = rig.gateway.admin();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut browser) = browser(folder.path()) else { return };
    let mut site = Site::start(admin.port()).await;
    let before = generation(admin).await;
    let page = format!("http://evil.example:{}/", site.address.port());
    let _browser = browser.args(["--remote-debugging-port=0", &page]).spawn().unwrap();
    timeout(PATIENCE, site.done.notified()).await.unwrap();
    assert_eq!(generation(admin).await, before, "a page has reloaded the configuration");

    // What the rules go by, as this browser has it: the same requests went to the site itself.
    let (get, post) = ("get /reload-config", "post /reload-config");
    let all = site.heard();
    let heard = |line: &str, host: &str| {
        let host = format!("\r\nhost: {host}:");
        let heard = all.iter().filter(|head| head.starts_with(line) && head.contains(&host));
        heard.collect::<Vec<_>>()
    };
    for host in ["127.0.0.1", "localhost", "difygate", "evil.example"] {
        let posts = heard(post, host);
        assert!(posts.len() >= 2, "{host}: {posts:?}");
        assert!(posts.iter().all(|head| head.contains("\r\norigin: ")), "{host}: {posts:?}");
        assert!(heard(get, host).len() >= 3, "{host}");
    }
    for host in ["127.0.0.1", "localhost"] {
        let gets = heard(get, host);
        assert!(gets.iter().all(|head| head.contains("\r\nsec-fetch-site: ")), "{host}: {gets:?}");
    }
    let gets = heard(get, "difygate");
    assert!(gets.iter().any(|head| !head.contains("sec-fetch-") && !head.contains("referer:")));
}

#[tokio::test]
async fn a_browser_shows_its_operator_the_status_and_no_name_of_a_page() {
    let rig = Plan::new(1).without_probes().start().await;
    let (admin, port) = (rig.gateway.admin(), rig.gateway.admin().port());
    let Some(status) = shown(&format!("http://difygate:{port}/status")).await else { return };
    assert!(status.contains("multi-application"), "{status}");
    let rebound = shown(&format!("http://evil.example:{port}/status")).await.unwrap();
    assert!(rebound.contains("misdirected_request"), "{rebound}");
    assert!(rebound.contains("hosts: [evil.example]"), "{rebound}");
    let before = generation(admin).await;
    let typed = shown(&format!("http://127.0.0.1:{port}/reload-config")).await.unwrap();
    assert!(typed.contains("Use POST"), "{typed}");
    assert_eq!(generation(admin).await, before);
}
