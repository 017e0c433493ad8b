//! Completions: made out of the definitions, with what no definition says: that a peer is somebody in the peers file.
//!
//! clap's own scripts know options and files. For bash a script of ours takes their place, as theirs cannot tell a peer from a
//! file; for zsh and fish it is enough to name, beside the option, where its values come from.

use clap::{Arg, ArgAction, Command};
use clap_complete::Shell;

/// What the value of an option or an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A name in the peers file, perhaps with something before or behind it.
    Peer,
    /// A file.
    File,
    /// A file or a peer: the operands of `vp-send`.
    FileOrPeer,
    /// A directory.
    Directory,
    /// A program or a line for the shell.
    Command,
    /// Something that only its user knows, or one of a few words.
    Other,
}

fn kind(option: &Arg) -> Kind {
    let name = option.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    match name {
        name if name.contains("PEER") => Kind::Peer,
        "SOURCE" => Kind::FileOrPeer,
        "FILE" => Kind::File,
        "DIR" => Kind::Directory,
        "CMD" => Kind::Command,
        _ => Kind::Other,
    }
}

/// The option as it is typed, in each of its forms.
fn forms(option: &Arg) -> Vec<String> {
    let shorts = option.get_short_and_visible_aliases().unwrap_or_default();
    let longs = option.get_long_and_visible_aliases().unwrap_or_default();
    shorts.iter().map(|short| format!("-{short}")).chain(longs.iter().map(|long| format!("--{long}"))).collect()
}

/// The script for a shell.
pub fn script(shell: Shell, command: &mut Command) -> String {
    command.build();
    let name = command.get_name().to_owned();
    match shell {
        Shell::Bash => bash(command),
        Shell::Zsh => zsh(&generated(shell, command), command),
        _ => fish(&generated(shell, command), command, &name),
    }
}

fn generated(shell: Shell, command: &mut Command) -> String {
    let (mut text, name) = (Vec::new(), command.get_name().to_owned());
    clap_complete::generate(shell, command, name, &mut text);
    String::from_utf8(text).expect("text")
}

/// Where the peers file is, and who is in it.
const BASH_PEERS: &str = r#"_vp_peers() {
    local file=${VP_PEERS:-${XDG_CONFIG_HOME:-$HOME/.config}/vp/peers} word before= name rest
    [[ -n $VP_PEERS || -r $file ]] || file=/etc/vp/peers
    for word in "${COMP_WORDS[@]}"; do
        [[ $word == = ]] && continue
        [[ $before == --peers ]] && file=${word/#\~\//$HOME/}
        before=$word
    done
    [[ -r $file ]] || return
    while read -r name rest || [[ -n $name ]]; do
        [[ $name == \#* || $name != "$1"* ]] || printf '%s\n' "$name"
    done <"$file"
}
"#;

/// Readline splits words at `=` and `:`, so that what stands before them is looked at here.
fn bash(command: &Command) -> String {
    let function = command.get_name().replace('-', "_");
    let mut text =
        format!("# Completion of {} for bash, made out of its options.\n\n{BASH_PEERS}\n", command.get_name());
    text += &format!("_{function}() {{\n    local cur=$2 option=$3\n    COMPREPLY=()\n");
    text += "    [[ $cur == : || $option == : ]] && return\n    [[ $cur == = ]] && option== cur=\n";
    text += "    if [[ $option == = ]]; then\n        option=${COMP_WORDS[COMP_CWORD-2]}\n";
    text += "        [[ $2 == = ]] && option=${COMP_WORDS[COMP_CWORD-1]}\n";
    text += "        [[ $option == -* ]] || option=${COMP_WORDS[COMP_CWORD-3]}\n    fi\n    case $option in\n";
    for option in command.get_arguments().filter(|option| !option.is_positional()) {
        if matches!(option.get_action(), ArgAction::Set | ArgAction::Append) {
            text += &format!(
                "        {})\n            {}\n            return\n            ;;\n",
                forms(option).join("|"),
                values(option)
            );
        }
    }
    text += "    esac\n    if [[ $cur == -* ]]; then\n";
    let all: Vec<String> = command.get_arguments().flat_map(forms).collect();
    text += &format!(
        "        mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$cur\")\n        return\n    fi\n",
        all.join(" ")
    );
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        let name = inner.get_name();
        let operand = inner.get_positionals().next().map_or(String::new(), values);
        text += &format!(
            "    if [[ ${{COMP_WORDS[1]}} == {name} && COMP_CWORD -gt 1 ]]; then\n        {operand}\n        return\n    fi\n"
        );
        text += &format!(
            "    if [[ COMP_CWORD -eq 1 ]]; then\n        mapfile -t COMPREPLY < <(compgen -W {name} -- \"$cur\")\n        return\n    fi\n"
        );
    }
    let operand = command.get_positionals().next().map_or("compopt -o default".to_owned(), values);
    text + &format!("    {operand}\n}}\ncomplete -F _{function} {}\n", command.get_name())
}

/// What offers the values of an option in bash.
fn values(option: &Arg) -> String {
    let words: Vec<_> = option.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    match kind(option) {
        Kind::Peer => "mapfile -t COMPREPLY < <(_vp_peers \"$cur\")".to_owned(),
        Kind::File | Kind::Command => "compopt -o default".to_owned(),
        Kind::Directory => "compopt -o dirnames".to_owned(),
        Kind::FileOrPeer => {
            "mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"; _vp_peers \"$cur\")\n    compopt -o filenames".to_owned()
        }
        Kind::Other => format!("mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$cur\")", words.join(" ")),
    }
}

const ZSH_PEERS: &str = r#"_vp_peers() {
    local file=${VP_PEERS:-${XDG_CONFIG_HOME:-$HOME/.config}/vp/peers}
    [[ -n $VP_PEERS || -r $file ]] || file=/etc/vp/peers
    (( ${words[(I)--peers]} )) && file=${(e)~words[${words[(I)--peers]} + 1]}
    [[ -r $file ]] || return 1
    local -a peers
    peers=( ${${${(f)"$(<$file)"}%%[[:space:]]*}:#(\#*|)} )
    compset -P '*='
    compadd -a peers
}

_vp_files_or_peers() {
    _alternative 'files:file:_files' 'peers:peer:_vp_peers'
}
"#;

fn zsh(text: &str, command: &Command) -> String {
    let (first, rest) = text.split_once('\n').expect("a first line for the shell");
    // What only stands behind -- is no operand before the subcommand, which clap takes it for.
    let behind = command.get_positionals().filter(|option| option.is_last_set());
    let mut rest = rest.to_owned();
    for option in behind {
        let kept: Vec<_> =
            rest.lines().filter(|line| !line.starts_with(&format!("'::{} -- ", option.get_id()))).collect();
        rest = kept.join("\n").replace("$line[2]", "$line[1]") + "\n";
    }
    let mut text = format!("{first}\n\n{ZSH_PEERS}{rest}");
    let inner = command.get_subcommands().flat_map(Command::get_arguments);
    for option in command.get_arguments().chain(inner) {
        let name = option.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
        let help = option.get_help().map(ToString::to_string).unwrap_or_default();
        // clap leaves a colon in the name of a value as it is, where it ends the name.
        let (old, new) = match option.is_positional() {
            true => (format!(" -- {}", escaped(&help)), format!(" -- {}", escaped(&help))),
            false => (format!("]:{name}"), format!("]:{}", escaped(name))),
        };
        for guess in ["_default", "_files"] {
            let action = match kind(option) {
                Kind::Peer => "_vp_peers",
                Kind::FileOrPeer => "_vp_files_or_peers",
                Kind::Directory => "_files -/",
                _ => guess,
            };
            text = text.replace(&format!("{old}:{guess}'"), &format!("{new}:{action}'"));
        }
    }
    text
}

/// As it stands in a specification between quotes.
fn escaped(text: &str) -> String {
    let special = |character: char| {
        if matches!(character, '[' | ']' | ':' | '$' | '`') { format!("\\{character}") } else { character.into() }
    };
    text.replace('\'', "'\\''").chars().map(special).collect()
}

const FISH_PEERS: &str = r#"function __vp_peers
    set -l file $VP_PEERS
    set -l words (commandline -opc)
    set -l at (contains -i -- --peers $words)
    if test -n "$at"; and test (math $at + 1) -le (count $words)
        set file (string replace -r '^~/' "$HOME/" -- $words[(math $at + 1)])
    else if test -z "$file"
        set -l home $XDG_CONFIG_HOME
        test -n "$home"; or set home $HOME/.config
        set file $home/vp/peers
        test -r $file; or set file /etc/vp/peers
    end
    set -l before (string match -r '^[^-].*=' -- (commandline -ct))
    test -r $file; and string replace -rf '^([^#\s]+)\s.*' "$before\$1" <$file
end
"#;

fn fish(text: &str, command: &Command, name: &str) -> String {
    // clap asks for a subcommand by reading the line as it is, which an option without its value is not yet: its values would
    // never be offered.
    let needs_command = format!(" -n \"__fish_{}_needs_command\" -", name.replace('-', "_"));
    let option =
        |line: &str| if line.contains(" -l ") { line.replacen(&needs_command, " -", 1) } else { line.to_owned() };
    let mut lines: Vec<String> = text.lines().map(option).collect();
    let inner = command.get_subcommands().flat_map(Command::get_arguments);
    for option in command.get_arguments().chain(inner) {
        let from = match kind(option) {
            Kind::Peer => "-x -a '(__vp_peers)'",
            Kind::Directory => "-x -a '(__fish_complete_directories)'",
            Kind::Other if option.get_action().takes_values() && option.get_possible_values().is_empty() => "-x",
            _ => continue,
        };
        let Some(long) = option.get_long() else { continue };
        for line in lines.iter_mut().filter(|line| line.contains(&format!(" -l {long} "))) {
            let bare = line.strip_suffix(" -F").unwrap_or(line);
            let bare = bare.strip_suffix(" -r").unwrap_or(bare);
            *line = format!("{bare} {from}");
        }
    }
    let operand = |inner: Option<&str>, option: &Arg| {
        let when = inner.map_or(String::new(), |name| format!(" -n '__fish_seen_subcommand_from {name}'"));
        match kind(option) {
            Kind::Peer => Some(format!("complete -c {name}{when} -f -a '(__vp_peers)'")),
            Kind::FileOrPeer => Some(format!("complete -c {name}{when} -a '(__vp_peers)'")),
            _ => None,
        }
    };
    lines.extend(command.get_positionals().next().and_then(|option| operand(None, option)));
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        lines.extend(inner.get_positionals().next().and_then(|option| operand(Some(inner.get_name()), option)));
    }
    format!("{FISH_PEERS}\n{}\n", lines.join("\n"))
}
