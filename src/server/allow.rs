//! Who may attach: the allow file, what was said of it, and who reads it again.

use super::log::{Log, LogLine};
use crate::names::{Conflict, ParseError, Peers};
use crate::net::list::{PATIENCE, read_list, read_settled};
use crate::relay::{Limits, Policy};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Largest allow file, bytes: half a million peers.
const ALLOW_FILE_MAX: u64 = 64 * 1024 * 1024;

/// Who may attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Everybody.
    Anyone,
    /// The peers in a file, which is read again on SIGHUP.
    File(PathBuf),
}

/// Why an allow file cannot be used.
#[derive(Debug)]
pub enum AllowError {
    /// It cannot be read.
    Read(io::Error),
    /// It is beyond its cap.
    TooLong {
        /// The cap, bytes.
        most_bytes: u64,
    },
    /// It is no file, and nothing came out of it.
    Silent {
        /// For how long.
        after: Duration,
    },
    /// It has a mistake.
    Parse(ParseError),
}

/// Who may attach, what they may hold, and who reads the file again.
#[derive(Debug)]
pub(super) struct AllowList {
    allow: Allow,
    limits: Limits,
    reading: Mutex<Reading>,
    told: Mutex<Told>,
}

/// One thread reads at a time: of two, the later one to finish would win, and that may be the one that read the older file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    Nobody,
    /// A thread reads.
    Now,
    /// A thread reads and was asked since it began: it reads once more.
    NowAndAgain,
}

impl AllowList {
    /// Of its file nothing has been said, and nobody reads it.
    pub(super) fn new(allow: Allow, limits: Limits) -> AllowList {
        AllowList { allow, limits, reading: Mutex::default(), told: Mutex::default() }
    }

    /// The file, if there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.allow {
            Allow::Anyone => None,
            Allow::File(path) => Some(path),
        }
    }

    /// The policy that it asks for now.
    pub(super) fn read(&self, log: &Log) -> Result<Policy, AllowError> {
        self.policy(log, read_list)
    }

    /// The same of one that people change while the relay serves: once they have. For a thread that may wait.
    pub(super) fn read_again(&self, log: &Log) -> Result<Policy, AllowError> {
        self.policy(log, read_settled)
    }

    fn policy(&self, log: &Log, read: impl Fn(&Path, u64) -> io::Result<Vec<u8>>) -> Result<Policy, AllowError> {
        let path = match &self.allow {
            Allow::Anyone => return Ok(Policy::open(self.limits)),
            Allow::File(path) => path,
        };
        let bytes = read(path, ALLOW_FILE_MAX).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => AllowError::TooLong { most_bytes: ALLOW_FILE_MAX },
            io::ErrorKind::TimedOut => AllowError::Silent { after: PATIENCE },
            _ => AllowError::Read(error),
        })?;
        let peers = Peers::read(&bytes).map_err(AllowError::Parse)?;
        let policy = Policy::only(&peers, self.limits).map_err(AllowError::Parse)?;
        self.told.lock().unwrap_or_else(PoisonError::into_inner).note(path, &peers, log);
        Ok(policy)
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file is to be read; true if the caller has to see to it.
    pub(super) fn request(&self) -> bool {
        let mut reading = self.reading();
        let begins = *reading == Reading::Nobody;
        *reading = if begins { Reading::Now } else { Reading::NowAndAgain };
        begins
    }

    /// It has been read; true if it has to be read again.
    pub(super) fn finish(&self) -> bool {
        let mut reading = self.reading();
        let again = *reading == Reading::NowAndAgain;
        *reading = if again { Reading::Now } else { Reading::Nobody };
        again
    }

    /// It is not read after all.
    pub(super) fn give_up(&self) {
        *self.reading() = Reading::Nobody;
    }
}

/// What has been said of an allow file: it is said again only when it has changed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    conflicts: Vec<Conflict>,
    is_nobody: bool,
}

impl Told {
    /// What there is to say of the file, and has not been said, goes to the log.
    fn note(&mut self, path: &Path, peers: &Peers, log: &Log) {
        let now = Told { conflicts: peers.conflicts().to_vec(), is_nobody: peers.is_empty() };
        let news = now.conflicts.iter().filter(|conflict| !self.conflicts.contains(conflict));
        news.for_each(|conflict| log(LogLine::Conflict(path, conflict)));
        if now.is_nobody && !self.is_nobody {
            log(LogLine::Nobody(path));
        }
        *self = now;
    }
}
