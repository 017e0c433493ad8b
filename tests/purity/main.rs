//! The rules of the architecture as failing tests: the core is pure, arrows run one way, files and functions are short.
//!
//! A text scan, not a parser: it relies on rustfmt's layout, which CI checks, and removes comments, strings and test
//! modules before it looks. Each rule has a planted violation that it must find.

mod circles;
mod debug_text;
mod errors;
mod impls;
mod names;
mod size;
mod source;

use circles::{circles, passed_on};
use debug_text::debug_texts;
use errors::{mute_errors, words_for_errors};
use impls::scattered;
use names::{backward_arrows, impurities, questions_that_act, strays, uncalled, words_for_people};
use size::{
    FIELDS_MAX, FILE_LINES_MAX, FUNCTION_LINES_MAX, long_file, long_functions, too_many_arguments, too_many_fields,
};
use source::{Source, files_below, sources};
use std::collections::BTreeSet;

/// All of it must hold for every file.
fn complaints(source: &Source) -> Vec<String> {
    let mut all = impurities(source);
    all.extend(strays(source));
    all.extend(words_for_people(source));
    all.extend(words_for_errors(source));
    all.extend(backward_arrows(source));
    all.extend(questions_that_act(source));
    all.extend(long_file(source));
    all.extend(long_functions(source));
    all.extend(too_many_arguments(source));
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
    complaints.extend(scattered(&sources));
    complaints.extend(mute_errors(&sources));
    let complaints: Vec<_> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn no_file_of_tests_is_longer_than_one_of_the_source_may_be() {
    let long = |files: Vec<(String, String)>| {
        let long = files.into_iter().filter(|(_, text)| text.lines().count() > FILE_LINES_MAX);
        long.map(|(name, _)| name).collect::<Vec<_>>()
    };
    let files = ["tests", "fuzz/worlds", "benches"].into_iter().flat_map(files_below).collect();
    assert_eq!(long(files), [""; 0], "more than {FILE_LINES_MAX} lines");
    let planted = [FILE_LINES_MAX, FILE_LINES_MAX + 1].map(|lines| (lines.to_string(), "a\n".repeat(lines)));
    assert_eq!(long(planted.into()), ["501"]);
}

#[test]
fn what_is_public_is_named_outside() {
    let texts: Vec<_> = ["src/bin", "tests", "benches", "fuzz/src"].into_iter().flat_map(files_below).collect();
    let words =
        texts.iter().flat_map(|(_, text)| text.split(|letter: char| !letter.is_alphanumeric() && letter != '_'));
    let outside: BTreeSet<&str> = words.collect();
    assert_eq!(sources().iter().flat_map(|source| uncalled(source, &outside)).collect::<Vec<_>>(), [""; 0]);
    let text = "impl A {\n    pub fn known() {}\n    pub(crate) fn own() {}\n    pub const fn unknown() {}\n    pub const NONE: u8 = 0;\n}\n";
    let planted = uncalled(&Source::new("node/a.rs", text), &BTreeSet::from(["known"]));
    let places = ["src/node/a.rs:4: unknown", "src/node/a.rs:5: NONE"];
    assert_eq!(planted, places.map(|place| format!("{place} is pub, and named in the crate alone")));
}

#[test]
fn an_error_that_is_public_can_be_shown_and_passed_on() {
    let planted = [
        Source::new("names/a.rs", "pub enum AError {\n    B,\n}\npub struct CError;\npub(crate) enum DError {}\n"),
        Source::new("cli/a.rs", "impl Error for AError {}\n"),
    ];
    assert_eq!(
        mute_errors(&planted[..1]),
        ["src/names/a.rs:1: AError is no Error", "src/names/a.rs:4: CError is no Error"]
    );
    assert_eq!(mute_errors(&planted), ["src/names/a.rs:4: CError is no Error"]);
}

#[test]
fn a_function_has_few_arguments_and_no_tuple_that_hides_some() {
    let most = "fn f<T: Fn(u8) -> u8>(&self, a: Vec<(u8, u8)>, b: [u8; 2], c: impl Fn(u8, u8) -> u8, (d, e): T) {}\n";
    assert_eq!(complaints(&Source::new("tools/a.rs", most)), [""; 0]);
    for many in ["a: u8, b: u8, c: u8, d: u8, e: &u8", "a: u8, b: u8, c: u8, (d, e): (u8, &[u8])"] {
        let text = format!("struct A;\nimpl A {{\n    fn f<'a>(&mut self, {many}) {{}}\n}}\n");
        assert_eq!(complaints(&Source::new("tools/a.rs", &text)), ["src/tools/a.rs:3: f has 5 arguments"]);
    }
}

#[test]
fn the_methods_of_a_type_stand_in_one_file() {
    let planted = [
        Source::new("wire/mod.rs", "mod a;\nmod b;\npub struct A<'x>(&'x u8);\nimpl A<'_> {}\nstruct B;\nimpl B {}\n"),
        Source::new(
            "wire/a.rs",
            "use super::A;\nimpl<'a, F: Fn(u8) -> u8> A<'a> {}\nimpl Drop for A {}\nstruct B;\nimpl B {}\n",
        ),
        Source::new(
            "link/mod.rs",
            "struct A;\nimpl A {}\nimpl super::wire::B {}\n#[cfg(test)]\nmod tests {\n    impl super::C {}\n}\n",
        ),
        Source::new("link/c.rs", "pub struct C;\nimpl C {}\nimpl C {}\n"),
        Source::new("cli/voice/mod.rs", "mod a;\nstruct Voice;\nimpl Voice {}\n"),
        Source::new("cli/voice/a.rs", "use super::Voice;\nimpl Voice {}\n"),
    ];
    let found = ["A stand in wire/a.rs, wire/mod.rs", "B stand in link/mod.rs, wire/mod.rs"];
    assert_eq!(scattered(&planted), found.map(|places| format!("the methods of wire::{places}")));
    assert_eq!(scattered(&planted[1..2]), [""; 0]);
}

#[test]
fn every_folder_says_what_it_is() {
    let says = |source: &Source| !source.path.ends_with("/mod.rs") || source.text.starts_with("//! ");
    for source in sources() {
        assert!(says(&source), "src/{} does not begin with what it does", source.path);
    }
    assert!(!says(&Source::new("wire/mod.rs", "mod a;\n")) && says(&Source::new("wire/mod.rs", "//! Bytes.\n")));
}

#[test]
fn planted_violations_are_found() {
    let planted = [
        ("session/timer.rs", "fn f() {\n    let now = Instant::now();\n}\n", "src/session/timer.rs:2: the core names"),
        ("wire/a.rs", "use std::net::TcpStream;\n", "the core names std::net::Tcp"),
        ("relay/a.rs", "fn f() {\n    eprintln!(\"x\");\n}\n", "nothing names println!("),
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
        ("names/a.rs", "impl fmt::Display for NameError {\n", "the words for NameError belong in cli"),
        ("cli/a.rs", "use crate::wire::{CloseCode, HeaderError};\n", "HeaderError has words that are not of cli"),
        ("cli/a.rs", "fn f(_: &(dyn Error + 'static)) {\n", "dyn Error has words that are not of cli"),
        ("tools/a.rs", "fn f() {\n    RunError::Io(\"reading\", error);\n}\n", "an error of words"),
        ("net/a.rs", "fn f() {\n    Err(io::Error::new(kind, \"none\"))\n}\n", "an error of words"),
        ("net/a.rs", "fn f() {\n    io::Error::other(\"none\")\n}\n", "an error of words"),
        ("session/a.rs", "fn f() -> Result<(), Violation> {\n    Err(\"lied\")\n}\n", "an error of words"),
        ("session/a.rs", "fn f() {\n    g().map_err(|_| \"lied\")\n}\n", "an error of words"),
        ("lane/a.rs", "fn f() -> Result<(), &'static str> {\n", "an error of words"),
        ("run/a.rs", "enum E {\n    Io(&'static str, io::Error),\n}\n", "an error of words"),
        ("wire/late_tests_of.rs", "use std::net::TcpStream;\n", "the core names std::net::Tcp"),
        ("link/a.rs", "fn f(then: Instant) {\n    then.elapsed();\n}\n", "the core names elapsed("),
        ("link/a.rs", "use std::time::Instant as Clock;\nfn f() {\n    Clock::now();\n}\n", "the core names ::now"),
        ("link/a.rs", "type Clock = Instant;\n", "the core names = Instant;"),
        ("link/a.rs", "use std::io;\n", "the core names std::io"),
        ("link/a.rs", "use std::{\n    io::{self as other, IoSlice},\n};\n", "the core names std::io"),
        ("link/a.rs", "use ::std::net;\n", "the core names std::net"),
        ("link/a.rs", "use std::net::*;\n", "the core names std::net"),
        ("link/a.rs", "pub(crate) use std::time;\n", "the core names std::time"),
        ("link/a.rs", "use std::fs;\n", "the core names std::fs"),
        ("link/a.rs", "use std as other;\n", "the core names std"),
        ("link/a.rs", "extern crate std as other;\n", "the core names extern crate"),
        ("transfer/a.rs", "fn f(path: &Path) {\n    path.exists();\n}\n", "the core names exists("),
        ("noise/a.rs", "fn f() {\n    getrandom::fill(to);\n}\n", "the core names getrandom"),
        ("link/a.rs", "fn f() {\n    dbg!(g());\n}\n", "nothing names dbg!("),
        ("net/a.rs", "fn f() {\n    eprint!(\"x\");\n}\n", "nothing names print!("),
        ("cli/a.rs", "fn f() {\n    process::exit(1);\n}\n", "nothing names process::exit"),
        ("cli/a.rs", "use std::process::{abort};\n", "nothing names process::abort"),
        ("cli/a.rs", "fn f() {\n    io::stderr();\n}\n", "only cli/report.rs, cli/progress.rs, cli/screen.rs names io"),
        ("tools/a.rs", "use std::io::{Write, stdout};\n", "only cli/, net/stdio.rs names io::stdout"),
        ("tools/a.rs", "use std::process::Command;\n", "only net/child.rs, net/reaper.rs names process::Command"),
        ("net/a.rs", "use rustix::event::{PollFd, poll};\n", "tools/recv/leash.rs names event::poll"),
        ("net/a.rs", "fn f() {\n    name.to_socket_addrs();\n}\n", "only net/lookup.rs names to_socket_addrs"),
        ("server/a.rs", "fn f() {\n    listener.accept();\n}\n", "only net/listen.rs names listener.accept("),
        ("wire/a.rs", "use crate as top;\n", "wire/a.rs:1: imports the root"),
        ("wire/a.rs", "use crate::{self as top};\n", "imports the root"),
        ("wire/a.rs", "use crate::*;\n", "imports the root"),
        ("wire/a.rs", "use super::super as top;\n", "imports the root"),
        ("wire/a/b.rs", "use super::super::super::{self as top};\n", "imports the root"),
        ("wire/mod.rs", "use super as top;\n", "imports the root"),
        ("wire/a.rs", "mod b {\n    use super::super::super::session::S;\n}\n", "wire may not use session"),
        (
            "lane/a.rs",
            "impl A {\n    fn has_room(&mut self) -> bool {\n",
            "has_room is a question and may change something",
        ),
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
    let types = "u8, ".repeat(FIELDS_MAX + 1);
    let fields = "        a: u8,\n".repeat(FIELDS_MAX + 1);
    for (text, name) in [
        (format!("struct A<F>\nwhere\n    F: Fn(u8) -> u8,\n{{\n{fields}}}\n"), "A"),
        (format!("pub struct A<F: Fn(u8) -> u8>({types});\n"), "A"),
        (format!("pub(crate) enum E {{\n    #[cold(a, b)]\n    A(u8),\n    B {{\n{fields}    }},\n}}\n"), "E::B"),
        (format!("enum E {{\n    A({types}),\n}}\n"), "E::A"),
    ] {
        assert_eq!(complaints(&Source::new("tools/a.rs", &text)), [format!("src/tools/a.rs: {name} has 13 fields")]);
    }
    let most = format!("struct A<T>({}BTreeMap<u8, (u8, T)>);\n", "u8, ".repeat(FIELDS_MAX - 1));
    assert_eq!(complaints(&Source::new("tools/a.rs", &most)), [""; 0]);
    let circle = [
        Source::new("wire/mod.rs", "mod a;\nmod b;\nmod c;\nuse a::A;\n"),
        Source::new("wire/a.rs", "use super::b::B;\nuse super::Top;\n"),
        Source::new("wire/b.rs", "use crate::wire::c::{C, D};\n"),
        Source::new("wire/c.rs", "fn f(_: super::a::A) {}\n"),
    ];
    assert_eq!(circles(&circle), ["files that use each other: wire::a, wire::b, wire::c"]);
    assert_eq!(circles(&circle[..3]), [""; 0]);
    let all = [
        Source::new("wire/mod.rs", "mod a;\nmod b;\nuse b::B;\n"),
        Source::new("wire/a.rs", "use super::*;\nfn f(_: B) {}\n"),
        Source::new("wire/b.rs", "use super::a::A;\n"),
    ];
    assert_eq!(circles(&all), ["files that use each other: wire::a, wire::b"]);
    assert_eq!(circles(&all[..2]), [""; 0]);
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
    let named = [
        Source::new("wire/mod.rs", "mod a;\npub type B = a::A;\npub use a::*;\n"),
        Source::new("wire/a.rs", "pub type C = Vec<crate::wire::D>;\n"),
        Source::new("link/mod.rs", "pub type A<T> = crate::wire::A<T>;\n"),
    ];
    let found = [
        "src/wire/mod.rs:3: passes on everything, and nobody sees what",
        "src/link/mod.rs:1: crate::wire::A is to be had from wire alone",
    ];
    assert_eq!(passed_on(&named), found);
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
    assert_eq!(complaints(&Source::new("wire/tests/a.rs", "use std::fs;\n")), [""; 0]);
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
    let planted = ["wire/tests.rs", "wire/a_tests.rs", "wire/a_test.rs", "wire/tests/a.rs", "wire/a.rs"];
    assert_eq!(planted.map(elsewhere), [true, true, true, false, false]);
}
