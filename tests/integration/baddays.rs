//! Bad days of one machine: a full disk, a read-only directory, a closed or full standard output, a source that changes
//! while it is read, links laid in the way. One clear line, the right status, nothing lost and nothing half-made.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::data::digest;
use crate::harness::{
    Done, Input, OLD_SYSTEM, Output, Party, Random, Relay, Running, Signal, Tool, World, assert_same_tree, eventually,
    exit, names,
};
use crate::impair::{Command, Shape};

const MIB: u64 = 1 << 20;

/// Runs a tool with a file system of its own mounted over `inbox`: only it sees that, and it goes with it. What is left in
/// it at the end is written to the file `left`, and whether the status is kept is the shell's business.
fn on_tmpfs(world: &World, options: &str, tool: Tool) -> Tool {
    let script = format!(
        "mount -t tmpfs -o {options} none inbox || exit 99\n\"$@\"\nstatus=$?\nls -A inbox > left\nexit $status"
    );
    let script = world.script("on-tmpfs", &script);
    tool.under(["unshare", "--mount", "--map-root-user"]).under([script])
}

fn left(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.path("left")).expect("the listing");
    text.lines().map(str::to_owned).collect()
}

fn inbox(west: &Party<'_>, args: &[&str]) -> Running {
    west.waiting(west.recv().args(["drop", "-d", "inbox"]).args(args))
}

#[test]
fn full_disk_is_told_to_both_and_small_files_still_arrive() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    world.write("small", "small");
    Random::file(&world.path("large"), 1, 16 * MIB);
    let cases = [
        (vec!["large"], exit::FAILED, "error: west:drop: nothing was transferred: at west: no space left"),
        (
            vec!["small", "large"],
            exit::PARTIAL,
            "error: west:drop: 1 of 2 items was not transferred: at west: no space left",
        ),
    ];
    for (sources, code, line) in cases {
        let recv = west.waiting(on_tmpfs(&world, "size=4m", west.recv().args(["drop", "-d", "inbox"])));
        let sent = east.send().args(&sources).arg("west").run();
        both_hear([sent, recv.wait()], code, line);
        let mut left = left(&world);
        left.retain(|name| !name.starts_with(".vp-part."));
        assert_eq!(left, sources[..sources.len() - 1], "what did not fit has a name");
    }
}

/// Sender and receiver end alike, and the sender says where it happened.
#[track_caller]
fn both_hear([sent, received]: [Done; 2], code: i32, line: &str) {
    sent.expect(code).expect_error(line);
    received.expect(code).expect_error(&line.replace("at west: ", "").replace("west:", "east:"));
}

#[test]
fn read_only_directory_is_found_before_anybody_sends() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    world.write("file", "file");
    // Found before anybody has come to send.
    let recv = on_tmpfs(&world, "ro", west.recv().args(["drop", "-d", "inbox", "--keep"])).run();
    recv.expect(exit::CONFIG).expect_error("inbox: read-only file system");
    east.send().args(["file", "west", "--timeout", "0"]).run().expect(exit::PEER_ABSENT);
    assert!(left(&world).is_empty());
}

#[test]
fn reader_of_standard_output_that_leaves_is_a_failed_send() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let line = format!("{} | head -c 1000 >/dev/null", west.recv().arg("x").shell_line());
    let recv = Tool::new("sh", &world.path("")).args(["-c", &line]).spawn();
    let done = east.send().args(["-", "west:x"]).input(Input::Random { seed: 1, bytes: 64 * MIB }).run();
    done.expect(exit::FAILED)
        .expect_error("error: west:x: nothing was transferred: at west: its reader stopped before the end");
    // A reader that has enough is a quiet end, as for any filter.
    recv.wait().expect_silence();
}

#[test]
fn closed_standard_streams_are_never_somebody_elses_descriptor() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    // The run-time library puts /dev/null in the place of a closed stream before any of our code runs. So a closed output
    // takes everything and a closed input is empty, as with /dev/null; what must not happen is a socket in their place.
    let closed = ["sh", "-c", "exec \"$@\" <&- >&-", "sh"];
    let recv = west.waiting(west.recv().arg("x").under(closed));
    let done = east.send().args(["-", "west:x"]).input(Input::Random { seed: 1, bytes: MIB }).run();
    done.expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE);
    let recv = west.waiting(west.recv().arg("y"));
    east.send().args(["-", "west:y"]).under(closed).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE).expect_output(b"");
}

#[test]
fn full_standard_output_is_an_error_and_the_sender_hears_of_it() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let full = || Output::File("/dev/full".into());
    let recv = west.waiting(west.recv().arg("x").output(full()));
    let done = east.send().args(["-", "west:x"]).input(Input::Random { seed: 1, bytes: MIB }).run();
    done.expect(exit::FAILED).expect_error("error: west:x: nothing was transferred: at west: no space left");
    recv.wait().expect(exit::FAILED).expect_error("error: writing output: no space left on device");
    world.keygen().output(full()).run().expect(exit::FAILED);
    for name in ["vp-relay", "vp-attach", "vp-send", "vp-recv", "vp-keygen"] {
        world.tool(name).arg("--help").output(full()).run().expect(exit::FAILED);
    }
}

#[test]
fn source_that_changes_while_read_is_not_delivered() {
    let world = World::new();
    let relay = world.relay();
    let (proxy, through) = relay.behind(Shape { queue_bytes: 64 << 10, ..Shape::default() });
    proxy.tell("rate 8M".parse::<Command>().expect("a command")).expect("told");
    let (east, west) = (world.party("east", &through), relay.party("west"));
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("grown", |path| {
            let mut file = fs::OpenOptions::new().append(true).open(path).expect("the source");
            std::io::Write::write_all(&mut file, b"more").expect("written");
        }),
        ("shrunk", |path| {
            let file = fs::OpenOptions::new().write(true).open(path).expect("the source");
            file.set_len(20 * MIB).expect("truncated");
        }),
        ("rewritten", |path| {
            let file = fs::OpenOptions::new().write(true).open(path).expect("the source");
            std::os::unix::fs::FileExt::write_all_at(&file, b"other bytes", 39 * MIB).expect("written");
        }),
    ];
    for (what, change) in changes {
        world.dir("inbox");
        let path = world.path(what);
        // More than all windows on the way hold, so that its end is still unread when its middle is on the wire.
        Random::file(&path, 2, 40 * MIB);
        let recv = inbox(&west, &[]);
        let before = proxy.count().delivered[0];
        let send = east.send().args([what, "west", "--compress", "off"]).spawn();
        eventually("it flows", || proxy.count().delivered[0] > before + 2 * MIB);
        change(&path);
        let sent = send.wait();
        for (done, start) in [(sent, "west:drop: "), (recv.wait(), "east:drop: ")] {
            let at = if start == "west:drop: " { "" } else { "at east: " };
            done.expect(exit::FAILED).expect_error(&format!("error: {start}nothing was transferred: {at}changed"));
        }
        assert!(names(&world.path("inbox")).iter().all(|name| name.starts_with(".vp-part.")), "{what} was delivered");
        fs::remove_dir_all(world.path("inbox")).expect("removed");
    }
}

#[test]
fn links_laid_in_the_inbox_are_not_followed() {
    laid_links(&[]);
    laid_links(&OLD_SYSTEM);
}

fn laid_links(filter: &[&str]) {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east").filtered(filter), relay.party("west").filtered(filter));
    let outside = world.dir("outside");
    fs::write(outside.join("victim"), "untouched").expect("a file");
    let tree = world.dir("tree");
    fs::write(tree.join("victim"), "sent").expect("a file");
    world.write("single", "sent");
    world.write("other", "sent");
    let links = [("tree", outside.clone()), ("single", outside.join("victim")), ("other", outside.join("absent"))];
    let none = "error: west:drop: none of 4 items was transferred; the first: at west: exists and differs";
    let some = "error: west:drop: 2 of 4 items were not transferred; the first: at west: exists and differs";
    let cases: [(&str, i32, &str, &[&str]); 3] = [
        ("never", exit::REFUSED, none, &[]),
        ("rename", exit::REFUSED, some, &["other.1", "single.1"]),
        ("yes", exit::DONE, "", &["other", "single", "tree/victim"]),
    ];
    for (overwrite, code, line, made) in cases {
        let inbox_dir = world.dir("inbox");
        links.iter().for_each(|(name, to)| symlink(to, inbox_dir.join(name)).expect("a link"));
        let recv = inbox(&west, &["--overwrite", overwrite]);
        let sent = east.send().args(["tree", "single", "other", "west"]).run();
        if line.is_empty() {
            sent.expect(code);
            recv.wait().expect(code);
        } else {
            both_hear([sent, recv.wait()], code, line);
        }
        assert_eq!(names(&outside), ["victim"], "--overwrite {overwrite} wrote through a link");
        assert_eq!(fs::read_to_string(outside.join("victim")).expect("the victim"), "untouched");
        for (name, to) in &links {
            let kept = fs::read_link(inbox_dir.join(name)).ok();
            assert!(
                made.iter().any(|path| path.starts_with(name)) || kept.as_ref() == Some(to),
                "--overwrite {overwrite}: {name}: {kept:?}"
            );
        }
        let mut all: Vec<_> = links.iter().map(|(name, _)| *name).chain(made.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(names(&inbox_dir), all, "--overwrite {overwrite}");
        for name in made {
            let meta = fs::symlink_metadata(inbox_dir.join(name)).expect("what was sent");
            assert!(meta.is_file() && fs::read(inbox_dir.join(name)).expect("it") == b"sent", "{name}");
        }
        fs::remove_dir_all(inbox_dir).expect("removed");
    }
}

#[test]
fn link_swapped_in_while_receiving_is_not_followed() {
    swapped_link(&[]);
    swapped_link(&OLD_SYSTEM);
}

fn swapped_link(filter: &[&str]) {
    let world = World::new();
    let relay = world.relay();
    let (proxy, through) = relay.behind(Shape { queue_bytes: 64 << 10, ..Shape::default() });
    proxy.tell("rate 4M".parse::<Command>().expect("a command")).expect("told");
    let (east, west) = (world.party("east", &through).filtered(filter), relay.party("west").filtered(filter));
    let (outside, below) = (world.dir("outside"), world.dir("tree/below"));
    for n in 0..40 {
        Random::file(&below.join(format!("{n:02}")), n, MIB / 4);
        fs::write(outside.join(format!("{n:02}")), "untouched").expect("a file");
    }
    world.dir("inbox");
    let mut recv = inbox(&west, &["--keep"]);
    let mut send = east.send().args(["tree", "west"]).spawn();
    let target = world.path("inbox/tree/below");
    let aside = world.path("aside");
    let mut swaps = 0;
    while send.is_running() {
        // The directory goes aside and a link that leads out takes its place, and back, as fast as it goes.
        if fs::rename(&target, &aside).is_ok() {
            symlink(&outside, &target).expect("a link");
            fs::remove_file(&target).expect("our link");
            fs::rename(&aside, &target).expect("back");
            swaps += 1;
        }
    }
    assert!(swaps > 0, "the directory was never there to be swapped");
    let untouched = |what: &str| {
        assert_eq!(names(&outside), names(&below), "{what}: something was made behind a link");
        let is_untouched = |name: &String| fs::read(outside.join(name)).is_ok_and(|data| data == b"untouched");
        assert!(names(&outside).iter().all(is_untouched), "{what}: something was written through a link");
    };
    // What came while the way to it was not the one that was agreed on has failed, and nothing else.
    let done = send.wait().expect_one_of(&[exit::DONE, exit::PARTIAL]);
    untouched("in between");
    let whole: Vec<_> = names(&target).into_iter().filter(|name| !name.starts_with(".vp-part.")).collect();
    let same = |name: &String| digest(&target.join(name)) == digest(&below.join(name));
    assert!(whole.iter().all(same), "something else than was sent has its name");
    match (whole.len(), done.code()) {
        (40, Some(exit::DONE)) => {}
        // All came, but the receiver looked at the end just while the directory was aside.
        (40, _) => drop(done.expect_error("not every directory is in its place")),
        (there, Some(exit::PARTIAL)) => {
            // The directory itself fails if it goes aside between its making and its opening, and then all that is in it does.
            let lost = 40 - there + usize::from(done.to_string().contains("warning: tree/below: at west: "));
            let were = if lost == 1 { "was" } else { "were" };
            drop(done.expect_error(&format!("error: west:drop: {lost} of 42 items {were} not transferred")));
        }
        (there, _) => panic!("{there} of 40 are there\n{done}"),
    }
    // The receiver is none the worse for it.
    assert!(recv.is_running(), "{recv}");
    east.send().args(["tree", "west"]).run().expect(exit::DONE);
    untouched("afterwards");
    assert_same_tree(&world.path("tree"), &world.path("inbox/tree"));
}

#[test]
fn names_too_long_and_trees_too_deep_fail_alone() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    fs::write(tree.join("good"), "good").expect("a file");
    let mut deep = tree.join("deep");
    for _ in 0..80 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).expect("a deep directory");
    fs::write(deep.join("bottom"), "x").expect("a file");
    // One that cannot be renamed aside, made a part of or numbered without passing 255 bytes.
    let long = "l".repeat(255);
    fs::write(tree.join(&long), "long").expect("a file");
    world.dir("inbox");
    let recv = inbox(&west, &[]);
    east.send().args(["tree", "west"]).run().expect(exit::FAILED);
    recv.wait().expect(exit::PARTIAL);
    assert_eq!(fs::read_to_string(world.path("inbox/tree/good")).expect("the good one"), "good");
    assert_eq!(fs::read_to_string(world.path("inbox/tree").join(long)).expect("the long one"), "long");
    assert!(!names(&world.path("inbox")).iter().any(|name| name.ends_with("bottom")));
}

/// Sends a tree of two hundred files with fewer and fewer descriptors, until not all of it arrives: at first it must, as a
/// batch of files needs no descriptor each. Yields the ends of sender and receiver, and how many files are there.
fn with_fewer_descriptors(world: &World, relay: &Relay<'_>, limited: &str) -> (Done, Done, usize) {
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    (0..200).for_each(|n| fs::write(tree.join(n.to_string()), n.to_string()).expect("a file"));
    let bitten = (4..=24).rev().find_map(|limit| {
        let under = |who: &str, tool: Tool| match who == limited {
            true => tool.under(["prlimit", &format!("--nofile={limit}"), "--"]),
            false => tool,
        };
        let _ = fs::remove_dir_all(world.path("inbox"));
        world.dir("inbox");
        let recv = west.waiting(under("receiver", west.recv().args(["drop", "-d", "inbox"])));
        let sent = under("sender", east.send().args(["tree", "west"])).run();
        let whole = names(&world.path("inbox")).iter().filter(|name| name.starts_with("tree/")).count();
        let received = recv.wait();
        if sent.code() != Some(exit::DONE) {
            return Some((sent, received, whole));
        }
        assert_eq!((received.code(), whole), (Some(exit::DONE), 200), "said done with {limit} descriptors\n{received}");
        assert_same_tree(&tree, &world.path("inbox/tree"));
        None
    });
    bitten.expect("a limit that is felt")
}

#[test]
fn receiver_without_descriptors_fails_cleanly() {
    let world = World::new();
    let relay = world.relay();
    let (sent, received, whole) = with_fewer_descriptors(&world, &relay, "receiver");
    let line = format!(
        "error: west:drop: {} of 201 items were not transferred; the first: at west: too many open files",
        200 - whole
    );
    both_hear([sent, received], exit::PARTIAL, &line);
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = inbox(&west, &[]);
    east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE);
    assert_same_tree(&world.path("tree"), &world.path("inbox/tree"));
}

#[test]
fn sender_without_descriptors_fails_cleanly() {
    let world = World::new();
    let relay = world.relay();
    let (sent, received, whole) = with_fewer_descriptors(&world, &relay, "sender");
    sent.expect(exit::FAILED).expect_error("error: west:drop: nothing was transferred: too many open files");
    received.expect(exit::FAILED).expect_error("error: east:drop: nothing was transferred: the sender could not offer");
    assert_eq!((whole, names(&world.path("inbox"))), (0, vec![]));
}

#[test]
fn unreadable_standard_input_is_an_error_and_never_an_end() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let mut recv = west.waiting(west.recv().args(["x", "--resume-timeout", "2s"]));
    let directory = ["sh", "-c", "exec \"$@\" <.", "sh"];
    let done = east.send().args(["-", "west:x"]).under(directory).run();
    done.expect(exit::FAILED).expect_error("error: reading standard input: is a directory");
    // Whether it had called before it noticed is its own affair.
    let heard = recv.ended_by(std::time::Instant::now() + crate::harness::SOON);
    match heard {
        true => recv.wait().expect(exit::FAILED).expect_error("east ended the session before it had everything"),
        false => recv.kill().expect_signal(Signal::KILL),
    }
    .expect_output(b"");
}

#[test]
fn whole_file_survives_a_receiver_killed_right_after_the_sender_is_done() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    Random::file(&world.path("file"), 7, 5 * MIB);
    let recv = inbox(&west, &["--keep"]);
    east.send().args(["file", "west"]).run().expect(exit::DONE);
    recv.kill();
    assert_eq!(digest(&world.path("inbox/file")), Random::digest(7, 5 * MIB));
    assert_eq!(names(&world.path("inbox")), ["file"]);
}

#[test]
fn what_is_removed_while_it_is_received_is_told_as_that_at_both_ends() {
    for whole_directory in [true, false] {
        let world = World::new();
        let relay = world.relay();
        let (east, west) = (relay.party("east"), relay.party("west"));
        let inbox = world.dir("inbox");
        let recv = west.waiting(west.recv().args(["x", "-d", "inbox"]));
        let mut send = east.send().args(["-", "west:x", "--name", "dump"]).input(Input::Held).spawn();
        send.write(b"12345");
        let parts = || fs::read_dir(&inbox).expect("the directory").flatten().map(|entry| entry.path());
        let begun = |part: std::path::PathBuf| part.metadata().is_ok_and(|found| found.len() == 5);
        eventually("it has begun to come", || parts().any(begun));
        if whole_directory {
            fs::remove_dir_all(&inbox).expect("removed");
        } else {
            parts().for_each(|part| fs::remove_file(part).expect("removed"));
        }
        send.close_input();
        let (send, recv) = (send.wait().expect(exit::FAILED), recv.wait().expect(exit::FAILED));
        let why = "it was removed while it came, or its directory was";
        assert!(send.stderr.ends_with(&format!("nothing was transferred: at west: {why}\n")), "{send}");
        assert!(recv.stderr.ends_with(&format!("nothing was transferred: {why}\n")), "{recv}");
        assert!(!inbox.join("dump").exists(), "{recv}");
    }
}

#[test]
fn sender_hears_that_the_directory_of_the_receiver_is_gone_and_the_next_one_is_served_when_it_is_back() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let inbox = world.dir("inbox");
    world.write("file", "content");
    let recv = west.waiting(west.recv().args(["x", "-d", "inbox", "--keep"]));
    fs::remove_dir(&inbox).expect("removed");
    let send = east.send().args(["file", "west:x"]).run().expect(exit::FAILED);
    assert!(send.stderr.ends_with("at west: the directory that it receives into is gone\n"), "{send}");
    recv.wait_error_line("vp-recv: warning: east:x: cannot use the directory");
    fs::create_dir(&inbox).expect("a directory");
    east.send().args(["file", "west:x"]).run().expect(exit::DONE);
    assert_eq!(fs::read_to_string(inbox.join("file")).expect("it came"), "content");
}
