//! The rules of the architecture as failing tests: the core is pure, arrows run one way, files and functions are short.
//!
//! A text scan, not a parser: it relies on rustfmt's layout, which CI checks, and removes comments, strings and test
//! modules before it looks. Each rule has a planted violation that it must find.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a core folder may not name. Time is an argument there, and bytes come and go through the caller.
const FORBIDDEN_IN_CORE: [&str; 19] = [
    "Instant::now",
    "SystemTime",
    "std::net::Tcp",
    "std::net::Udp",
    "std::net::ToSocketAddrs",
    "std::os::",
    "std::fs",
    "std::env",
    "std::io::std",
    "std::thread",
    "std::process",
    "mio::",
    "socket2::",
    "rustix::",
    "signal_hook",
    "print!(",
    "println!(",
    "indicatif::",
    "clap::",
];

/// Pure folders, which tests and fuzzers can drive without a system under them.
const CORE: [&str; 11] =
    ["identity", "names", "noise", "wire", "link", "lane", "session", "relay", "node", "ports", "transfer"];

/// Who may use whom. A folder may always use itself.
const ARROWS: [(&str, &[&str]); 18] = [
    ("identity", &[]),
    ("names", &["identity"]),
    ("noise", &["names", "identity"]),
    ("wire", &["names", "identity"]),
    ("link", &["noise", "wire", "names", "identity"]),
    ("lane", &["link", "noise", "wire", "names", "identity"]),
    ("session", &["lane", "noise", "wire", "names", "identity"]),
    ("relay", &["link", "wire", "noise", "names", "identity"]),
    ("node", &["session", "link", "wire", "noise", "names", "identity"]),
    ("ports", &["names", "identity"]),
    ("net", &[]),
    ("store", &["transfer", "names", "identity"]),
    ("transfer", &["session", "wire"]),
    ("run", &["node", "session", "wire", "names", "identity", "net"]),
    ("tools", &["run", "transfer", "ports", "node", "session", "wire", "names", "identity", "net", "store"]),
    ("server", &["relay", "wire", "link", "names", "identity", "net"]),
    (
        "cli",
        &[
            "tools", "server", "run", "transfer", "ports", "node", "session", "wire", "names", "identity", "net",
            "store",
        ],
    ),
    ("bin", &["cli"]),
];

/// What is named in one place alone: a file, or a folder with its slash.
const ALONE: [(&str, &[&str]); 6] = [
    ("bincode", &["wire/control.rs"]),
    ("mio::", &["net/"]),
    ("socket2::", &["net/"]),
    // One loop's wait, whoever drives it; readiness that says what a poll of its own would.
    ("Poll::new", &["net/reactor.rs"]),
    ("Events::with_capacity", &["net/reactor.rs"]),
    // One loop that accepts, with one idea of what a shortage is.
    ("try_accept(", &["net/listen.rs", "net/accept.rs"]),
];
/// Where errors may say in words of their own what is wrong: those of a text that somebody has typed, and those that come to
/// whoever builds on these folders. What else a person reads is said in `cli`.
const SPEAKS: [&str; 8] = ["identity/", "names/", "noise/", "wire/", "link/", "session/", "ports/rules.rs", "cli/"];
/// What is written in one way wherever it is: values, and what goes through an `io::Error`.
const WRITTEN: [&str; 9] =
    ["Barred", "CommandEnded", "ListenError", "PartName", "Place", "Referral", "Service", "Source", "Target"];
/// Most fields of a struct in the core: what is more has owners in it that want a type of their own.
const FIELDS_MAX: usize = 12;
/// Longest file, lines, tests included.
const FILE_LINES_MAX: usize = 500;
/// Longest function, lines from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// A source file: its path under `src`, as written, and without comments, strings and test modules and with flat
/// imports.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let is_test = path.split(['/', '_', '.']).any(|part| part == "tests");
        let code = if is_test { String::new() } else { with_flat_imports(&without_tests(&without_comments(text))) };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// The folder the file belongs to; empty for `lib.rs`. `wire.rs` belongs to `wire`.
    fn folder(&self) -> &str {
        match self.path.split_once('/') {
            Some((folder, _)) => folder,
            None => self.path.trim_end_matches(".rs").trim_start_matches("lib"),
        }
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }

    fn at(&self, line: usize, complaint: &str) -> String {
        format!("src/{}:{line}: {complaint}", self.path)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("it is below").to_string_lossy().into_owned();
                found.push(Source::new(&name, &fs::read_to_string(&path).expect("text")));
            }
        }
    }
    found
}

/// Blanks comments, strings and character literals out; lines stay where they are.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = match letter {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string_length(rest),
            'r' if !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw_string_length(rest),
            '\'' => character_length(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(letter);
            rest = &rest[letter.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
            rest = &rest[skipped..];
        }
    }
    code
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, letter)| {
        let ends = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// Length of `r"…"` or `r#"…"#`; 0 if it is neither.
fn raw_string_length(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = hashes + 2;
    text[body..].find(&close).map_or(text.len(), |end| body + end + close.len())
}

/// Length of `'x'` or `'\…'`; 0 if it is a lifetime.
fn character_length(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match letters.next() {
        // The escaped character itself may be a quote: look behind it.
        Some((_, '\\')) => text.get(3..).and_then(|rest| rest.find('\'')).map_or(0, |end| end + 4),
        Some(_) => letters.next().filter(|(_, letter)| *letter == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// Blanks items under `#[cfg(test)]` out: up to a semicolon or the closing brace of the same depth.
fn without_tests(code: &str) -> String {
    let mut kept = Vec::new();
    let mut until: Option<String> = None;
    for line in code.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let blank = match &until {
            None if line.trim_start().starts_with("#[cfg(test)]") => {
                until = Some(indent.to_owned());
                true
            }
            None => false,
            Some(depth) => {
                let ends = *depth == indent && (line.trim_start().starts_with('}') || line.trim_end().ends_with(';'));
                until = until.filter(|_| !ends);
                true
            }
        };
        kept.push(if blank { "" } else { line });
    }
    kept.join("\n")
}

fn impurities(source: &Source) -> Vec<String> {
    if !CORE.contains(&source.folder()) {
        return Vec::new();
    }
    let complaint = |(line, code): (usize, &str)| {
        let named = FORBIDDEN_IN_CORE.iter().filter(|name| code.contains(**name));
        named.map(|name| source.at(line, &format!("the core names {name}"))).collect::<Vec<_>>()
    };
    source.numbered().flat_map(complaint).collect()
}

/// What belongs elsewhere alone.
fn strays(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (name, places) in ALONE {
        let is_home = |place: &str| source.path == place || (place.ends_with('/') && source.path.starts_with(place));
        if places.iter().any(|place| is_home(place)) {
            continue;
        }
        let lines = source.numbered().filter(|(_, code)| code.contains(name));
        found.extend(lines.map(|(line, _)| source.at(line, &format!("only {} names {name}", places.join(", ")))));
    }
    found
}

/// Words for people where none belong.
fn words_for_people(source: &Source) -> Vec<String> {
    if SPEAKS.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let speaker = |code: &str| code.split_once("Display for ").map(|(_, rest)| first_name(rest).to_owned());
    let found = source.numbered().filter_map(|(line, code)| Some((line, speaker(code)?)));
    let found = found.filter(|(_, name)| !WRITTEN.contains(&name.as_str()));
    found.map(|(line, name)| source.at(line, &format!("the words for {name} belong in cli"))).collect()
}

/// The folders of ours that some code names: `crate::wire::…`, `vp::cli::…`, or through enough `super::`.
fn named_folders<'a>(code: &'a str, upwards: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for root in ["crate::", "vp::", upwards].into_iter().filter(|root| !root.is_empty()) {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_') {
                found.push(first_name(&code[at + root.len()..]));
            }
        }
    }
    found
}

fn first_name(path: &str) -> &str {
    &path[..path.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(path.len())]
}

/// Writes `use a::{b, c::{d, e}};` as `use a::b a::c::d a::c::e;` and leaves everything else, line feeds included.
fn with_flat_imports(code: &str) -> String {
    let mut flat = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("use ").filter(|at| rest[*at..].contains(';')) {
        let (before, statement) = rest.split_at(at + "use ".len());
        let (tree, after) = statement.split_at(statement.find(';').unwrap_or(statement.len()));
        flat.push_str(before);
        let paths: Vec<_> = if tree.contains('{') { leaves("", tree) } else { vec![tree.to_owned()] };
        flat.push_str(&paths.join(" "));
        flat.extend(tree.chars().filter(|letter| *letter == '\n' && tree.contains('{')));
        rest = after;
    }
    flat + rest
}

fn leaves(prefix: &str, tree: &str) -> Vec<String> {
    let tree = tree.trim();
    match tree.split_once('{') {
        None => vec![format!("{prefix}{tree}")],
        Some((path, list)) => {
            let prefix = format!("{prefix}{}", path.trim());
            first_level(list)
                .into_iter()
                .filter(|item| !item.trim().is_empty())
                .flat_map(|i| leaves(&prefix, i))
                .collect()
        }
    }
}

/// The parts of `a::{b, c}, d}` that no inner brace encloses: `a::{b, c}` and `d`.
fn first_level(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let part = |letter: char| {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        (letter == ',' && depth == 0) || depth < 0
    };
    list.split(part).collect()
}

fn backward_arrows(source: &Source) -> Vec<String> {
    let Some((folder, allowed)) = ARROWS.iter().find(|(folder, _)| *folder == source.folder()) else {
        return match source.folder() {
            "" => Vec::new(),
            _ => vec![source.at(1, "a folder that the table of arrows does not know")],
        };
    };
    // As many `super` as lead out of the folder: two from `wire/frame.rs`, one from `wire/mod.rs`.
    let depth = source.path.split('/').count() - usize::from(source.path.ends_with("/mod.rs"));
    let known = |name: &&str| ARROWS.iter().any(|(folder, _)| folder == name);
    let named = named_folders(&source.code, &"super::".repeat(depth)).into_iter().filter(known);
    let backward = named.filter(|name| name != folder && !allowed.contains(name));
    backward.map(|name| format!("src/{}: {folder} may not use {name}", source.path)).collect()
}

fn long_file(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > FILE_LINES_MAX).then(|| source.at(lines, &format!("more than {FILE_LINES_MAX} lines")))
}

fn long_functions(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.code.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let words = line.trim_start();
        let is_function = words.starts_with("fn ") || (words.contains(" fn ") && !words.ends_with(';'));
        if !is_function {
            continue;
        }
        let indent = line.len() - words.len();
        let end = lines[at..].iter().position(|line| line.trim_end() == format!("{:indent$}}}", ""));
        let length = end.map_or(0, |end| end + 1);
        if length > FUNCTION_LINES_MAX {
            found.push(source.at(at + 1, &format!("a function of {length} lines")));
        }
    }
    found
}

/// Structs of the core with too many fields, and the fields that they have.
fn large_structs(source: &Source) -> Vec<(String, usize)> {
    if !CORE.contains(&source.folder()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut open: Option<(String, String, usize)> = None;
    for line in source.code.lines() {
        let words = line.trim_start();
        let indent = &line[..line.len() - words.len()];
        match &mut open {
            Some((name, outer, fields)) => {
                if words.starts_with('}') && indent == outer {
                    found.push((std::mem::take(name), *fields));
                    open = None;
                } else if indent.len() == outer.len() + 4 && words.contains(": ") && !words.starts_with('#') {
                    *fields += 1;
                }
            }
            None => {
                let head =
                    words.split_once("struct ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
                if let Some((_, rest)) = head.filter(|_| words.ends_with('{')) {
                    open = Some((first_name(rest).to_owned(), indent.to_owned(), 0));
                }
            }
        }
    }
    found.retain(|(_, fields)| *fields > FIELDS_MAX);
    found
}

fn too_many_fields(source: &Source) -> Vec<String> {
    let large = large_structs(source).into_iter();
    large.map(|(name, fields)| format!("src/{}: {name} has {fields} fields", source.path)).collect()
}

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
fn circles(sources: &[Source]) -> Vec<String> {
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

/// All of it must hold for every file.
fn complaints(source: &Source) -> Vec<String> {
    let mut all = impurities(source);
    all.extend(strays(source));
    all.extend(words_for_people(source));
    all.extend(backward_arrows(source));
    all.extend(long_file(source));
    all.extend(long_functions(source));
    all.extend(too_many_fields(source));
    all
}

#[test]
fn the_source_keeps_the_rules() {
    let sources = sources();
    assert!(sources.iter().any(|source| source.path == "lib.rs"), "the scan found no source");
    let mut complaints: BTreeSet<_> = sources.iter().flat_map(complaints).collect();
    complaints.extend(circles(&sources));
    let complaints: Vec<_> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn nothing_ends_the_process_but_main_and_nothing_speaks_but_cli() {
    let speaks =
        |source: &Source| ["cli/report.rs", "cli/progress.rs", "cli/screen.rs"].contains(&source.path.as_str());
    for source in sources() {
        assert!(!source.code.contains("process::exit"), "src/{}", source.path);
        assert!(!source.code.contains("println!("), "src/{}", source.path);
        assert!(speaks(&source) || !source.code.contains("io::stderr"), "src/{}", source.path);
    }
}

#[test]
fn every_folder_says_what_it_is() {
    for source in sources().iter().filter(|source| source.path.ends_with("/mod.rs")) {
        assert!(source.text.starts_with("//! "), "src/{} does not begin with what it does", source.path);
    }
}

#[test]
fn planted_violations_are_found() {
    let planted = [
        ("session/timer.rs", "fn f() {\n    let now = Instant::now();\n}\n", "src/session/timer.rs:2: the core names"),
        ("wire/a.rs", "use std::net::TcpStream;\n", "the core names std::net::Tcp"),
        ("relay/a.rs", "fn f() {\n    eprintln!(\"x\");\n}\n", "the core names println!("),
        ("link/a.rs", "use bincode::config;\n", "only wire/control.rs names bincode"),
        ("tools/a.rs", "fn f(_: mio::Token) {\n", "only net/ names mio::"),
        ("net/a.rs", "fn f() {\n    let poll = mio::Poll::new();\n}\n", "only net/reactor.rs names Poll::new"),
        ("server/a.rs", "fn f() {\n    listener.try_accept(purpose);\n}\n", "only net/listen.rs, net/accept.rs names"),
        ("wire/a.rs", "use crate::session::Session;\n", "wire may not use session"),
        ("lane/a.rs", "use crate::session::frame::Frame;\n", "lane may not use session"),
        ("net/a.rs", "fn f() -> crate::identity::PeerId {\n", "net may not use identity"),
        ("wire/a.rs", "use std::{collections::BTreeMap, net::{IpAddr, TcpStream}};\n", "the core names std::net::Tcp"),
        ("wire/mod.rs", "use super::session::Session;\n", "wire may not use session"),
        ("wire/a.rs", "fn f(_: super::super::session::Session) {}\n", "wire may not use session"),
        ("noise/a.rs", "use crate::{\n    identity::{Card, PeerId},\n    wire,\n};\n", "noise may not use wire"),
        ("bin/vp-x.rs", "use vp::store::keyfile;\n", "bin may not use store"),
        ("store/a.rs", "impl fmt::Display for Fault {\n", "the words for Fault belong in cli"),
        ("extra/mod.rs", "", "a folder that the table of arrows does not know"),
    ];
    for (path, text, complaint) in planted {
        let found = complaints(&Source::new(path, text));
        assert!(found.len() == 1 && found[0].contains(complaint), "{path}: {found:?}");
    }
    let long = format!("impl A {{\n    pub fn f() {{\n{}    }}\n}}\n", "        g();\n".repeat(FUNCTION_LINES_MAX));
    assert_eq!(complaints(&Source::new("tools/a.rs", &long)), ["src/tools/a.rs:2: a function of 72 lines"]);
    let large = format!("struct Big {{\n{}}}\n", "    a: u8,\n".repeat(FIELDS_MAX + 1));
    assert_eq!(complaints(&Source::new("wire/a.rs", &large)), ["src/wire/a.rs: Big has 13 fields"]);
    let circle = [
        Source::new("wire/mod.rs", "mod a;\nmod b;\nmod c;\nuse a::A;\n"),
        Source::new("wire/a.rs", "use super::b::B;\nuse super::Top;\n"),
        Source::new("wire/b.rs", "use crate::wire::c::{C, D};\n"),
        Source::new("wire/c.rs", "fn f(_: super::a::A) {}\n"),
    ];
    assert_eq!(circles(&circle), ["files that use each other: wire::a, wire::b, wire::c"]);
    assert_eq!(circles(&circle[..3]), [""; 0]);
    let file = "a\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(complaints(&Source::new("tools/a.rs", &file)), ["src/tools/a.rs:501: more than 500 lines"]);
}

#[test]
fn comments_strings_and_tests_may_say_anything() {
    let innocent = r##"//! Instant::now
/* std::fs */
const A: &str = "std::fs \" mio::";
const B: &str = r#"mio:: " std::fs"#;
use super::{session, frame::{a, b}};
const C: [char; 3] = ['"', '\'', '\\']; // std::fs
fn f<'a>(text: &'a str) -> &'a str {
    text
}
#[cfg(test)]
mod tests {
    use std::fs;
    #[test]
    fn g() {
        fs::read("x");
    }
}
#[cfg(test)]
use crate::session::x;
"##;
    assert_eq!(complaints(&Source::new("wire/a.rs", innocent)), [""; 0]);
    let guilty = innocent.to_owned() + "use std::fs;\n";
    assert_eq!(complaints(&Source::new("wire/a.rs", &guilty)), ["src/wire/a.rs:20: the core names std::fs"]);
    assert_eq!(complaints(&Source::new("wire/a_tests.rs", "use std::fs;\n")), [""; 0]);
}

/// Whoever starts a command elsewhere hands it what a supervisor said to us, and asks for a status that, as process 1, another
/// may have asked for already.
#[test]
fn commands_are_started_in_one_place() {
    for source in sources() {
        let here = ["net/child.rs", "net/reaper.rs"].contains(&source.path.as_str());
        assert!(
            here || !source.code.contains("process::Command"),
            "src/{}: commands are started by net/child.rs",
            source.path
        );
    }
}
