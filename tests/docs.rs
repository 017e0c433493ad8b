//! What is written about the tools agrees with the tools. `BLESS=1 cargo test --test docs` rewrites what is generated.

#[path = "docs/complete.rs"]
mod complete;
#[path = "docs/install.rs"]
mod install;
#[path = "docs/man.rs"]
mod man;
#[path = "docs/numbers.rs"]
mod numbers;
#[path = "docs/shell.rs"]
mod shell;
#[path = "docs/waits.rs"]
mod waits;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap_complete::Shell;
use vp::cli::args::{Entry, tools};
use vp::cli::exit::shown;
use vp::identity::PeerId;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares a folder with what its generated files should be, or makes it so.
fn agree(folder: &str, expected: &[(String, String)]) {
    let folder = root().join(folder);
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(&folder).expect("writable");
        for (name, text) in expected {
            fs::write(folder.join(name), text).expect("writable");
        }
    }
    for (name, text) in expected {
        let committed = fs::read_to_string(folder.join(name)).unwrap_or_default();
        let line = 1 + committed.lines().zip(text.lines()).take_while(|(a, b)| a == b).count();
        let path = folder.join(name);
        assert!(committed == *text, "{}, line {line}: run BLESS=1 cargo test --test docs", path.display());
    }
    let entries = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.path().is_file()).map(|e| e.file_name().to_string_lossy().into_owned());
    let expected: BTreeSet<_> = expected.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(files.collect::<BTreeSet<_>>(), expected, "files in {}", folder.display());
}

fn pages() -> Vec<(String, String)> {
    let prose = |name: &str| read(format!("man/src/{name}.roff"));
    let page = |tool: Entry| (format!("{}.1", tool.manual.name), man::page(tool.clone(), &prose(tool.manual.name)));
    let overview = ("vp.7".to_owned(), man::overview(&prose("vp")));
    let events = ("vp-events.7".to_owned(), man::events(&prose("vp-events")));
    tools().into_iter().map(page).chain([overview, events]).collect()
}

#[test]
fn manual_pages_agree_with_the_tools() {
    agree("man", &pages());
}

#[test]
fn every_manual_page_quotes_the_table_of_exit_statuses() {
    for (name, page) in pages().into_iter().filter(|(name, _)| name != "vp-events.7") {
        let (_, table) = page.split_once(".SH EXIT STATUS\n").unwrap_or_else(|| panic!("{name} has no table"));
        let table = table.split(".SH ").next().unwrap_or_default();
        let rows: Vec<_> = table.split(".TP\n").skip(1).collect();
        assert_eq!(rows.len(), shown().count(), "{name}");
        for (text, row) in rows.iter().zip(shown()) {
            assert!(text.starts_with(&format!(".B {}\n{}", row.code, row.meaning)), "{name}: {text}");
        }
    }
}

/// The names in a text that follow one of these beginnings up to a quotation mark: what code reads or sets in an environment.
fn variables(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in ["\"VP_", "env.get(\"", "env.absolute(\"", "var_os(\"", "std::env::var(\""] {
        for (at, _) in code.match_indices(start) {
            let from = if start == "\"VP_" { at + 1 } else { at + start.len() };
            found.extend(code[from..].split('"').next().map(str::to_owned));
        }
    }
    found.into_iter().filter(|name| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_uppercase())).collect()
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_variable_that_a_program_reads_or_sets_is_in_a_manual_page() {
    assert_eq!(variables(r#"env.get("HOME") and ("VP_PATH", path) and "VP_ x" and var_os("PATH")"#).len(), 3);
    let mut files = Vec::new();
    files_below(&root().join("src"), &mut files);
    let code: Vec<String> = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    let named: BTreeSet<String> = code.iter().flat_map(|code| variables(code)).collect();
    let pages: String = pages().into_iter().map(|(_, page)| page).collect();
    // Of tests, and one that every program looks at.
    let known = |name: &String| name.starts_with("VP_TEST_") || name == "PATH" || name.len() == 1;
    let missing: Vec<_> = named.iter().filter(|name| !known(name) && !pages.contains(name.as_str())).collect();
    assert!(named.contains("VP_PATH") && named.contains("VP_KEY"), "{named:?}");
    assert_eq!(missing, [""; 0], "in no manual page");
}

#[test]
fn every_option_is_in_its_manual_page() {
    for Entry { manual, command, .. } in tools() {
        let page = read(format!("man/{}.1", manual.name)).replace("\\-", "-");
        let help = command.clone().render_long_help().to_string();
        for option in command.get_arguments().filter(|option| option.get_long().is_some()) {
            let others = option.get_visible_aliases().unwrap_or_default();
            for long in option.get_long().into_iter().chain(others) {
                assert!(page.contains(&format!("--{long}")), "{}: --{long}", manual.name);
                assert!(option.is_hide_set() || help.contains(long), "{}: --{long} is not in --help", manual.name);
            }
        }
    }
}

#[test]
fn completions_agree_with_the_tools() {
    let kinds = [(Shell::Bash, "bash", "", ""), (Shell::Zsh, "zsh", "_", ""), (Shell::Fish, "fish", "", ".fish")];
    for (shell, folder, before, after) in kinds {
        let script = |Entry { manual, mut command, .. }: Entry| {
            (format!("{before}{}{after}", manual.name), complete::script(shell, &mut command))
        };
        agree(&format!("completions/{folder}"), &tools().into_iter().map(script).collect::<Vec<_>>());
    }
}

/// Runs `vp-send` with one word: its status, and what it says on standard error.
fn run(word: &str, stdout: impl Into<Stdio>) -> (Option<i32>, String) {
    let mut tool = std::process::Command::new(env!("CARGO_BIN_EXE_vp-send"));
    let child = tool.arg(word).env_clear().stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn();
    let output = child.and_then(std::process::Child::wait_with_output).expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn help_reaches_its_reader_or_the_status_says_that_it_did_not() {
    assert_eq!(run("--help", Stdio::null()), (Some(0), String::new()));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let (status, message) = run("--help", full);
    assert_eq!(status, Some(1));
    assert_eq!(message, "vp-send: error: cannot write to standard output: no space left on device\n");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(run("--version", writer), (Some(0), String::new()), "a reader that has seen enough is no failure");
}

#[test]
fn a_wrong_word_ends_with_the_status_for_usage() {
    let (status, message) = run("--oops", Stdio::null());
    assert_eq!(status, Some(2));
    assert!(message.starts_with("vp-send: error: unexpected argument '--oops' found\n"), "{message}");
    assert!(message.ends_with("vp-send: hint: try vp-send --help\n"), "{message}");
}

/// What a placeholder may stand for.
fn meanings() -> Vec<String> {
    let id = PeerId::from_bytes([7; 32]).to_string();
    vec![id.clone(), format!("tcp://{id}@relay.example.com:4433"), "depot".into(), "3".into(), "20s".into()]
}

/// The word itself, or what it may mean if something in it has to be filled in first.
fn readings(word: &str) -> Vec<String> {
    let id = PeerId::from_bytes([7; 32]).to_string();
    match (word.find("vp1"), word.contains('$')) {
        (_, true) => meanings(),
        (Some(at), _) if word.contains('…') || word.contains("...") => {
            let rest = word[at..].trim_start_matches(|c: char| c.is_ascii_alphanumeric() || ".…".contains(c));
            vec![format!("{}{id}{rest}", &word[..at])]
        }
        _ => vec![word.to_owned()],
    }
}

/// Why a command line is wrong, under the best reading of its placeholders.
fn complaint(words: &[String]) -> Option<String> {
    let tool = tools().into_iter().find(|tool| tool.manual.name == words[0])?;
    let mut lines = vec![Vec::new()];
    for word in words {
        let meanings = readings(word);
        lines = lines
            .into_iter()
            .flat_map(|line| meanings.iter().map(move |word| [line.clone(), vec![word.clone()]].concat()))
            .collect();
    }
    // One reading that is taken is enough.
    let wrong: Vec<_> = lines.iter().map(|line| (tool.complaint)(line)).collect::<Option<_>>()?;
    let first = wrong.first()?;
    let question = matches!(first.kind(), clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion);
    (!question).then(|| format!("{}: {first}", words.join(" ")))
}

fn complaints(text: &str) -> Vec<String> {
    shell::commands(text).iter().filter_map(|words| complaint(words)).collect()
}

#[test]
fn examples_in_the_manual_pages_parse() {
    for Entry { manual, .. } in tools() {
        for example in manual.examples {
            assert!(!shell::commands(example.line).is_empty(), "{}", example.line);
            assert_eq!(complaints(example.line), [""; 0]);
        }
    }
    for (name, commands) in [("vp", 4), ("vp-portrep", 6)] {
        let prose =
            read(format!("man/src/{name}.roff")).replace("\\-", "-").replace("\\(ti", "~").replace("\\(aq", "'");
        let lines: String = prose.split(".EX\n").skip(1).filter_map(|rest| rest.split(".EE").next()).collect();
        assert_eq!(shell::commands(&lines).len(), commands, "{lines}");
        assert_eq!(complaints(&lines), [""; 0]);
    }
}

#[test]
fn command_lines_in_the_readme_parse() {
    let blocks = shell::code_blocks(&read("README.md")).concat();
    assert!(shell::commands(&blocks).len() >= 3, "the README shows at least a relay, a sender and a receiver");
    assert_eq!(complaints(&blocks), [""; 0]);
}

#[test]
fn the_readme_quotes_the_table_of_exit_statuses() {
    let readme = read("README.md");
    for row in shown() {
        let line = format!("| {} | {} | {} |", row.code, row.meaning, row.retry.word()).replace("|  |", "| |");
        assert!(readme.lines().any(|shown| shown == line), "{line}");
    }
}

#[test]
fn the_readme_maps_every_folder_and_its_links_lead_somewhere() {
    let readme = read("README.md");
    for entry in fs::read_dir(root().join("src")).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(!entry.path().is_dir() || readme.contains(&format!("`src/{name}`")), "src/{name}");
    }
    let targets: Vec<_> =
        readme.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to).collect();
    assert!(targets.len() > 10, "{targets:?}");
    for target in targets {
        assert!(target.starts_with("https://") || root().join(target).exists(), "{target}");
    }
}

/// Files of the source that a text names: what is between backticks and ends as they do.
fn files_named(text: &str) -> impl Iterator<Item = &str> {
    let is_path = |word: &str| word.chars().all(|letter| letter.is_ascii_alphanumeric() || "_/.".contains(letter));
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(move |word| word.ends_with(".rs") && *word != "mod.rs" && is_path(word))
}

#[test]
fn files_that_documents_and_comments_name_are_there() {
    let mut named = 0;
    let mut check = |place: &Path, text: &str| {
        let beside = place.parent().expect("a folder");
        for name in files_named(text) {
            let places = [root().to_owned(), root().join("src"), beside.to_owned(), beside.join("..")];
            assert!(places.iter().any(|folder| folder.join(name).exists()), "{}: {name}", place.display());
            named += 1;
        }
    };
    for name in ["README.md", "DESIGN.md", "CONTRIBUTING.md", "PROTOCOL.md", "fuzz/README.md"] {
        check(&root().join(name), &read(name));
    }
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&entry).expect("text");
                let comments: Vec<_> = text.lines().filter(|line| line.trim_start().starts_with("//")).collect();
                check(&entry, &comments.join("\n"));
            }
        }
    }
    assert!(named > 50, "the scan found {named} names");
}

/// The files in the table of a folder's `mod.rs`, by their names without ending; none if it has no such table.
fn files_in_table(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().skip_while(|line| *line != "//! | file | what |");
    let first_cells = lines.filter_map(|line| line.strip_prefix("//! | `")?.split(" |").next());
    first_cells.flat_map(|cell| cell.split(", ").map(|name| name.trim_matches('`'))).collect()
}

#[test]
fn tables_of_files_name_all_of_their_folder() {
    let table = "//! | file | what |\n//! |---|---|\n//! | `a`, `b` | `c` |\nmod d;\n";
    assert_eq!(files_in_table(table), BTreeSet::from(["a", "b"]));
    let mut files = Vec::new();
    files_below(&root().join("src"), &mut files);
    let mut tables = 0;
    for file in files.iter().filter(|file| file.ends_with("mod.rs")) {
        let text = fs::read_to_string(file).expect("text");
        let named = files_in_table(&text);
        if named.is_empty() {
            continue;
        }
        // What tests alone build needs no place on the map.
        let of_tests = ["mod", "tests", "testkit", "canary"];
        let entries = fs::read_dir(file.parent().expect("a folder")).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_owned());
        let names: BTreeSet<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        let there: BTreeSet<&str> = names.iter().map(String::as_str).filter(|name| !of_tests.contains(name)).collect();
        assert_eq!(named, there, "{}", file.display());
        tables += 1;
    }
    assert!(tables >= 2, "the scan found {tables} tables");
}

/// Every document that says what an identity rests on names both keys that must hold.
#[test]
fn documents_agree_on_what_an_identity_rests_on() {
    for name in ["README.md", "PROTOCOL.md", "SECURITY.md", "man/src/vp.roff"] {
        let text = read(name).split_whitespace().collect::<Vec<_>>().join(" ");
        let both = ["Ed25519 and X25519", "X25519 and Ed25519"];
        assert!(both.iter().any(|words| text.contains(words)), "{name}");
        assert!(!text.contains("rests on Ed25519 alone"), "{name}");
    }
}

#[test]
fn command_lines_in_the_examples_parse() {
    let folders = fs::read_dir(root().join("examples")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    assert!(folders.len() >= 5, "{folders:?}");
    for folder in folders {
        let unprompted: String = shell::code_blocks(&read(folder.join("README.md")))
            .concat()
            .lines()
            .map(|line| line.split_once("$ ").map_or(line, |(_, command)| command.trim_start()).to_owned() + "\n")
            .collect();
        assert_eq!(complaints(&unprompted), [""; 0], "{}", folder.display());
    }
}

#[test]
fn a_wrong_command_line_is_found_wherever_it_hides() {
    for wrong in [
        "vp-send depot",
        "pg_dump x | vp-send --nope - depot:backup",
        "ssh -o ProxyCommand='vp-attach --nope depot:ssh' depot",
        "echo depot $(vp-keygen --nope) >> peers",
        "VP_KEY=k target/release/vp-recv --keep &",
        "vp-relay --listen 127.0.0.1:0 \\\n  --nope --open",
        "$ vp-relay --listen $ADDRESS --open --workers",
    ] {
        assert_eq!(complaints(wrong).len(), 1, "{wrong}");
    }
    for right in [
        "vp-attach -r $RELAY depot:chat < in > out 2>> log # --nope",
        "vp-attach -r vp1qq…@relay.example.com:4433 vp1rr…:chat; echo vp-send",
        "vp-relay --help && vp-recv backup --from \"$PEER\" --timeout ${WAIT} | pg_restore",
        "RELAY=$(sed -n 's/listening //p' ready) vp-send a b depot",
    ] {
        assert!(!shell::commands(right).is_empty(), "{right}");
        assert_eq!(complaints(right), [""; 0], "{right}");
    }
}

#[test]
fn blocks_marked_text_are_not_commands() {
    let markdown = "a\n```sh\nvp-send a b\n```\nvp-send\n```text\nvp-send [OPTIONS]\n```\n```\nvp-recv\n```\n";
    assert_eq!(shell::code_blocks(markdown).concat(), "vp-send a b\nvp-recv\n");
}
