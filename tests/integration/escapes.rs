//! Nothing that a peer controls reaches a terminal as it is: names, commands' words and refusals are shown with every
//! control, bidirectional and invisible character spelled out.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::harness::{Done, Input, OLD_SYSTEM, World, exit, names};

/// Clears the screen, forges a line, hides text, turns it around, is not UTF-8, is C1 as UTF-8 and as a bare byte.
const HOSTILE: [&[u8]; 8] = [
    b"\x1b[2J\x1b[H",
    b"a\nvp-recv: error: forged",
    b"a\rb",
    "\u{202e}txt.exe".as_bytes(),
    "zero\u{200b}width".as_bytes(),
    b"bad\xff\xfe",
    "\u{9b}31m".as_bytes(),
    b"\x9b31m",
];

/// Whether a terminal would show this text as it is: printable characters and line ends, nothing that acts or hides.
fn is_plain(text: &[u8]) -> bool {
    let acts = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    std::str::from_utf8(text).is_ok_and(|text| !text.chars().any(acts))
}

#[track_caller]
fn assert_plain(done: &Done) {
    assert!(is_plain(done.stderr.as_bytes()), "raw: {:?}\n{done}", done.stderr);
    let forged = done.stderr.lines().any(|line| line.starts_with("vp-recv: error: forged"));
    assert!(!forged, "a peer forged a line\n{done}");
}

#[test]
fn every_hostile_name_would_be_seen() {
    assert!(HOSTILE.iter().filter(|name| !is_plain(name)).count() >= 7);
    assert!(is_plain("übel: plain\n".as_bytes()));
}

#[test]
fn hostile_names_in_a_tree_are_shown_harmlessly_at_both_ends() {
    hostile_tree(&[]);
    hostile_tree(&OLD_SYSTEM);
}

fn hostile_tree(filter: &[&str]) {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east").filtered(filter), relay.party("west").filtered(filter));
    let tree = world.dir("tree");
    fs::write(tree.join("good"), "good").expect("a file");
    for name in HOSTILE {
        fs::write(tree.join(OsStr::from_bytes(name)), "bad").expect("a file");
    }
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "-v", "-v"]));
    let done = east.send().args(["tree", "west", "-v", "-v"]).run().expect(exit::FAILED);
    assert_plain(&done);
    assert!(done.stderr.contains("\\x1b") || done.stderr.contains("\\x1B"), "the name is not shown at all\n{done}");
    assert_plain(&recv.wait());
    // Names with control characters are not made; names that merely look odd may be.
    let made = names(&world.path("inbox/tree"));
    assert!(made.contains(&"good".to_owned()));
    assert!(made.iter().all(|name| !name.chars().any(char::is_control)), "{made:?}");
}

#[test]
fn hostile_stream_names_are_shown_harmlessly() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    for name in HOSTILE {
        let mut recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "-v"]));
        let send = east.send().args(["-", "west", "--timeout", "5s", "-v", "--name"]).arg(OsStr::from_bytes(name));
        let done = send.input(Input::Bytes(b"x".to_vec())).run();
        assert_plain(&done);
        // Refused by the sender, it never reached the receiver, which waits on.
        let told = done.code() != Some(exit::USAGE) && !recv.ended_by(std::time::Instant::now() + crate::harness::SOON);
        assert_plain(&if told || recv.is_running() { recv.kill() } else { recv.wait() });
    }
    assert!(names(&world.path("inbox")).iter().all(|name| !name.chars().any(char::is_control)));
}

#[test]
fn json_events_escape_them_too() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    for name in HOSTILE {
        fs::write(tree.join(OsStr::from_bytes(name)), "bad").expect("a file");
    }
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "--json"]));
    let done = east.send().args(["tree", "west", "--json"]).run().expect_one_of(&[exit::PARTIAL, exit::FAILED]);
    for done in [done, recv.wait()] {
        assert!(is_plain(done.stderr.as_bytes()), "raw: {:?}", done.stderr);
        // The ready line is no event.
        let events = done.stderr.lines().filter(|line| *line != "attached drop");
        assert!(events.into_iter().all(|line| line.starts_with('{') && line.ends_with('}')), "{done}");
    }
}

#[test]
fn words_of_ones_own_command_line_are_shown_harmlessly_as_well() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    for name in HOSTILE {
        let name = OsStr::from_bytes(name);
        assert_plain(&east.send().arg(name).args(["west", "--timeout", "0"]).run());
        assert_plain(&world.keygen().arg("-y").arg(name).run().expect(exit::CONFIG));
    }
}
