//! What `deploy` holds for systemd and as configuration. `scripts/docker.sh` tests the containers and the
//! package, `make manifests` what Kubernetes reads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::rig::process::{Process, difygate, difys};
use crate::rig::{chat, send};

fn deploy(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)).unwrap()
}

/// What it said, or nothing where the program is not installed, which is printed.
#[expect(clippy::print_stdout, reason = "says why a test is skipped")]
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    let folder =
        ["/usr/bin", "/usr/sbin"].into_iter().find(|f| Path::new(f).join(program).exists());
    let Some(folder) = folder else {
        println!("skipped: {program} is not installed");
        return None;
    };
    Some(Command::new(Path::new(folder).join(program)).args(arguments).output().unwrap())
}

const CONFIG_MAP: &str = "kubernetes/configmap.yaml";

/// A configuration, be it in a file or in a ConfigMap.
fn configuration(file: &str) -> String {
    let text = deploy(file);
    match text.split_once("  difygate.yaml: |\n") {
        Some((_, inner)) => {
            assert_eq!(file, CONFIG_MAP);
            inner.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap())).collect()
        }
        None => text,
    }
}

/// What a text says after `before` wherever it has that, as far as a name or a path goes.
fn said(text: &str, before: &str) -> Vec<String> {
    let name = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    let after = text.split(before).skip(1);
    after.map(|rest| rest.chars().take_while(|c| name(*c)).collect()).collect()
}

#[test]
fn what_kubernetes_mounts_is_what_the_configuration_reads() {
    let deployment = deploy("kubernetes/deployment.yaml");
    assert_eq!(said(&deployment, "configMap: { name: "), ["difygate"]);
    assert_eq!(said(&deployment, "secretName: "), ["difygate"]);
    assert!(deployment.contains("mountPath: /etc/difygate,"), "where the image reads it");
    assert!(deployment.contains("mountPath: /run/secrets/difygate,"));
    let secret = deploy("kubernetes/secret.yaml");
    let read = said(&configuration(CONFIG_MAP), "file:/run/secrets/difygate/");
    assert_eq!(read.len(), 4);
    for key in read {
        assert!(secret.contains(&format!("\n  {key}: ")), "{key}");
    }
    let stack = said(&deploy("swarm.yaml"), "source: ");
    let read = said(&configuration("swarm/difygate.yaml"), "file:/run/secrets/");
    assert_eq!(read.len(), 3);
    for secret in read {
        assert!(stack.contains(&secret), "{secret}");
    }
}

#[test]
fn the_configurations_of_deploy_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = [
        ("dify1_key", "app-one"),
        ("dify2_key", "app-two"),
        ("admin_token", "of-operators"),
        ("customer_service_token", "of-clients"),
        ("redis_url", "redis://redis:6379/0"),
    ];
    for (name, value) in secrets {
        let secret = folder.path().join(name);
        fs::write(&secret, value).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    }
    for file in ["dev/difygate.yaml", "config/difygate.yaml", "swarm/difygate.yaml", CONFIG_MAP] {
        let path = folder.path().join("difygate.yaml");
        let secrets = folder.path().to_str().unwrap();
        let text = configuration(file).replace("/run/secrets/difygate", secrets);
        fs::write(&path, text.replace("/run/secrets", secrets)).unwrap();
        let checked = difygate(&["check", path.to_str().unwrap()]);
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        assert!(checked.stderr.is_empty(), "{checked:?}");
    }
}

/// The values of a key of the unit, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_unit_drains_reloads_and_gives_up_only_what_it_must() {
    let unit = deploy("systemd/difygate.service");
    for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
        assert!(line.contains('='), "{line}");
    }
    assert_eq!(values(&unit, "KillSignal"), ["SIGTERM"]);
    assert_eq!(values(&unit, "ExecReload").last(), Some(&"/bin/kill -HUP $MAINPID"));
    // 2 is the exit code of a wrong configuration, which the next start would find again.
    assert_eq!(values(&unit, "Restart"), ["on-failure"]);
    assert_eq!(values(&unit, "RestartPreventExitStatus"), ["2"]);
    assert_eq!(values(&unit, "CapabilityBoundingSet"), ["CAP_NET_BIND_SERVICE"]);
    for key in ["DynamicUser", "NoNewPrivileges", "PrivateTmp"] {
        assert_eq!(values(&unit, key), ["yes"], "{key}");
    }
    assert_eq!(values(&unit, "ProtectSystem"), ["strict"]);
}

#[test]
fn systemd_understands_the_unit_and_finds_little_exposed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("difygate.service");
    let unit = deploy("systemd/difygate.service");
    let here = unit.replace("/usr/local/bin/difygate", env!("CARGO_BIN_EXE_difygate"));
    fs::write(&path, here).unwrap();
    let path = path.to_str().unwrap();
    let Some(verified) = run("systemd-analyze", &["verify", "--man=no", path]) else { return };
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    // 20 of 100 is what systemd calls "OK".
    let exposure = ["security", "--offline=true", "--threshold=20", path];
    if let Some(judged) = run("systemd-analyze", &exposure) {
        let said = String::from_utf8_lossy(&judged.stdout);
        println!("{}", said.lines().last().unwrap_or_default());
        assert!(judged.status.success(), "{said}");
    }
}

/// A copy of the rotation for this gateway, which no systemd started.
fn rotation(gateway: &Process, folder: &Path) -> PathBuf {
    let path = folder.join("rotation");
    let text = deploy("systemd/difygate.logrotate")
        .replace("/var/log/difygate/*.log", gateway.log.to_str().unwrap())
        .replace(
            "systemctl kill --kill-whom=main --signal=USR1 difygate.service",
            &format!("kill -USR1 {}", gateway.id()),
        );
    assert!(!text.contains("systemctl"));
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path
}

#[tokio::test]
async fn logrotate_moves_the_log_away_and_no_line_is_lost() {
    let difys = difys(1).await;
    let gateway = Process::start(&difys, "").await;
    let folder = tempfile::tempdir().unwrap();
    let lines = |log: &Path| fs::read_to_string(log).map_or(0, |text| text.lines().count());
    assert_eq!(send(gateway.listen, chat("alice")).await.status, 200);
    while lines(&gateway.log) < 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (rotation, state) = (rotation(&gateway, folder.path()), folder.path().join("state"));
    let rotation = [rotation.to_str().unwrap(), "--force", "--state", state.to_str().unwrap()];
    let Some(rotated) = run("logrotate", &rotation) else { return };
    assert!(rotated.status.success(), "{rotated:?}");
    while !gateway.log.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(send(gateway.listen, chat("bob")).await.status, 200);
    while lines(&gateway.log) < 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(lines(&gateway.log.with_extension("log.1")), 1);
}

#[test]
fn the_image_names_whose_work_is_in_it() {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = env!("CARGO_MANIFEST_DIR");
    let notices = Path::new(folder).join("deploy/notices.py");
    let ran =
        Command::new("python3").arg(notices).arg(triple).current_dir(folder).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout).unwrap();
    let named = |crate_: &str| text.lines().any(|line| line.starts_with(&format!("{crate_} ")));
    for one in ["tokio", "hyper", "full_moon", "notify", "ring", "webpki-roots", "redb"] {
        assert!(named(one), "{one}");
    }
    for none in ["proptest", "insta", "rcgen", "windows-sys", "dify-sim"] {
        assert!(!named(none), "{none} is not built in");
    }
    for part in
        ["https://mozilla.org/MPL/2.0/", "Creative Commons CC0", "Apache License", "MIT License"]
    {
        assert!(text.contains(part), "{part}");
    }
    assert!(!text.contains(folder), "a path of the machine that built it");
}

/// What a Dockerfile says of the final image, but for where its files come from.
fn final_image(text: &str) -> Vec<&str> {
    let (_, last) = text.rsplit_once("FROM scratch\n").unwrap();
    last.lines().filter(|line| !line.starts_with("COPY")).collect()
}

#[test]
fn both_dockerfiles_make_the_same_image() {
    let whole =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile")).unwrap();
    let ready = deploy("Dockerfile");
    assert_eq!(final_image(&whole), final_image(&ready));
    let copied = ready.lines().filter(|line| line.starts_with("COPY"));
    let copied: Vec<_> = copied.map(|line| line.rsplit_once(' ').unwrap()).collect();
    assert!(copied.iter().any(|(from, _)| from.ends_with("licenses.txt")));
    for (from, to) in copied {
        let (options, from) = from.rsplit_once(' ').unwrap();
        let options = options.replacen("COPY", "COPY --from=build", 1);
        let line = format!("{options} /image/{from} {to}");
        assert!(whole.lines().any(|other| other == line), "{line}");
    }
}
