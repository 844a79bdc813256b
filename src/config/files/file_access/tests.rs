use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Blocked, Role, Wanted, access_hint, is_open_to_all};

fn blocked<'a>(path: &'a str, blocks: &'a str, is_folder: bool) -> Blocked<'a> {
    let (path, blocks) = (Path::new(path), Path::new(blocks));
    Blocked { path, blocks, owner: 0, is_folder, user: 65534, group: 65533 }
}

#[test]
fn a_system_folder_is_never_given_away() {
    for (path, blocks, wanted, command) in [
        (
            "/var/log/error.log",
            "/var/log",
            Wanted::Write,
            "write `/var/log/difygate/error.log` into the configuration, and make that folder: \
             `sudo install -d -o 65534 -g 65533 /var/log/difygate`",
        ),
        (
            "/error.log",
            "/",
            Wanted::Write,
            "write `/var/log/difygate/error.log` into the configuration, and make that folder: \
             `sudo install -d -o 65534 -g 65533 /var/log/difygate`",
        ),
        ("/data", "/", Wanted::Folder, "`sudo install -d -o 65534 -g 65533 /data/difygate`"),
        ("/var/lib", "/var/lib", Wanted::Folder, " 65533 /var/lib/difygate`"),
        ("/usr/lib/x", "/usr/lib", Wanted::Folder, " 65533 /var/lib/difygate`"),
        (
            "/var/log/new/e.log",
            "/var/log",
            Wanted::Write,
            ": `sudo install -d -o 65534 -g 65533 /var/log/new`",
        ),
        ("/etc/passwd", "/etc/passwd", Wanted::Write, "write `/etc/difygate/passwd`"),
    ] {
        let said = blocked(path, blocks, Path::new(blocks).is_dir()).hint(wanted, Role::Gateway);
        assert!(said.contains(command), "{path}: {said}");
        assert!(said.contains("user 0") && said.contains("the gateway is user 65534"), "{said}");
        assert!(!said.contains("-R") && !said.contains("chown"), "{said}");
    }
}

#[test]
fn a_folder_of_others_stays_theirs_and_a_file_changes_hands_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (shared, own) = (folder.path().join("shared"), folder.path().join("difygate"));
    for one in [&shared, &own] {
        fs::create_dir(one).unwrap();
    }
    let said = |folder: &Path| {
        let (file, folder) = (folder.join("e.log"), folder.to_str().unwrap());
        blocked(file.to_str().unwrap(), folder, true).hint(Wanted::Write, Role::Gateway)
    };
    assert!(said(&shared).ends_with("/shared/difygate`"), "{}", said(&shared));
    assert!(
        said(&own).ends_with("/difygate`") && !said(&own).contains("write `"),
        "{}",
        said(&own)
    );
    let file = "/srv/difygate/difygate.yaml";
    let said = blocked(file, file, false).hint(Wanted::Read, Role::Gateway);
    assert!(said.ends_with(&format!("`sudo chown 65534 {file}`")), "{said}");
}

#[test]
fn a_command_takes_no_file_away_from_the_gateway() {
    let file = "/srv/difygate/difygate.yaml";
    let said = Blocked { owner: 65532, ..blocked(file, file, false) };
    let said = said.hint(Wanted::Read, Role::Command);
    assert!(said.contains("run it as that user or with `sudo`"), "{said}");
    assert!(!said.contains("chown") && !said.contains("the gateway"), "{said}");
    let own = Blocked { owner: 65534, ..blocked(file, file, false) };
    assert!(own.hint(Wanted::Read, Role::Command).contains("`chmod u+rw /srv"));
}

#[test]
fn nothing_is_said_of_what_may_be_done() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new/deeper");
    for wanted in [Wanted::Read, Wanted::Write, Wanted::Folder] {
        assert_eq!(access_hint(&file, wanted, Role::Gateway), None);
    }
}

#[test]
fn a_folder_that_keeps_others_out_keeps_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "x").unwrap();
    for (of_folder, of_file, is_open) in
        [(0o755, 0o644, true), (0o711, 0o644, true), (0o700, 0o644, false), (0o755, 0o640, false)]
    {
        fs::set_permissions(folder.path(), Permissions::from_mode(of_folder)).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(of_file)).unwrap();
        assert_eq!(is_open_to_all(&file), is_open, "{of_folder:o} {of_file:o}");
    }
}
