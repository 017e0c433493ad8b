//! What values look like by `Debug` is for whoever reads a failed test, and nothing that a test compares.

/// What stands before a text that is for a reader: it is a label, the last word of a run, or a piece of one; or it must not hold
/// what is never shown.
const FOR_READERS: [&str; 4] = ["(&", "fate(", "+= &", "!"];

/// Lines with a text by `Debug` that something else may be done with.
pub fn debug_texts(code: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("format!(") {
        let before = &code[..at];
        let line = before.rsplit('\n').next().unwrap_or_default();
        let argument = code[at + "format!(".len()..].trim_start();
        let is_read = FOR_READERS.iter().any(|start| before.ends_with(start));
        let is_compared = ["eq!(&", "ne!(&"].iter().any(|start| before.ends_with(start));
        if !line.contains("//") && shows(argument) && (is_compared || !is_read) {
            found.push(before.lines().count().max(1));
        }
    }
    found
}

/// Whether a literal has a place for something by `Debug`.
fn shows(literal: &str) -> bool {
    let Some(text) = literal.strip_prefix('"') else { return false };
    let mut escaped = false;
    let end = text.find(|letter| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends
    });
    let places = text[..end.unwrap_or(text.len())].replace("{{", "").replace("}}", "");
    places.split('{').skip(1).filter_map(|rest| rest.split('}').next()).any(|place| place.ends_with('?'))
}
