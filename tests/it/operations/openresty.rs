//! The pages about the way from the OpenResty balancer: each line of their tables is run.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment};
use difygate::telemetry::{Destination, Format};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::rig::{Answer, Rig, send};

/// What the old documents tell people to type, to edit and to set.
const OLD: &str = "\
cp examples/config_example.lua openresty/lua/config.lua
vim openresty/lua/config.lua
docker-compose up -d
docker-compose down
docker-compose ps
docker-compose logs -f
docker-compose logs openresty-dify-lb
docker-compose logs -f openresty-dify-lb
tail -f openresty/logs/access.log
tail -f openresty/logs/error.log
docker-compose config
docker-compose exec openresty-dify-lb nginx -t
docker-compose exec openresty-dify-lb nginx -s reload
docker exec dify-openresty-loadbalancer tail -f /var/log/openresty/error.log
docker stats dify-openresty-loadbalancer
docker exec dify-openresty-loadbalancer netstat -an | grep :80
docker exec dify-openresty-loadbalancer ping <backend-ip>
netstat -tlnp | grep :82
curl http://localhost:82/health
curl http://localhost:82/status
curl http://localhost:82/status | jq
curl http://localhost:82/reload-config
POST /v1/chat-messages
POST /v1/files/upload
X-User-ID
user_id (URL)
user_id (Cookie)
user (JSON)
user (Form-Data)
docker-compose.yml
openresty/conf/nginx.conf
openresty/conf/conf.d/dify-loadbalancer.conf
openresty/lua/config.lua
examples/config_example.lua
scripts/
openresty/lua/loadbalancer.lua
openresty/lua/consistent_hash.lua
openresty/logs/access.log
openresty/logs/error.log
openresty/ssl/
listen 443 ssl
config.applications
user_tokens
name
host
port
token
weight
max_fails
fail_timeout
config.consistent_hash
virtual_nodes
hash_algorithm
health_check
algorithm: weighted round robin
algorithm: least connections
algorithm: IP hash
worker_processes auto
worker_cpu_affinity auto
worker_connections 8192
deploy.resources.limits
curl http://localhost/health
nano .env";

/// A configuration with the keys that the documents list.
const LUA: &str = r#"config.applications = {
    -- the app for customers
    customer_service = {
        user_tokens = {
            "usertoken--customer-service-v1"
        },
        instances = {
            {
                name = "dify1",
                host = "172.20.62.200",
                port = 80,
                token = "app-customer-service",
                weight = 1,
                max_fails = 3,
                fail_timeout = 30
            }
        }
    }
}
config.consistent_hash = {
    virtual_nodes = 150,
    hash_algorithm = "crc32"
}
config.health_check = { interval = 10, timeout = 5 }
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands in the first two columns of the tables of a page.
fn rows(page: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let code = |cell: &str| {
        let code = cell.trim().strip_prefix('`').and_then(|cell| cell.strip_suffix('`'));
        code.unwrap_or_else(|| panic!("{page}: {cell}")).replace("\\|", "|")
    };
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |row: &str| {
        let row = format!("`{row}");
        let mut cells = row.split(" | ");
        (code(cells.next().unwrap()), code(cells.next().unwrap()))
    };
    rows.map(row).collect()
}

/// A gateway of an imported configuration, as `curl localhost:82` finds it.
struct Stage {
    gateway: Gateway,
    /// What the import wrote of the file as it is printed.
    imported: String,
    folder: TempDir,
    _rig: Rig,
}

impl Stage {
    async fn start() -> Self {
        let rig = Rig::start(1).await;
        let folder = tempfile::tempdir().unwrap();
        let lua = folder.path().join("openresty/lua/config.lua");
        fs::create_dir_all(lua.parent().unwrap()).unwrap();
        fs::write(&lua, LUA).unwrap();
        let imported = run(folder.path(), &["import", "openresty/lua/config.lua"]).await;
        assert!(imported.status.success() && imported.stderr.is_empty(), "{imported:?}");
        let imported = String::from_utf8(imported.stdout).unwrap();
        let url = rig.difys[0].url();
        let (_, port) = url.trim_end_matches('/').rsplit_once(':').unwrap();
        // The port of the page's `curl`, and of the compose file.
        assert!(imported.contains("\nlisten: 0.0.0.0:82 "), "{imported}");
        let served = imported
            .replace("172.20.62.200", "127.0.0.1")
            .replace("port: 80,", &format!("port: {port},"))
            .replace("app-customer-service", "app-shop-1");
        let path = folder.path().join("difygate.yaml");
        fs::write(&path, at(&served, ([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into()))
            .unwrap();
        let loaded = config::load(&path, &Environment::default()).unwrap();
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        let log = Some((Format::Json, Destination::File(folder.path().join("access.log"))));
        let gateway = Gateway::start(loaded.config, path.clone(), log).await.unwrap();
        fs::write(&path, at(&served, gateway.listen(), gateway.admin())).unwrap();
        Self { gateway, imported, folder, _rig: rig }
    }

    /// The last line of the access log, once there are so many.
    async fn logged(&self, lines: usize) -> Value {
        loop {
            let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap();
            if log.lines().count() >= lines {
                return serde_json::from_str(log.lines().last().unwrap()).unwrap();
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A configuration with these addresses.
fn at(text: &str, listen: SocketAddr, admin: SocketAddr) -> String {
    text.replace("listen: 0.0.0.0:82 ", &format!("listen: {listen} "))
        .replace("admin:\n", &format!("admin:\n  listen: {admin}\n"))
}

/// Runs difygate beside the gateway of the test.
async fn run(folder: &Path, arguments: &[&str]) -> Output {
    run_with(folder, arguments, Stdio::null()).await
}

async fn run_with(folder: &Path, arguments: &[&str], input: Stdio) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_difygate"));
    command.args(arguments).current_dir(folder).stdin(input);
    spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Splits as a shell does.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for char in line.chars().chain([' ']) {
        match (quote, char) {
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), _) if open == char => quote = None,
            (None, ' ') if word.is_empty() => {}
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(char),
        }
    }
    words
}

/// What `curl` would send.
fn curl(line: &str) -> Request<Bytes> {
    let words = words(line);
    let mut request = Request::builder();
    let (mut body, mut forms) = (Bytes::new(), Vec::new());
    let mut words = words.into_iter().skip(1);
    while let Some(word) = words.next() {
        request = match word.as_str() {
            "-X" => request.method(words.next().unwrap().as_str()),
            "-H" => {
                let header = words.next().unwrap();
                let (name, value) = header.split_once(": ").unwrap();
                request.header(name, value)
            }
            "-d" => {
                body = words.next().unwrap().into();
                request
            }
            "--form" => {
                forms.push(words.next().unwrap());
                request
            }
            url => {
                let rest =
                    url.strip_prefix("http://localhost:82").unwrap_or_else(|| panic!("{url}"));
                request.uri(rest).header("host", "localhost:82")
            }
        };
    }
    if !forms.is_empty() {
        request = request.header("content-type", "multipart/form-data; boundary=line");
        body = multipart(&forms).into();
    }
    request.body(body).unwrap()
}

fn multipart(forms: &[String]) -> String {
    let part = |form: &String| {
        let (name, value) = form.split_once('=').unwrap();
        match value.strip_prefix('@').and_then(|file| file.split_once(";type=")) {
            Some((file, kind)) => format!(
                "--line\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\
                 Content-Type: {kind}\r\n\r\npicture\r\n"
            ),
            None => format!(
                "--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            ),
        }
    };
    forms.iter().map(part).collect::<String>() + "--line--\r\n"
}

/// What the documents print of an answer.
fn is_as_printed(path: &str, answer: &Answer) {
    match path {
        "/health" => assert_eq!(answer.text(), "healthy"),
        "/reload-config" => {
            let printed = json!({ "status": "success", "message": "Configuration reloaded" });
            let mut said = answer.json();
            // The test gave the file its addresses after the start.
            said.as_object_mut().unwrap().remove("needs_restart");
            assert_eq!(said, printed);
        }
        "/status" => {
            let status = answer.json();
            assert_eq!(status["status"], "running");
            assert_eq!(status["architecture"], std::env::consts::ARCH);
            assert_eq!(status["algorithm"], "consistent_hash");
            for count in ["total_requests", "active_connections"] {
                assert!(status["stats"][count].is_u64(), "{status}");
            }
            assert!(status["timestamp"].is_i64(), "{status}");
            let app = &status["applications"]["customer_service"];
            assert!(app["total_requests"].is_u64(), "{app}");
            assert!(app["instances"]["dify1"]["requests"].is_u64(), "{app}");
            assert_eq!(app["instances"]["dify1"]["status"], "healthy");
        }
        _ => {}
    }
}

async fn runs_curl(stage: &Stage, line: &str, requests: &mut usize) {
    let request = curl(line);
    let path = request.uri().path().to_owned();
    let answer = send(stage.gateway.listen(), request).await;
    assert!(answer.status.is_success(), "{line}: {answer:?}");
    is_as_printed(&path, &answer);
    *requests += 1;
    let logged = stage.logged(*requests).await;
    if line.contains("user-123") {
        assert_eq!(logged["user"], "user-123", "{line}: {logged}");
        assert_eq!(logged["app"], "customer_service", "{logged}");
    }
}

/// What is typed into the container, where the folder of the test is `/etc/difygate`; or into one that is made
/// for one import.
async fn runs_difygate(stage: &Stage, line: &str) {
    let folder = stage.folder.path();
    fs::copy(folder.join("difygate.yaml"), folder.join("new.yaml")).unwrap();
    let (command, input) =
        line.split_once(" < ").map_or((line, Stdio::null()), |(command, file)| {
            (command, fs::File::open(folder.join(file)).unwrap().into())
        });
    let (_, command) = command.split_once(" difygate ").unwrap();
    let words = words(&command.replace("/etc/difygate/", ""));
    let arguments: Vec<_> = words.iter().map(String::as_str).collect();
    let done = run_with(folder, &arguments, input).await;
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{line}: {said}");
    let printed = String::from_utf8_lossy(&done.stdout);
    assert!(!printed.is_empty(), "{line}");
    if arguments == ["status"] {
        assert!(printed.contains("customer_service") && printed.contains("dify1"), "{printed}");
    }
}

/// The gateway of the test has the port already.
async fn names_a_taken_port(stage: &Stage) {
    let done = run(stage.folder.path(), &["serve"]).await;
    let said = String::from_utf8_lossy(&done.stderr);
    let taken = format!("cannot listen on {}", stage.gateway.listen());
    assert!(!done.status.success() && said.contains(&taken), "{said}");
}

/// The compose file of the page: what is named is in it, and the configuration where its volume is.
fn fits_compose(line: &str) {
    let words = words(line);
    let text = fs::read_to_string(root().join("deploy/openresty/compose.yaml")).unwrap();
    let options = serde_saphyr::options! { strict_booleans: true };
    let compose: Value = serde_saphyr::from_str_with_options(&text, options).unwrap();
    let service = &compose["services"]["openresty-dify-lb"];
    assert_eq!(service["ports"], json!(["${DIFYGATE_PORT:-82}:82"]));
    assert_eq!(service["volumes"][0], "./config:/etc/difygate:ro");
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let named = match &words[1..] {
        ["compose", "up", "-d"] | ["compose", "ps" | "config" | "down"] => return,
        ["compose", "kill", "-s", "HUP", named] => named,
        ["compose", "exec", named, "difygate", ..] => named,
        // Without a name that compose would know: `make image` gives it.
        ["run", "--rm", "-i", image, "import", "-", ..] => {
            return assert_eq!(service["image"], format!("${{DIFYGATE_IMAGE:-{image}:latest}}"));
        }
        ["compose", "logs", .., named] => named,
        ["stats", named] => return assert_eq!(service["container_name"], *named, "{line}"),
        _ => panic!("{line}"),
    };
    assert!(compose["services"][*named].is_object(), "{line}");
}

/// A setting is what the import makes of the old one, or a key of its own.
fn is_a_setting(stage: &Stage, old: &str, new: &str) {
    let key = old.strip_prefix("config.").unwrap_or(old);
    if LUA.contains(&format!("{key} = ")) {
        assert!(stage.imported.contains(new), "{new}: {}", stage.imported);
        return;
    }
    let certificates = if new.contains("tls: true") { "tls: [{ cert: c, key: k }]\n" } else { "" };
    let text = format!(
        "{certificates}{new}\napps:\n  a:\n    user_tokens: [t]\n    instances: [{{ name: n, host: h, token: k }}]\n"
    );
    let loaded = config::parse(new, &text, &Environment::default());
    let loaded = loaded.unwrap_or_else(|findings| panic!("{findings}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[tokio::test]
async fn each_line_of_the_page_does_what_it_says() {
    let stage = Stage::start().await;
    let mut requests = 0;
    for (old, new) in rows("from-openresty.md") {
        if new.starts_with("curl ") {
            runs_curl(&stage, &new, &mut requests).await;
        } else if new.starts_with("docker ") {
            fits_compose(&new);
            if new.contains(" difygate ") {
                runs_difygate(&stage, &new).await;
            }
        } else if new.starts_with("netstat ") {
            assert_eq!(new, old);
            names_a_taken_port(&stage).await;
        } else if new.contains(':') {
            is_a_setting(&stage, &old, &new);
        } else {
            // The operator makes this one.
            let ours = new.replace("openresty/config/difygate.yaml", "openresty/compose.yaml");
            assert!(root().join(&ours).exists(), "{new}");
        }
    }
}

#[test]
fn both_pages_have_a_line_for_everything_in_the_old_documents() {
    let rows_of = rows("from-openresty.md");
    assert_eq!(rows_of, rows("from-openresty.zh-CN.md"));
    let old: Vec<_> = rows_of.iter().map(|(old, _)| old.as_str()).collect();
    assert_eq!(old, OLD.lines().collect::<Vec<_>>());
}

#[tokio::test]
async fn strangers_are_told_nothing_by_an_imported_configuration() {
    let stage = Stage::start().await;
    let path = stage.folder.path().join("difygate.yaml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\n  allow: [127.0.0.0/8, \"::1\", 172.16.0.0/12]\n"), "{text}");
    // As who comes from elsewhere finds it.
    fs::write(&path, text.replace("127.0.0.0/8, \"::1\", ", "")).unwrap();
    stage.gateway.reloader().reload().await.unwrap();
    for path in ["/status", "/reload-config", "/metrics"] {
        let answer = send(stage.gateway.listen(), Request::get(path).body("").unwrap()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
}
