//! Options that a tool does not have.

use super::Refused;
use crate::cli::args::tools;
use crate::cli::config::is_one_slip;
use std::cmp::Reverse;
use std::path::Path;

/// Letters in common that make two options alike.
const COMMON_MIN: usize = 5;

/// What to say of an option that the tool does not have: which tool has it, else which of its own is like it. Likeness as
/// parsers of command lines see it leads astray: `--keep` is no slip for `--key`.
pub(crate) fn tip(refused: Refused<'_>) -> Option<String> {
    let unknown = refused.unknown?;
    if let Some(long) = unknown.strip_prefix("--") {
        let tools = tools();
        let others = tools.iter().filter(|tool| tool.manual.name != refused.tool);
        let owners = others.filter(|tool| names(&tool.command).contains(&long));
        let all: Vec<_> = owners.map(|tool| tool.manual.name).collect();
        if let Some((last, before)) = all.split_last() {
            let before = if before.is_empty() { String::new() } else { format!("{} and ", before.join(", ")) };
            return Some(format!("{unknown} is an option of {before}{last}"));
        }
        let near = names(refused.command).into_iter().filter(|name| is_like(long, name));
        if let Some(name) = near.max_by_key(|name| (common(long, name), Reverse(name.len()))) {
            return Some(format!("did you mean --{name}?"));
        }
    }
    // A file may have such a name, and then it is what was meant.
    let word = refused.words.iter().find(|word| word.starts_with(unknown) && Path::new(word).exists())?;
    Some(format!("the file of this name is ./{word}"))
}

/// The long names of options.
fn names(command: &clap::Command) -> Vec<&str> {
    command.get_arguments().filter_map(clap::Arg::get_long_and_visible_aliases).flatten().collect()
}

fn common(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

fn is_like(typed: &str, option: &str) -> bool {
    let is_start = typed.len() > 1 && option.starts_with(typed);
    is_start || common(typed, option) >= COMMON_MIN || is_one_slip(typed, option)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip_of(tool: &str, unknown: &str) -> Option<String> {
        let own = tools().into_iter().find(|entry| entry.manual.name == tool).expect("a tool");
        tip(Refused { tool, command: &own.command, words: &[], unknown: Some(unknown) })
    }

    #[test]
    fn option_of_another_tool_is_named_with_the_tool_and_likeness_that_leads_astray_is_not() {
        for (tool, unknown, line) in [
            ("vp-send", "--keep", "--keep is an option of vp-attach and vp-recv"),
            ("vp-recv", "--compress", "--compress is an option of vp-send"),
            ("vp-relay", "--peers", "--peers is an option of vp-attach, vp-send, vp-recv and vp-portrep"),
            ("vp-recv", "--overwrit", "did you mean --overwrite?"),
            ("vp-send", "--dry", "did you mean --dry-run?"),
            ("vp-relay", "--max-link", "did you mean --max-links?"),
            ("vp-send", "--waiit", "did you mean --wait?"),
            ("vp-keygen", "--forse", "did you mean --force?"),
        ] {
            assert_eq!(tip_of(tool, unknown).as_deref(), Some(line), "{unknown}");
        }
        for unknown in ["--delete", "--max-file-size", "--daemon", "-x", "--config"] {
            assert_eq!(tip_of("vp-recv", unknown), None, "{unknown}");
        }
    }
}
