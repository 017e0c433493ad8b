//! Both engines, joined in memory, on real directories.

mod bounds;
mod breaks;
mod disk;
mod figures;
mod happy;
mod hostile_receiver;
mod hostile_sender;
mod kept;
mod leftovers;
mod pace;
mod policy;
mod races;
mod script;

use super::memory::{Killed, MemoryPort, pair, parcel};
use crate::store::inbox::Overwrite;
use crate::tools::transfers::engine::*;
use crate::transfer::messages::CHUNK_BYTES;
use crate::transfer::outcome::PortClosed;
use crate::transfer::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::thread;

pub(crate) const SENDER: [u8; 32] = [9; 32];

pub(crate) type Sent = Result<SendOutcome, TransferError>;
pub(crate) type Got = Result<ReceiveOutcome, TransferError>;

pub(crate) fn job(sources: &[PathBuf]) -> SendJob {
    SendJob { sources: sources.to_vec(), ..SendJob::default() }
}

pub(crate) fn into(directory: &Path) -> ReceiveJob<'static> {
    ReceiveJob {
        greeted: None,
        destination: Destination::Directory(directory.to_path_buf()),
        policy: ReceivePolicy::default(),
        sender: SENDER,
        on_received: None,
        given_up: Box::new(|| false),
    }
}

pub(crate) fn into_with(directory: &Path, overwrite: Overwrite) -> ReceiveJob<'static> {
    let mut job = into(directory);
    job.policy.overwrite = overwrite;
    job
}

/// Runs both engines to their ends over these ports.
pub(crate) fn run_over(ports: (MemoryPort, MemoryPort), send: SendJob, receive: ReceiveJob<'_>) -> (Sent, Got) {
    let (mut ours, mut theirs) = ports;
    thread::scope(|scope| {
        let sender = scope.spawn(move || survive(|| send.run(&mut ours, &mut ())));
        let received = survive(move || receive.run(&mut theirs, &mut ()));
        (sender.join().unwrap(), received)
    })
}

/// What the work returned; dying of a deadly port counts as the session's end.
fn survive<T>(work: impl FnOnce() -> Result<T, TransferError>) -> Result<T, TransferError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|reason| {
        if reason.is::<Killed>() {
            return Err(PortClosed.into());
        }
        resume_unwind(reason)
    })
}

/// Runs with somebody watching the sender, or meddling.
pub(crate) fn run_watched(
    send: SendJob,
    receive: ReceiveJob<'static>,
    progress: &mut dyn Progress,
) -> (SendOutcome, ReceiveOutcome) {
    let (mut ours, mut theirs) = pair();
    thread::scope(|scope| {
        let receiver = scope.spawn(move || receive.run(&mut theirs, &mut ()));
        let sent = send.run(&mut ours, progress);
        drop(ours);
        (sent.unwrap(), receiver.join().unwrap().unwrap())
    })
}

pub(crate) fn run(send: SendJob, receive: ReceiveJob<'_>) -> (SendOutcome, ReceiveOutcome) {
    let (sent, got) = run_over(pair(), send, receive);
    let sent = sent.unwrap_or_else(|error| panic!("{error:?} at the sender, at the receiver {got:?}"));
    (sent, got.unwrap())
}

/// Sends and asserts that both ends say so.
pub(crate) fn transfer(sources: &[PathBuf], inbox: &Path, status: Status) -> SendOutcome {
    let (sent, got) = run(job(sources), into(inbox));
    assert_eq!((sent.status, got.status), (status, status), "{sent:?} {got:?}");
    assert_eq!(sent.tally.counts, got.tally.counts);
    sent
}

/// What a transfer must keep of an item. Times are seconds and nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Link { target: PathBuf },
    Directory { mode: u32, time: Option<(i64, i64)> },
    File { mode: u32, time: (i64, i64), hash: blake3::Hash },
}

/// Everything about a tree that a transfer must keep, by path.
pub(crate) fn picture(root: &Path) -> BTreeMap<Vec<u8>, Kept> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let (mode, time) = (meta.mode(), (meta.mtime(), meta.mtime_nsec()));
        let kept = if meta.is_symlink() {
            Kept::Link { target: fs::read_link(&path).unwrap() }
        } else if meta.is_dir() {
            for entry in fs::read_dir(&path).unwrap() {
                open.push(entry.unwrap().path());
            }
            Kept::Directory { mode, time: Some(time) }
        } else {
            Kept::File { mode, time, hash: blake3::hash(&fs::read(&path).unwrap()) }
        };
        let below = path.strip_prefix(root.parent().unwrap()).unwrap();
        all.insert(below.as_os_str().as_bytes().to_vec(), kept);
    }
    all
}

/// Names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u8, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut noise);
    noise
}

pub(crate) fn memory_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Whether the file system has extended attributes: memory has none before Linux 6.6.
pub(crate) fn keeps_attributes(directory: &Path) -> bool {
    rustix::fs::setxattr(directory, "user.vp.test", b"", rustix::fs::XattrFlags::empty()).is_ok()
}

/// A directory with a `from` and an `inbox` in it.
pub(crate) struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    pub(super) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// In memory where the system has that: for tests of many syncs, which are slow on a disk
    /// that others use.
    pub(super) fn in_memory() -> Self {
        Self::within(memory_directory())
    }

    fn within(directory: tempfile::TempDir) -> Self {
        fs::create_dir(directory.path().join("from")).unwrap();
        fs::create_dir(directory.path().join("inbox")).unwrap();
        Self { directory }
    }

    pub(super) fn from(&self, name: &str) -> PathBuf {
        self.directory.path().join("from").join(name)
    }

    pub(super) fn inbox(&self) -> PathBuf {
        self.directory.path().join("inbox")
    }

    pub(super) fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.from(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Home {
    /// Directories that nobody may write to cannot be cleaned up by their owner either.
    fn drop(&mut self) {
        let _ = std::process::Command::new("chmod").args(["-R", "u+rwx"]).arg(self.directory.path()).status();
    }
}
