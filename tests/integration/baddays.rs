//! Bad days of one machine: a full disk, a read-only directory, a closed or full standard output, a source that changes
//! while it is read, links laid in the way. One clear line, the right status, nothing lost and nothing half-made.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::data::digest;
use crate::harness::{Input, Output, Party, Random, Running, Tool, World, eventually, exit, names};
use crate::impair::{Command, Shape};

const MIB: u64 = 1 << 20;
const NOT_DONE: [i32; 4] = [exit::FAILED, exit::PARTIAL, exit::REFUSED, exit::INTEGRITY];

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
    Random::file(&world.path("large"), 1, 16 * MIB);
    let recv = west.waiting(on_tmpfs(&world, "size=4m", west.recv().args(["drop", "-d", "inbox"])));
    let done = east.send().args(["large", "west"]).run().expect_one_of(&NOT_DONE).expect_error("");
    assert!(done.stderr.contains("space") || done.stderr.contains("full"), "the reason is not named\n{done}");
    let done = recv.wait().expect_one_of(&NOT_DONE);
    assert!(done.stderr.contains("space") || done.stderr.contains("full"), "the reason is not named\n{done}");
    assert!(left(&world).iter().all(|name| name.starts_with(".vp-part.")), "{:?}", left(&world));
}

#[test]
fn read_only_directory_is_told_to_both() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    world.write("file", "file");
    let tool = west.recv().args(["drop", "-d", "inbox", "--ready-fd", "2"]);
    let mut recv = on_tmpfs(&world, "ro", tool).spawn();
    // Refusing at once is as good as refusing the first item.
    let mut east_done = None;
    eventually("it waits or has ended", || !recv.is_running() || recv.error_text().contains("attached "));
    if recv.is_running() {
        east_done = Some(east.send().args(["file", "west"]).run());
    }
    if let Some(done) = east_done {
        done.expect_one_of(&NOT_DONE).expect_error("");
    }
    let done = recv.wait().expect_one_of(&[exit::FAILED, exit::PARTIAL, exit::CONFIG]);
    assert!(done.stderr.to_lowercase().contains("read-only"), "the reason is not named\n{done}");
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
    assert_ne!(done.expect_error("").code(), Some(exit::DONE));
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
    assert_eq!(done.code(), recv.wait().code(), "{done}");
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
    assert_ne!(done.expect_error("").code(), Some(exit::DONE));
    assert_ne!(recv.wait().expect_error("").code(), Some(exit::DONE));
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
        let done = send.wait().expect_one_of(&NOT_DONE).expect_error("");
        assert!(done.stderr.contains("changed"), "{what}: the reason is not named\n{done}");
        recv.wait();
        assert!(names(&world.path("inbox")).iter().all(|name| name.starts_with(".vp-part.")), "{what} was delivered");
        fs::remove_dir_all(world.path("inbox")).expect("removed");
    }
}

#[test]
fn links_laid_in_the_inbox_are_not_followed() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let outside = world.dir("outside");
    let tree = world.dir("tree");
    fs::write(tree.join("file"), "sent").expect("a file");
    world.write("single", "sent");
    for overwrite in ["never", "rename", "yes"] {
        let inbox_dir = world.dir("inbox");
        symlink(&outside, inbox_dir.join("tree")).expect("a link");
        symlink(outside.join("victim"), inbox_dir.join("single")).expect("a link");
        let recv = inbox(&west, &["--overwrite", overwrite]);
        let done = east.send().args(["tree", "single", "west"]).run();
        assert!(done.code().is_some(), "{done}");
        recv.wait();
        assert!(names(&outside).is_empty(), "--overwrite {overwrite} wrote through a link: {:?}", names(&outside));
        fs::remove_dir_all(inbox_dir).expect("removed");
    }
}

#[test]
fn link_swapped_in_while_receiving_is_not_followed() {
    let world = World::new();
    let relay = world.relay();
    let (proxy, through) = relay.behind(Shape { queue_bytes: 64 << 10, ..Shape::default() });
    proxy.tell("rate 4M".parse::<Command>().expect("a command")).expect("told");
    let (east, west) = (world.party("east", &through), relay.party("west"));
    let outside = world.dir("outside");
    let below = world.dir("tree/below");
    for n in 0..40 {
        Random::file(&below.join(format!("{n:02}")), n, MIB / 4);
    }
    world.dir("inbox");
    let recv = inbox(&west, &["--keep"]);
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
    let done = send.wait();
    assert!(done.code().is_some(), "{done}");
    assert!(names(&outside).is_empty(), "wrote through a link: {:?}", names(&outside));
    drop(recv);
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
    east.send().args(["tree", "west"]).run().expect(exit::PARTIAL);
    recv.wait();
    assert_eq!(fs::read_to_string(world.path("inbox/tree/good")).expect("the good one"), "good");
    assert_eq!(fs::read_to_string(world.path("inbox/tree").join(long)).expect("the long one"), "long");
    assert!(!names(&world.path("inbox")).iter().any(|name| name.ends_with("bottom")));
}

#[test]
fn receiver_without_descriptors_fails_cleanly() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    for n in 0..200 {
        fs::write(tree.join(n.to_string()), n.to_string()).expect("a file");
    }
    world.dir("inbox");
    // As few as lets it start; a batch of files must not need a descriptor each.
    let recv = west.recv().args(["drop", "-d", "inbox"]).under(["prlimit", "--nofile=40", "--"]);
    let recv = west.waiting(recv);
    let done = east.send().args(["tree", "west"]).run().expect_one_of(&[exit::DONE, exit::PARTIAL, exit::FAILED]);
    recv.wait();
    let whole = names(&world.path("inbox")).iter().filter(|name| name.starts_with("tree/")).count();
    assert!(done.code() != Some(exit::DONE) || whole == 200, "said done with {whole} of 200");
}

#[test]
fn unreadable_standard_input_is_an_error_and_never_an_end() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let mut recv = west.waiting(west.recv().args(["x", "--resume-timeout", "2s"]));
    let directory = ["sh", "-c", "exec \"$@\" <.", "sh"];
    let done = east.send().args(["-", "west:x"]).under(directory).run().expect_error("directory");
    assert_ne!(done.code(), Some(exit::DONE), "an unreadable input was taken for an empty one");
    // Whether it had called before it noticed is its own affair.
    let heard = recv.ended_by(std::time::Instant::now() + crate::harness::SOON);
    let done = if heard { recv.wait() } else { recv.kill() };
    assert_ne!(done.expect_output(b"").code(), Some(exit::DONE));
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
