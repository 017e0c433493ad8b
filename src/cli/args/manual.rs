//! What help texts and manual pages say beside the options. One source for both.

use std::fmt::Write;

use crate::cli::env::VARIABLES;
use crate::cli::exit::shown;

/// Manual of one tool.
#[derive(Clone, Copy, Debug)]
pub struct Manual {
    /// Name of the tool.
    pub name: &'static str,
    /// What it does, in one lower-case phrase.
    pub purpose: &'static str,
    /// Command lines that work as they stand, the commonest first.
    pub examples: &'static [Example],
    /// The variables it looks at, out of [`VARIABLES`].
    pub variables: &'static [&'static str],
    /// Files it reads or writes, with a phrase each.
    pub files: &'static [(&'static str, &'static str)],
}

/// A command line and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// What it does.
    pub does: &'static str,
    /// What to type; may be a pipeline.
    pub line: &'static str,
}

/// Lays a help text out: what it is, how it is called, examples, options, the rest.
pub(super) const TEMPLATE: &str = "{about}\n\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}";

/// The user's configuration files, as manual pages list them.
pub(super) const KEY_FILES: (&str, &str) =
    ("~/.config/vp/key, /etc/vp/key", "this party's key; the first that exists is used");
/// See [`KEY_FILES`].
pub(super) const PEERS_FILES: (&str, &str) =
    ("~/.config/vp/peers, /etc/vp/peers", "who is called what: lines of NAME ID");
/// See [`KEY_FILES`].
pub(super) const RELAYS_FILES: (&str, &str) = ("~/.config/vp/relays, /etc/vp/relays", "relay addresses, one a line");

impl Manual {
    /// The examples, for the top of `--help`.
    pub(crate) fn before_help(&self) -> String {
        let mut text = String::from("Examples:\n");
        for example in self.examples {
            // Writing to a String cannot fail.
            let _ = write!(text, "  # {}\n  {}\n", example.does, example.line);
        }
        text
    }

    /// Environment and exit status, for the end of `--help`.
    pub(crate) fn after_help(&self) -> String {
        let mut text = String::new();
        if !self.variables.is_empty() {
            text.push_str("Environment:\n");
        }
        for (name, meaning) in self.variables() {
            let _ = writeln!(text, "  {name:<22} {meaning}");
        }
        if !self.variables.is_empty() {
            text.push('\n');
        }
        text.push_str("Exit status (retry?):\n");
        for row in shown() {
            let retry = if row.retry.word().is_empty() { String::new() } else { format!(" ({})", row.retry.word()) };
            let _ = writeln!(text, "  {:<6} {}{retry}", row.code, row.meaning);
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// The variables with their meanings, in the order of [`VARIABLES`].
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        VARIABLES.into_iter().filter(|(name, _)| self.variables.contains(name))
    }
}
