//! The receiver's directory: the only place a transfer writes to, and only through its descriptor.
//!
//! Every path is resolved beneath the root by `folders`.

use super::attributes::{self, Attributes, Unkept, is_lacking, times};
use super::extent::hash_range;
use super::folders::Folders;
use super::folding::{Case, Landed, case_of};
use super::maker::{Fresh, Made, Maker};
use super::part::{PartKey, PartName};
#[cfg(test)]
use super::planted::{Planted, Synced};
use super::replace::{FinalName, remove_for_directory, rename_over, rename_to_free};
use super::stamp::Stamp;
use super::there::There;
use crate::transfer::fault::Fault;
use crate::transfer::hash::ContentHash;
use crate::transfer::item::Mtime;
use crate::transfer::path::{ALTERNATIVES_MAX, NAME_BYTES_MAX, TreePath, alternative};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::fs::{fstat, fsync, mkdirat, openat, symlinkat, unlinkat, utimensat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What to do where a name is taken already by something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Overwrite {
    /// Leave it; refuse the item.
    #[default]
    Never,
    /// Keep both: the new one becomes `name.1`, `name.2`, …
    Rename,
    /// Replace files, links and empty directories, by whatever is sent; never a directory with something in it.
    Yes,
}

/// Makes a directory to receive into where there is none. Its own name is then as safe on disk as those in it will be.
///
/// # Errors
/// What the system says.
pub(crate) fn make_root(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Whoever made it may have been killed before he could sync its name. One that may be passed but not listed, or a file
    // system without such a sync, gives no answer: then the name is synced with the first file, as on most disks.
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let _ = std::fs::File::open(parent).and_then(|parent| parent.sync_all());
    Ok(())
}

/// A receiver's directory.
pub(crate) struct Inbox {
    /// As it was named.
    path: PathBuf,
    folders: Folders,
    landed: Landed,
    /// What was not kept of the attributes of what came, and where that was first.
    unkept: Option<(PathBuf, Unkept)>,
    #[cfg(test)]
    pub(crate) planted: Planted,
}

impl Inbox {
    /// Opens the directory, which must exist. Links in this one path are followed.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            folders: Folders::open(path)?,
            unkept: None,
            landed: Landed::default(),
            #[cfg(test)]
            planted: Planted::default(),
        })
    }

    /// The same, for what this sender brings.
    pub(crate) fn serving(mut self, sender: Maker) -> Self {
        self.folders.permits.sender = Some(sender);
        self
    }

    /// The directory at this path below the root; empty means the root.
    ///
    /// # Errors
    /// [`Fault::Parent`] unless it is a directory reached without links.
    pub(crate) fn directory(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Fault> {
        Ok(Rc::clone(&self.folders.held(path)?.directory))
    }

    /// From here on directories are reached anew: at their paths may be something else by now.
    pub(crate) fn look_anew(&mut self) {
        self.folders.let_go();
    }

    /// The same, if names are about to be made, changed or removed in it.
    ///
    /// # Errors
    /// As for [`Self::directory`].
    pub(crate) fn directory_to_fill(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Fault> {
        self.folders.fillable(path)
    }

    /// Makes, changes or removes names in the directory. Only one that does not let us is looked at more closely: nearly all do.
    ///
    /// # Errors
    /// As for [`Self::directory`], or what the work says.
    pub(crate) fn fill<T>(&mut self, path: &[u8], work: impl Fn(&OwnedFd) -> Result<T, Fault>) -> Result<T, Fault> {
        match work(&*self.directory(path)?) {
            Err(Fault::Denied) => work(&*self.directory_to_fill(path)?),
            done => done,
        }
    }

    /// Gives the directories that had to be opened up for us the permissions that they had.
    pub(crate) fn close_up(&mut self) {
        self.folders.close_up();
    }

    /// Makes a directory for the sender that its owner can fill, whatever `mode` says about that.
    ///
    /// # Errors
    /// [`Fault::Exists`] if something else has the name.
    pub(crate) fn make_directory(&mut self, path: &TreePath, mode: u16) -> Result<Made, Fault> {
        let parent = self.directory(path.parent())?;
        let usable = Mode::from_raw_mode(u32::from(mode | 0o700));
        let mut made = mkdirat(&*parent, path.name(), usable);
        if made == Err(Errno::ACCESS) {
            made = mkdirat(&*self.directory_to_fill(path.parent())?, path.name(), usable);
        }
        if let Err(errno) = made
            && errno != Errno::EXIST
        {
            return Err(errno.into());
        }
        if made.is_err() {
            // Somebody else's, or of an earlier transfer.
            return match self.directory(path.as_bytes()) {
                Ok(directory) => {
                    let before = self.folders.permits.before(path.as_bytes());
                    let mode = before.map_or(Stamp::of(&fstat(&*directory)?).mode, |mode| mode & 0o777);
                    Ok(Made::Already { mode, own: self.folders.permits.is_senders(&directory) })
                }
                Err(Fault::Parent) if !self.is_directory(path) => Err(Fault::Exists),
                Err(fault) => Err(fault),
            };
        }
        let directory = self.folders.take_in(path.parent(), path.as_bytes(), path.name())?;
        // The umask took its share of mkdirat's.
        let unkept = attributes::set_of_directory(&directory, Some(mode | 0o700), None)?;
        let fresh = Fresh::of(&directory)?;
        self.folders.permits.sign(&directory, fresh);
        self.note_unkept(path.parent(), unkept);
        Ok(Made::New(fresh))
    }

    /// Whether the sender has made the directory that is there, in this run or in an earlier one, and nobody has given it another
    /// mode since.
    pub(crate) fn is_made_by_sender(&mut self, path: &TreePath, fresh: Option<Fresh>) -> bool {
        let Ok(directory) = self.directory(path.as_bytes()) else { return false };
        fresh.is_some_and(|fresh| fresh.is(&directory)) || self.folders.permits.is_senders(&directory)
    }

    /// Makes room for a directory where something else is that may be replaced.
    ///
    /// # Errors
    /// [`Fault::Duplicate`] if that has come in this transfer, under a name that this file system takes for the same.
    pub(crate) fn clear_for_directory(&mut self, path: &TreePath) -> Result<(), Fault> {
        let directory = self.directory_to_fill(path.parent())?;
        self.count_as_landed(path)?;
        remove_for_directory(&directory, path.name())
    }

    fn is_directory(&mut self, path: &TreePath) -> bool {
        matches!(self.look(path), Ok(There::Directory { .. }))
    }

    /// What of this the file system of a directory would not keep, tried out under a name that is ours alone.
    pub(crate) fn would_lose(&mut self, parent: &[u8], probe: &PartName, announced: Attributes) -> Unkept {
        let directory = self.directory(parent);
        directory.map_or(Unkept::default(), |directory| announced.unkept_in(&directory, &probe.to_string()))
    }

    /// Notes what was not kept of something in this directory.
    pub(crate) fn note_unkept(&mut self, parent: &[u8], unkept: Unkept) {
        if unkept.is_nothing() {
            return;
        }
        let noted = self.unkept.get_or_insert_with(|| {
            let below = self.folders.mounts.top_of(parent).unwrap_or_default();
            let place = if below.is_empty() { self.path.clone() } else { self.path.join(OsStr::from_bytes(below)) };
            (place, Unkept::default())
        });
        noted.1 = noted.1.or(unkept);
    }

    /// The directory of a file system that did not keep what came with some items, and what it did not. One stands for all.
    #[must_use]
    pub(crate) fn unkept(&self) -> Option<&(PathBuf, Unkept)> {
        self.unkept.as_ref()
    }

    /// What the path stands for.
    ///
    /// # Errors
    /// [`Fault::Parent`] as for [`Self::directory`], or what the system says.
    pub(crate) fn look(&mut self, path: &TreePath) -> Result<There, Fault> {
        let parent = self.directory(path.parent())?;
        There::at(&parent, path.name())
    }

    /// The file that may be the very one being offered: at `path`, or, where alternatives are
    /// made, at `path.1` and so on. Same size, if one was announced; the same time of modification is
    /// preferred. Returns its name and what it is.
    ///
    /// # Errors
    /// As for [`Self::look`].
    pub(crate) fn same_size(
        &mut self,
        path: &TreePath,
        version: (Option<u64>, Mtime),
        overwrite: Overwrite,
    ) -> Result<Option<(Vec<u8>, Stamp)>, Fault> {
        let parent = self.directory(path.parent())?;
        let tried = if overwrite == Overwrite::Rename { ALTERNATIVES_MAX } else { 0 };
        let mut likely = None;
        for number in 0..=tried {
            let name = alternative(path.name(), number);
            match There::at(&parent, &name) {
                Ok(There::File(stamp)) if version.0.is_none_or(|size| size == stamp.size) => {
                    if stamp.mtime == version.1 {
                        return Ok(Some((name, stamp)));
                    }
                    likely = likely.or(Some((name, stamp)));
                }
                Ok(There::Nothing) | Err(Fault::Name) => break,
                Ok(_) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(likely)
    }

    /// Opens a regular file that is there already, for reading.
    ///
    /// # Errors
    /// What the system says; [`Fault::Exists`] if it is no regular file.
    pub(crate) fn open_existing(&mut self, parent: &[u8], name: &[u8]) -> Result<OwnedFd, Fault> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&*self.directory(parent)?, name, flags, Mode::empty())?;
        let type_ = FileType::from_raw_mode(fstat(&file)?.st_mode);
        if type_ == FileType::RegularFile { Ok(file) } else { Err(Fault::Exists) }
    }

    /// Makes a symbolic link under a free name, with its time of modification.
    ///
    /// # Errors
    /// [`Fault::Exists`] if the name is taken; [`Fault::NoLinks`] where there are none.
    pub(crate) fn make_link(&mut self, parent: &[u8], name: &[u8], target: &[u8], mtime: Mtime) -> Result<(), Fault> {
        let directory = self.directory_to_fill(parent)?;
        // What symlink(2) says of file systems without links, and some of those say themselves.
        symlinkat(target, &*directory, name).map_err(|errno| match errno {
            Errno::PERM | Errno::NOTSUP | Errno::NOSYS => Fault::NoLinks,
            other => other.into(),
        })?;
        // A link without its time is still the link: some file systems keep none.
        let _ = utimensat(&*directory, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW);
        Ok(())
    }

    /// Unfinished files in this directory that were meant for `key`'s target, of any version. Those that nobody will ask for any
    /// more go when the directory is first looked at.
    ///
    /// # Errors
    /// As for [`Self::directory`], or what listing it says.
    pub(crate) fn parts_for(&mut self, parent: &[u8], key: &PartKey) -> Result<Vec<PartName>, Fault> {
        Ok(self.folders.parts(parent)?.iter().filter(|part| part.key.same_target(key)).copied().collect())
    }

    /// Whether there are any unfinished files in this directory, whatever they were meant for.
    ///
    /// # Errors
    /// As for [`Self::parts_for`].
    pub(crate) fn has_parts(&mut self, parent: &[u8]) -> Result<bool, Fault> {
        Ok(!self.folders.parts(parent)?.is_empty())
    }

    /// Takes an unfinished file off the list: it has been taken over.
    pub(crate) fn forget_part(&mut self, parent: &[u8], name: &PartName) {
        self.folders.forget_part(parent, name);
    }

    /// Removes an unfinished file, if it is still there.
    pub(crate) fn remove_part(&mut self, parent: &[u8], name: &PartName) {
        if let Ok(directory) = self.directory_to_fill(parent) {
            let _ = unlinkat(&*directory, name.to_string(), AtFlags::empty());
        }
        self.folders.forget_part(parent, name);
    }

    /// The same where another transfer has finished the directory meanwhile: its time stays.
    pub(crate) fn remove_late_part(&mut self, parent: &[u8], name: &PartName) {
        let Ok(directory) = self.directory(parent) else { return };
        let before = fstat(&*directory).map(|stat| Stamp::of(&stat).mtime);
        self.remove_part(parent, name);
        let _ = attributes::set_of_directory(&directory, None, before.ok());
    }

    /// Gives a finished file its final name, in one step. Where it would get another than its own, one that another transfer
    /// of the same file has got meanwhile serves.
    ///
    /// # Errors
    /// [`Fault::Exists`] if it is taken and must stay; [`Fault::OnlyReplaces`] if the file system cannot tell;
    /// [`Fault::Busy`] if the part is gone; [`Fault::Duplicate`] if it would replace what has come under another name, which
    /// this file system takes for the same.
    pub(crate) fn land(
        &mut self,
        part: &PartName,
        path: &TreePath,
        overwrite: Overwrite,
        content: Option<(u64, [u8; 32])>,
    ) -> Result<FinalName, Fault> {
        let part = part.to_string();
        if overwrite == Overwrite::Yes {
            let directory = self.directory(path.parent())?;
            self.check_case(&directory, part.as_bytes(), path)?;
            self.fill(path.parent(), |directory| rename_over(directory, part.as_bytes(), path.name()))?;
            return Ok(FinalName::Named(path.name().to_vec()));
        }
        let tried = if overwrite == Overwrite::Rename { ALTERNATIVES_MAX } else { 0 };
        for number in 0..=tried {
            let name = alternative(path.name(), number);
            if name.len() > NAME_BYTES_MAX {
                break;
            }
            match (self.fill(path.parent(), |directory| rename_to_free(directory, &part, &name)), content) {
                (Err(Fault::Exists), Some(content)) if tried > 0 => {
                    if self.is_twin(path.parent(), [part.as_bytes(), &name], content)? {
                        return Ok(FinalName::Already(name));
                    }
                }
                (Err(Fault::Exists), _) => {}
                (done, _) => return done.map(|()| FinalName::Named(name)),
            }
        }
        Err(Fault::Exists)
    }

    /// Whether a part and what has this name are the same. Only what has the same time of modification, too, is read.
    fn is_twin(&mut self, parent: &[u8], names: [&[u8]; 2], content: (u64, [u8; 32])) -> Result<bool, Fault> {
        let directory = self.directory(parent)?;
        match names.map(|name| There::at(&directory, name)) {
            [Ok(There::File(ours)), Ok(There::File(theirs))] if ours.mtime == theirs.mtime => {
                self.holds(parent, names[1], content)
            }
            _ => Ok(false),
        }
    }

    /// Where case is folded, `README` and `readme` of one transfer must not silently become one file.
    fn check_case(&mut self, directory: &OwnedFd, part: &[u8], path: &TreePath) -> Result<(), Fault> {
        match self.case(directory, path.parent(), part)? {
            Some(Case::Kept) => Ok(()),
            case => self.landed.check(directory, part, path, case),
        }
    }

    /// Counts what is at `path` as one of those that have landed there: so nothing else replaces it.
    ///
    /// # Errors
    /// [`Fault::Duplicate`] if it has under another name; as for [`Self::directory`].
    pub(crate) fn count_as_landed(&mut self, path: &TreePath) -> Result<(), Fault> {
        let directory = self.directory(path.parent())?;
        match self.case(&directory, path.parent(), path.name())? {
            Some(Case::Kept) => Ok(()),
            case => self.landed.count(&directory, path, case),
        }
    }

    /// What the directory does with case, as far as what has this name in it can tell.
    fn case(&mut self, directory: &OwnedFd, parent: &[u8], name: &[u8]) -> Result<Option<Case>, Fault> {
        #[cfg(test)]
        let planted = self.planted.folding.then_some(Case::Folded);
        #[cfg(not(test))]
        let planted = None;
        let held = self.folders.held(parent)?;
        held.case = held.case.or(planted).or_else(|| case_of(directory, name));
        Ok(held.case)
    }

    /// Whether a regular file of this size and hash has this name; then it is safe on disk, too.
    ///
    /// # Errors
    /// As for [`Self::directory`], or what reading or syncing says.
    pub(crate) fn holds(&mut self, parent: &[u8], name: &[u8], (size, hash): (u64, [u8; 32])) -> Result<bool, Fault> {
        // Whatever cannot be opened as a file is not the same.
        let Ok(file) = self.open_existing(parent, name) else { return Ok(false) };
        if Stamp::of(&fstat(&file)?).size != size {
            return Ok(false);
        }
        let mut hasher = ContentHash::default();
        hash_range(&file, &mut hasher, 0, size)?;
        let same = hasher.hash() == hash;
        if same {
            self.sync_file(&file)?;
        }
        Ok(same)
    }

    /// Sets a directory's permissions (if given, or if it had to be opened up) and its time of modification (if given), as far as
    /// the file system keeps them.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn finish_directory(
        &mut self,
        path: &TreePath,
        mode: Option<u16>,
        mtime: Option<Mtime>,
    ) -> Result<Unkept, Fault> {
        let directory = self.directory(path.as_bytes())?;
        let permits = &mut self.folders.permits;
        let before = permits.take(path.as_bytes());
        let times = attributes::set_of_directory(&directory, None, mtime)?;
        match (mode, before) {
            (Some(mode), _) => Ok(times.or(permits.finish(&directory, mode)?)),
            (None, Some(before)) => {
                permits.close(&directory, before);
                Ok(times)
            }
            (None, None) => Ok(times),
        }
    }

    /// Writes everything in the file systems of these directories to their disks.
    ///
    /// # Errors
    /// The first write-back failure since the transfer came upon the file system.
    pub(crate) fn sync_all<'p>(&self, directories: impl Iterator<Item = &'p [u8]>) -> Result<(), Fault> {
        #[cfg(test)]
        self.planted.note_sync(Synced::All)?;
        self.folders.mounts.sync(directories)
    }

    /// Writes one file of it to disk.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn sync_file(&self, file: impl AsFd) -> Result<(), Fault> {
        #[cfg(test)]
        self.planted.note_sync(Synced::File)?;
        Ok(fsync(file)?)
    }

    /// Writes the names in one directory to disk.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn sync_directory(&mut self, path: &[u8]) -> Result<(), Fault> {
        #[cfg(test)]
        self.planted.note_sync(Synced::Directory(path.to_vec()))?;
        match fsync(&*self.directory(path)?) {
            // Some file systems cannot sync a directory alone, and say so.
            Err(errno) if errno == Errno::BADF || is_lacking(errno) => self.folders.mounts.sync([path].into_iter()),
            done => Ok(done?),
        }
    }
}
