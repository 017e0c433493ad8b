//! Names that may appear in a receiver's directory, and paths made of them.
//!
//! Names are bytes, as the kernel sees them. What is refused here is refused on both sides: the
//! sender so that it can say which file, the receiver because the sender may be anyone.

use std::fmt;

/// Longest name the usual file systems hold.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest path with its separators: PATH_MAX of Linux.
pub const PATH_BYTES_MAX: usize = 4096;
/// Deepest nesting; bounds the open descriptors of a walk.
pub const DEPTH_MAX: usize = 64;
/// Longest target of a symbolic link: PATH_MAX less its terminator.
pub const LINK_BYTES_MAX: usize = 4095;
/// The names of unfinished files begin like this; no other may.
pub(crate) const PART_PREFIX: &str = ".vp-part.";
/// Those of notes of commands that have yet to succeed begin like this, and no other may.
pub(crate) const OWED_PREFIX: &str = ".vp-owed.";

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameFault {
    /// No bytes, or no components.
    Empty,
    /// `.` or `..`.
    Dots,
    /// A `/` inside a component.
    Separator,
    /// A control character: C0, DEL or C1.
    Control,
    /// A component over 255 bytes, or a path over 4,096.
    TooLong,
    /// More than 64 components.
    TooDeep,
    /// Begins like the name of an unfinished file, or of a note of a command that has yet to succeed.
    Reserved,
}

/// Checks one component of a path.
///
/// # Errors
/// The first thing that is wrong with it.
pub(crate) fn check_name(name: &[u8]) -> Result<(), NameFault> {
    if name.is_empty() {
        return Err(NameFault::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameFault::TooLong);
    }
    if name == b"." || name == b".." {
        return Err(NameFault::Dots);
    }
    if name.contains(&b'/') {
        return Err(NameFault::Separator);
    }
    if has_control(name) {
        return Err(NameFault::Control);
    }
    if is_reserved(name) { Err(NameFault::Reserved) } else { Ok(()) }
}

/// Whether it begins as the names of what vp keeps beside files do, whatever the case: a directory may fold it.
#[must_use]
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    let begins =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()));
    begins(PART_PREFIX) || begins(OWED_PREFIX)
}

/// True if a terminal could take part of it for a command. Bytes that are not UTF-8 are looked at
/// as Latin-1, where 0x80 to 0x9f are the C1 controls.
#[must_use]
pub(crate) fn has_control(bytes: &[u8]) -> bool {
    bytes.utf8_chunks().any(|chunk| {
        chunk.valid().chars().any(char::is_control) || chunk.invalid().iter().any(|byte| (0x80..0xa0).contains(byte))
    })
}

/// A path below the root of a transfer: one or more checked names.
///
/// Kept joined by `/`, ready for the kernel; never absolute, never with `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// A path of one name.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn top(name: &[u8]) -> Result<Self, NameFault> {
        check_name(name)?;
        Ok(Self(name.to_vec()))
    }

    /// A path of the given names, outermost first.
    ///
    /// # Errors
    /// The first thing wrong with a name, or with the whole.
    pub fn from_components<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NameFault> {
        let mut joined = Vec::new();
        let mut depth = 0;
        for name in names {
            check_name(name)?;
            depth += 1;
            if depth > 1 {
                joined.push(b'/');
            }
            joined.extend_from_slice(name);
        }
        Self::bounded(joined, depth)
    }

    /// This path with one more name.
    ///
    /// # Errors
    /// What is wrong with the name, or with the longer path.
    pub fn child(&self, name: &[u8]) -> Result<Self, NameFault> {
        check_name(name)?;
        let mut joined = Vec::with_capacity(self.0.len() + 1 + name.len());
        joined.extend_from_slice(&self.0);
        joined.push(b'/');
        joined.extend_from_slice(name);
        Self::bounded(joined, self.depth() + 1)
    }

    fn bounded(joined: Vec<u8>, depth: usize) -> Result<Self, NameFault> {
        match () {
            () if depth == 0 => Err(NameFault::Empty),
            () if depth > DEPTH_MAX => Err(NameFault::TooDeep),
            () if joined.len() > PATH_BYTES_MAX => Err(NameFault::TooLong),
            () => Ok(Self(joined)),
        }
    }

    /// The path with its separators.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The names, outermost first.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }

    /// How many names.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// The last name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.split().1
    }

    /// All but the last name; empty for a path of one.
    #[must_use]
    pub fn parent(&self) -> &[u8] {
        self.split().0
    }

    /// The first name.
    #[must_use]
    pub fn first(&self) -> &[u8] {
        self.components().next().unwrap_or_default()
    }

    /// All but the first name; empty for a path of one.
    #[must_use]
    pub(crate) fn below_first(&self) -> &[u8] {
        self.0.get(self.first().len() + 1..).unwrap_or_default()
    }

    fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (&[], &self.0),
        }
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// True if a symbolic link at `path` with this target stays inside the tree that `path.first()`
/// heads, whatever other links of the same tree lie on its way.
///
/// The target is relative; `..` stands only at its front, at most often enough to reach the top
/// of the tree. A `..` further back is refused although it may be harmless: after a name that is
/// itself a link it leads somewhere else than it seems to. With this rule every link resolves
/// from its own, real directory downwards, so that no chain of them can climb out.
#[must_use]
pub fn link_stays_inside(path: &TreePath, target: &[u8]) -> bool {
    let acceptable = !target.is_empty() && target.len() <= LINK_BYTES_MAX && target[0] != b'/' && !has_control(target);
    let mut climbs = 0;
    let mut descended = false;
    for name in target.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." if descended => return false,
            b".." => climbs += 1,
            _ => descended = true,
        }
    }
    // The link's directory is depth - 1 names deep and must stay at least one name deep.
    acceptable && climbs + 2 <= path.depth()
}

/// How many `name.1`, `name.2`, … are tried before giving up.
pub(crate) const ALTERNATIVES_MAX: u32 = 9_999;

/// The name that is tried after so many were taken.
pub(crate) fn alternative(name: &[u8], number: u32) -> Vec<u8> {
    if number == 0 {
        return name.to_vec();
    }
    [name, format!(".{number}").as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_kernel_or_terminal_would_misread_are_refused() {
        let long = [b'x'; 256];
        let cases: [(&[u8], NameFault); 13] = [
            (b"", NameFault::Empty),
            (b".", NameFault::Dots),
            (b"..", NameFault::Dots),
            (b"a/b", NameFault::Separator),
            (b"/", NameFault::Separator),
            (b"a\0b", NameFault::Control),
            (b"a\nb", NameFault::Control),
            (b"\x1b[2J", NameFault::Control),
            (b"a\x7f", NameFault::Control),
            (b"a\x9bb", NameFault::Control),
            ("a\u{9b}b".as_bytes(), NameFault::Control),
            (&long, NameFault::TooLong),
            (b".VP-part.0", NameFault::Reserved),
        ];
        for (name, fault) in cases {
            assert_eq!(check_name(name), Err(fault), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn ordinary_and_foreign_names_pass() {
        for name in ["a", "...", ".hidden", "mit Leerzeichen", "łódź", "日本", "-rf", ".vp-par"] {
            assert_eq!(check_name(name.as_bytes()), Ok(()), "{name}");
        }
        assert_eq!(check_name(b"latin1-\xe9\xff"), Ok(()));
        assert_eq!(check_name(&[b'x'; 255]), Ok(()));
    }

    #[test]
    fn paths_have_bounds_and_parts() {
        let path = TreePath::from_components([&b"a"[..], b"b", b"c"]).unwrap();
        assert_eq!(path.as_bytes(), b"a/b/c");
        assert_eq!((path.parent(), path.name(), path.first()), (&b"a/b"[..], &b"c"[..], &b"a"[..]));
        assert_eq!(path.below_first(), b"b/c");
        let top = TreePath::top(b"a").unwrap();
        assert_eq!((top.parent(), top.below_first(), top.depth()), (&b""[..], &b""[..], 1));
        let deep = std::iter::repeat_n(&b"d"[..], DEPTH_MAX + 1);
        assert_eq!(TreePath::from_components(deep), Err(NameFault::TooDeep));
        let name = [b'n'; NAME_BYTES_MAX];
        let long = std::iter::repeat_n(&name[..], 17);
        assert_eq!(TreePath::from_components(long), Err(NameFault::TooLong));
        assert_eq!(TreePath::from_components([]), Err(NameFault::Empty));
    }

    #[test]
    fn links_may_only_climb_as_far_as_the_top_of_their_tree() {
        let at = |path: &str| TreePath::from_components(path.split('/').map(str::as_bytes)).unwrap();
        for (path, target) in [("t/l", "x"), ("t/a/l", "../b"), ("t/a/l", ".."), ("t/l", "./a//b")] {
            assert!(link_stays_inside(&at(path), target.as_bytes()), "{path} -> {target}");
        }
        for (path, target) in [
            ("l", "x"),
            ("t/l", ".."),
            ("t/l", "/etc"),
            ("t/l", ""),
            ("t/a/l", "../../x"),
            ("t/l", "a/.."),
            ("t/a/l", "b/../c"),
            ("t/l", "a\nb"),
        ] {
            assert!(!link_stays_inside(&at(path), target.as_bytes()), "{path} -> {target}");
        }
    }
}
