//! What an error says: what happened, and never how that reads.

use super::source::{Source, first_name};
use std::collections::BTreeSet;

/// Words where an error belongs that says what happened: a literal as what an error holds, or room for one.
pub fn words_for_errors(source: &Source) -> Vec<String> {
    if ["cli", "bin"].contains(&source.folder()) {
        return Vec::new();
    }
    let speaks = |code: &str| {
        let literal = |rest: &str| {
            let held = rest[first_name(rest).len()..].strip_prefix('(').unwrap_or_default();
            // Without its words a literal leaves a place between its neighbours.
            held.starts_with([')', ',']) || held[..held.find(')').unwrap_or(held.len())].ends_with(", ")
        };
        let room = code.trim_start().starts_with(char::is_uppercase) && code.contains("&'static str");
        let holds = code.match_indices("Error::").any(|(at, name)| literal(&code[at + name.len()..]));
        holds || code.contains("Err()") || code.contains("|_| )") || room || code.contains(", &'static str>")
    };
    let found = source.numbered().filter(|(_, code)| speaks(code));
    found
        .map(|(line, _)| source.at(line, "an error of words: let it say what happened, and cli how that reads"))
        .collect()
}

/// Errors that are public and no `std::error::Error`: whoever builds on the library can neither show nor pass them on.
pub fn mute_errors(sources: &[Source]) -> Vec<String> {
    let after = |code: &str, before: &str| code.split_once(before).map(|(_, rest)| first_name(rest).to_owned());
    let lines = || sources.iter().flat_map(|source| source.numbered().map(move |(line, code)| (source, line, code)));
    let speaking: BTreeSet<String> = lines().filter_map(|(.., code)| after(code, "Error for ")).collect();
    let public = lines().filter_map(|(source, line, code)| {
        let name = after(code, "pub enum ").or_else(|| after(code, "pub struct "))?;
        (name.ends_with("Error") && !speaking.contains(&name)).then(|| source.at(line, &format!("{name} is no Error")))
    });
    public.collect()
}
