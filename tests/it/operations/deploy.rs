//! What `deploy` holds for systemd and as configuration. `scripts/docker.sh` tests the containers.

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

#[test]
fn the_configurations_for_compose_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["dify1_key", "dify2_key", "admin_token"] {
        let secret = folder.path().join(name);
        fs::write(&secret, name).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    }
    for file in ["dev/difygate.yaml", "config/difygate.yaml"] {
        let path = folder.path().join("difygate.yaml");
        fs::write(&path, deploy(file).replace("/run/secrets", folder.path().to_str().unwrap()))
            .unwrap();
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
    assert!(deploy("Dockerfile").contains("COPY licenses.txt "));
}
