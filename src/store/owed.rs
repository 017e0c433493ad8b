//! What is owed for an item of the directory: a run of the command that follows its arrival.
//!
//! ```text
//!  .vp-owed.<32 hex: blake3(name)>.<16 hex: transfer>    an empty file at the root, while the command has not succeeded
//! ```
//! A transfer makes its mark before anything of the item comes, and whoever has the command succeed for what is there
//! removes the marks that were there when it began. So whoever is killed in between, and however often a command fails, the
//! next transfer of the item runs it; and once it has succeeded a further transfer of what is there does not. While it runs
//! the marks are locked: another transfer of the same item waits. Only an end between the command's success and the removal,
//! or of a receiver whose command goes on without it, makes it run twice.

use super::inbox::Inbox;
use crate::transfer::fault::Fault;
use crate::transfer::path::OWED_PREFIX;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock, fstat, openat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

const FLAGS: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
/// Between two looks whether another transfer's command has ended.
const PAUSE: Duration = Duration::from_millis(50);
/// Marks that one run settles: each is a descriptor. Transfers that were killed leave one each.
const MARKS_MAX: usize = 64;

/// A run that is owed, and ours to make.
#[derive(Debug)]
pub(crate) struct Owed {
    root: Rc<OwnedFd>,
    marks: Vec<(String, OwnedFd)>,
}

/// What the marks of one transfer are called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker(pub u64);

/// An item for which a run may be owed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// What others brought under this name is something else: of their marks none is settled if we have one.
    pub is_ours_alone: bool,
}

fn prefix_of(item: &[u8]) -> String {
    let hex = blake3::hash(item).to_hex();
    format!("{OWED_PREFIX}{}.", &hex[..32])
}

impl Marker {
    fn mark_of(self, item: &[u8]) -> String {
        format!("{}{:016x}", prefix_of(item), self.0)
    }

    /// Notes that a run is owed for the item of this name. False if we had noted it before. It is as safe as the names in
    /// the root are.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn owe(self, inbox: &mut Inbox, item: &[u8]) -> Result<bool, Fault> {
        let flags = FLAGS | OFlags::CREATE | OFlags::EXCL;
        match openat(&*inbox.directory(b"")?, self.mark_of(item), flags, Mode::RUSR | Mode::WUSR) {
            Ok(_) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes back what we have just noted: nothing came.
    pub(crate) fn forgive(self, inbox: &mut Inbox, item: &[u8]) {
        if let Ok(root) = inbox.directory(b"") {
            // A mark that stays costs one run too many.
            let _ = unlinkat(&*root, self.mark_of(item), AtFlags::empty());
        }
    }

    /// The run that is owed for the item, if one of these marks says so. Waits while somebody else makes it, unless that is
    /// given up.
    ///
    /// # Errors
    /// [`Fault::Busy`] if it was given up; what the system says.
    pub(crate) fn owed(
        self,
        inbox: &mut Inbox,
        listed: &Marks,
        item: Item<'_>,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Option<Owed>, Fault> {
        let root = inbox.directory(b"")?;
        let (ours, prefix) = (self.mark_of(item.name), prefix_of(item.name));
        let only_ours = item.is_ours_alone && listed.0.contains(&ours);
        // All take them in the same order, so nobody waits for somebody who waits for him.
        let found = listed.0.range(prefix.clone()..).take_while(|mark| mark.starts_with(&prefix));
        let mut marks = Vec::new();
        for mark in found.filter(|mark| !only_ours || **mark == ours).take(MARKS_MAX) {
            if let Some(file) = lock(&root, mark, given_up)? {
                marks.push((mark.clone(), file));
            }
        }
        Ok((!marks.is_empty()).then_some(Owed { root, marks }))
    }
}

/// The marks that are there at one time.
#[derive(Debug)]
pub(crate) struct Marks(BTreeSet<String>);

impl Marks {
    /// Looks.
    ///
    /// # Errors
    /// What listing the directory says.
    pub(crate) fn list(inbox: &mut Inbox) -> Result<Marks, Fault> {
        let mut found = BTreeSet::new();
        for entry in Dir::read_from(&*inbox.directory(b"")?)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && name.starts_with(OWED_PREFIX)
            {
                found.insert(name.to_owned());
            }
        }
        Ok(Marks(found))
    }
}

/// The mark, once nobody else holds it; none if it has been removed.
fn lock(root: &OwnedFd, mark: &str, given_up: &dyn Fn() -> bool) -> Result<Option<OwnedFd>, Fault> {
    let file = match openat(root, mark, FLAGS, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Fault::Exists);
    }
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK | Errno::INTR) if given_up() => return Err(Fault::Busy),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            Err(Errno::INTR) => {}
            // Where there are no locks, two transfers of one item at the same time may each run its command.
            Ok(()) | Err(_) => return Ok((fstat(&file)?.st_nlink > 0).then_some(file)),
        }
    }
}

impl Owed {
    /// It has been made, with success.
    ///
    /// # Errors
    /// What the system says: then it will be made once more.
    pub(crate) fn settle(self) -> Result<(), Fault> {
        for (mark, _locked) in &self.marks {
            match unlinkat(&*self.root, mark, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn named(name: &[u8]) -> Item<'_> {
        Item { name, is_ours_alone: false }
    }

    const ONE: Marker = Marker(1);
    const TWO: Marker = Marker(2);

    fn look(inbox: &mut Inbox, marker: Marker, item: &[u8]) -> Option<Owed> {
        let marks = Marks::list(inbox).unwrap();
        marker.owed(inbox, &marks, named(item), &|| false).unwrap()
    }

    #[test]
    fn a_run_is_owed_until_it_is_settled() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        assert!(look(&mut inbox, ONE, b"a").is_none());
        assert!(ONE.owe(&mut inbox, b"a").unwrap());
        assert!(!ONE.owe(&mut inbox, b"a").unwrap(), "we had noted it before");
        assert!(look(&mut inbox, ONE, b"b").is_none(), "for another nothing is");
        drop(look(&mut inbox, TWO, b"a").expect("a run, whoever looks"));
        let run = look(&mut inbox, ONE, b"a").expect("it failed, so it is owed still");
        run.settle().unwrap();
        assert!(look(&mut inbox, ONE, b"a").is_none());
        ONE.owe(&mut inbox, b"a").unwrap();
        ONE.forgive(&mut inbox, b"a");
        assert!(look(&mut inbox, ONE, b"a").is_none());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_run_settles_what_was_owed_when_it_began_and_not_what_came_meanwhile() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        ONE.owe(&mut inbox, b"a").unwrap();
        let run = look(&mut inbox, ONE, b"a").expect("a run");
        TWO.owe(&mut inbox, b"a").unwrap();
        run.settle().unwrap();
        let run = look(&mut inbox, TWO, b"a").expect("something else came meanwhile");
        run.settle().unwrap();
        // What we take back is ours alone.
        ONE.owe(&mut inbox, b"a").unwrap();
        TWO.owe(&mut inbox, b"a").unwrap();
        ONE.forgive(&mut inbox, b"a");
        assert!(look(&mut inbox, ONE, b"a").is_some());
    }

    #[test]
    fn where_each_arrival_has_a_name_of_its_own_one_run_is_not_for_all() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        ONE.owe(&mut inbox, b"a").unwrap();
        TWO.owe(&mut inbox, b"a").unwrap();
        let alone = |inbox: &mut Inbox, marker: Marker| {
            let marks = Marks::list(inbox).unwrap();
            marker.owed(inbox, &marks, Item { is_ours_alone: true, ..named(b"a") }, &|| false).unwrap()
        };
        alone(&mut inbox, TWO).expect("its own").settle().unwrap();
        alone(&mut inbox, Marker(3)).expect("what is left of others").settle().unwrap();
        assert!(alone(&mut inbox, ONE).is_none());
    }

    #[test]
    fn whoever_comes_while_it_is_made_waits_and_finds_it_settled_or_gives_up() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        ONE.owe(&mut inbox, b"a").unwrap();
        let run = look(&mut inbox, ONE, b"a").expect("a run");
        let marks = Marks::list(&mut inbox).unwrap();
        let given_up = TWO.owed(&mut Inbox::open(home.path()).unwrap(), &marks, named(b"a"), &|| true);
        assert_eq!(given_up.unwrap_err(), Fault::Busy);
        let (told, news) = channel();
        let path = home.path().to_owned();
        let other = std::thread::spawn(move || {
            let waits = || {
                told.send(()).unwrap();
                false
            };
            TWO.owed(&mut Inbox::open(&path).unwrap(), &marks, named(b"a"), &waits).unwrap().is_none()
        });
        news.recv().expect("it waits");
        run.settle().unwrap();
        assert!(other.join().unwrap());
    }

    #[test]
    fn what_somebody_planted_under_its_name_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        std::os::unix::fs::symlink("/dev/zero", home.path().join(ONE.mark_of(b"a"))).unwrap();
        assert!(!ONE.owe(&mut inbox, b"a").unwrap());
        let marks = Marks::list(&mut inbox).unwrap();
        assert!(ONE.owed(&mut inbox, &marks, named(b"a"), &|| false).is_err());
    }
}
