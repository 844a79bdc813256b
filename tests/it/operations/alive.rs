//! `difygate health` finds the gateway by its configuration.

use std::path::Path;
use std::process::Output;

use super::opendify::{ANY_PORT, base, difygate};
use crate::rig::certs::Authority;
use crate::rig::process::{Process, difys, text};

async fn health(folder: &Path, arguments: &[&str], vars: &[(&str, &str)]) -> Output {
    let arguments = [&["health"], arguments].concat();
    let mut command = difygate(folder, &arguments, vars);
    command.stderr(std::process::Stdio::piped());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn health_asks_where_the_variables_say() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let base = base(&difys[0]);
    let vars = [("MODEL_CONFIG", "{\"shop\":\"app-shop-1\"}"), ("DIFY_API_BASE", &*base)];
    let command = difygate(folder.path(), &["serve"], &[&vars[..], &ANY_PORT].concat());
    let gateway = Process::run(command, tempfile::tempdir().unwrap()).await;
    let port = gateway.listen.port().to_string();
    // As in the image: any address of the machine, and the port of the variable.
    let set = [&vars[..], &[("SERVER_HOST", "0.0.0.0"), ("SERVER_PORT", &port)]].concat();
    let asked = health(folder.path(), &[], &set).await;
    assert_eq!((asked.status.code(), &*text(&asked.stdout)), (Some(0), "healthy\n"), "{asked:?}");
    let file = format!("DIFY_API_KEYS=app-one\nSERVER_PORT={port}\n");
    std::fs::write(folder.path().join("some.env"), file).unwrap();
    let asked = health(folder.path(), &["--env-file", "some.env"], &[]).await;
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    drop(gateway);
    let asked = health(folder.path(), &[], &set).await;
    let said = text(&asked.stderr);
    assert!(
        asked.status.code() == Some(1) && said.contains(&format!("127.0.0.1:{port}")),
        "{said}"
    );
    let asked = health(folder.path(), &[], &[&vars[..], &ANY_PORT].concat()).await;
    assert!(text(&asked.stderr).contains("is 0, any that is free"), "{asked:?}");
}

#[tokio::test]
async fn health_asks_where_the_file_says_without_its_secrets() {
    let difys = difys(1).await;
    let gateway = Process::start(&difys, "").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("difygate.yaml");
    let configured = std::fs::read_to_string(&gateway.config).unwrap();
    let configured = configured
        .replace("listen: 127.0.0.1:0\nadmin", &format!("listen: {}\nadmin", gateway.listen))
        .replace("app-shop-1", "\"${NOWHERE}\"");
    std::fs::write(&file, configured).unwrap();
    for arguments in [&["-c", "difygate.yaml"][..], &[]] {
        let asked = health(folder.path(), arguments, &[]).await;
        assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    }
    let url = format!("http://{}/ready", gateway.listen);
    let asked = health(folder.path(), &["--url", &url], &[]).await;
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
}

#[tokio::test]
async fn health_asks_the_admin_listener_where_clients_need_tls() {
    let difys = difys(1).await;
    let folder = tempfile::tempdir().unwrap();
    let pair = Authority::new().issue(&["localhost"]);
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, pair.cert).unwrap();
    std::fs::write(&key, pair.key).unwrap();
    let tls = format!("tls: [{{ cert: {}, key: {} }}]\n", cert.display(), key.display());
    let gateway = Process::start(&difys, &tls).await;
    let text = std::fs::read_to_string(&gateway.config).unwrap().replace(
        "listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }",
        &format!("listen: {}\nadmin: {{ listen: {} }}", gateway.listen, gateway.admin),
    );
    std::fs::write(folder.path().join("difygate.yaml"), text).unwrap();
    let asked = health(folder.path(), &[], &[]).await;
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
}
