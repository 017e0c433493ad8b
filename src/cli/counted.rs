//! Numbers with the noun that they count, as people say them.

use std::fmt::Display;

/// `1 item`, `2 items`. The noun is one that takes an s.
pub(super) fn counted<N: Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// What is counted in the lines that people read.
    const NOUNS: [&str; 9] =
        ["byte", "item", "link", "connection", "line", "more line", "listener", "worker", "circuit"];

    /// Numbers that are above one: the whole of which a part is told, bounds, and what has another line for one.
    const NEVER_ONE: [&str; 5] = ["of {} items", "{count} links", "all {good} items", "none of {bad} items", "_MAX} "];

    /// Lines of the sources below this that put a noun of many behind a number that may be one.
    fn fixed(directory: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).expect("a folder of sources").map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                found.extend(fixed(&entry));
                continue;
            }
            let text = fs::read_to_string(&entry).expect("a source");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let is_fixed = |line: &&str| NOUNS.iter().any(|noun| line.contains(&format!("}} {noun}s")));
            let rest = code.lines().filter(is_fixed).filter(|line| !NEVER_ONE.iter().any(|part| line.contains(part)));
            found.extend(rest.map(|line| format!("{}: {line}", entry.display())));
        }
        found
    }

    #[test]
    fn every_number_of_what_may_be_one_is_counted() {
        let found = fixed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli"));
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "item")), ["0 items", "1 item", "2 items"]);
    }
}
