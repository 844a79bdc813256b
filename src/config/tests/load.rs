//! Good configurations: what is read, inherited, taken from the environment and from files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::config::{
    AccessLog, App, BodiesMemory, Config, ConsistentHash, Environment, Limits, Loaded, LogFormat,
    MaxLoad, Method, Owners, Retry, Role, Store, Style, load, parse,
};
use crate::model::{AppName, HashAlgorithm, LastResort, OnOwnerDown, Queue, Timeouts, Token};

fn env(vars: &[(&str, &str)]) -> Environment {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Environment {
        vars: vars.collect::<BTreeMap<_, _>>(),
        base: "/nowhere".into(),
        ..Environment::default()
    }
}

fn loaded(text: &str, vars: &[(&str, &str)]) -> Loaded {
    parse("gateway.yaml", text, &env(vars))
        .unwrap_or_else(|faults| panic!("{}", faults.render(Style::Plain)))
}

/// The configuration of a text that gives no warnings either.
fn good(text: &str) -> Config {
    let Loaded { config, warnings, .. } = loaded(text, &[]);
    assert!(warnings.is_empty(), "{}", warnings.render(Style::Plain));
    config
}

fn app<'a>(config: &'a Config, name: &str) -> &'a App {
    &config.apps[&AppName::from(name)]
}

const MINIMAL: &str = "\
listen: 127.0.0.1:8080
apps:
  customer_service:
    user_tokens: [usertoken--customer-service-v1]
    instances:
      - { name: dify1, host: 127.0.0.1, port: 5001, token: app-one }
";

#[test]
fn a_file_without_listen_is_served_where_the_environment_says() {
    let without = MINIMAL.replace("listen: 127.0.0.1:8080\n", "");
    let listen = |text: &str, value: &str| {
        loaded(text, &[("DIFYGATE_LISTEN", value)]).config.listen.to_string()
    };
    assert_eq!(listen(&without, "0.0.0.0:8000"), "0.0.0.0:8000");
    assert_eq!(listen(&without, ""), "127.0.0.1:8080");
    assert_eq!(listen(MINIMAL, "0.0.0.0:8000"), "127.0.0.1:8080");
    let refused = parse("gateway.yaml", &without, &env(&[("DIFYGATE_LISTEN", "localhost")]));
    let said = refused.unwrap_err().render(Style::Plain);
    assert!(said.contains("`DIFYGATE_LISTEN` must be an IP address with a port"), "{said}");
}

#[test]
fn the_minimal_file_gets_every_default() {
    let config = good(MINIMAL);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert!(config.admin.token.is_none() && config.admin.allow.is_empty());
    assert_eq!((config.workers, config.pin_cpus), (None, false));
    assert_eq!(config.access_log, AccessLog::Stdout(LogFormat::Json));
    assert_eq!(config.last_resort, LastResort::Try);
    assert_eq!(config.apps[0].retry, Retry::default());
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.limits, Limits::default());
    let owners = Owners { max_entries: 1_000_000, max_age: Duration::from_secs(2_592_000) };
    assert_eq!((config.owners, &config.store), (owners, &Store::default()));
    assert!(config.trusted_proxies.is_empty() && config.spool_dir.is_none());
    let app = app(&config, "customer_service");
    assert_eq!(app.user_tokens[0].expose(), "usertoken--customer-service-v1");
    assert_eq!(
        app.consistent_hash,
        ConsistentHash { virtual_nodes: 160, hash_algorithm: HashAlgorithm::Sha256 }
    );
    assert_eq!((app.method, app.max_load), (Method::ConsistentHash, MaxLoad::Off));
    let instance = &app.instances[0];
    assert_eq!((instance.name.as_str(), instance.token.expose()), ("dify1", "app-one"));
    assert_eq!(instance.address.to_string(), "127.0.0.1:5001");
    assert_eq!((instance.weight, instance.max_fails, instance.max_concurrent), (1, 3, 10));
    assert_eq!(instance.fail_timeout, Duration::from_secs(30));
    let (timeout, run_timeout) = (Duration::from_secs(30), Duration::from_secs(300));
    assert_eq!(instance.queue, Queue { size: 100, timeout, run_timeout });
    assert_eq!((instance.max_runs, config.timeouts.run_start), (None, Duration::from_secs(60)));
}

#[test]
fn what_one_client_may_take_is_read() {
    let config = good(
        r#"
timeouts: { write: 20s }
limits: { all_bodies_memory: 60%, min_answer_rate: 2KiB }
ai: { max_body: 8MiB }
apps:
  a: { user_tokens: [t1], instances: [{ name: one, host: dify, token: key }] }
  b:
    user_tokens: [t1]
    ai: { max_body: 4KiB }
    instances: [{ name: one, host: dify, token: key }]
"#,
    );
    let memory = BodiesMemory::Percent(60);
    assert_eq!((config.limits.all_bodies_memory, config.limits.min_answer_rate), (memory, 2048));
    assert_eq!(config.timeouts.write, Duration::from_secs(20));
    let max_body = |place: usize| config.apps[place].ai.max_body;
    assert_eq!((max_body(0), max_body(1)), (8 << 20, 4096));
    let with = |memory: &str| {
        let text = "apps: { a: { user_tokens: [t1], instances: [{ name: one, host: dify, token: key }] } }";
        good(&format!("limits: {{ all_bodies_memory: {memory} }}\n{text}")).limits.all_bodies_memory
    };
    assert_eq!(
        (with("2GiB"), with("1 %")),
        (BodiesMemory::Bytes(2 << 30), BodiesMemory::Percent(1))
    );
}

#[test]
fn every_key_is_read() {
    let config = good(
        r#"
listen: "[::1]:0"
admin: { listen: 0.0.0.0:9191, token: admin-secret, allow: [10.0.0.0/8, 192.168.1.7] }
workers: 4
pin_cpus: true
access_log: { path: /var/log/x.log, format: combined }
trusted_proxies: [10.1.2.3/8, "fd00::/8"]
last_resort: refuse
instance_header: false
spool_dir: /var/tmp
method: rendezvous
max_load: 1.25
consistent_hash: { virtual_nodes: 40, hash_algorithm: xxh3 }
retry: { attempts: 0 }
timeouts: { connect: 500ms, first_byte_idempotent: 4, first_byte: 1h, idle: 1m30s, run_start: 20s, header: 5s, keep_alive: 60s }
limits: { max_body: 15MiB, memory_body: 100kb, header_bytes: 8KiB, headers: 50, uri_bytes: 4096, max_connections: 9, connections_per_address: 3, backlog: 128, body_rate: 1KiB }
owners: { max_entries: 7, max_age: 1d12h }
store: { path: /var/lib/x }
apps:
  a:
    user_tokens: [t1, 12345]
    method: ip_hash
    max_load: off
    consistent_hash: { virtual_nodes: 80 }
    instances:
      - { name: one, url: "http://10.0.0.1:81", token: 0815, weight: 5, max_fails: 9, fail_timeout: 2m, max_concurrent: 7, max_runs: 4, queue: { size: 0, timeout: 1s, run_timeout: 2m } }
  b: { user_tokens: [t1], instances: [{ name: one, host: dify, token: key }] }
"#,
    );
    assert_eq!(config.listen.to_string(), "[::1]:0");
    assert_eq!(config.admin.token.as_ref().unwrap().expose(), "admin-secret");
    let allow: Vec<_> = config.admin.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["10.0.0.0/8", "192.168.1.7/32"]);
    assert_eq!((config.workers, config.pin_cpus), (Some(4), true));
    let file = AccessLog::File { path: "/var/log/x.log".into(), format: LogFormat::Combined };
    assert_eq!(config.access_log, file);
    assert_eq!(config.trusted_proxies[0].to_string(), "10.0.0.0/8");
    assert_eq!(config.last_resort, LastResort::Refuse);
    assert!(!config.instance_header);
    assert_eq!(config.spool_dir.as_deref(), Some(Path::new("/var/tmp")));
    assert_eq!(config.apps[0].retry.attempts, 0);
    let owners = Owners { max_entries: 7, max_age: Duration::from_secs(129_600) };
    assert_eq!(
        (config.owners, config.store.path.as_deref()),
        (owners, Some(Path::new("/var/lib/x")))
    );
    assert_eq!(config.timeouts.connect, Duration::from_millis(500));
    assert_eq!(config.timeouts.first_byte_idempotent, Duration::from_secs(4));
    let (idle, run_start) = (Duration::from_secs(90), Duration::from_secs(20));
    assert_eq!((config.timeouts.idle, config.timeouts.run_start), (idle, run_start));
    let limits = config.limits;
    assert_eq!((limits.max_body, limits.memory_body), (15 << 20, 100_000));
    assert_eq!((limits.header_bytes, limits.headers, limits.uri_bytes), (8192, 50, 4096));
    assert_eq!((limits.max_connections, limits.connections_per_address), (Some(9), Some(3)));
    assert_eq!((limits.backlog, limits.body_rate), (128, 1024));
    let names: Vec<_> = config.apps.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let (a, b) = (app(&config, "a"), app(&config, "b"));
    let hash =
        |virtual_nodes| ConsistentHash { virtual_nodes, hash_algorithm: HashAlgorithm::Xxh3 };
    assert_eq!((a.consistent_hash, b.consistent_hash), (hash(80), hash(40)));
    assert_eq!((a.method, b.method), (Method::IpHash, Method::Rendezvous));
    assert_eq!((a.max_load, b.max_load), (MaxLoad::Off, MaxLoad::Thousandths(1250)));
    assert_eq!(a.user_tokens[1].expose(), "12345");
    assert_eq!(a.instances[0].token.expose(), "0815", "a token of digits keeps its zero");
    assert_eq!(a.instances[0].address.to_string(), "10.0.0.1:81");
    let one = &a.instances[0];
    assert_eq!((one.queue.size, one.queue.run_timeout.as_secs(), one.max_runs), (0, 120, Some(4)));
    assert_eq!(b.instances[0].address.to_string(), "dify:5001");
}

#[test]
fn an_instance_may_have_a_web_app_and_files_elsewhere() {
    let config = good(
        r#"
apps:
  a:
    user_tokens: [t1]
    instances:
      - { name: one, host: dify1, token: k1, web_url: "https://dify.example.org/x/",
          files_url: "http://[::1]:80/files-1//" }
      - { name: two, host: dify2, token: k2 }
"#,
    );
    let web_urls = app(&config, "a").instances.iter().map(|one| one.web_url.as_deref());
    assert_eq!(web_urls.collect::<Vec<_>>(), [Some("https://dify.example.org/x"), None]);
    let files_urls = app(&config, "a").instances.iter().map(|one| one.files_url.as_deref());
    assert_eq!(files_urls.collect::<Vec<_>>(), [Some("http://[::1]:80/files-1"), None]);
}

#[test]
fn access_logs_have_short_forms() {
    for (word, wanted) in [
        ("json", AccessLog::Stdout(LogFormat::Json)),
        ("combined", AccessLog::Stdout(LogFormat::Combined)),
        ("off", AccessLog::Off),
        ("{ path: /x }", AccessLog::File { path: "/x".into(), format: LogFormat::Json }),
    ] {
        let config = good(&format!("access_log: {word}\n{MINIMAL}"));
        assert_eq!(config.access_log, wanted, "{word}");
    }
}

#[test]
fn applications_is_another_spelling_of_apps() {
    assert_eq!(good(&MINIMAL.replace("apps:", "applications:")), good(MINIMAL));
}

#[test]
fn a_key_without_a_value_counts_as_not_written() {
    let text = format!("timeouts:\nworkers:\nlimits: ~\nadmin:\n  token:\n{MINIMAL}");
    assert_eq!(good(&text), good(MINIMAL));
}

#[test]
fn the_environment_fills_scalars_of_every_style() {
    let text = r#"
workers: ${WORKERS}
retry: { attempts: "${ATTEMPTS:-7}" }
pin_cpus: ${PIN}
limits: { max_body: '${SIZE}' }
spool_dir: ${EMPTY:-}
apps:
  a:
    user_tokens: ["${USER_TOKEN}", pre-${SUFFIX}-fix, 'plain$', "$${LITERAL}"]
    instances:
      - { name: one, url: "http://${HOST:-dify}:${PORT}", token: "${KEY-app-default}" }
"#;
    let vars = [
        ("WORKERS", "3"),
        ("PIN", "true"),
        ("SIZE", "2MiB"),
        ("USER_TOKEN", "u"),
        ("SUFFIX", "s"),
        ("PORT", "5009"),
    ];
    let config = loaded(text, &vars).config;
    assert_eq!(
        (config.workers, config.apps[0].retry.attempts, config.pin_cpus),
        (Some(3), 7, true)
    );
    assert_eq!((config.limits.max_body, &config.spool_dir), (2 << 20, &None));
    let app = app(&config, "a");
    let tokens: Vec<_> = app.user_tokens.iter().map(|token| token.expose()).collect();
    assert_eq!(tokens, ["u", "pre-s-fix", "plain$", "${LITERAL}"]);
    assert_eq!(app.instances[0].address.to_string(), "dify:5009");
    assert_eq!(app.instances[0].token.expose(), "app-default");
}

#[test]
fn a_value_of_the_environment_is_never_yaml() {
    let text = MINIMAL.replace("app-one", "${KEY}");
    let config = loaded(&text, &[("KEY", "a,b}:[#&*!")]).config;
    assert_eq!(app(&config, "customer_service").instances[0].token.expose(), "a,b}:[#&*!");
}

#[test]
fn anchors_and_merge_keys_share_instances_between_apps() {
    let text = "
x-defaults: &defaults { max_fails: 5, fail_timeout: 1m, token: key-0 }
x-instances: &instances
  - &one { name: one, host: a, <<: *defaults }
  - { <<: [*defaults], name: two, host: b, max_fails: 2 }
apps:
  first: { user_tokens: [t], instances: *instances }
  second:
    user_tokens: [t]
    instances:
      - *one
      - { <<: *one, name: three, host: c, token: key-3 }
";
    let config = good(text);
    let (first, second) = (&app(&config, "first").instances, &app(&config, "second").instances);
    assert_eq!((first[0].max_fails, first[1].max_fails), (5, 2));
    assert_eq!(first[1].fail_timeout, Duration::from_secs(60));
    assert_eq!(second[0], first[0]);
    assert_eq!((second[1].max_fails, second[1].token.expose()), (5, "key-3"));
}

#[test]
fn what_bears_an_app_name_like_x_is_an_app() {
    let config = good(&MINIMAL.replace("customer_service", "x-app"));
    assert!(config.apps.contains_key(&AppName::from("x-app")));
}

#[test]
fn a_secret_comes_from_a_file_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("key.txt");
    fs::write(&secret, "app-from-file\r\n").unwrap();
    let path = folder.path().join("gateway.yaml");
    let text = MINIMAL.replace("app-one", "file:key.txt, dataset_token: file:key.txt");
    fs::write(&path, text.replace("[user", &format!("[file:{}, user", secret.display()))).unwrap();
    restrict(&secret, 0o600);

    let Loaded { config, warnings, .. } = load(&path, &Environment::default()).unwrap();
    let app = app(&config, "customer_service");
    assert_eq!(app.user_tokens[0].expose(), "app-from-file");
    assert_eq!(app.instances[0].token.expose(), "app-from-file");
    let datasets = app.instances[0].dataset_token.as_ref();
    assert_eq!(datasets.map(Token::expose), Some("app-from-file"));
    assert_eq!(warnings.findings().len(), 2, "{warnings}");
    assert!(warnings.findings()[0].message.contains("also a user token"), "{warnings}");

    restrict(&secret, 0o644);
    restrict(folder.path(), 0o755);
    let warnings = load(&path, &Environment::default()).unwrap().warnings;
    let open = |at: usize| warnings.findings()[at].message.contains("readable by everybody");
    assert!(open(0), "{warnings}");
    assert!(!warnings.to_json().to_string().contains("app-from-file"));
}

fn restrict(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_cannot_be_read_is_a_finding_without_a_place() {
    let faults = load(Path::new("/nowhere/gateway.yaml"), &env(&[])).unwrap_err();
    assert_eq!(faults.first_place().as_deref(), Some("/nowhere/gateway.yaml"));
    insta::assert_snapshot!(faults.render(Style::Plain), @"
    error: the configuration cannot be read: no such file
    --> /nowhere/gateway.yaml
     = hint: name an existing file, or let `difygate init` write one
    ");
}

#[test]
fn an_environment_shows_names_and_no_values() {
    let shown = format!("{:?}", env(&[("KEY", "hidden")]));
    assert!(shown.contains("KEY") && !shown.contains("hidden"), "{shown}");
}

#[test]
fn an_app_takes_from_the_top_what_it_leaves_out_of_retry() {
    let text = "retry: { attempts: 1, budget: 12.5%, statuses: [502, 503], resume: false }\n\
        on_owner_down: queue\n\
        apps:\n  a: &a\n    user_tokens: [t]\n    retry: { attempts: 0, non_idempotent: true }\n    \
        instances: [{ name: one, host: dify, token: key }]\n  b:\n    <<: *a\n    retry: {}\n    \
        on_owner_down: restart\n";
    let config = parse("x", text, &Environment::default()).unwrap().config;
    let (a, b) = (&config.apps[0], &config.apps[1]);
    let retry = |attempts, non_idempotent| Retry {
        attempts,
        budget: 125,
        statuses: vec![502, 503],
        non_idempotent,
        resume: false,
    };
    assert_eq!((&a.retry, &b.retry), (&retry(0, true), &retry(1, false)));
    assert_eq!((a.on_owner_down, b.on_owner_down), (OnOwnerDown::Queue, OnOwnerDown::Restart));
}

#[test]
fn a_file_of_somebody_else_says_how_to_read_it() {
    // Nothing is seen that stands in the way, as with SELinux.
    let error = std::io::ErrorKind::PermissionDenied.into();
    let denied = crate::config::load::unreadable("/".as_ref(), &error, Role::Command);
    let mut sink = crate::config::diagnostic::DiagnosticSink::default();
    sink.add(denied);
    let said = crate::config::Diagnostics::new("x", "", sink).render(Style::Plain);
    assert!(said.contains("permission denied") && said.contains("`chmod g+r`"), "{said}");
}
