//! What is left out of a walk: keys that are in use, always, and what the user's patterns say.

use super::source::{Found, Kind, Skipped};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a walk leaves out.
#[derive(Debug, Clone)]
pub struct Omit {
    /// Device and inode number of each key in use: it may be reached in many ways, under any name.
    keys: Vec<(u64, u64)>,
    patterns: Gitignore,
}

impl Default for Omit {
    fn default() -> Self {
        Self { keys: Vec::new(), patterns: Gitignore::empty() }
    }
}

/// Why a thing is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is a key in use.
    Key,
    /// A pattern says so.
    Pattern,
}

/// Not a pattern: which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern(pub String);

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a pattern")
    }
}

impl std::error::Error for BadPattern {}

impl Omit {
    /// These keys, and what these patterns match, in the manner of `.gitignore`: the last that matches decides.
    ///
    /// # Errors
    /// One is no pattern.
    pub fn new(keys: Vec<(u64, u64)>, patterns: &[String]) -> Result<Self, BadPattern> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            builder.add_line(None, pattern).map_err(|_| BadPattern(pattern.clone()))?;
        }
        let patterns = builder.build().map_err(|_| BadPattern(patterns.join(" ")))?;
        Ok(Self { keys, patterns })
    }

    /// Whether a key in use is there.
    #[must_use]
    pub fn is_key(&self, identity: (u64, u64)) -> bool {
        self.keys.contains(&identity)
    }

    /// Whether this is left out, and why. What the user has named is not, unless it is a key.
    pub(super) fn why(&self, step: &Result<Found, Skipped>) -> Option<Why> {
        let (path, is_directory) = match step {
            Ok(found) if self.is_key(found.stamp.identity) => return Some(Why::Key),
            Ok(found) => (found.path.as_bytes(), found.kind == Kind::Directory),
            Err(skipped) => (&skipped.path[..], false),
        };
        // Patterns are about what is below the directory that is sent.
        let at = path.iter().position(|byte| *byte == b'/')?;
        let below = Path::new(OsStr::from_bytes(&path[at + 1..]));
        self.patterns.matched(below, is_directory).is_ignore().then_some(Why::Pattern)
    }
}
