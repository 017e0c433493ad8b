//! Files and trees: what arrives, under which name, with which attributes, and what never appears.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::harness::data::{digest, nasty_tree, on_disk};
use crate::harness::{Input, Party, Random, Running, Signal, Tool, World, assert_same_tree, eventually, exit, names};
use crate::impair::{Command, Shape};

const MIB: u64 = 1 << 20;

/// A receiver of files in the world's `inbox`.
fn inbox(west: &Party<'_>, args: &[&str]) -> Running {
    west.waiting(west.recv().args(["drop", "-d", "inbox"]).args(args))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn tree_with_everything_in_it_arrives_the_same() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    nasty_tree(&world.path("tree"));
    world.dir("inbox");
    let recv = inbox(&west, &[]);
    east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence().expect_output(b"");
    recv.wait().expect(exit::DONE).expect_output(b"");
    assert_eq!(fs::read_dir(world.path("inbox")).expect("an inbox").count(), 1, "leftovers beside the tree");
    assert_same_tree(&world.path("tree"), &world.path("inbox/tree"));
    assert!(on_disk(&world.path("inbox/tree/sparse")) < MIB, "the hole was filled");
}

#[test]
fn several_sources_arrive_in_one_go() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    for name in ["a", "b", "c"] {
        world.write(name, name);
    }
    world.dir("d/below");
    world.dir("inbox");
    let recv = inbox(&west, &[]);
    east.send().args(["a", "b", "./c", "d/", "west"]).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    assert_eq!(names(&world.path("inbox")), ["a", "b", "c", "d", "d/below"]);
    assert_eq!(read(&world.path("inbox/c")), "c");
}

#[test]
fn stream_can_be_kept_under_a_name() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    let recv = inbox(&west, &[]);
    let tool = east.send().args(["-", "west", "--name", "dump.sql"]).input(Input::Random { seed: 1, bytes: MIB });
    tool.run().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    assert_eq!(names(&world.path("inbox")), ["dump.sql"]);
    assert_eq!(crate::harness::data::digest(&world.path("inbox/dump.sql")), Random::digest(1, MIB));
}

#[test]
fn nightly_stream_is_welcome_again_and_refused_when_it_differs() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    let night = |receive: &[&str], name: &str, seed: u64, code: i32| {
        let recv = inbox(&west, &[receive, &["--exec", "echo >>ran"]].concat());
        let input = Input::Random { seed, bytes: MIB };
        let send = east.send().args(["-", "west", "--name", name]).input(input).run().expect(code);
        (send, recv.wait().expect(code))
    };
    let ran = || read(&world.path("ran")).lines().count();
    night(&[], "dump", 1, exit::DONE);
    let (send, recv) = night(&[], "dump", 1, exit::DONE);
    assert_eq!((ran(), send.stderr, recv.stderr), (1, String::new(), "attached drop\n".to_owned()), "it was there");
    let (send, _) = night(&[], "dump", 2, exit::REFUSED);
    assert!(
        send.stderr.starts_with("vp-send: error: west:drop: nothing was transferred: at west: exists and differs\n"),
        "{send}"
    );
    assert!(send.stderr.contains("hint: send it under another name, with the date in it"), "{send}");
    night(&[], "dump-2026-11-30", 2, exit::DONE);
    assert_eq!((names(&world.path("inbox")), ran()), (vec!["dump".into(), "dump-2026-11-30".into()], 2));
    night(&["--overwrite", "rename"], "dump", 2, exit::DONE);
    night(&["--overwrite", "rename"], "dump", 2, exit::DONE);
    assert_eq!((digest(&world.path("inbox/dump.1")), ran()), (Random::digest(2, MIB), 3), "kept once");
    night(&["--overwrite", "yes"], "dump", 2, exit::DONE);
    assert_eq!(digest(&world.path("inbox/dump")), Random::digest(2, MIB));
    assert_eq!(names(&world.path("inbox")), ["dump", "dump-2026-11-30", "dump.1"], "nothing is left over");
}

#[test]
fn links_that_lead_out_are_said_once_and_fail_nothing() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    fs::write(world.dir("beside").join("file"), "outside").expect("a file");
    fs::write(tree.join("a"), "inside").expect("a file");
    for (name, target) in [("in", "a"), ("out", "../beside"), ("passwd", "/etc/passwd"), ("round", ".")] {
        symlink(target, tree.join(name)).expect("a link");
    }
    let kept =
        "vp-send: warning: 2 links that lead out of what is sent are left out, the first: tree/out; see --links\n";
    let back = "vp-send: warning: 1 link that leads back into a directory above is left out: tree/round; see --links\n";
    let cases: [(&[&str], &str, &[&str]); 4] = [
        (&[], kept, &["tree", "tree/a", "tree/in", "tree/round"]),
        (&["--links", "keep"], kept, &["tree", "tree/a", "tree/in", "tree/round"]),
        (&["--links", "skip"], "", &["tree", "tree/a"]),
        (&["--links", "follow"], back, &["tree", "tree/a", "tree/in", "tree/out", "tree/out/file", "tree/passwd"]),
    ];
    for (number, (words, said, there)) in cases.into_iter().enumerate() {
        let place = format!("inbox-{number}");
        world.dir(&place);
        // The second time nothing is missing, and still nothing fails.
        for _ in 0..2 {
            let recv = west.waiting(west.recv().args(["drop", "-d", &place]));
            let send = east.send().args(["tree", "west"]).args(words).run().expect(exit::DONE);
            recv.wait().expect(exit::DONE);
            assert_eq!(send.stderr, said, "{words:?}");
            assert_eq!(names(&world.path(&place)), there, "{words:?}");
        }
    }
    assert_eq!(read(&world.path("inbox-3/tree/out/file")), "outside");
    let listed = east.send().args(["--dry-run", "--links", "skip", "tree", "west"]).run().expect(exit::DONE);
    listed.expect_output(b"tree/\ntree/a\n").expect_silence();
}

#[test]
fn many_small_files_need_no_round_trip_each() {
    let world = World::new();
    let relay = world.relay();
    let delay = Shape { delay: std::time::Duration::from_millis(100), ..Shape::default() };
    let (_proxy, through) = relay.behind(delay);
    let (east, west) = (world.party("east", &through), relay.party("west"));
    let tree = world.dir("tree");
    for n in 0..1000 {
        fs::write(tree.join(format!("{n:04}")), n.to_string()).expect("a file");
    }
    world.dir("inbox");
    let recv = inbox(&west, &[]);
    let done = east.send().args(["tree", "west"]).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    assert_same_tree(&tree, &world.path("inbox/tree"));
    // A round trip each would be 200 s.
    assert!(done.took.as_secs() < 50, "took {:?}", done.took);
}

#[test]
fn nothing_is_visible_under_its_name_before_it_is_whole() {
    let world = World::new();
    let relay = world.relay();
    let (proxy, through) = relay.behind(Shape::default());
    let (east, west) = (world.party("east", &through), relay.party("west"));
    proxy.tell("rate 4M".parse::<Command>().expect("a command")).expect("told");
    Random::file(&world.path("file"), 2, 12 * MIB);
    world.dir("inbox");
    let recv = inbox(&west, &[]);
    let mut send = east.send().args(["file", "west"]).spawn();
    let mut looked = 0;
    while send.is_running() {
        for name in names(&world.path("inbox")) {
            let whole = || fs::metadata(world.path("inbox/file")).is_ok_and(|meta| meta.len() == 12 * MIB);
            assert!(name.starts_with(".vp-part.") || (name == "file" && whole()), "half-made {name:?} is visible");
            looked += 1;
        }
    }
    assert!(looked > 10, "looked {looked} times only");
    send.wait().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    assert_eq!(names(&world.path("inbox")), ["file"]);
}

#[test]
fn existing_file_is_kept_renamed_or_replaced_as_told() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    type Case = (&'static [&'static str], &'static [i32], &'static [&'static str], &'static str);
    let cases: [Case; 4] = [
        (&[], &[exit::PARTIAL, exit::REFUSED], &["note"], "old"),
        (&["--overwrite", "never"], &[exit::PARTIAL, exit::REFUSED], &["note"], "old"),
        (&["--overwrite", "rename"], &[exit::DONE], &["note", "note.1"], "old"),
        (&["--overwrite", "yes"], &[exit::DONE], &["note"], "new and longer"),
    ];
    world.write("note", "new and longer");
    for (args, codes, left, note) in cases {
        // A case that leaves the inbox as another found it would prove nothing.
        let _ = fs::remove_dir_all(world.path("inbox"));
        fs::write(world.dir("inbox").join("note"), "old").expect("a file");
        let recv = inbox(&west, args);
        east.send().args(["note", "west"]).run().expect_one_of(codes);
        recv.wait();
        assert_eq!(names(&world.path("inbox")), left, "{args:?}");
        assert_eq!(read(&world.path("inbox/note")), note, "{args:?}");
    }
    assert!(!world.path("inbox/note.1").exists());
}

#[test]
fn each_kind_of_thing_is_replaced_by_each_other_but_no_directory_with_something_in_it() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    fs::write(tree.join("now-file"), "content").expect("a file");
    symlink("now-file", tree.join("now-link")).expect("a link");
    fs::create_dir(tree.join("now-directory")).expect("a directory");
    fs::write(tree.join("now-directory/below"), "below").expect("a file");
    let there = world.dir("inbox/tree");
    fs::create_dir(there.join("now-file")).expect("a directory");
    fs::create_dir(there.join("now-link")).expect("a directory");
    fs::write(there.join("now-directory"), "old").expect("a file");
    let recv = inbox(&west, &["--overwrite", "yes"]);
    east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE);
    assert_same_tree(&tree, &there);
    // The other way round the directory holds something.
    world.write("now-directory", "a file");
    fs::create_dir_all(world.path("inbox/now-directory/precious")).expect("a directory");
    for source in [&["now-directory"][..], &["-", "--name", "now-directory"]] {
        let recv = inbox(&west, &["--overwrite", "yes"]);
        let done = east.send().args(source).arg("west").run().expect(exit::REFUSED);
        let done = done.expect_error("a directory with something in it is there");
        assert!(done.stderr.contains("hint: a directory with something in it stays"), "{done}");
        recv.wait().expect(exit::REFUSED);
        assert!(world.path("inbox/now-directory/precious").is_dir());
    }
}

#[test]
fn same_again_sends_nothing_again() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let tree = world.dir("tree");
    for n in 0..20 {
        Random::file(&tree.join(n.to_string()), n, MIB / 4);
    }
    world.dir("inbox");
    let mut wire = Vec::new();
    for codes in [&[exit::DONE][..], &[exit::DONE, exit::NOTHING]] {
        let (proxy, through) = relay.behind(Shape::default());
        let recv = inbox(&west, &[]);
        world.party("east", &through).send().args(["tree", "west"]).run().expect_one_of(codes);
        recv.wait().expect_one_of(codes);
        assert_same_tree(&tree, &world.path("inbox/tree"));
        wire.push(proxy.count().delivered[0]);
    }
    assert!(wire[0] > 5 * MIB && wire[1] < 100_000, "{wire:?}");
}

#[test]
fn link_that_leaves_the_tree_is_left_out_and_the_rest_arrives() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    fs::write(tree.join("good"), "good").expect("a file");
    symlink("good", tree.join("inside")).expect("a link");
    symlink("/etc/passwd", tree.join("absolute")).expect("a link");
    symlink("../../peers", tree.join("above")).expect("a link");
    world.dir("inbox");
    let recv = inbox(&west, &[]);
    let done = east.send().args(["tree", "west"]).run().expect(exit::DONE);
    assert!(done.stderr.contains("2 links that lead out") && done.stderr.contains("tree/above"), "{done}");
    recv.wait().expect(exit::DONE);
    assert_eq!(names(&world.path("inbox/tree")), ["good", "inside"]);
}

#[test]
fn special_file_is_left_out_and_the_rest_arrives() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    fs::write(tree.join("good"), "good").expect("a file");
    Tool::new("mkfifo", &tree).arg("pipe").run().expect(0);
    world.dir("inbox");
    let recv = inbox(&west, &[]);
    let done = east.send().args(["tree", "west"]).run().expect(exit::FAILED);
    assert!(done.stderr.contains("pipe"), "{done}");
    recv.wait().expect_one_of(&[exit::PARTIAL, exit::DONE]);
    assert_eq!(names(&world.path("inbox/tree")), ["good"]);
}

#[test]
fn dangerous_bits_do_not_travel() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let path = world.write("tool", "#!/bin/sh\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6755)).expect("a mode");
    world.dir("inbox");
    let recv = inbox(&west, &[]);
    east.send().args(["tool", "west"]).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    let mode = fs::metadata(world.path("inbox/tool")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn absent_source_is_named_and_the_others_arrive() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("there", "there");
    world.dir("inbox");
    let alone = east.send().args(["absent", "west", "--timeout", "1s"]).run();
    alone.expect_one_of(&[exit::FAILED, exit::CONFIG, exit::PARTIAL]).expect_error("absent");
    let recv = inbox(&west, &[]);
    let done = east.send().args(["there", "absent", "west"]).run().expect_one_of(&[exit::PARTIAL, exit::FAILED]);
    assert!(done.stderr.contains("absent"), "{done}");
    if done.code() == Some(exit::PARTIAL) {
        recv.wait().expect_one_of(&[exit::PARTIAL, exit::DONE]);
        assert_eq!(names(&world.path("inbox")), ["there"]);
    } else {
        recv.kill();
        assert!(names(&world.path("inbox")).is_empty(), "refused as a whole, yet something was sent");
    }
}

#[test]
fn cap_on_size_or_number_refuses_a_send_before_anything_is_made() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    for n in 0..10 {
        Random::file(&tree.join(n.to_string()), n, 100_000);
    }
    let (too_large, too_many) = (" refused: too large", " refused: too many items");
    // What just fits, the directory counted as an item too, is taken.
    let cases: [(_, i32, &str, usize); 5] = [
        (["--max-size", "999999"], exit::REFUSED, too_large, 0),
        (["--max-size", "99999"], exit::REFUSED, too_large, 0),
        (["--max-size", "1000000"], exit::DONE, "", 11),
        (["--max-items", "10"], exit::REFUSED, too_many, 0),
        (["--max-items", "11"], exit::DONE, "", 11),
    ];
    for (cap, code, line, made) in cases {
        world.dir("inbox");
        let recv = inbox(&west, &cap);
        let sent = east.send().args(["tree", "west"]).run();
        for (done, start) in
            [(sent, "west:drop: west refused the transfer"), (recv.wait(), "east:drop: the transfer was refused")]
        {
            let done = done.expect(code);
            let why = line.trim_start_matches(" refused");
            let _ = if line.is_empty() { done } else { done.expect_error(&format!("error: {start}{why}")) };
        }
        let names = names(&world.path("inbox"));
        assert_eq!(names.len(), made, "{cap:?}: {names:?}");
        let whole = |name: &&String| digest(&world.path("inbox").join(name)) == digest(&world.path(name));
        assert_eq!(names.iter().filter(|name| *name != "tree").filter(whole).count(), made.saturating_sub(1));
        fs::remove_dir_all(world.path("inbox")).expect("removed");
    }
}

#[test]
fn daemon_takes_one_sender_after_the_other_and_runs_its_command_for_each_item() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    let mut recv = inbox(&west, &["--keep", "--exec", "echo item >> log"]);
    for n in 0..3 {
        let name = format!("file{n}");
        world.write(&name, &name);
        east.send().args([&*name, "west"]).run().expect(exit::DONE).expect_silence();
        // Done means final: it is there the moment the sender has ended.
        assert_eq!(read(&world.path(format!("inbox/{name}"))), name);
    }
    eventually("the command has run for each", || {
        ["log", "inbox/log"]
            .iter()
            .any(|log| fs::read_to_string(world.path(log)).is_ok_and(|text| text == "item\n".repeat(3)))
    });
    assert!(recv.is_running());
}

#[test]
fn two_sends_of_the_same_file_at_once_both_succeed_and_of_different_ones_one() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    for (seed, seconds) in [(1, &[exit::DONE][..]), (2, &[exit::REFUSED, exit::FAILED])] {
        let _ = fs::remove_dir_all(world.path("inbox"));
        world.dir("inbox");
        for (folder, seed) in [("one", 1), ("two", seed)] {
            Random::file(&world.dir(folder).join("file"), seed, 256 << 10);
        }
        let _recv = inbox(&west, &["--keep"]);
        let parts = || names(&world.path("inbox")).iter().filter(|name| name.starts_with(".vp-part.")).count();
        // The slow one is stopped on its way, so that neither finds the other's file there when it begins.
        let slow = east.send().args(["one/file", "west", "--limit", "64K"]).spawn();
        eventually("one is on its way", || parts() == 1);
        slow.signal(Signal::STOP);
        let fast = east.send().args(["two/file", "west", "--limit", "64K"]).spawn();
        eventually("two are on their way", || parts() == 2);
        fast.wait().expect(exit::DONE).expect_silence();
        slow.signal(Signal::CONT);
        // Of two that differ the faster stays, and the slower hears that the name or its unfinished file was taken.
        slow.wait().expect_one_of(seconds);
        assert_eq!(names(&world.path("inbox")), ["file"], "nothing half-made stays");
        assert_eq!(digest(&world.path("inbox/file")), digest(&world.path("two/file")));
    }
}

#[test]
fn each_sender_can_have_a_directory_of_its_own_and_none_leads_elsewhere() {
    let world = World::new();
    let ids = ["east", "west", "stranger"].map(|name| world.id(name));
    // One has a name, the other one that is no name for a directory.
    world.write("peers", &format!("east {}\nwest {}\n.. {}\n", ids[0], ids[1], ids[2]));
    let relay = world.relay();
    let west = relay.party("west");
    world.dir("inbox");
    world.write("inbox/file", "the owner's");
    let tool = west.recv().args(["drop", "-d", "inbox/%p", "--keep", "--exec", "test -f \"$VP_PATH\""]);
    let _recv = west.waiting(tool);
    for round in ["one", "two"] {
        for name in ["east", "stranger"] {
            if !world.dir(name).join("file").exists() {
                world.write(&format!("{name}/file"), name);
            }
            world.write(&format!("{name}/{round}"), name);
            let sources = [format!("{name}/file"), format!("{name}/{round}")];
            relay.party(name).send().args(sources).arg("west").run().expect(exit::DONE).expect_silence();
        }
    }
    let top: Vec<_> = names(&world.path("inbox")).into_iter().filter(|name| !name.contains('/')).collect();
    assert_eq!(top, ["east", "file", &*ids[2]]);
    for (directory, text) in [("east", "east"), (&*ids[2], "stranger")] {
        let directory = world.path("inbox").join(directory);
        assert_eq!(names(&directory), ["file", "one", "two"]);
        assert_eq!(read(&directory.join("file")), text);
    }
    assert_eq!(read(&world.path("inbox/file")), "the owner's");
}

#[test]
fn a_peer_is_named_only_at_the_end_of_a_path() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let done = west.recv().args(["drop", "-d", "%p/inbox"]).run().expect(exit::USAGE);
    done.expect_error("%p may stand in the last name of the path only");
    west.recv().args(["drop", "-d", "absent/deeper/%p"]).run().expect(exit::CONFIG).expect_error("absent/deeper");
}

#[test]
fn nothing_to_receive_into_is_a_clear_error() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    world.write("file", "not a directory");
    for dir in ["absent/deeper", "file"] {
        let done = west.recv().args(["drop", "-d", dir]).run();
        done.expect_one_of(&[exit::FAILED, exit::CONFIG, exit::USAGE]).expect_error(dir);
    }
    assert_eq!(read(&world.path("file")), "not a directory");
    assert!(!world.path("absent").exists());
}
