//! Directories that take names which differ only in case for one: there nothing of a transfer may replace something else of it.

use crate::transfer::fault::Fault;
use crate::transfer::path::{TreePath, is_reserved};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, statat};
use std::collections::HashMap;

/// What a directory takes names for that differ only in case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// For different ones.
    Kept,
    /// For one, and what has it has the same inode number under either.
    Folded,
    /// For one, and numbers show nothing: some file systems in user space make one up for every name that they are asked for.
    Unnumbered,
}

/// In directories that fold case, or may: what got its name here, or had it already, with a hash of its path.
/// Each table is one of 70 MB for a million items.
#[derive(Default)]
pub(super) struct Landed {
    /// By device and inode.
    numbers: HashMap<(u64, u64), [u8; 16]>,
    /// By a hash of its path in capitals, where numbers show nothing, or may not.
    names: HashMap<[u8; 16], [u8; 16]>,
}

impl Landed {
    /// Makes sure that `part`, which is about to get the name in `path`, replaces nothing that has come under another one.
    ///
    /// # Errors
    /// [`Fault::Duplicate`] if it would.
    pub(super) fn check(
        &mut self,
        directory: &OwnedFd,
        part: &[u8],
        path: &TreePath,
        case: Option<Case>,
    ) -> Result<(), Fault> {
        let name = short_hash(path.as_bytes());
        if let Some((there, _)) = identity(directory, path.name())
            && self.numbers.get(&there).is_some_and(|landed| *landed != name)
        {
            return Err(Fault::Duplicate);
        }
        self.count_name(path, name, case)?;
        if let Some((ours, _)) = identity(directory, part) {
            self.numbers.insert(ours, name);
        }
        Ok(())
    }

    /// Counts what is at `path` as something that has landed there.
    ///
    /// # Errors
    /// [`Fault::Duplicate`] if it has under another name.
    pub(super) fn count(&mut self, directory: &OwnedFd, path: &TreePath, case: Option<Case>) -> Result<(), Fault> {
        let name = short_hash(path.as_bytes());
        if let Some((there, is_only_name)) = identity(directory, path.name()) {
            let landed = *self.numbers.entry(there).or_insert(name);
            if landed != name && case == Some(Case::Folded) && is_only_name {
                return Err(Fault::Duplicate);
            }
        }
        self.count_name(path, name, case)
    }

    fn count_name(&mut self, path: &TreePath, name: [u8; 16], case: Option<Case>) -> Result<(), Fault> {
        if matches!(case, Some(Case::Kept | Case::Folded)) {
            return Ok(());
        }
        let landed = *self.names.entry(short_hash(&in_capitals(path.as_bytes()))).or_insert(name);
        if landed != name && case == Some(Case::Unnumbered) { Err(Fault::Duplicate) } else { Ok(()) }
    }
}

/// Device and inode of what has this name, and whether it has no other.
fn identity(directory: &OwnedFd, name: &[u8]) -> Option<((u64, u64), bool)> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(((stat.st_dev, stat.st_ino), stat.st_nlink == 1))
}

/// What the directory does with case, as far as it shows where capitals and small letters of this name are exchanged. None if
/// that shows nothing: what has it is gone, its name has no letters, or it has a second name, which may be that one.
pub(super) fn case_of(directory: &OwnedFd, name: &[u8]) -> Option<Case> {
    let exchange = |byte: &u8| if byte.is_ascii_alphabetic() { byte ^ 0x20 } else { *byte };
    let exchanged: Vec<u8> = name.iter().map(exchange).collect();
    let (ours, is_only_name) = identity(directory, name).filter(|_| exchanged != name)?;
    match identity(directory, &exchanged) {
        None => Some(Case::Kept),
        Some((found, _)) if found == ours => is_only_name.then_some(Case::Folded),
        // Two files may well be called README and readme, but nobody else has names such as ours.
        Some(_) => is_reserved(name).then_some(Case::Unnumbered),
    }
}

/// As tables of such file systems have it: one letter for one.
fn in_capitals(path: &[u8]) -> Vec<u8> {
    let capital = |letter: char| {
        let mut capitals = letter.to_uppercase();
        if capitals.len() == 1 { capitals.next().unwrap_or(letter) } else { letter }
    };
    match std::str::from_utf8(path) {
        Ok(text) => text.chars().map(capital).collect::<String>().into_bytes(),
        Err(_) => path.to_ascii_uppercase(),
    }
}

fn short_hash(path: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    blake3::Hasher::new().update(path).finalize_xof().fill(&mut hash);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use std::fs;

    #[test]
    fn what_a_directory_does_with_case_shows_where_nobody_else_can_have_the_name() {
        let home = tempfile::tempdir().unwrap();
        let directory = openat(CWD, home.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let (ours, other) = (".vp-part.00ff", ".VP-PART.00FF");
        let case = |name: &str| case_of(&directory, name.as_bytes());
        assert_eq!(case(ours), None, "it is gone");
        for name in [ours, "README", "12"] {
            fs::write(home.path().join(name), "").unwrap();
        }
        assert_eq!([ours, "README", "12"].map(case), [Some(Case::Kept), Some(Case::Kept), None]);
        for name in ["readme", other] {
            fs::write(home.path().join(name), "").unwrap();
        }
        assert_eq!([ours, "README"].map(case), [Some(Case::Unnumbered), None], "two files, or two numbers of one");
        for (name, second) in [(ours, other), ("README", "readme")] {
            fs::remove_file(home.path().join(second)).unwrap();
            fs::hard_link(home.path().join(name), home.path().join(second)).unwrap();
        }
        assert_eq!([ours, "README"].map(case), [None, None], "a second name");
    }

    #[test]
    fn without_numbers_names_alone_tell_what_would_be_replaced() {
        let home = tempfile::tempdir().unwrap();
        let directory = openat(CWD, home.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let path = |path: &str| {
            let (top, name) = path.split_once('/').unwrap();
            TreePath::top(top.as_bytes()).unwrap().child(name.as_bytes()).unwrap()
        };
        let mut landed = Landed::default();
        // What has come before the first unfinished file showed what the directory does.
        assert_eq!(landed.count(&directory, &path("t/kept"), None), Ok(()));
        let mut check = |name: &str| landed.check(&directory, b"part", &path(name), Some(Case::Unnumbered));
        for name in ["t/README", "t/README", "t/Straße", "t/STRASSE", "t/éa", "t/12"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["t/readme", "T/README", "t/KEPT", "t/ÉA"] {
            assert_eq!(check(name), Err(Fault::Duplicate), "{name}");
        }
        assert_eq!(landed.check(&directory, b"part", &path("t/readme"), Some(Case::Kept)), Ok(()));
    }
}
