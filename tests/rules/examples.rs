//! The example configurations are good ones, and a gateway starts from each.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment, Source};
use serde_json::Value;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Whether `check` accepts an example, and a gateway starts from it.
async fn serves(name: &str, vars: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let mut text = fs::read_to_string(examples().join(name)).unwrap();
    for secret in ["difygate_admin", "dify1_key", "dify2_key"] {
        let file = folder.path().join(secret);
        fs::write(&file, format!("secret-{secret}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    certificates(&folder.path().join("certs"));
    text = text.replace("/run/secrets", folder.path().to_str().unwrap());
    text = text.replace("access.log", folder.path().join("access.log").to_str().unwrap());
    fs::write(&path, &text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let (source, option) = match path.extension().is_some_and(|ending| ending == "env") {
        true => (Source::Environment { file: Some(path.clone()) }, Some("--env-file")),
        false => (Source::File(path.clone()), None),
    };
    let checked = Command::new(env!("CARGO_BIN_EXE_difygate"))
        .arg("check")
        .args(option)
        .arg(&path)
        .envs(vars.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{name}: {said}");

    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let environment = Environment { vars: vars.collect(), ..Environment::default() };
    let mut config =
        source.load(&environment).unwrap_or_else(|findings| panic!("{findings}")).config;
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    config.listen = loopback.into();
    config.admin.listen = loopback;
    let gateway = Gateway::start(config, source, None).await.unwrap();
    assert_ne!(gateway.listen().port(), 0);
    gateway.drain().await;
}

/// What `make certs` makes: an authority and a certificate of the gateway.
fn certificates(folder: &Path) {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let own = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    fs::write(folder.join("gateway.pem"), own.pem()).unwrap();
    fs::write(folder.join("gateway.key"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn the_smallest_one() {
    serves("minimal.yaml", &[]).await;
}

#[tokio::test]
async fn the_one_with_two_instances() {
    serves("two-instances.yaml", &[]).await;
}

#[tokio::test]
async fn the_one_for_containers() {
    serves("docker.yaml", &[("USER_TOKEN", "usertoken--shop"), ("DIFY1_HOST", "dify1-api")]).await;
}

#[tokio::test]
async fn the_one_with_every_key() {
    let vars = [
        ("ADMIN_TOKEN", "secret-admin"),
        ("SECOND_USER_TOKEN", "usertoken--second"),
        ("OPEN_WEBUI_KEY", "sk-open-webui"),
        ("OPEN_WEBUI_JWT_SECRET", "signed"),
        ("DIFY1_KEY", "app-1"),
        ("DIFY1_DATASETS", "dataset-1"),
        ("DIFY2_DATASETS", "dataset-2"),
        ("DIFY2_KEY", "app-2"),
    ];
    serves("full.yaml", &vars).await;
}

#[tokio::test]
async fn the_one_for_openai_clients() {
    let vars = [
        ("CLIENT_KEY", "sk-client"),
        ("SHOP_KEY", "app-shop"),
        ("TRANSLATOR_KEY", "app-translator"),
    ];
    serves("openai.yaml", &vars).await;
}

#[tokio::test]
async fn the_one_with_tls() {
    let vars = [("USER_TOKEN", "usertoken--shop"), ("DIFY1_KEY", "app-1"), ("DIFY2_KEY", "app-2")];
    serves("tls.yaml", &vars).await;
}

#[tokio::test]
async fn the_one_behind_open_webui() {
    let vars =
        [("OPEN_WEBUI_KEY", "sk-open-webui"), ("DIFY1_KEY", "app-1"), ("DIFY2_KEY", "app-2")];
    serves("open-webui.yaml", &vars).await;
}

#[tokio::test]
async fn the_one_for_a_whole_dify() {
    let vars = [("USER_TOKEN", "usertoken--shop"), ("DIFY_KEY", "app-1")];
    serves("ingress.yaml", &vars).await;
}

#[tokio::test]
async fn the_one_in_the_place_of_opendify() {
    serves("opendify.env", &[]).await;
}

/// Every file in a folder and below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn every_configuration_here_is_valid_as_far_as_it_goes_without_its_environment() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for path in files(&root.join("examples")).into_iter().chain(files(&root.join("deploy"))) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let option = match path.extension().and_then(|ending| ending.to_str()) {
            Some("yaml")
                if text.lines().any(|line| line == "apps:" || line.starts_with("apps: ")) =>
            {
                "-c"
            }
            Some("env") if text.contains("MODEL_CONFIG") => "--env-file",
            _ => continue,
        };
        let mut check = Command::new(env!("CARGO_BIN_EXE_difygate"));
        check.args(["check", "--allow-missing-env", option]).arg(&path);
        // Nothing of what it names is here.
        let here = std::env::vars_os().filter(|(name, _)| name == "PATH");
        let output = check.env_clear().envs(here).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{}: {said}", path.display());
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
}

/// The names of all keys below a schema.
fn keys(schema: &Value, names: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        names.extend(properties.keys().cloned());
    }
    match schema {
        Value::Object(object) => object.values().for_each(|inner| keys(inner, names)),
        Value::Array(items) => items.iter().for_each(|inner| keys(inner, names)),
        _ => {}
    }
}

#[test]
fn the_full_one_leaves_no_key_out() {
    let text = fs::read_to_string(examples().join("full.yaml")).unwrap();
    let mut names = Vec::new();
    keys(&config::schema(), &mut names);
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let written = |name: &String| {
        let key = format!("{name}:");
        text.match_indices(&key).any(|(at, _)| !text[..at].ends_with(inside))
    };
    // `engine` and `doors` are there for one release more.
    let left_out = |name: &str| matches!(name, "applications" | "engine" | "doors");
    names.retain(|name| !left_out(name) && !written(name));
    assert!(names.is_empty(), "examples/full.yaml has no {names:?}");
}

#[test]
fn every_example_has_its_test() {
    let own =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules/examples.rs"));
    let own = own.unwrap();
    for example in fs::read_dir(examples()).unwrap() {
        let name = example.unwrap().file_name().into_string().unwrap();
        assert!(own.contains(&format!("serves(\"{name}\"")), "{name} is not tested");
    }
}
