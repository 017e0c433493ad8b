//! Which directories a run has made and not finished: those, and none that were there before, may a later run of the same
//! sender give the permissions and the time that it announces.
//!
//! ```text
//!  .vp-part.<32 hex: blake3(sender, "/")>.<zeros>.<16 hex: this run>    at the root: 16 bytes for each directory
//! ```
//! It is named, locked and forsaken as an unfinished file is, and goes when the run comes to its end. A record that is lost
//! costs a directory its announced permissions, never one of somebody else's its own.

use super::inbox::Inbox;
use super::part::{PartFile, PartKey, PartName, is_private, open_unfinished, remove_idle};
use crate::transfer::fault::Fault;
use crate::transfer::path::TreePath;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, StatxFlags, fstat, statx};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What stands for one directory.
const MARK_BYTES: usize = 16;
/// Marks of earlier runs that are known at once: as many as a transfer has items, in tables of 36 MB.
const MARKS_MAX: usize = 1 << 20;
/// Earlier runs that are looked at. Each that was interrupted leaves one until the same is sent to its end.
const JOURNALS_MAX: usize = 64;

type Mark = [u8; MARK_BYTES];

/// What runs of one sender that go on at once have made. The last to end is the one that gives a directory its time, whoever
/// made it.
type Marks = Mutex<HashSet<Mark>>;

/// By the sender's key, those that this process has at present.
static SHARED: Mutex<BTreeMap<[u8; 32], Weak<Marks>>> = Mutex::new(BTreeMap::new());

fn shared_by(sender: &[u8; 32]) -> Arc<Marks> {
    let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|_, shared| shared.strong_count() > 0);
    let known = all.get(sender).and_then(Weak::upgrade);
    known.unwrap_or_else(|| {
        let new = Arc::<Marks>::default();
        all.insert(*sender, Arc::downgrade(&new));
        new
    })
}

/// What an earlier run made, or one that goes on beside this.
#[derive(Debug)]
struct Earlier {
    name: PartName,
    /// Those that have not come up in this run.
    marks: HashSet<Mark>,
}

/// The directories of one run, and of earlier ones of the same sender.
#[derive(Debug)]
pub struct Journal {
    name: PartName,
    ours: Option<PartFile>,
    shared: Arc<Marks>,
    /// Read when first asked for.
    earlier: Option<Vec<Earlier>>,
}

impl Journal {
    /// Of this run of this sender.
    #[must_use]
    pub fn new(sender: &[u8; 32], run: u64) -> Self {
        let name = PartName { key: PartKey::of_directories(sender), run };
        Self { name, ours: None, shared: shared_by(sender), earlier: None }
    }

    /// This run has just made the directory. Where that cannot be noted it is as if somebody else had.
    pub fn note(&mut self, inbox: &mut Inbox, path: &TreePath) {
        let Ok(mark) = mark_of(inbox, path) else { return };
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.len() < MARKS_MAX {
            shared.insert(mark);
        }
        drop(shared);
        if self.ours.is_none() {
            let name = self.name;
            self.ours = inbox.fill(b"", |root| PartFile::create(root, &name)).ok();
        }
        if let Some(ours) = &mut self.ours {
            let _ = ours.write(&mark);
        }
    }

    /// Whether a run of this sender made the directory that is there, and has not finished it.
    pub fn is_unfinished(&mut self, inbox: &mut Inbox, path: &TreePath) -> bool {
        let Ok(mark) = mark_of(inbox, path) else { return false };
        let earlier = self.earlier.get_or_insert_with(|| earlier_runs(inbox, self.name).unwrap_or_default());
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner).contains(&mark);
        earlier.iter_mut().fold(shared, |known, run| run.marks.remove(&mark) || known)
    }

    /// From here on other runs are looked at anew: some may have begun, or ended early, meanwhile.
    pub fn look_anew(&mut self) {
        self.earlier = None;
    }

    /// The run has come to its end: all directories that came up in it are finished.
    pub fn finish(&mut self, inbox: &mut Inbox) {
        if self.ours.take().is_some() {
            inbox.remove_part(b"", &self.name);
        }
        let done = self.earlier.take().unwrap_or_default().into_iter().filter(|run| run.marks.is_empty());
        for run in done {
            let _ = inbox.fill(b"", |root| {
                remove_idle(root, &run.name);
                Ok(())
            });
        }
    }
}

fn earlier_runs(inbox: &mut Inbox, ours: PartName) -> Result<Vec<Earlier>, Fault> {
    let root = inbox.directory(b"")?;
    let (mut runs, mut room) = (Vec::new(), MARKS_MAX);
    let names = inbox.parts_for(b"", &ours.key)?;
    for name in names.into_iter().filter(|name| name.run != ours.run).take(JOURNALS_MAX) {
        if let Ok(marks) = read_marks(&root, &name, room) {
            room -= marks.len();
            runs.push(Earlier { name, marks });
        }
    }
    Ok(runs)
}

fn read_marks(root: &OwnedFd, name: &PartName, most: usize) -> Result<HashSet<Mark>, Fault> {
    let file = open_unfinished(root, name)?;
    if !is_private(&fstat(&file)?) {
        return Err(Fault::Exists);
    }
    let mut bytes = Vec::new();
    File::from(file).take(u64::try_from(most * MARK_BYTES).unwrap_or(0)).read_to_end(&mut bytes)?;
    Ok(bytes.as_chunks::<MARK_BYTES>().0.iter().copied().collect())
}

/// Of this very directory: another one that gets its path later has another mark.
fn mark_of(inbox: &mut Inbox, path: &TreePath) -> Result<Mark, Fault> {
    let directory = inbox.directory(path.as_bytes())?;
    let mut hasher = blake3::Hasher::new();
    // Numbers are given again; with the time of its making they are not, where the system knows that.
    let made = match statx(&*directory, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME) {
        Ok(stat) if stat.stx_mask & StatxFlags::BTIME.bits() != 0 => (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
        _ => (0, 0),
    };
    hasher.update(&fstat(&*directory)?.st_ino.to_le_bytes());
    hasher.update(&made.0.to_le_bytes()).update(&made.1.to_le_bytes()).update(path.as_bytes());
    let mut mark = [0; MARK_BYTES];
    hasher.finalize_xof().fill(&mut mark);
    Ok(mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    // Runs of one sender in one process know of each other, so each test has one of its own.
    const SENDER: [u8; 32] = [70; 32];

    fn made(inbox: &mut Inbox, journal: &mut Journal, name: &str) -> TreePath {
        let path = TreePath::top(name.as_bytes()).unwrap();
        inbox.make_directory(&path, 0o755).unwrap();
        journal.note(inbox, &path);
        path
    }

    #[test]
    fn what_a_run_made_is_known_to_the_next_of_the_same_sender_until_it_is_finished() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        fs::create_dir(home.path().join("before")).unwrap();
        let before = TreePath::top(b"before").unwrap();
        let mut killed = Journal::new(&SENDER, 1);
        let paths = ["a", "b"].map(|name| made(&mut inbox, &mut killed, name));
        drop(killed);
        let next = |sender: &[u8; 32], run, asked: &[&TreePath]| {
            let mut inbox = Inbox::open(home.path()).unwrap();
            let mut journal = Journal::new(sender, run);
            let known: Vec<_> = asked.iter().map(|path| journal.is_unfinished(&mut inbox, path)).collect();
            journal.finish(&mut inbox);
            known
        };
        assert_eq!(next(&[73; 32], 2, &[&paths[0], &before]), [false, false], "somebody else's");
        assert_eq!(next(&SENDER, 3, &[&paths[0], &before]), [true, false]);
        assert_eq!(next(&SENDER, 4, &[&paths[1], &paths[0]]), [true, true], "not all was finished");
        assert_eq!(next(&SENDER, 5, &[&paths[1], &paths[0]]), [false, false]);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_runs_at_once_make_is_known_to_each_of_them_until_the_last_has_ended() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        let sender = [71; 32];
        let (mut first, mut second) = (Journal::new(&sender, 1), Journal::new(&sender, 2));
        let path = made(&mut inbox, &mut first, "a");
        first.finish(&mut inbox);
        drop(first);
        assert!(second.is_unfinished(&mut inbox, &path));
        second.finish(&mut inbox);
        drop(second);
        assert!(!Journal::new(&sender, 3).is_unfinished(&mut inbox, &path));
    }

    #[test]
    fn another_directory_of_the_same_name_is_not_the_one_that_was_made() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        let path = made(&mut inbox, &mut Journal::new(&[72; 32], 1), "a");
        fs::rename(home.path().join("a"), home.path().join("moved")).unwrap();
        fs::create_dir(home.path().join("a")).unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        assert!(!Journal::new(&[72; 32], 2).is_unfinished(&mut inbox, &path));
    }
}
