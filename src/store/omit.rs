//! What is left out of a walk: keys that are in use, always, and what the user's patterns say.

use super::found::{Found, Skipped};
use super::links::Links;
use crate::transfer::item::Kind;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a walk leaves out.
#[derive(Debug, Clone)]
pub(crate) struct Omit {
    /// Device and inode number of each key in use: it may be reached in many ways, under any name.
    keys: Vec<(u64, u64)>,
    patterns: Gitignore,
}

impl Default for Omit {
    fn default() -> Self {
        Self { keys: Vec::new(), patterns: Gitignore::empty() }
    }
}

/// Keys that people are told one by one: whoever has more has learned it by then.
pub(crate) const KEYS_TOLD_MAX: usize = 100;

/// Why a thing is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OmitReason {
    /// It is a key in use, under whatever name.
    Key,
    /// It looks like a key, in use or not, and nobody has named it.
    CopyOfKey,
    /// A pattern says so.
    Pattern,
    /// It is a link that is not sent where this is done with links.
    Link(Links),
}

/// One thing that a walk has left out, with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Its path, any bytes.
    pub path: Vec<u8>,
    /// Why.
    pub why: OmitReason,
}

impl LeftOut {
    /// Whether it is a key or a copy of one.
    #[must_use]
    pub(crate) fn is_key(&self) -> bool {
        matches!(self.why, OmitReason::Key | OmitReason::CopyOfKey)
    }
}

/// A pattern that could never match, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadPattern {
    /// As it was given.
    pub pattern: String,
    /// What is wrong with it.
    pub why: PatternFault,
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatternFault {
    /// Nothing, or blanks, or nothing but marks.
    Empty,
    /// It starts as a comment of a file of patterns does.
    Comment,
    /// A step that no path below a directory has: `.` or `..`.
    Step,
    /// In the words of whoever reads patterns.
    Syntax(String),
}

impl Omit {
    /// These keys, and what these patterns match, in the manner of `.gitignore`: the last that matches decides.
    ///
    /// # Errors
    /// One is no pattern.
    pub(crate) fn new(keys: Vec<(u64, u64)>, patterns: &[String]) -> Result<Self, BadPattern> {
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        for pattern in patterns {
            let bad = |why| BadPattern { pattern: pattern.clone(), why };
            check(pattern).map_err(bad)?;
            builder.add_line(None, pattern).map_err(|error| bad(PatternFault::Syntax(words(error))))?;
        }
        let patterns = builder.build().map_err(|error| {
            let (pattern, why) = (patterns.join(" "), PatternFault::Syntax(words(error)));
            BadPattern { pattern, why }
        })?;
        Ok(Self { keys, patterns })
    }

    /// Whether a key in use is there.
    #[must_use]
    pub(crate) fn is_key(&self, identity: (u64, u64)) -> bool {
        self.keys.contains(&identity)
    }

    /// Whether this is left out, and why. What the user has named is not, unless it is a key.
    pub(super) fn why(&self, step: &Result<Found, Skipped>) -> Option<OmitReason> {
        let (path, is_directory) = match step {
            Ok(found) if self.is_key(found.stamp.identity) => return Some(OmitReason::Key),
            Ok(found) => (found.path.as_bytes(), found.kind == Kind::Directory),
            Err(skipped) => (&skipped.path[..], false),
        };
        // Patterns are about what is below the directory that is sent.
        let at = path.iter().position(|byte| *byte == b'/')?;
        let below = Path::new(OsStr::from_bytes(&path[at + 1..]));
        self.patterns.matched(below, is_directory).is_ignore().then_some(OmitReason::Pattern)
    }
}

/// Refuses what the reader of patterns takes and which then matches nothing.
fn check(pattern: &str) -> Result<(), PatternFault> {
    if pattern.starts_with('#') {
        return Err(PatternFault::Comment);
    }
    let path = pattern.strip_prefix('!').unwrap_or(pattern).trim();
    if path.split('/').all(str::is_empty) {
        return Err(PatternFault::Empty);
    }
    if path.split('/').any(|step| matches!(step, "." | "..")) {
        return Err(PatternFault::Step);
    }
    Ok(())
}

/// What is wrong, without the pattern, which is named already.
fn words(error: ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_that_could_never_match_is_refused_with_what_is_wrong() {
        let why = |pattern: &str| Omit::new(Vec::new(), &[pattern.to_owned()]).map(drop).map_err(|bad| bad.why);
        for pattern in ["", " ", "/", "!", "!/", "//"] {
            assert_eq!(why(pattern), Err(PatternFault::Empty), "{pattern:?}");
        }
        assert_eq!(why("# x"), Err(PatternFault::Comment));
        for pattern in ["./build", "../x", "a/../b", "!./x", "."] {
            assert_eq!(why(pattern), Err(PatternFault::Step), "{pattern:?}");
        }
        for pattern in ["[", "a[b", "{a,b", "[z-a]", "a\\"] {
            let Err(PatternFault::Syntax(words)) = why(pattern) else { panic!("{pattern:?} is taken") };
            assert!(!words.is_empty() && !words.contains('\n'), "{pattern:?}: {words}");
        }
        for pattern in ["*.o", "/build", "cache/", "a/**/b", "!keep", "[a-z]*", "\\#x", "...", ".git", "**"] {
            assert_eq!(why(pattern), Ok(()), "{pattern:?}");
        }
    }
}
