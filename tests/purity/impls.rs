//! Where the methods of a type stand: in one file, whatever their number. What does not fit there has an owner of its own.

use super::circles::{Map, module};
use super::source::{Source, first_name};
use std::collections::{BTreeMap, BTreeSet};

/// Types whose methods stand in several files: module, name, and why.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("cli::voice", "Voice", "it is all that a tool says, and the words on each subject stand in a file of their own")];

/// Types that have methods, other than those of a trait, in several files.
pub fn scattered(sources: &[Source]) -> Vec<String> {
    let map = Map::new(sources);
    let mut places: BTreeMap<(String, &str), BTreeSet<&str>> = BTreeMap::new();
    for source in sources {
        let here = module(&source.path);
        for (_, code) in source.numbered() {
            let Some(path) = inherent(code) else { continue };
            let name = path.rsplit("::").next().unwrap_or(path);
            places.entry((map.owner(&here, path), name)).or_default().insert(&source.path);
        }
    }
    let is_excepted =
        |of: &str, name: &str| EXCEPTIONS.iter().any(|(module, type_name, _)| (*module, *type_name) == (of, name));
    let scattered = places.iter().filter(|((of, name), files)| files.len() > 1 && !is_excepted(of, name));
    scattered
        .map(|((of, name), files)| {
            let files: Vec<_> = files.iter().copied().collect();
            format!("the methods of {of}::{name} stand in {}", files.join(", "))
        })
        .collect()
}

/// The type whose own methods begin at this line: `a::B` of `impl<'a> a::B<'a> {`.
fn inherent(code: &str) -> Option<&str> {
    let words = code.trim_start().strip_prefix("impl")?;
    if words.contains(" for ") || !words.starts_with([' ', '<']) {
        return None;
    }
    let mut depth = 0;
    let generics = words.replace("->", "  ").find(|letter| {
        depth += i32::from(letter == '<') - i32::from(letter == '>');
        depth == 0 && letter == ' '
    })?;
    let path = words[generics..].trim_start();
    let end =
        path.find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':').unwrap_or(path.len());
    Some(&path[..end]).filter(|path| !first_name(path).is_empty())
}
