//! Unfinished files that nobody will go on with: of what is whole by now, and those that are old.
//!
//! A run clears what was there when it came to a directory. What another run of the same sender has left since then it finds at
//! its end; and where no run comes any more a receiver looks when it begins.

use super::beneath;
use super::inbox::Inbox;
use super::part::{PartKey, PartName, list_parts, remove_forsaken, remove_idle};
use super::there::There;
use crate::transfer::path::{TreePath, is_reserved};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Names that a search for old ones looks at: a second, or where all has to come from a slow disk some minutes.
const NAMES_MAX: usize = 1 << 18;
/// Memory for the paths of directories that it has still to look at.
const PATHS_BYTES_MAX: usize = 16 << 20;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Removes what no run has in hand of these unfinished files of a target that is there, the same as offered.
pub(crate) fn clear_target(inbox: &mut Inbox, parent: &[u8], key: &PartKey) {
    let Ok(parts) = inbox.parts_for(parent, key) else { return };
    clear(inbox, parent, &parts);
}

/// Removes what runs of this sender have left in a directory, the root if none is named, of files that are there in the very
/// version: of the same size and time.
pub(crate) fn clear_whole(inbox: &mut Inbox, sender: &[u8; 32], path: Option<&TreePath>) {
    let parent = path.map_or(&b""[..], TreePath::as_bytes);
    let Ok(directory) = inbox.directory(parent) else { return };
    let parts = match list_parts(&directory) {
        Ok(parts) if !parts.is_empty() => parts,
        _ => return,
    };
    let whole = whole_among(&directory, parts, |name| {
        let path = path.map_or_else(|| TreePath::top(name), |path| path.child(name));
        path.ok().map(|path| (PartKey::target_of(sender, &path), path))
    });
    clear(inbox, parent, &whole);
}

/// Those of which the target has the version that they are for. To tell which file one is for takes a look at all names.
fn whole_among(
    directory: &OwnedFd,
    parts: Vec<PartName>,
    target_of: impl Fn(&[u8]) -> Option<(u128, TreePath)>,
) -> Vec<PartName> {
    let mut by_target: HashMap<u128, Vec<PartName>> = HashMap::new();
    parts.into_iter().for_each(|part| by_target.entry(part.key.target()).or_default().push(part));
    let mut whole = Vec::new();
    for entry in Dir::read_from(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_bytes();
        if let Some((target, path)) = (!is_reserved(name)).then(|| target_of(name)).flatten()
            && let Some(parts) = by_target.get(&target)
            && let Ok(There::File(stamp)) = There::at(directory, path.name())
        {
            whole.extend(parts.iter().filter(|part| part.key.is_version(stamp.size, stamp.mtime)));
        }
    }
    whole
}

fn clear(inbox: &mut Inbox, parent: &[u8], parts: &[PartName]) {
    let directory = if parts.is_empty() { None } else { inbox.directory_to_fill(parent).ok() };
    let now = SystemTime::now();
    for part in parts {
        if directory.as_ref().is_some_and(|directory| remove_idle(directory, part, now)) {
            inbox.forget_part(parent, part);
        }
    }
}

/// Removes the old ones below a directory, on its file system: where something new comes in they go in any case.
///
/// # Errors
/// It cannot be opened.
pub(crate) fn remove_old(root: &Path) -> io::Result<()> {
    remove_old_within(&openat(CWD, root, DIRECTORY, Mode::empty())?, SystemTime::now(), NAMES_MAX)
}

fn remove_old_within(root: &OwnedFd, now: SystemTime, names_max: usize) -> io::Result<()> {
    let device = fstat(root)?.st_dev;
    let (mut pending, mut names_left) = (Pending::default(), names_max);
    let mut next = Some(Vec::new());
    while let Some(path) = next.filter(|_| names_left > 0) {
        // What has gone meanwhile, or is no directory after all, has nothing in it.
        let below = if path.is_empty() { root.try_clone().ok() } else { beneath::open(root, &path, DIRECTORY).ok() };
        if let Some(below) = below.filter(|below| fstat(below).is_ok_and(|stat| stat.st_dev == device)) {
            let mut parts = Vec::new();
            for entry in Dir::read_from(&below).into_iter().flatten().flatten().take(names_left) {
                names_left -= 1;
                let name = entry.file_name().to_bytes();
                parts.extend(PartName::parse(name));
                if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                    pending.add(&path, name);
                }
            }
            for part in &parts {
                remove_forsaken(&below, part, now);
            }
        }
        next = pending.take();
    }
    Ok(())
}

/// Paths of directories that are still to be looked at.
#[derive(Default)]
struct Pending {
    paths: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pending {
    /// Adds what has this name in the directory, if there is room.
    fn add(&mut self, directory: &[u8], name: &[u8]) {
        let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        let path = [directory, separator, name].concat();
        if !matches!(name, b"." | b"..") && self.bytes + path.len() <= PATHS_BYTES_MAX {
            self.bytes += path.len();
            self.paths.push(path);
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let path = self.paths.pop()?;
        self.bytes -= path.len();
        Some(path)
    }
}

#[cfg(test)]
#[path = "tests/leftovers.rs"]
mod tests;
