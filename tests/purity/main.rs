//! The rules of the architecture as failing tests: the core is pure, arrows run one way, files and functions are short.
//!
//! A text scan, not a parser: it relies on rustfmt's layout, which CI checks, and removes comments, strings and test
//! modules before it looks. Each rule has a planted violation that it must find.

mod circles;
mod debug_text;
mod errors;
mod names;
mod size;
mod source;

use circles::{circles, passed_on};
use debug_text::debug_texts;
use errors::words_for_errors;
use names::{backward_arrows, impurities, strays, uncalled, words_for_people};
use size::{FIELDS_MAX, FILE_LINES_MAX, FUNCTION_LINES_MAX, long_file, long_functions, too_many_fields};
use source::{Source, files_below, sources};
use std::collections::BTreeSet;

/// All of it must hold for every file.
fn complaints(source: &Source) -> Vec<String> {
    let mut all = impurities(source);
    all.extend(strays(source));
    all.extend(words_for_people(source));
    all.extend(words_for_errors(source));
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
    complaints.extend(passed_on(&sources));
    let complaints: Vec<_> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn no_file_of_tests_is_longer_than_one_of_the_source_may_be() {
    let long = |folder: &str| files_below(folder).into_iter().filter(|(_, text)| text.lines().count() > FILE_LINES_MAX);
    let long: Vec<_> = ["tests", "fuzz/worlds", "benches"].into_iter().flat_map(long).map(|(name, _)| name).collect();
    assert_eq!(long, [""; 0], "more than {FILE_LINES_MAX} lines");
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
fn what_is_public_in_the_shell_is_called_from_outside() {
    let texts: Vec<_> = ["src/bin", "tests", "benches", "fuzz/src"].into_iter().flat_map(files_below).collect();
    let words =
        texts.iter().flat_map(|(_, text)| text.split(|letter: char| !letter.is_alphanumeric() && letter != '_'));
    let outside: BTreeSet<&str> = words.collect();
    assert_eq!(sources().iter().flat_map(|source| uncalled(source, &outside)).collect::<Vec<_>>(), [""; 0]);
    let text = "impl A {\n    pub fn known() {}\n    pub(crate) fn own() {}\n    pub const fn unknown() {}\n}\n";
    let planted = uncalled(&Source::new("net/a.rs", text), &BTreeSet::from(["known"]));
    assert_eq!(planted, ["src/net/a.rs:4: unknown is pub, and called from the crate alone"]);
    assert_eq!(uncalled(&Source::new("node/a.rs", text), &BTreeSet::new()), [""; 0]);
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
        ("run/a.rs", "fn f() {\n    reactor.poll_ready();\n}\n", "only net/reactor.rs names poll_ready("),
        ("server/a.rs", "fn f() {\n    listener.try_accept(purpose);\n}\n", "only net/listen.rs, net/accept.rs names"),
        ("wire/a.rs", "use crate::session::Session;\n", "wire may not use session"),
        ("lane/a.rs", "use crate::session::frame::Frame;\n", "lane may not use session"),
        ("net/a.rs", "fn f() -> crate::identity::PeerId {\n", "net may not use identity"),
        ("wire/a.rs", "use std::{collections::BTreeMap, net::{IpAddr, TcpStream}};\n", "the core names std::net::Tcp"),
        (
            "wire/a.rs",
            "struct A {\n    #[cfg(test)]\n    a: u8,\n}\nuse std::net::TcpStream;\n",
            "the core names std::net::Tcp",
        ),
        ("wire/mod.rs", "use super::session::Session;\n", "wire may not use session"),
        ("wire/a.rs", "fn f(_: super::super::session::Session) {}\n", "wire may not use session"),
        ("noise/a.rs", "use crate::{\n    identity::{Card, PeerId},\n    wire,\n};\n", "noise may not use wire"),
        ("bin/vp-x.rs", "use vp::store::keyfile;\n", "bin may not use store"),
        ("store/a.rs", "impl fmt::Display for Fault {\n", "the words for Fault belong in cli"),
        ("tools/a.rs", "fn f() {\n    RunError::Io(\"reading\", error);\n}\n", "an error of words"),
        ("net/a.rs", "fn f() {\n    Err(io::Error::new(kind, \"none\"))\n}\n", "an error of words"),
        ("net/a.rs", "fn f() {\n    io::Error::other(\"none\")\n}\n", "an error of words"),
        ("session/a.rs", "fn f() -> Result<(), Violation> {\n    Err(\"lied\")\n}\n", "an error of words"),
        ("session/a.rs", "fn f() {\n    g().map_err(|_| \"lied\")\n}\n", "an error of words"),
        ("lane/a.rs", "fn f() -> Result<(), &'static str> {\n", "an error of words"),
        ("run/a.rs", "enum E {\n    Io(&'static str, io::Error),\n}\n", "an error of words"),
        ("extra/mod.rs", "", "a folder that the table of arrows does not know"),
    ];
    for (path, text, complaint) in planted {
        let found = complaints(&Source::new(path, text));
        assert!(found.len() == 1 && found[0].contains(complaint), "{path}: {found:?}");
    }
    let long = format!("impl A {{\n    pub fn f() {{\n{}    }}\n}}\n", "        g();\n".repeat(FUNCTION_LINES_MAX));
    assert_eq!(complaints(&Source::new("tools/a.rs", &long)), ["src/tools/a.rs:2: a function of 72 lines"]);
    let large = format!("struct Big {{\n{}}}\n", "    a: u8,\n".repeat(FIELDS_MAX + 1));
    for folder in ["wire", "tools", "cli"] {
        let path = format!("{folder}/a.rs");
        assert_eq!(complaints(&Source::new(&path, &large)), [format!("src/{path}: Big has 13 fields")]);
    }
    let circle = [
        Source::new("wire/mod.rs", "mod a;\nmod b;\nmod c;\nuse a::A;\n"),
        Source::new("wire/a.rs", "use super::b::B;\nuse super::Top;\n"),
        Source::new("wire/b.rs", "use crate::wire::c::{C, D};\n"),
        Source::new("wire/c.rs", "fn f(_: super::a::A) {}\n"),
    ];
    assert_eq!(circles(&circle), ["files that use each other: wire::a, wire::b, wire::c"]);
    assert_eq!(circles(&circle[..3]), [""; 0]);
    let imported = [
        Source::new("lib.rs", "pub mod relay;\npub mod wire;\n"),
        Source::new("wire/mod.rs", "mod a;\nmod b;\npub use b::B as Bee;\nuse crate::relay;\n"),
        Source::new("wire/a.rs", "use super::Bee;\nfn f(_: Bee::C) {}\n"),
        Source::new("wire/b.rs", "fn f(_: super::relay::C) {}\n"),
        Source::new("relay/mod.rs", "mod c;\npub(crate) use c::{\n    C,\n    D,\n};\n"),
        Source::new("relay/c.rs", "use crate::wire::a::A;\nuse std::io;\n"),
    ];
    assert_eq!(circles(&imported), ["files that use each other: relay::c, wire::a, wire::b"]);
    assert_eq!(circles(&imported[..5]), [""; 0]);
    assert_eq!(passed_on(&imported), [""; 0]);
    let passed = [
        Source::new("wire/mod.rs", "mod a;\npub use a::A;\npub use std::io;\nuse crate::link::L;\n"),
        Source::new("wire/a.rs", ""),
        Source::new("link/mod.rs", "pub(crate) use crate::wire::{\n    A,\n    Other,\n};\n"),
    ];
    let complaint = |path| format!("src/link/mod.rs:1: {path} is to be had from wire alone");
    assert_eq!(passed_on(&passed), ["crate::wire::A", "crate::wire::Other"].map(complaint));
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

#[test]
fn nothing_is_compared_by_its_debug_text() {
    let folders = ["src", "tests", "fuzz/src", "fuzz/worlds"];
    let files = folders.into_iter().flat_map(|folder| files_below(folder).into_iter().map(move |file| (folder, file)));
    let texts = files.filter(|(folder, (name, _))| (*folder, name.as_str()) != ("tests", "purity/main.rs"));
    let places = |(folder, (name, text)): (&str, (String, String))| {
        debug_texts(&text).into_iter().map(move |line| format!("{folder}/{name}:{line}")).collect::<Vec<_>>()
    };
    assert_eq!(texts.flat_map(places).collect::<Vec<_>>(), [""; 0], "compare values");
    for planted in [
        "\nassert_eq!(format!(\"{id:?}\"), \"x\");",
        "\nlet text = format!(\n    \"\\\"{:#?}\", id);",
        "\nassert_eq!(&format!(\"{id:02x?}\"), text);",
        "\nassert!(format!(\"{id:?}\").contains(text));",
    ] {
        assert_eq!(debug_texts(planted), [2], "{planted}");
    }
    for innocent in [
        "assert_eq!(a, b, \"{a:?}\");",
        "wait(&format!(\"{a:?}\"), || a.is_there());",
        "assert!(!format!(\"{key:?}\").contains(secret));",
        "let text = format!(\"{a} {{b:?}}\");",
    ] {
        assert_eq!(debug_texts(innocent), [0; 0], "{innocent}");
    }
}

#[test]
fn unit_tests_stand_in_their_file_or_in_the_folder_of_tests() {
    let elsewhere = |path: &str| path.ends_with("tests.rs") || path.ends_with("test.rs");
    let found: Vec<_> = sources().into_iter().map(|source| source.path).filter(|path| elsewhere(path)).collect();
    assert_eq!(found, [""; 0]);
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
