//! Completions as a person has them: the key Tab, in the shells themselves.

use std::path::PathBuf;

use crate::harness::terminal::Terminal;
use crate::harness::{Input, Output, Tool, World, eventually, skip};

/// What is typed before Tab, and what the line is then: the words of the tool.
const LINES: [(&str, &str); 10] = [
    ("vp-attach de", "depot"),
    ("vp-attach --json de", "--json depot"),
    ("vp-recv --from de", "--from depot"),
    ("vp-send let", "letter.txt"),
    ("vp-send letter.txt de", "letter.txt depot"),
    ("vp-recv -d inb", "-d inbox"),
    ("vp-recv --overwrite re", "--overwrite rename"),
    ("vp-portrep --import 5432=de", "--import 5432=depot"),
    ("vp-portrep check de", "check depot"),
    ("vp-attach --peers other so", "--peers other somebody"),
];

/// Peers `depot` and `somebody`, in two files; a file and a directory to be found.
fn world() -> World {
    let world = World::new();
    world.dir(".config/vp");
    world.write(".config/vp/peers", &format!("# ours\ndepot {} # here\nhq {}\n", world.id("west"), world.id("east")));
    world.write("other", &format!("somebody {}\n", world.id("east")));
    world.write("letter.txt", "");
    world.write("inbound", "no directory");
    world.dir("inbox");
    world
}

fn scripts(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("completions").join(folder)
}

fn is_here(shell: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|at| at.join(shell).exists());
    if !found {
        skip(&format!("completions of {shell} need {shell}"));
    }
    found
}

/// A shell at a terminal in which the tools only say what they were given.
fn completes(shell: Tool) {
    let terminal = Terminal::new();
    let shell = shell.env("TERM", "xterm").under(terminal.opened_as("2>")).at_terminal(&terminal);
    let shell = shell.input(Input::Passed(terminal.line())).output(Output::Passed(terminal.line())).spawn();
    terminal.wait_for("ready> ");
    for (typed, line) in LINES {
        let said = format!("given <{line}>\r\n");
        let before = terminal.seen().matches(&said).count();
        terminal.types(&format!("{typed}\t\n"));
        eventually(&format!("{said:?} after {typed:?} in\n{}", terminal.seen()), || {
            terminal.seen().matches(&said).count() > before
        });
    }
    shell.kill();
}

/// Stand-ins for the tools, in the language of both. One leaves the slash behind a directory, the other takes it away.
const STAND_INS: &str =
    "for tool in attach recv send portrep; do eval \"vp-$tool() { echo \\\"given <\\${*%/}>\\\"; }\"; done\n";

#[test]
fn bash_knows_peers_files_and_directories() {
    if !is_here("bash") {
        return;
    }
    let world = world();
    let sources: String = ["attach", "recv", "send", "portrep"]
        .map(|tool| format!(". '{}/vp-{tool}'\n", scripts("bash").display()))
        .concat();
    let rc = world.write("rc", &format!("PS1='ready> '; bind 'set enable-bracketed-paste off'\n{sources}{STAND_INS}"));
    completes(Tool::new("bash", &world.path("")).args(["--noprofile", "--rcfile"]).arg(rc).arg("-i"));
}

#[test]
fn zsh_knows_peers_files_and_directories() {
    if !is_here("zsh") {
        return;
    }
    let world = world();
    let setup = format!(
        "PS1='ready> '; unset zle_bracketed_paste; fpath=('{}' $fpath)\nautoload -Uz compinit; compinit -u -D\n{STAND_INS}",
        scripts("zsh").display()
    );
    world.write(".zshrc", &setup);
    completes(Tool::new("zsh", &world.path("")).args(["-d", "-i"]));
}

#[test]
fn fish_knows_peers_files_and_directories() {
    if !is_here("fish") {
        return;
    }
    let world = world();
    for (typed, line) in LINES {
        let tool = typed.split(' ').next().expect("a tool");
        let script = format!("source '{}/{tool}.fish'; complete -C '{typed}'", scripts("fish").display());
        let done = Tool::new("fish", &world.path("")).args(["--no-config", "-c", &script]).run().expect(0);
        let offered = String::from_utf8_lossy(&done.stdout).into_owned();
        let offered: Vec<_> = offered.lines().filter_map(|line| line.split('\t').next()).collect();
        let wanted = line.rsplit(' ').next().expect("a word");
        assert_eq!(offered.iter().map(|word| word.trim_end_matches('/')).collect::<Vec<_>>(), [wanted], "{typed}");
    }
}
