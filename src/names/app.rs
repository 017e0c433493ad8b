//! Application names and petnames: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.

use std::fmt;
use std::str::FromStr;

/// Longest name, in characters (which are bytes): it travels in one length byte and fits a line of a table.
pub const NAME_MAX: usize = 64;

/// What to reach at a peer: `drop`, `pg`, `backup-2024`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName(Box<str>);

impl AppName {
    /// The application that an address without one means.
    pub(crate) const DEFAULT: &'static str = "drop";

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AppName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl FromStr for AppName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text).map(|()| Self(text.into()))
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppName({})", self.0)
    }
}

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Nothing there.
    Empty,
    /// More than [`NAME_MAX`] characters.
    TooLong {
        /// Characters found.
        found: usize,
    },
    /// A character other than `A-Z a-z 0-9 . _ -`.
    BadCharacter {
        /// Characters before it.
        at: usize,
    },
}

impl NameError {
    /// Characters before the culprit, for a column number.
    pub(crate) fn offset(&self) -> usize {
        match self {
            Self::BadCharacter { at } => *at,
            Self::Empty | Self::TooLong { .. } => 0,
        }
    }
}

/// The rule that application names and petnames share.
pub(crate) fn check(text: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(at) = text.chars().position(|c| !allowed(c)) {
        return Err(NameError::BadCharacter { at });
    }
    if text.len() > NAME_MAX {
        return Err(NameError::TooLong { found: text.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rule_and_its_edges() {
        let parse = |text: &str| text.parse::<AppName>();
        assert_eq!(parse("").err(), Some(NameError::Empty));
        assert_eq!(parse("a/b").err(), Some(NameError::BadCharacter { at: 1 }));
        assert_eq!(parse("é").err(), Some(NameError::BadCharacter { at: 0 }));
        assert_eq!(parse("a:").err(), Some(NameError::BadCharacter { at: 1 }));
        assert_eq!(parse(&"x".repeat(65)).err(), Some(NameError::TooLong { found: 65 }));
        assert!(parse(&"x".repeat(64)).is_ok());
        assert_eq!(parse("A-z_0.9").map(|name| name.to_string()), Ok("A-z_0.9".to_owned()));
    }

    #[test]
    fn the_default_is_a_valid_name() {
        assert_eq!(AppName::DEFAULT.parse(), Ok(AppName::default()));
    }

    proptest! {
        #[test]
        fn what_parses_prints_to_itself(text in ".{0,70}") {
            if let Ok(name) = text.parse::<AppName>() {
                prop_assert_eq!(name.as_str(), text.as_str());
            }
        }
    }
}
