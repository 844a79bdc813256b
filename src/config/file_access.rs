//! Why a file is out of reach, and what to type then. A container's user is rarely who made the files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Access;
use rustix::process::geteuid;

/// What is wanted of a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To read it.
    Read,
    /// To write it, or to make it in its folder.
    Write,
}

/// What to type so that this process may do it. None: it may, or it is not known what stands in the way.
pub fn access_hint(path: &Path, wanted: Wanted) -> Option<String> {
    // What is not there, or not to be seen, is up to the folder that is.
    let mut above = path.ancestors().map(|path| match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    });
    let (blocks, metadata) = above.find_map(|path| Some((path, fs::metadata(path).ok()?)))?;
    let access = match (wanted, metadata.is_dir()) {
        (Wanted::Read, false) => Access::READ_OK,
        (Wanted::Read, true) => Access::READ_OK | Access::EXEC_OK,
        (Wanted::Write, false) => Access::WRITE_OK,
        (Wanted::Write, true) => Access::WRITE_OK | Access::EXEC_OK,
    };
    if rustix::fs::access(blocks, access).is_ok() {
        return None;
    }
    let user = geteuid().as_raw();
    Some(hint(blocks, metadata.uid(), user))
}

fn hint(path: &Path, owner: u32, user: u32) -> String {
    let shown = path.display();
    if owner == user {
        return format!("{shown} belongs to this user, {user}: `chmod -R u+rwX {shown}`");
    }
    format!(
        "{shown} belongs to user {owner}, and the gateway is user {user}: `sudo chown -R {user}:{user} {shown}`"
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Wanted, access_hint, hint};

    #[test]
    fn the_command_names_the_file_and_the_user() {
        let said = hint(Path::new("/etc/difygate/difygate.yaml"), 0, 65532);
        assert_eq!(
            said,
            "/etc/difygate/difygate.yaml belongs to user 0, and the gateway is user 65532: \
             `sudo chown -R 65532:65532 /etc/difygate/difygate.yaml`"
        );
        assert!(hint(Path::new("logs"), 7, 7).contains("`chmod -R u+rwX logs`"));
    }

    #[test]
    fn nothing_is_said_of_what_may_be_done() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/deeper");
        for wanted in [Wanted::Read, Wanted::Write] {
            assert_eq!(access_hint(&file, wanted), None);
        }
    }
}
