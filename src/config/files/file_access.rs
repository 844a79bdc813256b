//! Why a file is out of reach, and what to type then. A container's user is rarely who made the files.
//!
//! A hint is typed as root by people in a hurry. So it never names more than one file or folder, never changes
//! a folder that others use, and gives nothing to a command that the gateway needs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

/// What is wanted of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To read a file.
    Read,
    /// To write a file, or to make it in its folder.
    Write,
    /// To write into a folder, or to make it.
    Folder,
}

/// Who wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A command that somebody typed: what belongs to the gateway stays the gateway's.
    #[default]
    Command,
    /// The gateway itself, whose user the files are for.
    Gateway,
}

/// What to do so that this process may do it. None: it may, or something else than owner and mode stands in
/// the way.
pub fn access_hint(path: &Path, wanted: Wanted, role: Role) -> Option<String> {
    let (blocks, owner, is_folder) = blocking(path, wanted)?;
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    Some(Blocked { path, blocks, owner, is_folder, user, group }.hint(wanted, role))
}

/// Whether every user of the machine may read a file. A folder on the way that keeps others out counts.
pub(crate) fn is_open_to_all(path: &Path) -> bool {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let has = |path: &Path, bit: u32| fs::metadata(path).is_ok_and(|meta| meta.mode() & bit != 0);
    has(&real, 0o004) && real.ancestors().skip(1).all(|folder| has(folder, 0o001))
}

/// How a file of secrets is kept from others, and for the user that a gateway in a container is.
pub(crate) const KEEP: &str = "give it to the user that runs difygate, `sudo chown USER FILE` (65532 in its image), and \
                               `chmod 600 FILE`; or to the group of that user, and `chmod 640 FILE`";

/// The file or folder that stands in the way, its owner, and whether it is a folder.
fn blocking(path: &Path, wanted: Wanted) -> Option<(&Path, u32, bool)> {
    // What is not there, or not to be seen, is up to the folder that is.
    let mut above = path.ancestors().map(|path| match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    });
    let (blocks, metadata) = above.find_map(|path| Some((path, fs::metadata(path).ok()?)))?;
    let of_file = if wanted == Wanted::Read { Access::READ_OK } else { Access::WRITE_OK };
    let is_folder = metadata.is_dir();
    let access = match is_folder {
        true if wanted == Wanted::Read => Access::EXEC_OK,
        true => Access::WRITE_OK | Access::EXEC_OK,
        false => of_file,
    };
    match rustix::fs::access(blocks, access) {
        Err(Errno::ACCESS | Errno::PERM) => Some((blocks, metadata.uid(), is_folder)),
        Ok(()) | Err(_) => None,
    }
}

struct Blocked<'a> {
    /// What was wanted.
    path: &'a Path,
    /// What does not let in.
    blocks: &'a Path,
    owner: u32,
    is_folder: bool,
    user: u32,
    group: u32,
}

impl Blocked<'_> {
    fn hint(&self, wanted: Wanted, role: Role) -> String {
        let &Self { owner, user, .. } = self;
        let shown = self.blocks.display();
        if owner == user {
            let mode = if self.is_folder { "u+rwx" } else { "u+rw" };
            return format!("{shown} belongs to this user, {user}: `chmod {mode} {shown}`");
        }
        if role == Role::Command {
            return format!(
                "{shown} belongs to user {owner}, and this is user {user}: run it as that user or with `sudo`"
            );
        }
        let whose = format!("{shown} belongs to user {owner}, and the gateway is user {user}");
        if wanted == Wanted::Read && self.is_folder {
            return format!("{whose}: put the file into a folder that this user may enter");
        }
        if !self.is_folder && !is_of_system(&folder_of(self.blocks)) {
            return format!("{whose}: `sudo chown {user} {shown}`");
        }
        format!("{whose}: {}", self.own_folder(wanted))
    }

    /// A folder of the gateway's own, where the path has none that may become it.
    fn own_folder(&self, wanted: Wanted) -> String {
        let &Self { user, group, .. } = self;
        let make =
            |folder: &Path| format!("`sudo install -d -o {user} -g {group} {}`", folder.display());
        let folder = match wanted {
            Wanted::Folder => self.path.to_owned(),
            Wanted::Read | Wanted::Write => folder_of(self.path),
        };
        let is_shared = folder.exists() && !is_named_for_us(&folder);
        // A folder that is not to be seen may be anybody's.
        let is_hidden = fs::symlink_metadata(&folder)
            .is_err_and(|error| error.kind() != io::ErrorKind::NotFound);
        if !is_of_system(&folder) && !is_shared && !is_hidden {
            return make(&folder);
        }
        let own = match (is_private_to_system(&folder) || is_hidden, wanted) {
            (false, _) => folder.join("difygate"),
            (true, Wanted::Folder) => PathBuf::from("/var/lib/difygate"),
            (true, Wanted::Read | Wanted::Write) => PathBuf::from("/var/log/difygate"),
        };
        let written = match (wanted, self.path.file_name()) {
            (Wanted::Read | Wanted::Write, Some(name)) => own.join(name),
            _ => own.clone(),
        };
        format!(
            "write `{}` into the configuration, and make that folder: {}",
            written.display(),
            make(&own)
        )
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn is_named_for_us(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("difygate"))
}

/// Whether a folder is one that the machine's other programs need as it is.
fn is_of_system(folder: &Path) -> bool {
    let real = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let names: Vec<_> = real
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        })
        .collect();
    let is_home = real == Path::new("/home") || real.parent() == Some(Path::new("/home"));
    let of_var = names.first().is_some_and(|first| first == "var") && names.len() <= 2;
    real.is_absolute() && names.len() <= 1 || is_home || of_var || is_private_to_system(&real)
}

/// Whether nothing of ours belongs there at all.
fn is_private_to_system(folder: &Path) -> bool {
    const FOLDERS: [&str; 11] = [
        "/bin", "/boot", "/dev", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys",
        "/usr",
    ];
    folder == Path::new("/") || FOLDERS.iter().any(|system| folder.starts_with(system))
}

#[cfg(test)]
mod tests;
