//! What each word of a command line is: an option, the value of one, or an operand. It looks at the options that a command has,
//! and at nothing else, so it also knows this of a line that does not parse.

use clap::{Arg, Command};

/// A part of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// An option, of a bundle of short ones each.
    Flag(Flag<'a>),
    /// A word that is neither an option nor the value of one that the command has.
    Operand(&'a str),
}

/// An option as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flag<'a> {
    /// Its name with its dashes; of one that the command has the long one.
    pub name: String,
    /// Its value. Of an option that the command does not have, the next word if that is no option: it may be an operand as
    /// well, and is one of the parts, too.
    pub value: Option<&'a str>,
    /// Whether it wants a value and has none.
    pub is_open: bool,
}

/// The parts of these words, the name of the tool not among them. Words of a command behind `--` are its own.
pub(crate) fn parts<'a>(command: &Command, words: &'a [String]) -> Vec<Part<'a>> {
    let is_plain = |word: &&str| *word == "-" || !word.starts_with('-');
    let mut parts = Vec::new();
    let mut rest = words.iter().map(String::as_str).peekable();
    while let Some(word) = rest.next() {
        if word == "--" {
            if !command.get_arguments().any(Arg::is_last_set) {
                parts.extend(rest.by_ref().map(Part::Operand));
            }
            break;
        }
        if is_plain(&word) {
            parts.push(Part::Operand(word));
            continue;
        }
        let Some(Bundle { args, attached }) = bundle(command, word) else {
            let (name, attached) = split_unknown(word);
            let value = attached.or_else(|| rest.peek().copied().filter(is_plain));
            parts.push(Part::Flag(Flag { name: name.to_owned(), value, is_open: false }));
            continue;
        };
        for (index, arg) in args.iter().enumerate() {
            let wants = index + 1 == args.len() && takes_value(arg);
            let is_value = |word: &&str| arg.is_allow_hyphen_values_set() || is_plain(word);
            let value = if wants { attached.or_else(|| rest.next_if(is_value)) } else { None };
            parts.push(Part::Flag(Flag { name: name(arg), value, is_open: wants && value.is_none() }));
        }
    }
    parts
}

/// An option that the command does not have, and its value in the same word: `--port=22`, `-p22`.
fn split_unknown(word: &str) -> (&str, Option<&str>) {
    let is_short = !word.starts_with("--") && word.is_char_boundary(2);
    match word.split_at_checked(2) {
        Some((name, value)) if is_short && value.starts_with(|c: char| c == ':' || c.is_ascii_digit()) => {
            (name, Some(value))
        }
        _ => word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value))),
    }
}

/// Whether the value of this option, or bundle of short ones, is the next word. None if it is no option of `command`.
pub(super) fn takes_next(command: &Command, word: &str) -> Option<bool> {
    let Bundle { args, attached } = bundle(command, word)?;
    Some(attached.is_none() && args.last().is_some_and(|arg| takes_value(arg)))
}

/// The options in one word, and the value of the last in the same word.
struct Bundle<'c, 'w> {
    args: Vec<&'c Arg>,
    attached: Option<&'w str>,
}

/// None if one of them is no option of `command`.
fn bundle<'c, 'w>(command: &'c Command, word: &'w str) -> Option<Bundle<'c, 'w>> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, attached) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let is_named = |arg: &&Arg| arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&name));
        return Some(Bundle { args: vec![command.get_arguments().find(is_named)?], attached });
    }
    let letters = word.strip_prefix('-').filter(|letters| !letters.is_empty())?;
    let mut args = Vec::new();
    for (index, letter) in letters.char_indices() {
        let arg = command.get_arguments().find(|arg| arg.get_short() == Some(letter))?;
        args.push(arg);
        if takes_value(arg) {
            let behind = &letters[index + letter.len_utf8()..];
            let attached = Some(behind.strip_prefix('=').unwrap_or(behind)).filter(|_| !behind.is_empty());
            return Some(Bundle { args, attached });
        }
    }
    Some(Bundle { args, attached: None })
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn name(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::tools;

    fn operands(command: &Command, line: &[String]) -> Vec<String> {
        let word = |part| if let Part::Operand(word) = part { Some(word.to_owned()) } else { None };
        parts(command, line).into_iter().filter_map(word).collect()
    }

    #[test]
    fn no_value_of_any_option_of_any_tool_is_taken_for_an_operand() {
        let mut seen = 0;
        for tool in tools() {
            let options = tool.command.get_arguments().filter(|arg| !arg.is_positional());
            for arg in options {
                let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
                let longs = longs.into_iter().map(|name| (format!("--{name}"), true));
                let shorts = arg.get_short().into_iter().map(|letter| (format!("-{letter}"), false));
                for (typed, is_long) in longs.chain(shorts) {
                    let attached = if is_long { format!("{typed}=one") } else { format!("{typed}one") };
                    let apart = [typed, "one".to_owned()];
                    let free: &[&str] = if takes_value(arg) { &[] } else { &["one"] };
                    assert_eq!(operands(&tool.command, &apart), free, "{} {apart:?}", tool.manual.name);
                    assert!(
                        !takes_value(arg) || operands(&tool.command, std::slice::from_ref(&attached)).is_empty(),
                        "{attached}"
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen > 60, "{seen}");
    }

    #[test]
    fn bundles_unknown_options_and_what_is_behind_two_dashes_are_told_apart() {
        let of = |tool: &str, line: &str| {
            let tool = tools().into_iter().find(|entry| entry.manual.name == tool).expect("a tool");
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let shown = parts(&tool.command, &words).into_iter().map(|part| match part {
                Part::Operand(word) => word.to_owned(),
                Part::Flag(flag) => {
                    format!("{}={}{}", flag.name, flag.value.unwrap_or("."), if flag.is_open { "?" } else { "" })
                }
            });
            shown.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("vp-send", "-qk key - depot"), "--quiet=. --key=key - depot");
        assert_eq!(of("vp-send", "--wait 1s a -k"), "--timeout=1s a --key=.?");
        assert_eq!(of("vp-send", "--timeout -1 a"), "--timeout=-1 a");
        assert_eq!(of("vp-send", "-k -q a"), "--key=.? --quiet=. a");
        assert_eq!(of("vp-send", "--to depot a -- -x"), "--to=depot depot a -x");
        assert_eq!(of("vp-portrep", "-i 1=a:b x -- check -p"), "--import=1=a:b x");
    }
}
