//! How large files, functions and structs may be.

use super::source::{Source, first_name};

/// Most fields of a struct: what is more has owners in it that want a type of their own.
pub const FIELDS_MAX: usize = 12;
/// Longest file, lines, tests included.
pub const FILE_LINES_MAX: usize = 500;
/// Longest function, lines from `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;

pub fn long_file(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > FILE_LINES_MAX).then(|| source.at(lines, &format!("more than {FILE_LINES_MAX} lines")))
}

pub fn long_functions(source: &Source) -> Vec<String> {
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

/// Structs with too many fields, and the fields that they have.
fn large_structs(source: &Source) -> Vec<(String, usize)> {
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

pub fn too_many_fields(source: &Source) -> Vec<String> {
    let large = large_structs(source).into_iter();
    large.map(|(name, fields)| format!("src/{}: {name} has {fields} fields", source.path)).collect()
}
