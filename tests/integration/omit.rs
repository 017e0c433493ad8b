//! What `vp-send` leaves out: secret keys in use, however they are reached, and what the user's patterns say; and what it
//! would send, told without calling anybody.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::terminal::Terminal;
use crate::harness::{Output, Tool, World, exit, names};

#[test]
fn secret_keys_are_not_sent_along_with_the_home_they_lie_in() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let home = world.dir("home");
    world.dir("home/.config/vp");
    world.dir("home/.local/state/vp");
    fs::rename(world.key("east"), home.join("mine")).expect("a key");
    symlink(home.join("mine"), world.key("east")).expect("a link");
    for place in [".config/vp/key", ".local/state/vp/relay.key"] {
        world.keygen().arg("-o").arg(home.join(place)).run().expect(exit::DONE);
    }
    fs::hard_link(home.join("mine"), home.join("copy")).expect("a link");
    fs::write(home.join("letter"), "letter").expect("a file");
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["x", "-d", "inbox"]));
    let send = relay.party("east").send().env("HOME", &home).args(["home", "west:x"]);
    let done = send.run().expect(exit::DONE);
    let lines = [".config/vp/key", ".local/state/vp/relay.key", "copy", "mine"]
        .map(|name| format!("vp-send: warning: home/{name}: a secret key, which is not sent: left out\n"));
    assert_eq!(done.stderr, lines.concat(), "{done}");
    recv.wait().expect(exit::DONE);
    let came = [".config", ".config/vp", ".local", ".local/state", ".local/state/vp", "letter"];
    assert_eq!(names(&world.path("inbox/home")), came);
    // Who names it means it, and is told.
    for name in ["home/mine", "home/copy", "home/.config/vp/key"] {
        let done = relay.party("east").send().env("HOME", &home).args([name, "west:x"]).run();
        done.expect(exit::USAGE).expect_error("this is a secret key");
    }
}

#[test]
fn a_copy_of_a_key_goes_only_where_it_is_named() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("tree/backup");
    for copy in ["tree/backup/key", "tree/old"] {
        fs::copy(world.key("east"), world.path(copy)).expect("a copy");
    }
    world.write("tree/letter", "letter");
    let lines = ["backup/key", "old"].map(|name| {
        let left = "a secret key, which is not sent: left out; to send it all the same, name the file itself";
        format!("vp-send: warning: tree/{name}: {left}\n")
    });
    let dry = east.send().args(["tree", "west:x", "--dry-run"]).run().expect(exit::DONE);
    assert_eq!((&dry.stderr[..], &dry.stdout[..]), (&lines.concat()[..], &b"tree/\ntree/backup/\ntree/letter\n"[..]));
    world.dir("inbox");
    let _recv = west.waiting(west.recv().args(["x", "-d", "inbox", "--keep"]));
    let done = east.send().args(["tree", "west:x"]).run().expect(exit::DONE);
    assert_eq!(done.stderr, lines.concat(), "{done}");
    assert_eq!(names(&world.path("inbox/tree")), ["backup", "letter"]);
    east.send().args(["tree/old", "west:x"]).run().expect(exit::DONE).expect_silence();
    assert_eq!(fs::read(world.path("inbox/old")).expect("the copy"), fs::read(world.key("east")).expect("the key"));
}

#[test]
fn patterns_leave_out_and_a_dry_run_shows_what_is_left_without_calling_anybody() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    world.dir("tree/build");
    world.dir("tree/src");
    for file in ["tree/a.o", "tree/src/b.o", "tree/src/b.c", "tree/build/out"] {
        world.write(file, "");
    }
    let words = ["tree", "west:x", "--exclude", "*.o", "--exclude", "/build/"];
    let left = b"tree/\ntree/src/\ntree/src/b.c\n";
    // Nobody is there, not even a relay, a key or a peers file.
    world.tool("vp-send").args(words).arg("--dry-run").run().expect(exit::DONE).expect_output(left).expect_silence();
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["x", "-d", "inbox"]));
    relay.party("east").send().args(words).run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE);
    assert_eq!(names(&world.path("inbox/tree")), ["src", "src/b.c"]);
    // What could not be sent is told as a send would tell it.
    Tool::new("mkfifo", &world.path("tree")).arg("pipe").run().expect(0);
    let done = world.tool("vp-send").args(words).arg("--dry-run").run().expect(exit::FAILED).expect_output(left);
    done.expect_error("1 of 4 items");
    for words in
        [&["tree", "west", "--exclude", "[z-a]"][..], &["-", "west", "--dry-run"], &["-", "west", "--exclude", "a"]]
    {
        world.tool("vp-send").args(words).run().expect(exit::USAGE).expect_output(b"").expect_error("");
    }
}

#[test]
fn link_that_leads_to_nothing_is_named_with_its_target() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    fs::write(tree.join("file"), "").expect("a file");
    symlink("nowhere", tree.join("link")).expect("a link");
    symlink("loop", world.path("loop")).expect("a link");
    let line = "tree/link is a link to nowhere, which is not there\n";
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["x", "-d", "inbox"]));
    for more in [&["--dry-run"][..], &[]] {
        let words = ["tree", "west:x", "--links", "follow"];
        let done = east.send().args(words).args(more).run().expect(exit::PARTIAL);
        assert!(done.stderr.starts_with(&format!("vp-send: warning: {line}")), "{done}");
    }
    recv.wait().expect(exit::PARTIAL);
    for (name, line) in [("tree/link", line), ("loop", "loop is a link to loop, which leads back to it\n")] {
        for more in [&["--dry-run"][..], &[]] {
            let done = east.send().args([name, "west:x"]).args(more).run().expect(exit::FAILED);
            assert_eq!(done.stderr, format!("vp-send: error: {line}"), "{done}");
        }
    }
    let done = east.send().args(["tree", "west:x", "--links", "follow", "--dry-run", "--json"]).run();
    for word in ["\"reason\":\"a link to nowhere, which is not there\"", "\"cause\":\"dangling-link\""] {
        assert!(done.stderr.contains(word), "{done}");
    }
}

#[test]
fn new_key_is_shown_on_no_terminal() {
    let (world, terminal) = (World::new(), Terminal::new());
    let done = world.keygen().output(Output::Passed(terminal.line())).run().expect(exit::USAGE);
    let done = done.expect_error("a secret key is not shown on a terminal");
    assert!(done.stderr.contains("hint: write it to a file: vp-keygen -o "), "{done}");
    assert_eq!(terminal.seen(), "");
}
