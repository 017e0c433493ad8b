//! Files that use each other in a circle.

use super::source::Source;
use std::collections::{BTreeMap, BTreeSet};

/// The module of a file: `session::frame` of `session/frame.rs`.
fn module(path: &str) -> String {
    path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::")
}

/// The files of the same folder that a file uses, other than those above and below it: those have to know each other.
fn uses(source: &Source, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let here = module(&source.path);
    let mut found = BTreeSet::new();
    for line in source.code.lines() {
        for (at, _) in line.match_indices("::") {
            let start =
                line[..at].rfind(|letter: char| !letter.is_alphanumeric() && letter != '_').map_or(0, |at| at + 1);
            if line[..start].ends_with("::") {
                continue;
            }
            let end = line[start..]
                .find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':')
                .map_or(line.len(), |end| start + end);
            let mut names: Vec<&str> = line[start..end].split("::").filter(|name| !name.is_empty()).collect();
            let mut base: Vec<&str> = here.split("::").collect();
            match names.first() {
                Some(&"crate") => base.clear(),
                Some(&"super") => {}
                _ => continue,
            }
            while matches!(names.first(), Some(&"super" | &"crate")) {
                if names.remove(0) == "super" {
                    base.pop();
                }
            }
            base.extend(names);
            while !base.is_empty() && !modules.contains(&base.join("::")) {
                base.pop();
            }
            found.insert(base.join("::"));
        }
    }
    let family = |other: &String| {
        let (one, two) = (format!("{here}::"), format!("{other}::"));
        one.starts_with(&two) || two.starts_with(&one)
    };
    found.retain(|other| !other.is_empty() && !family(other));
    found
}

/// Files that use each other, directly or round several corners.
pub fn circles(sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<String> = sources.iter().map(|source| module(&source.path)).collect();
    let graph: BTreeMap<String, BTreeSet<String>> =
        sources.iter().map(|source| (module(&source.path), uses(source, &modules))).collect();
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
