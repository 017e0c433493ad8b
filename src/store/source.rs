//! Walks what is to be sent, in a fixed order and without recursion. Links are followed only where that is asked for.
//!
//! ```text
//!  t            a directory comes before what is in it; names in byte order
//!  t/a
//!  t/a/x
//!  t/b
//! ```

use super::beneath::Nearby;
use super::found::{Found, Origin, READ, Skipped, WalkItem, open};
use super::keyfile;
use super::links::{LeftLinks, Links};
use super::omit::{LeftOut, Omit, OmitReason};
use super::stamp::Stamp;
use crate::transfer::fault::Fault;
use crate::transfer::item::{Kind, Totals};
use crate::transfer::path::{TreePath, is_reserved, link_stays_inside};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::fs::{fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What a walk has come upon.
#[derive(Debug)]
pub(crate) enum Met {
    /// An item, which can be offered or not.
    Item(WalkItem),
    /// What is not to be sent.
    LeftOut(LeftOut),
}

/// A directory that is being listed.
struct Level {
    path: TreePath,
    directory: Rc<OwnedFd>,
    names: std::vec::IntoIter<Vec<u8>>,
    root: Rc<OwnedFd>,
    /// Device and inode number.
    identity: (u64, u64),
}

/// The walk over one or more sources.
///
/// Memory: the names of the directories on the way down. Descriptors: one a level, 64 at most.
pub(crate) struct Walk {
    sources: std::vec::IntoIter<PathBuf>,
    tops: HashSet<Vec<u8>>,
    levels: Vec<Level>,
    omit: Omit,
    /// Where the file was that was looked at last for a key.
    nearby: Nearby,
    links: Links,
    left_links: LeftLinks,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Walk {
    /// A walk over the sources in the order given. Nothing is read yet.
    #[must_use]
    pub(crate) fn new(sources: Vec<PathBuf>) -> Self {
        Self {
            sources: sources.into_iter(),
            tops: HashSet::new(),
            levels: Vec::new(),
            omit: Omit::default(),
            nearby: Nearby::default(),
            links: Links::Keep,
            left_links: LeftLinks::new(Links::Keep),
        }
    }

    /// One that leaves this out.
    #[must_use]
    pub(crate) fn without(self, omit: Omit) -> Self {
        Self { omit, ..self }
    }

    /// Whether a file that nobody has named holds a key. Only few are as short, or as private: so that is asked of few.
    fn is_key(&mut self, step: &WalkItem) -> bool {
        let Ok(found) = step else { return false };
        let candidate = found.kind == Kind::File && found.path.depth() > 1 && keyfile::may_be_one(&found.stamp);
        candidate && open(found, &mut self.nearby).is_ok_and(keyfile::is_one)
    }

    /// What has been come upon is left out, or not.
    fn judge(&mut self, step: WalkItem) -> Met {
        let why = self.omit.why(&step).or_else(|| self.is_key(&step).then_some(OmitReason::CopyOfKey));
        let Some(why) = why else { return Met::Item(step) };
        let path = match step {
            Ok(found) => {
                if found.kind == Kind::Directory {
                    // Nor anything in it.
                    self.levels.pop();
                }
                found.path.as_bytes().to_vec()
            }
            Err(skipped) => skipped.path,
        };
        Met::LeftOut(LeftOut { path, why })
    }

    /// A link that is not sent.
    fn leave_link(&mut self, path: Vec<u8>) -> LeftOut {
        let step = Err(Skipped::new(path, Fault::LinkTarget));
        let pattern = self.omit.why(&step);
        let path = step.map_or_else(|link| link.path, |_| Vec::new());
        if pattern.is_none() {
            self.left_links.add(&path);
        }
        LeftOut { path, why: pattern.unwrap_or(OmitReason::Link(self.links)) }
    }

    /// One that does this with links.
    #[must_use]
    pub(crate) fn with_links(self, links: Links) -> Self {
        Self { links, left_links: LeftLinks::new(links), ..self }
    }

    /// The links that were left out so far, but for those that a pattern names.
    #[must_use]
    pub(crate) fn left_links(&self) -> &LeftLinks {
        &self.left_links
    }

    fn top(&mut self, source: &Path) -> WalkItem {
        let shown = |fault| Skipped::new(source.as_os_str().as_bytes().to_vec(), fault);
        let name = top_name(source).ok_or_else(|| shown(Fault::Name))?;
        let path = TreePath::top(&name).map_err(|_| shown(Fault::Name))?;
        let stat = see(source)?;
        let mut found = Found::file(path, Stamp::of(&stat), Origin::Named(source.to_path_buf()));
        let type_ = FileType::from_raw_mode(stat.st_mode);
        if !matches!(type_, FileType::RegularFile | FileType::Directory) {
            return Err(shown(Fault::Special));
        }
        if !self.tops.insert(name) {
            return Err(shown(Fault::Duplicate));
        }
        if type_ == FileType::Directory {
            let opened = openat(CWD, source, DIRECTORY, Mode::empty()).map(Rc::new);
            let directory = opened.map_err(|e| shown(e.into()))?;
            found.kind = Kind::Directory;
            found.stamp = Stamp::of(&fstat(&*directory).map_err(|e| shown(e.into()))?);
            found.origin = self.origin(&directory);
            let names = list(&directory).map_err(&shown)?;
            let (path, root, identity) = (found.path.clone(), Rc::clone(&directory), found.stamp.identity);
            self.levels.push(Level { path, directory, names, root, identity });
        }
        Ok(found)
    }

    fn origin(&self, root: &Rc<OwnedFd>) -> Origin {
        let root = Rc::clone(root);
        if self.links == Links::Follow { Origin::Through(root) } else { Origin::Below(root) }
    }

    /// What is called so in a directory. None if it is a link that is to be left out.
    fn inner(&self, level: &Level, name: &[u8]) -> Result<Option<(Found, Option<Level>)>, Skipped> {
        let shown = |fault| Skipped::new([level.path.as_bytes(), b"/", name].concat(), fault);
        let path = level.path.child(name).map_err(|_| shown(Fault::Name))?;
        let follows = self.links == Links::Follow;
        let (at, open) = match follows {
            true => (AtFlags::empty(), DIRECTORY),
            false => (AtFlags::SYMLINK_NOFOLLOW, DIRECTORY | OFlags::NOFOLLOW),
        };
        let stat = match statat(&*level.directory, name, at) {
            // A link that leads to itself.
            Err(Errno::LOOP) if follows => return Ok(None),
            Err(errno) if follows => {
                let at = (level.directory.as_fd(), Path::new(OsStr::from_bytes(name)));
                return Err(Skipped::unseen([level.path.as_bytes(), b"/", name].concat(), at, errno));
            }
            stat => stat.map_err(|e| shown(e.into()))?,
        };
        let mut found = Found::file(path, Stamp::of(&stat), self.origin(&level.root));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Some((found, None))),
            // Only a link leads back into a directory that is being listed.
            FileType::Directory if self.levels.iter().any(|level| level.identity == found.stamp.identity) => Ok(None),
            FileType::Directory => {
                let directory =
                    openat(&*level.directory, name, open, Mode::empty()).map(Rc::new).map_err(|e| shown(e.into()))?;
                found.kind = Kind::Directory;
                let names = list(&directory).map_err(&shown)?;
                let (path, root, identity) = (found.path.clone(), Rc::clone(&level.root), found.stamp.identity);
                Ok(Some((found, Some(Level { path, directory, names, root, identity }))))
            }
            FileType::Symlink if self.links == Links::Skip => Ok(None),
            FileType::Symlink => {
                let target = readlinkat(&*level.directory, name, Vec::new()).map_err(|e| shown(e.into()))?.into_bytes();
                if !link_stays_inside(&found.path, &target) {
                    return Ok(None);
                }
                found.kind = Kind::Link(target);
                Ok(Some((found, None)))
            }
            _ => Err(shown(Fault::Special)),
        }
    }
}

impl Iterator for Walk {
    type Item = WalkItem;

    fn next(&mut self) -> Option<WalkItem> {
        loop {
            if let Met::Item(step) = self.meet()? {
                return Some(step);
            }
        }
    }
}

impl Walk {
    /// The next thing, be it left out or not.
    pub(crate) fn meet(&mut self) -> Option<Met> {
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let Some(level) = self.levels.last() else { continue };
            match self.inner(level, &name).transpose() {
                None => {
                    let path = [level.path.as_bytes(), b"/", &name].concat();
                    return Some(Met::LeftOut(self.leave_link(path)));
                }
                Some(Err(skipped)) => return Some(self.judge(Err(skipped))),
                Some(Ok((found, deeper))) => {
                    self.levels.extend(deeper);
                    return Some(self.judge(Ok(found)));
                }
            }
        }
        let source = self.sources.next()?;
        let step = self.top(&source);
        Some(self.judge(step))
    }
}

/// Counts what there is to send, unless there are more than `items_max` items: then `None`, since
/// counting would delay the first byte for longer than the figure is worth.
#[must_use]
pub(crate) fn measure(walk: Walk, items_max: u64) -> Option<Totals> {
    let mut totals = Totals::default();
    for found in walk.flatten() {
        totals.items += 1;
        totals.bytes = totals.bytes.saturating_add(found.stamp.size);
        if totals.items > items_max {
            return None;
        }
    }
    Some(totals)
}

/// Whether this may be named as a source, and read as things stand.
///
/// # Errors
/// As the walk, or whoever reads it, says of it: [`Fault::Name`], [`Fault::Special`], or what the system says.
pub(crate) fn check_named(source: &Path) -> Result<(), Skipped> {
    let shown = |fault| Skipped::new(source.as_os_str().as_bytes().to_vec(), fault);
    let name = top_name(source).ok_or_else(|| shown(Fault::Name))?;
    TreePath::top(&name).map_err(|_| shown(Fault::Name))?;
    let flags = match FileType::from_raw_mode(see(source)?.st_mode) {
        FileType::RegularFile => READ,
        FileType::Directory => DIRECTORY,
        _ => return Err(shown(Fault::Special)),
    };
    match openat(CWD, source, flags, Mode::empty()) {
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => Err(shown(errno.into())),
        // Anything else may be over when its turn comes.
        _ => Ok(()),
    }
}

/// Looks at what the user has named.
fn see(source: &Path) -> Result<Stat, Skipped> {
    let path = || source.as_os_str().as_bytes().to_vec();
    statat(CWD, source, AtFlags::empty()).map_err(|errno| match Skipped::unseen(path(), (CWD, source), errno) {
        // No tree is sent yet that its parent could be outside of.
        Skipped { fault: Fault::Parent, .. } => Skipped::new(path(), Fault::NotFound),
        skipped => skipped,
    })
}

/// The name a source gets at the receiver: its last component, or for `.` and `..` that of the
/// directory they stand for.
fn top_name(source: &Path) -> Option<Vec<u8>> {
    if let Some(name) = source.file_name() {
        return Some(name.as_bytes().to_vec());
    }
    let real = source.canonicalize().ok()?;
    real.file_name().map(|name| name.as_bytes().to_vec())
}

fn list(directory: &OwnedFd) -> Result<std::vec::IntoIter<Vec<u8>>, Fault> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        // What a receiver keeps beside its files is not anybody's to send on.
        if name != b"." && name != b".." && !is_reserved(name) {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names.into_iter())
}

#[cfg(test)]
#[path = "tests/source.rs"]
mod tests;
