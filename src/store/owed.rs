//! What is owed for an item of the directory: a run of the command that follows its arrival.
//!
//! ```text
//!  .vp-owed.<32 hex: blake3(name)>    an empty file at the root, while the command has not succeeded
//! ```
//! It is there before anything of the item is, and goes when the command has succeeded. So whoever is killed in between, and
//! however often a command fails, the next transfer of the item runs it; and once it has succeeded a further transfer of
//! what is there does not. Only a kill between its success and the removal makes it run twice. While it runs the file is
//! locked: another transfer of the same item waits for its end.

use super::fault::Fault;
use super::inbox::Inbox;
use super::names::OWED_PREFIX;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock, fstat, openat, unlinkat};
use rustix::io::{Errno, retry_on_intr};
use std::rc::Rc;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// A run that is owed, and ours to make.
#[derive(Debug)]
pub struct Owed {
    root: Rc<OwnedFd>,
    mark: String,
    _locked: OwnedFd,
}

fn mark_of(item: &[u8]) -> String {
    let hex = blake3::hash(item).to_hex();
    format!("{OWED_PREFIX}{}", &hex[..32])
}

/// Notes that a run is owed for the item of this name. False if one had been before.
///
/// # Errors
/// What the system says.
pub fn owe(inbox: &mut Inbox, item: &[u8]) -> Result<bool, Fault> {
    let flags = FLAGS | OFlags::CREATE | OFlags::EXCL;
    match openat(&*inbox.directory(b"")?, mark_of(item), flags, Mode::RUSR | Mode::WUSR) {
        Ok(_) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes back what [`owe`] has just noted: nothing came.
pub fn forgive(inbox: &mut Inbox, item: &[u8]) {
    if let Ok(root) = inbox.directory(b"") {
        // A mark that stays costs one run too many.
        let _ = unlinkat(&*root, mark_of(item), AtFlags::empty());
    }
}

/// The run that is owed for the item, if one is. Waits while somebody else makes it.
///
/// # Errors
/// What the system says; [`Fault::Exists`] if the mark's name stands for something else.
pub fn owed(inbox: &mut Inbox, item: &[u8]) -> Result<Option<Owed>, Fault> {
    let (root, mark) = (inbox.directory(b"")?, mark_of(item));
    let locked = match openat(&*root, &mark, FLAGS, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if FileType::from_raw_mode(fstat(&locked)?.st_mode) != FileType::RegularFile {
        return Err(Fault::Exists);
    }
    retry_on_intr(|| flock(&locked, FlockOperation::LockExclusive))?;
    let is_left = fstat(&locked)?.st_nlink > 0;
    Ok(is_left.then_some(Owed { root, mark, _locked: locked }))
}

impl Owed {
    /// It has been made, with success.
    ///
    /// # Errors
    /// What the system says: then it will be made once more.
    pub fn settle(self) -> Result<(), Fault> {
        Ok(unlinkat(&*self.root, self.mark, AtFlags::empty())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_run_is_owed_until_it_is_settled() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        assert!(owed(&mut inbox, b"a").unwrap().is_none());
        assert!(owe(&mut inbox, b"a").unwrap());
        assert!(!owe(&mut inbox, b"a").unwrap(), "it had been already");
        assert!(owed(&mut inbox, b"b").unwrap().is_none(), "for another nothing is");
        drop(owed(&mut inbox, b"a").unwrap().expect("a run"));
        let run = owed(&mut inbox, b"a").unwrap().expect("it failed, so it is owed still");
        run.settle().unwrap();
        assert!(owed(&mut inbox, b"a").unwrap().is_none());
        owe(&mut inbox, b"a").unwrap();
        forgive(&mut inbox, b"a");
        assert!(owed(&mut inbox, b"a").unwrap().is_none());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn whoever_comes_while_it_is_made_waits_and_finds_it_settled() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        owe(&mut inbox, b"a").unwrap();
        let run = owed(&mut inbox, b"a").unwrap().expect("a run");
        let (told, news) = channel();
        let path = home.path().to_owned();
        let other = std::thread::spawn(move || {
            let mut inbox = Inbox::open(&path).unwrap();
            told.send(()).unwrap();
            owed(&mut inbox, b"a").unwrap().is_none()
        });
        news.recv().unwrap();
        run.settle().unwrap();
        assert!(other.join().unwrap());
    }

    #[test]
    fn what_somebody_planted_under_its_name_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::open(home.path()).unwrap();
        std::os::unix::fs::symlink("/dev/zero", home.path().join(mark_of(b"a"))).unwrap();
        assert!(!owe(&mut inbox, b"a").unwrap());
        assert!(owed(&mut inbox, b"a").is_err());
    }
}
