//! Files of another user: what the gateway says to type.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::geteuid;

const IMAGE_USER: u32 = 65532;

/// Runs it as the image's user where that is possible; else as this one, whom the mode keeps out.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let ours = env!("CARGO_BIN_EXE_difygate");
    let mut command = if geteuid().is_root() {
        // Where that user can reach it.
        let program = folder.join("difygate");
        if !program.exists() {
            fs::copy(ours, &program).unwrap();
        }
        let mut command = Command::new(program);
        command.uid(IMAGE_USER).gid(IMAGE_USER);
        command
    } else {
        Command::new(ours)
    };
    command.args(arguments).current_dir("/").output().unwrap()
}

#[test]
fn a_configuration_of_another_user_is_given_to_the_gateway_and_not_to_a_check() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let config = folder.path().join("difygate.yaml");
    fs::write(&config, "apps: {}").unwrap();
    let mode = if geteuid().is_root() { 0o600 } else { 0 };
    fs::set_permissions(&config, Permissions::from_mode(mode)).unwrap();
    let path = config.to_str().unwrap();
    let (of_check, of_serve) = match geteuid().is_root() {
        true => (
            "run it as that user or with `sudo`".into(),
            format!("`sudo chown {IMAGE_USER} {path}`"),
        ),
        false => (format!("`chmod u+rw {path}`"), format!("`chmod u+rw {path}`")),
    };
    for (command, remedy) in [("check", of_check), ("serve", of_serve)] {
        let refused = run(folder.path(), &[command, path]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(&remedy), "{command}: {said}");
    }
}

#[test]
fn a_log_that_may_not_be_written_is_answered_with_the_command_that_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let mode = if geteuid().is_root() { 0o755 } else { 0o500 };
    fs::set_permissions(&logs, Permissions::from_mode(mode)).unwrap();
    let config = folder.path().join("difygate.yaml");
    for key in ["access_log", "error_log"] {
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: {{ listen: 127.0.0.1:0 }}\n{key}: {{ path: {}/a.log }}\napps:\n  a:\n    \
             user_tokens: [user-1]\n    instances: [{{ name: one, host: 127.0.0.1, token: key-1 }}]\n",
            logs.display()
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, Permissions::from_mode(0o644)).unwrap();
        let refused = run(folder.path(), &["serve", "-c", config.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(3), "{key}: {said}");
        let shown = logs.display();
        let remedy = match geteuid().is_root() {
            // Its owner may keep more in it.
            true => format!("`sudo install -d -o {IMAGE_USER} -g {IMAGE_USER} {shown}/difygate`"),
            false => format!("`chmod u+rwx {shown}`"),
        };
        assert!(said.contains(&remedy), "{key}: {said}");
    }
}

#[test]
fn a_certificate_that_is_not_there_is_a_mistake_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let config = folder.path().join("difygate.yaml");
    let text = "listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\ntls: { cert: none.pem, key: none.key }\napps:\n  \
                a:\n    user_tokens: [user-token-1]\n    instances: [{ name: one, host: 127.0.0.1, token: app-key-1 }]\n";
    let tls = "tls: { cert: none.pem, key: none.key }\n";
    for (text, what) in
        [(text.to_owned(), "none.pem"), (text.replace(tls, "spool_dir: none\n"), "/none`")]
    {
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, Permissions::from_mode(0o644)).unwrap();
        for command in ["check", "serve"] {
            let refused = run(folder.path(), &[command, config.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&refused.stderr);
            assert!(refused.status.code() == Some(2) && said.contains(what), "{command}: {said}");
        }
    }
}

#[test]
fn an_import_says_whose_the_file_must_be_in_a_container() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let lua = "return { apps = { a = { user_tokens = { 't' }, instances = { { name = 'd', host = 'h', token = 'k' } } } } }";
    let (from, to) = (folder.path().join("config.lua"), folder.path().join("difygate.yaml"));
    fs::write(&from, lua).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_difygate"));
    let done = command.arg("import").arg(&from).arg("-o").arg(&to).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains(&format!("`sudo chown 65532:65532 {}`", to.display())), "{said}");
    if geteuid().is_root() {
        assert!(!run(folder.path(), &["check", to.to_str().unwrap()]).status.success());
        chown(&to, Some(IMAGE_USER), Some(IMAGE_USER)).unwrap();
    }
    let checked = run(folder.path(), &["check", to.to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
}
