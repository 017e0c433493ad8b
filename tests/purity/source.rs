//! The source as the rules look at it: without comments, strings and tests, each import on its own.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path under `src`, as written, and without comments, strings and test modules and with flat
/// imports.
pub struct Source {
    pub path: String,
    pub text: String,
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let is_test = path.split('/').any(|part| ["tests", "tests.rs"].contains(&part));
        let code = if is_test { String::new() } else { with_flat_imports(&without_tests(&without_comments(text))) };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// The folder the file belongs to; empty for `lib.rs`. `wire.rs` belongs to `wire`.
    pub fn folder(&self) -> &str {
        match self.path.split_once('/') {
            Some((folder, _)) => folder,
            None => self.path.trim_end_matches(".rs").trim_start_matches("lib"),
        }
    }

    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }

    pub fn at(&self, line: usize, complaint: &str) -> String {
        format!("src/{}:{line}: {complaint}", self.path)
    }
}

pub fn sources() -> Vec<Source> {
    files_below("src").into_iter().map(|(name, text)| Source::new(&name, &text)).collect()
}

/// All files of Rust below this folder of the package, by their paths in it.
pub fn files_below(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("it is below").to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).expect("text")));
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

/// Blanks items and fields under `#[cfg(test)]` out: up to a semicolon, a comma or the closing brace of the same depth.
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
                let ends =
                    *depth == indent && (line.trim_start().starts_with('}') || line.trim_end().ends_with([';', ',']));
                until = until.filter(|_| !ends);
                true
            }
        };
        kept.push(if blank { "" } else { line });
    }
    kept.join("\n")
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

pub fn first_name(path: &str) -> &str {
    &path[..path.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(path.len())]
}
