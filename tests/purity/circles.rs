//! What leads where through imports: files that use each other in a circle, and folders that pass on what is another's.

use super::source::{Source, first_name};
use std::collections::{BTreeMap, BTreeSet};

/// Longest chain of imports that is followed: `use` may go in a circle itself.
const IMPORTS_MAX: usize = 16;

/// What files there are, by module (`session::frame` of `session/frame.rs`), and what each imports: name to path, as it is
/// written there. A name that a module has imported can be had from it by those below it, and by all if it is `pub`.
pub struct Map<'a>(BTreeMap<String, BTreeMap<&'a str, &'a str>>);

impl<'a> Map<'a> {
    pub fn new(sources: &'a [Source]) -> Map<'a> {
        Map(sources.iter().map(|source| (module(&source.path), imports(&source.code))).collect())
    }

    /// The module that has what a path leads to, looked at from `here`; `here` itself for a path of another crate.
    pub fn owner(&self, here: &str, path: &str) -> String {
        self.follow(here, path, IMPORTS_MAX).0
    }

    /// The modules that an import of everything may lead to: the one it names, those in it, and whatever it imports itself.
    fn owners_of_all(&self, here: &str, path: &str) -> Vec<String> {
        let module = self.owner(here, path);
        let inside = |name: &String| name.rsplit_once("::").map_or("", |(outer, _)| outer) == module && name != here;
        let mut found: Vec<_> = self.0.keys().filter(|name| inside(name)).cloned().collect();
        found.extend(self.0.get(&module).into_iter().flatten().map(|(_, import)| self.owner(&module, import)));
        found.push(module);
        found
    }

    /// The last module on a path, and whether that is its end.
    fn follow(&self, here: &str, path: &str, imports_left: usize) -> (String, bool) {
        let mut at = here.to_owned();
        let mut names = path.split("::").peekable();
        while let Some(name) = names.next() {
            let below = if at.is_empty() { name.to_owned() } else { format!("{at}::{name}") };
            match name {
                "crate" => at.clear(),
                "self" => {}
                "super" => at.truncate(at.rfind("::").unwrap_or(0)),
                _ if self.0.contains_key(&below) => at = below,
                _ => match self.0.get(&at).and_then(|imports| imports.get(name)) {
                    Some(import) if imports_left > 0 => match self.follow(&at, import, imports_left - 1) {
                        (module, true) if names.peek().is_some() => at = module,
                        found => return found,
                    },
                    _ => return (at, false),
                },
            }
        }
        (at, true)
    }
}

/// The module that a file is: `session::frame` of `session/frame.rs`.
pub fn module(path: &str) -> String {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { String::new() } else { path.replace('/', "::") }
}

fn is_of_path(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == ':'
}

/// What the `use` of a file bring into it, by the names that they have there.
fn imports(code: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    for (at, _) in code.match_indices("use ") {
        if code[..at].ends_with(is_of_path) {
            continue;
        }
        let statement = &code[at + "use ".len()..];
        let mut words = statement[..statement.find(';').unwrap_or(0)].split_whitespace().peekable();
        while let Some(path) = words.next() {
            let name = path.rsplit("::").next().unwrap_or(path);
            let name = if words.next_if_eq(&"as").is_some() { words.next().unwrap_or(name) } else { name };
            found.insert(name, path);
        }
    }
    found
}

/// All paths in some code: what holds a `::`.
pub fn paths(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter| !is_of_path(letter)).filter(|path| path.contains("::") && !path.starts_with(':'))
}

/// The files that a file uses, other than those above and below it: those have to know each other.
fn uses(source: &Source, map: &Map) -> BTreeSet<String> {
    let here = module(&source.path);
    let family = |other: &String| {
        let (one, two) = (format!("{here}::"), format!("{other}::"));
        one.starts_with(&two) || two.starts_with(&one)
    };
    let before = |at: usize| source.code[..at].rsplit(|letter| !is_of_path(letter)).next().unwrap_or_default();
    let all = source.code.match_indices("::*").flat_map(|(at, _)| map.owners_of_all(&here, before(at)));
    let found = paths(&source.code).map(|path| map.owner(&here, path)).chain(all.filter(|other| *other != here));
    found.filter(|other| !other.is_empty() && !family(other)).collect()
}

/// Files that use each other, directly or round several corners, and through whatever re-exports.
pub fn circles(sources: &[Source]) -> Vec<String> {
    let map = Map::new(sources);
    let graph: BTreeMap<String, BTreeSet<String>> =
        sources.iter().map(|source| (module(&source.path), uses(source, &map))).collect();
    let reach = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = graph[from].iter().collect();
        while let Some(module) = next.pop() {
            if seen.insert(module.clone()) {
                next.extend(graph.get(module).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = graph.keys().map(|module| (module, reach(module))).collect();
    let mut found = BTreeSet::new();
    for (module, others) in &reached {
        let circle: BTreeSet<&String> =
            others.iter().filter(|other| reached.get(other).is_some_and(|back| back.contains(*module))).collect();
        if !circle.is_empty() {
            found.insert(circle.into_iter().cloned().collect::<Vec<_>>().join(", "));
        }
    }
    found.into_iter().map(|circle| format!("files that use each other: {circle}")).collect()
}

/// What a type that is public is another name of, if it is one: `a::B<` of `pub type C = a::B<u8>;`.
fn renamed_type(words: &str) -> Option<&str> {
    let (_, named) = words.split_once("type ").filter(|(before, _)| before.starts_with("pub"))?;
    let (_, path) = named.split_once("= ")?;
    Some(&path[..path.find(|letter| !is_of_path(letter)).unwrap_or(path.len())])
}

/// Items of another folder that a file passes on: whoever needs one then seems to use this folder.
pub fn passed_on(sources: &[Source]) -> Vec<String> {
    let map = Map::new(sources);
    let folder = |module: &str| first_name(module).to_owned();
    let mut found = Vec::new();
    for source in sources {
        let here = module(&source.path);
        for (line, code) in source.numbered() {
            let words = code.trim_start();
            let passed =
                words.split_once("use ").filter(|(before, _)| before.starts_with("pub")).map(|(_, paths)| paths);
            let passed = passed.or_else(|| renamed_type(words));
            for path in passed.unwrap_or("").split_whitespace().map(|path| path.trim_end_matches(';')) {
                if path.ends_with("::*") {
                    found.push(source.at(line, "passes on everything, and nobody sees what"));
                }
                let owner = folder(&map.owner(&here, path));
                if owner != source.folder() {
                    found.push(source.at(line, &format!("{path} is to be had from {owner} alone")));
                }
            }
        }
    }
    found
}
