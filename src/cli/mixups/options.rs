//! Options that a tool does not have.

use super::Refused;
use crate::cli::args::tools;
use std::path::Path;

/// Letters that a slip of the hand leaves in place.
const PREFIX_MIN: usize = 4;

/// What to say of an option that the tool does not have: which tool has it, else `similar` of this tool, if it is really
/// like it. Likeness alone leads astray: `--keep` is no slip for `--key`.
pub fn tip(refused: Refused<'_>, similar: Option<&str>) -> Option<String> {
    let unknown = refused.unknown?;
    if let Some(long) = unknown.strip_prefix("--") {
        let owners = owners(long);
        if !owners.is_empty() {
            return Some(format!("{unknown} is an option of {}", owners.join(" and ")));
        }
    }
    let near = similar.filter(|similar| is_like(unknown, similar)).map(|similar| format!("did you mean {similar}?"));
    near.or_else(|| {
        // A file may have such a name, and then it is what was meant.
        let word = refused.words.iter().find(|word| word.starts_with(unknown) && Path::new(word).exists())?;
        Some(format!("the file of this name is ./{word}"))
    })
}

/// The tools that have an option of this name.
fn owners(long: &str) -> Vec<&'static str> {
    let has = |command: &clap::Command| {
        let names = |arg: &clap::Arg| arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long));
        command.get_arguments().any(names)
    };
    tools().into_iter().filter(|tool| has(&tool.command)).map(|tool| tool.manual.name).collect()
}

fn is_like(typed: &str, option: &str) -> bool {
    let (typed, option) = (typed.trim_start_matches('-'), option.trim_start_matches('-'));
    let common = typed.bytes().zip(option.bytes()).take_while(|(a, b)| a == b).count();
    common >= PREFIX_MIN || crate::cli::config::is_one_slip(typed, option)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip_of(tool: &str, unknown: &str, similar: Option<&str>) -> Option<String> {
        tip(Refused { tool, words: &[], unknown: Some(unknown) }, similar)
    }

    #[test]
    fn option_of_another_tool_is_named_with_the_tool_and_likeness_that_leads_astray_is_not() {
        assert_eq!(
            tip_of("vp-send", "--keep", Some("--key")),
            Some("--keep is an option of vp-attach and vp-recv".to_owned())
        );
        assert_eq!(tip_of("vp-recv", "--compress", None), Some("--compress is an option of vp-send".to_owned()));
        assert_eq!(tip_of("vp-recv", "--delete", Some("--dead-time")), None);
        assert_eq!(tip_of("vp-recv", "--overwrit", Some("--overwrite")), Some("did you mean --overwrite?".to_owned()));
        assert_eq!(tip_of("vp-keygen", "--forse", Some("--force")), Some("did you mean --force?".to_owned()));
        assert_eq!(tip_of("vp-recv", "-x", None), None);
    }
}
