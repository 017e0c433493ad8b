//! Finished files waiting for one common sync before they get their final names; and what was there before, which
//! somebody may have put there a moment ago without syncing it.
//!
//! ```text
//!  part files ─▶ one fsync, or one syncfs a file system ─▶ rename each ─▶ fsync each directory once ─▶ committed
//! ```

use super::inbox::{Inbox, Overwrite};
use super::part::{PartName, list_parts};
pub(crate) use super::replace::FinalName;
use super::there::There;
use crate::transfer::fault::Fault;
use crate::transfer::path::TreePath;
use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

/// Items that share a sync; half of what a sender may leave unanswered, so that it never waits
/// for a batch that waits for it.
pub(crate) const BATCH_ITEMS_MAX: usize = 1_000;
/// Bytes that share a sync: more would make the wait for the disk long.
pub(crate) const BATCH_BYTES_MAX: u64 = 64 << 20;
/// How long a finished file may wait for company.
pub(crate) const BATCH_AGE_MAX: Duration = Duration::from_millis(200);

/// One item that is complete, but not yet safe on disk.
#[derive(Debug)]
pub(crate) struct Landing {
    /// The offer's number for it.
    pub index: u32,
    /// Where it belongs.
    pub path: TreePath,
    /// The file to rename; `None` if it has its final name already (directories and links).
    pub part: Option<PartName>,
    /// Size and hash of a file that was offered with them; a stream and what has no content have none.
    pub content: Option<(u64, [u8; 32])>,
    /// It was there before this transfer, the same, under this name beside the one in `path`: nobody may have synced it yet.
    pub kept: Option<Vec<u8>>,
    /// What was there has another mode or time than was announced, and keeps them.
    pub unlike: bool,
}

impl Landing {
    /// What has to be on disk for it: the directory that it is in.
    fn folder(&self) -> &[u8] {
        self.path.parent()
    }
}

/// One item after the sync.
#[derive(Debug)]
pub(crate) struct Landed {
    /// The offer's number for it.
    pub index: u32,
    /// Where it was to go.
    pub path: TreePath,
    /// Where it is now, or why it is nowhere.
    pub result: Result<FinalName, Fault>,
    /// As it was in its [`Landing`].
    pub unlike: bool,
}

/// The items that the next sync is for.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    items: Vec<Landing>,
    files: usize,
    kept: usize,
    bytes: u64,
    since: Option<Instant>,
    /// The only file so far: it can be synced alone, without the rest of the file system.
    lone: Option<File>,
}

impl Batch {
    /// Adds a finished file with this many bytes to sync. Without the file, its whole file system is synced for it.
    pub(crate) fn add_file(&mut self, now: Instant, landing: Landing, file: Option<File>, bytes: u64) {
        self.files += 1;
        self.lone = if self.files == 1 { file } else { None };
        self.bytes = self.bytes.saturating_add(bytes);
        self.add_name(now, landing);
    }

    /// Adds an item that has no content of its own.
    pub(crate) fn add_name(&mut self, now: Instant, landing: Landing) {
        self.kept += usize::from(landing.kept.is_some());
        self.items.push(landing);
        self.since.get_or_insert(now);
    }

    /// When it should be committed at the latest; `None` while it is empty.
    #[must_use]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let full = self.items.len() >= BATCH_ITEMS_MAX || self.bytes >= BATCH_BYTES_MAX;
        self.since.map(|since| if full { since } else { since + BATCH_AGE_MAX })
    }

    /// Syncs, renames, syncs the names; what became of each item, in order. Afterwards the batch
    /// is empty.
    ///
    /// A failed sync fails every item and removes the part files: the kernel may have dropped the
    /// pages it could not write, and would call the same file clean the next time.
    pub(crate) fn commit(&mut self, inbox: &mut Inbox, overwrite: Overwrite) -> Vec<Landed> {
        let batch = std::mem::take(self);
        let whole = batch.needs_all();
        let synced =
            if whole { inbox.sync_all(batch.items.iter().map(Landing::folder)) } else { batch.sync_lone(inbox) };
        let mut names_to_sync = Vec::with_capacity(batch.items.len());
        let mut landed: Vec<Landed> = batch
            .items
            .into_iter()
            .map(|item| {
                let result = synced.and_then(|()| land(inbox, &item, overwrite));
                // What had its name before everything was synced was synced with it.
                names_to_sync.push(result.is_ok() && !(whole && item.kept.is_some()));
                // One that only lacks a way to its name is all there, for a receiver that may replace what has it.
                if let (Err(fault), Some(part)) = (&result, &item.part)
                    && *fault != Fault::OnlyReplaces
                {
                    inbox.remove_part(item.path.parent(), part);
                }
                Landed { index: item.index, path: item.path, result, unlike: item.unlike }
            })
            .collect();
        let mut directories: BTreeMap<&[u8], Result<(), Fault>> = BTreeMap::new();
        for (item, _) in landed.iter().zip(names_to_sync).filter(|(_, wanted)| *wanted) {
            let parent = item.path.parent();
            directories.entry(parent).or_insert_with(|| inbox.sync_directory(parent));
        }
        let failed: Vec<(Vec<u8>, Fault)> =
            directories.into_iter().filter_map(|(parent, synced)| Some((parent.to_vec(), synced.err()?))).collect();
        for item in &mut landed {
            if let Some((_, fault)) = failed.iter().find(|(parent, _)| parent == item.path.parent())
                && item.result.is_ok()
            {
                item.result = Err(*fault);
            }
        }
        landed
    }

    /// One sync of the file system is cheaper than one for each of several files, or of the directories of what was
    /// there before.
    fn needs_all(&self) -> bool {
        self.files > usize::from(self.lone.is_some()) || self.kept > 1
    }

    fn sync_lone(&self, inbox: &Inbox) -> Result<(), Fault> {
        match &self.lone {
            Some(file) => inbox.sync_file(file),
            None => Ok(()),
        }
    }
}

fn land(inbox: &mut Inbox, item: &Landing, overwrite: Overwrite) -> Result<FinalName, Fault> {
    if let Some(name) = &item.kept {
        return Ok(FinalName::Already(name.clone()));
    }
    let Some(part) = &item.part else {
        return Ok(FinalName::Named(item.path.name().to_vec()));
    };
    let place = match (inbox.land(part, &item.path, overwrite, item.content), item.content) {
        // Two transfers of the same file may run at once. Neither finds it there when it begins, and the first to land
        // clears the other's part away. What this one brought is there all the same.
        (Err(Fault::Exists | Fault::Busy), Some(content))
            if inbox.holds(item.path.parent(), item.path.name(), content)? =>
        {
            inbox.remove_part(item.path.parent(), part);
            FinalName::Already(item.path.name().to_vec())
        }
        (Ok(FinalName::Already(name)), _) => {
            inbox.remove_part(item.path.parent(), part);
            FinalName::Already(name)
        }
        (Err(Fault::Busy), _) if is_removed(inbox, item, part)? => return Err(Fault::NotFound),
        (named, _) => named?,
    };
    for stale in inbox.parts_for(item.path.parent(), &part.key)? {
        inbox.remove_part(item.path.parent(), &stale);
    }
    Ok(place)
}

/// Whether a part that is gone was removed by somebody, and is not in the hands of another transfer of the same.
fn is_removed(inbox: &mut Inbox, item: &Landing, part: &PartName) -> Result<bool, Fault> {
    let is_nothing = inbox.look(&item.path)? == There::Nothing;
    let directory = inbox.directory(item.path.parent())?;
    Ok(is_nothing && !list_parts(&directory)?.iter().any(|other| other.key.same_target(&part.key)))
}

#[cfg(test)]
mod tests {
    use super::super::part::{PartFile, PartKey};
    use super::super::planted::Synced;
    use super::*;
    use crate::transfer::item::Mtime;
    use std::path::Path;

    const WHEN: Mtime = Mtime { seconds: 0, nanos: 0 };

    fn add(batch: &mut Batch, inbox: &mut Inbox, name: &str, now: Instant) {
        let path = TreePath::top(name.as_bytes()).unwrap();
        let part = PartName { key: PartKey::new(&[0; 32], &path, 4, WHEN), run: 1 };
        let mut file = PartFile::create(&inbox.directory(b"").unwrap(), &part).unwrap();
        file.write(name.as_bytes()).unwrap();
        let file = file.finish(Some(0o640), Some(WHEN)).unwrap().0;
        let content = Some((4, *blake3::hash(name.as_bytes()).as_bytes()));
        batch.add_file(
            now,
            Landing { index: 0, path, part: Some(part), content, kept: None, unlike: false },
            Some(file),
            4,
        );
    }

    fn already(name: &str) -> FinalName {
        FinalName::Already(name.as_bytes().to_vec())
    }

    fn names(directory: &Path) -> Vec<String> {
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> =
            std::fs::read_dir(directory).unwrap().map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_appear_together_and_only_when_synced() {
        for count in [1, 3] {
            let home = tempfile::tempdir().unwrap();
            let mut inbox = Inbox::open(home.path()).unwrap();
            let mut batch = Batch::default();
            for number in 0..count {
                add(&mut batch, &mut inbox, &number.to_string(), Instant::now());
            }
            assert!(names(home.path()).iter().all(|name| name.starts_with(".vp-part.")));
            let landed = batch.commit(&mut inbox, Overwrite::Never);
            assert!(landed.iter().all(|item| item.result.is_ok()));
            assert_eq!(names(home.path()), (0..count).map(|n| n.to_string()).collect::<Vec<_>>());
            assert_eq!(batch.deadline(), None);
        }
    }

    #[test]
    fn what_another_transfer_has_put_there_meanwhile_counts_if_it_is_the_same() {
        for (there, result) in [("name", Ok(already("name"))), ("eman", Err(Fault::Exists)), ("n", Err(Fault::Exists))]
        {
            let home = tempfile::tempdir().unwrap();
            let mut inbox = Inbox::open(home.path()).unwrap();
            let mut batch = Batch::default();
            add(&mut batch, &mut inbox, "name", Instant::now());
            std::fs::write(home.path().join("name"), there).unwrap();
            let landed = batch.commit(&mut inbox, Overwrite::Never);
            assert_eq!(landed[0].result, result, "{there}");
            assert_eq!(names(home.path()), ["name"], "nothing half-made stays");
            assert_eq!(std::fs::read_to_string(home.path().join("name")).unwrap(), there);
        }
    }

    #[test]
    fn a_part_that_the_faster_transfer_cleared_away_counts_if_its_content_is_there() {
        for (there, result) in [(Some("name"), Ok(already("name"))), (None, Err(Fault::NotFound))] {
            let home = tempfile::tempdir().unwrap();
            let mut inbox = Inbox::open(home.path()).unwrap();
            let mut batch = Batch::default();
            add(&mut batch, &mut inbox, "name", Instant::now());
            std::fs::remove_file(home.path().join(&names(home.path())[0])).unwrap();
            if let Some(text) = there {
                std::fs::write(home.path().join("name"), text).unwrap();
            }
            assert_eq!(batch.commit(&mut inbox, Overwrite::Never)[0].result, result);
            assert_eq!(home.path().join("name").exists(), there.is_some());
        }
    }

    #[test]
    fn a_link_to_the_same_content_is_not_the_file() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        let mut batch = Batch::default();
        add(&mut batch, &mut inbox, "name", Instant::now());
        std::fs::write(home.path().join("other"), "name").unwrap();
        std::os::unix::fs::symlink("other", home.path().join("name")).unwrap();
        let landed = batch.commit(&mut inbox, Overwrite::Never);
        assert_eq!(landed[0].result, Err(Fault::Exists));
        assert_eq!(names(home.path()), ["name", "other"]);
    }

    #[test]
    fn a_failed_sync_fails_every_item_and_leaves_nothing() {
        for count in [1, 3] {
            let home = tempfile::tempdir().unwrap();
            let mut inbox = Inbox::open(home.path()).unwrap();
            let mut batch = Batch::default();
            for number in 0..count {
                add(&mut batch, &mut inbox, &number.to_string(), Instant::now());
            }
            inbox.planted.sync_fault = Some(Fault::Io);
            let landed = batch.commit(&mut inbox, Overwrite::Never);
            assert_eq!(landed.len(), count);
            assert!(landed.iter().all(|item| item.result == Err(Fault::Io)));
            assert_eq!(names(home.path()), [""; 0]);
        }
    }

    #[test]
    fn names_that_the_file_system_takes_for_one_do_not_replace_each_other() {
        for (folds, second) in [(true, Err(Fault::Duplicate)), (false, Ok(FinalName::Named(b"readme".to_vec())))] {
            let home = tempfile::tempdir().unwrap();
            let mut inbox = Inbox::open(home.path()).unwrap();
            inbox.planted.folding = folds;
            std::fs::write(home.path().join("other"), "there before").unwrap();
            let mut batch = Batch::default();
            ["README", "other"].iter().for_each(|name| add(&mut batch, &mut inbox, name, Instant::now()));
            assert!(batch.commit(&mut inbox, Overwrite::Yes).iter().all(|item| item.result.is_ok()));
            // As a file system that folds case would show it.
            std::fs::hard_link(home.path().join("README"), home.path().join("readme")).unwrap();
            ["readme", "README"].iter().for_each(|name| add(&mut batch, &mut inbox, name, Instant::now()));
            let landed = batch.commit(&mut inbox, Overwrite::Yes);
            assert_eq!(landed[0].result, second);
            assert_eq!(landed[1].result, Ok(FinalName::Named(b"README".to_vec())), "the same name once more");
            assert_eq!(std::fs::read_to_string(home.path().join("README")).unwrap(), "README");
            assert_eq!(names(home.path()), ["README", "other", "readme"]);
        }
    }

    #[test]
    fn a_part_that_is_gone_says_nothing_about_case() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        let mut batch = Batch::default();
        add(&mut batch, &mut inbox, "gone", Instant::now());
        std::fs::remove_file(home.path().join(&names(home.path())[0])).unwrap();
        assert_eq!(batch.commit(&mut inbox, Overwrite::Yes)[0].result, Err(Fault::NotFound));
        inbox.planted.folding = true; // as the next part shows
        add(&mut batch, &mut inbox, "README", Instant::now());
        assert!(batch.commit(&mut inbox, Overwrite::Yes)[0].result.is_ok());
        std::fs::hard_link(home.path().join("README"), home.path().join("readme")).unwrap();
        add(&mut batch, &mut inbox, "readme", Instant::now());
        assert_eq!(batch.commit(&mut inbox, Overwrite::Yes)[0].result, Err(Fault::Duplicate));
    }

    #[test]
    fn second_names_that_were_there_are_kept_whether_case_is_folded_or_not() {
        for folds in [true, false] {
            let home = tempfile::tempdir().unwrap();
            std::fs::write(home.path().join("1"), "same").unwrap();
            for second in ["2", "a", "A"] {
                std::fs::hard_link(home.path().join("1"), home.path().join(second)).unwrap();
            }
            let mut inbox = Inbox::open(home.path()).unwrap();
            inbox.planted.folding = folds;
            for name in ["1", "2", "a", "A"] {
                assert_eq!(inbox.count_as_landed(&TreePath::top(name.as_bytes()).unwrap()), Ok(()), "{name}");
            }
            let mut batch = Batch::default();
            add(&mut batch, &mut inbox, "new", Instant::now());
            assert!(batch.commit(&mut inbox, Overwrite::Yes)[0].result.is_ok());
        }
    }

    #[test]
    fn an_ordinary_file_system_folds_nothing() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        let mut batch = Batch::default();
        ["README", "readme"].iter().for_each(|name| add(&mut batch, &mut inbox, name, Instant::now()));
        assert!(batch.commit(&mut inbox, Overwrite::Yes).iter().all(|item| item.result.is_ok()));
        assert_eq!(names(home.path()), ["README", "readme"]);
    }

    /// Adds what is there before the transfer.
    fn keep(batch: &mut Batch, inbox: &mut Inbox, name: &str) {
        let path = TreePath::from_components(name.split('/').map(str::as_bytes)).unwrap();
        let file = inbox.open_existing(path.parent(), path.name()).ok().map(File::from);
        let kept = Some(path.name().to_vec());
        let landing = Landing { index: 0, path, part: None, content: None, kept, unlike: false };
        match file {
            Some(file) => batch.add_file(Instant::now(), landing, Some(file), 0),
            None => batch.add_name(Instant::now(), landing),
        }
    }

    #[test]
    fn what_was_there_before_is_synced_too_and_its_names_with_it() {
        use Synced::{All, Directory, File};
        for (kept, synced) in [
            (&["f"][..], &[File, Directory(b"".to_vec())][..]),
            (&["d"], &[Directory(b"".to_vec())]),
            (&["d/l"], &[Directory(b"d".to_vec())]),
            (&["d", "d/f", "d/g", "d/l", "f"], &[All]),
        ] {
            let home = tempfile::tempdir().unwrap();
            std::fs::create_dir(home.path().join("d")).unwrap();
            for file in ["f", "d/f", "d/g"] {
                std::fs::write(home.path().join(file), "same").unwrap();
            }
            std::os::unix::fs::symlink("f", home.path().join("d/l")).unwrap();
            let mut inbox = Inbox::open(home.path()).unwrap();
            let mut batch = Batch::default();
            kept.iter().for_each(|name| keep(&mut batch, &mut inbox, name));
            let landed = batch.commit(&mut inbox, Overwrite::Never);
            assert!(landed.iter().all(|item| item.result == Ok(FinalName::Already(item.path.name().to_vec()))));
            assert_eq!(inbox.planted.synced.borrow().as_slice(), synced, "{kept:?}");
        }
    }

    #[test]
    fn one_new_file_among_many_old_ones_costs_one_directory_on_top() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        let mut batch = Batch::default();
        for number in 0..100 {
            std::fs::create_dir(home.path().join(number.to_string())).unwrap();
            keep(&mut batch, &mut inbox, &number.to_string());
        }
        add(&mut batch, &mut inbox, "new", Instant::now());
        batch.commit(&mut inbox, Overwrite::Never);
        assert_eq!(inbox.planted.synced.borrow().as_slice(), [Synced::All, Synced::Directory(Vec::new())]);
    }

    #[test]
    fn what_was_there_before_fails_with_the_sync_and_stays() {
        for kept in [&["f"][..], &["d"], &["f", "d"]] {
            let home = tempfile::tempdir().unwrap();
            std::fs::write(home.path().join("f"), "same").unwrap();
            std::fs::create_dir(home.path().join("d")).unwrap();
            let mut inbox = Inbox::open(home.path()).unwrap();
            inbox.planted.sync_fault = Some(Fault::Io);
            let mut batch = Batch::default();
            kept.iter().for_each(|name| keep(&mut batch, &mut inbox, name));
            let landed = batch.commit(&mut inbox, Overwrite::Never);
            assert!(landed.iter().all(|item| item.result == Err(Fault::Io)), "{kept:?}: {landed:?}");
            assert_eq!(names(home.path()), ["d", "f"]);
        }
    }

    #[test]
    fn a_batch_is_due_when_old_or_full() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        let mut batch = Batch::default();
        let start = Instant::now();
        assert_eq!(batch.deadline(), None);
        add(&mut batch, &mut inbox, "a", start);
        assert_eq!(batch.deadline(), Some(start + BATCH_AGE_MAX));
        let path = TreePath::top(b"d").unwrap();
        for index in 1..u32::try_from(BATCH_ITEMS_MAX).unwrap() {
            batch.add_name(
                start,
                Landing { index, path: path.clone(), part: None, content: None, kept: None, unlike: false },
            );
        }
        assert_eq!(batch.deadline(), Some(start));
    }
}
