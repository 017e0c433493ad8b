//! How large files, functions and structs may be, and how much a function may be told.

use super::source::{Source, first_name};

/// Most fields of a struct: what is more has owners in it that want a type of their own.
pub const FIELDS_MAX: usize = 12;
/// Longest file, lines, tests included.
pub const FILE_LINES_MAX: usize = 500;
/// Longest function, lines from `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Functions whose arguments a trait of another library says.
const GIVEN: [&str; 1] = ["verify_server_cert"];
/// Most arguments of a function, besides `self`: what belongs together has a name.
const ARGUMENTS_MAX: usize = 4;

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

/// The items that this keyword begins: the name, and what is between its braces or parentheses.
fn bodies<'a>(code: &'a str, keyword: &str) -> Vec<(&'a str, &'a str)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(keyword) {
        if code[..at].ends_with(|letter: char| !letter.is_whitespace()) {
            continue;
        }
        let item = &code[at + keyword.len()..];
        let name = first_name(item);
        // Bounds may hold parentheses, and never a brace: those of a tuple come at once, or after what the type is generic over.
        let head = &item[..item.find(['{', ';']).unwrap_or(item.len())];
        let generics = name.len() + generics_length(&head[name.len()..]);
        let opens = if head[generics..].starts_with('(') { generics } else { head.len() };
        if let Some(body) = enclosed(&item[opens..]) {
            found.push((name, body));
        }
    }
    found
}

/// Length of `<…>` at the beginning; 0 if there is none.
fn generics_length(text: &str) -> usize {
    if !text.starts_with('<') {
        return 0;
    }
    let text = text.replace("->", "  ");
    let mut depth = 0;
    let end = text.find(|letter| {
        depth += i32::from(letter == '<') - i32::from(letter == '>');
        depth == 0
    });
    end.map_or(text.len(), |end| end + 1)
}

/// What is between the brace or parenthesis at the beginning and the one that closes it.
fn enclosed(text: &str) -> Option<&str> {
    let mut depth = 0;
    let end = text.find(|letter| {
        depth += i32::from("({[".contains(letter)) - i32::from(")}]".contains(letter));
        depth == 0
    })?;
    text.get(1..end)
}

/// The fields of a struct, or the variants of an enum, without their attributes.
fn parts(body: &str) -> Vec<String> {
    let body = body.replace("->", "  ");
    let mut depth = 0;
    let is_between = |letter: char| {
        depth += i32::from("({[<".contains(letter)) - i32::from(")}]>".contains(letter));
        letter == ',' && depth == 0
    };
    let plain = |part: &str| {
        let mut part = part.trim();
        while let Some(attribute) = part.strip_prefix('#') {
            let length = enclosed(attribute).map_or(0, |inner| inner.len() + 2);
            part = attribute[length..].trim_start();
        }
        part.to_owned()
    };
    body.split(is_between).map(plain).filter(|part| !part.is_empty()).collect()
}

/// Functions with too many arguments. A tuple counts as its parts, or it would hide them.
pub fn too_many_arguments(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ").filter(|(at, _)| !code[..*at].ends_with(is_of_name)) {
        let item = &code[at + "fn ".len()..];
        let name = first_name(item);
        let generics = name.len() + generics_length(&item[name.len()..]);
        let Some(list) = enclosed(&item[generics..]).filter(|_| !name.is_empty()) else { continue };
        let types = parts(list).into_iter().filter_map(|part| Some(part.split_once(": ")?.1.to_owned()));
        let count: usize =
            types.map(|of| if of.starts_with('(') { enclosed(&of).map_or(1, |of| parts(of).len()) } else { 1 }).sum();
        if count > ARGUMENTS_MAX && !GIVEN.contains(&name) {
            let line = code[..at].matches('\n').count() + 1;
            found.push(source.at(line, &format!("{name} has {count} arguments")));
        }
    }
    found
}

fn is_of_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Structs and variants with too many fields.
pub fn too_many_fields(source: &Source) -> Vec<String> {
    let structs = bodies(&source.code, "struct ").into_iter().map(|(name, body)| (name.to_owned(), parts(body).len()));
    let mut all: Vec<_> = structs.collect();
    for (name, body) in bodies(&source.code, "enum ") {
        for variant in parts(body) {
            let fields =
                variant.find(['{', '(']).and_then(|at| enclosed(&variant[at..])).map_or(0, |body| parts(body).len());
            all.push((format!("{name}::{}", first_name(&variant)), fields));
        }
    }
    let large = all.into_iter().filter(|(_, fields)| *fields > FIELDS_MAX);
    large.map(|(name, fields)| format!("src/{}: {name} has {fields} fields", source.path)).collect()
}
