//! Sees when the configuration, or the file of one of its secrets, has changed.
//!
//! Watched are the folders, not the files: editors rename a new file over the old one, and
//! Kubernetes swaps a link beside it. An event only says that it is time to look; whether something
//! changed is decided by comparing what the operating system says of the file. Where no events come
//! (network file systems, a single file mounted into a container), a look every few seconds finds
//! the change all the same, so that a folder that cannot be watched is a warning and not an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How long files must be left alone before they are read.
const QUIET: Duration = Duration::from_millis(250);
/// Files that never come to rest are read after this many times [`QUIET`].
const MOST_ROUNDS: usize = 20;
/// How often one looks where no event tells.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A file's time of change is that of the kernel's last tick.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// What tells one version of a file from another: device, inode, length, time of change in seconds
/// and nanoseconds. `None`: there is no such file.
type Version = Option<[i128; 5]>;

/// Watches files.
pub struct Watch {
    files: BTreeMap<PathBuf, Version>,
    folders: BTreeSet<PathBuf>,
    watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    /// When the files were last taken for seen; none: before any of them was watched.
    looked: Option<SystemTime>,
    /// Keeps `events` open where there is no watcher.
    _open: mpsc::Sender<()>,
}

impl Watch {
    /// Watches the file of a configuration, if it has one, and those of its secrets as they are now.
    pub fn start(config: Option<&Path>, secrets: &[PathBuf]) -> Self {
        let (happened, events) = mpsc::channel(1);
        let sender = happened.clone();
        let tell = move |event: notify::Result<Event>| {
            // That a file was read is no change. With a look due already, another adds nothing.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                let _ = sender.try_send(());
            }
        };
        let watcher = match notify::recommended_watcher(tell) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                cannot("changes of the configuration", &error);
                None
            }
        };
        let (files, folders) = (BTreeMap::new(), BTreeSet::new());
        let mut watch = Self { files, folders, watcher, events, looked: None, _open: happened };
        watch.follow(config, secrets);
        watch
    }

    /// Waits until a file has changed and was then left alone for a moment. May be dropped and
    /// called again.
    pub async fn changed(&mut self) {
        loop {
            // An event or the time for a look: both lead to one.
            let event = timeout(LOOK_EVERY, self.events.recv()).await;
            if event.is_ok() {
                sleep(QUIET).await;
            }
            let mut now = self.versions();
            if now == self.files {
                continue;
            }
            for _ in 0..MOST_ROUNDS {
                sleep(QUIET).await;
                let later = self.versions();
                if later == now {
                    break;
                }
                now = later;
            }
            if self.versions() != self.files {
                return;
            }
        }
    }

    /// Takes the files as they are now for seen.
    pub(super) fn look(&mut self) {
        self.looked = Some(SystemTime::now());
        self.files = self.versions();
    }

    /// Watches these files from now on; what was seen of them before stays seen.
    /// Of others it is not known whether they were read before or after a change since the last look: such a
    /// change is one that is still to be seen.
    pub(super) fn follow(&mut self, config: Option<&Path>, secrets: &[PathBuf]) {
        let seen = std::mem::take(&mut self.files);
        let files = secrets.iter().map(PathBuf::as_path).chain(config);
        self.files = files
            .map(|file| {
                let version = seen.get(file).copied().unwrap_or_else(|| self.unchanged(file));
                (file.to_owned(), version)
            })
            .collect();
        let folders: BTreeSet<_> = self.files.keys().flat_map(|file| folders(file)).collect();
        let Some(watcher) = &mut self.watcher else { return };
        for folder in self.folders.difference(&folders) {
            // It may be gone, and then nothing watches it any more.
            let _ = watcher.unwatch(folder);
        }
        for folder in folders.difference(&self.folders) {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                cannot(&folder.display().to_string(), &error);
            }
        }
        self.folders = folders;
    }

    /// A file that was as it is now when one last looked.
    fn unchanged(&self, file: &Path) -> Version {
        let now = version(file);
        let Some(looked) = self.looked else { return now };
        let looked = looked - CLOCK_STEP;
        let since = looked.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = [since.as_secs().into(), since.subsec_nanos().into()];
        now.filter(|[.., seconds, nanoseconds]| [*seconds, *nanoseconds] < since)
    }

    fn versions(&self) -> BTreeMap<PathBuf, Version> {
        self.files.keys().map(|file| (file.clone(), version(file))).collect()
    }
}

fn cannot(what: &str, error: &notify::Error) {
    let seconds = LOOK_EVERY.as_secs();
    tracing::warn!("cannot watch {what}, polling every {seconds} s instead: {error}");
}

/// Where a file stands and, if it is a link, where the file behind it does.
fn folders(file: &Path) -> impl Iterator<Item = PathBuf> {
    let real = fs::canonicalize(file).ok();
    [Some(file.to_owned()), real].into_iter().flatten().filter_map(|file| {
        let folder = file.parent()?;
        // The folder of `difygate.yaml` is `.`, and its parent is the empty path.
        Some(if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
    })
}

/// A pipe, as a shell's `<(…)`, is not watched: it can be read only once.
fn version(file: &Path) -> Version {
    let meta = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    let (device, inode, length) = (meta.dev(), meta.ino(), meta.len());
    Some([
        device.into(),
        inode.into(),
        length.into(),
        meta.ctime().into(),
        meta.ctime_nsec().into(),
    ])
}
