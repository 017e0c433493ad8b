//! A receiver that is an ordinary user: what directories of the sender's do not permit, it permits itself for as long as it takes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use crate::filesystems::Mounted;
use crate::harness::{
    Party, Random, Running, World, assert_same_content, assert_same_tree, eventually, exit, names, skip,
};
use crate::impair::{Command, Shape};

const MIB: u64 = 1 << 20;
/// Nobody's number where we are root.
const ORDINARY: u32 = 65534;

/// A world in which an ordinary user may receive into `inbox`, and its receiver.
fn prepare(world: &World) {
    world.dir("inbox");
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).expect("a mode");
        for name in ["inbox", "west.key"] {
            chown(world.path(name), Some(ORDINARY), Some(ORDINARY)).expect("an owner");
        }
        // Where the tools were built an ordinary user need not get to.
        fs::copy(env!("CARGO_BIN_EXE_vp-recv"), world.path("vp-recv")).expect("a copy");
    }
}

fn inbox(world: &World, west: &Party<'_>) -> Running {
    let mut tool = west.recv();
    if rustix::process::geteuid().is_root() {
        let user = format!("--reuid={ORDINARY}");
        let group = format!("--regid={ORDINARY}");
        let exchange = "shift; exec ./vp-recv \"$@\"";
        tool = tool.under(["setpriv", &user, &group, "--clear-groups", "sh", "-c", exchange, "sh"]);
    }
    let _ = world;
    west.waiting(tool.args(["drop", "-d", "inbox", "--keep"]))
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).map_or(0, |meta| meta.mode() & 0o7777)
}

/// Directories that do not let their owner work in them. The last is sent by nobody but root.
fn closed() -> &'static [(&'static str, u32)] {
    let all = &[("full", 0o555), ("full/below", 0o500), ("flat", 0o600)];
    if rustix::process::geteuid().is_root() { all } else { &all[..2] }
}

/// So that whoever is no root can remove them.
fn open_all(world: &World, closed: &[(&str, u32)]) {
    for (name, _) in closed {
        set_mode(&world.path("tree").join(name), 0o755);
        set_mode(&world.path("inbox/tree").join(name), 0o755);
    }
}

/// When something about it was changed last: its mode, be it for a moment.
fn changed(path: &Path) -> (i64, i64) {
    fs::metadata(path).map(|meta| (meta.ctime(), meta.ctime_nsec())).expect("it is there")
}

#[test]
fn directories_that_may_not_be_written_get_more_in_the_next_transfer_and_stay_as_announced() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    prepare(&world);
    let recv = inbox(&world, &west);
    for (name, _) in closed() {
        world.dir(&format!("tree/{name}"));
    }
    for round in ["one", "two", "three"] {
        for (name, mode) in closed() {
            set_mode(&world.path("tree").join(name), 0o755);
            world.write(&format!("tree/{name}/{round}"), round);
            world.dir(&format!("tree/{name}/in-{round}"));
            set_mode(&world.path("tree").join(name), *mode);
        }
        east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
        assert_same_tree(&world.path("tree"), &world.path("inbox/tree"));
    }
    drop(recv);
    open_all(&world, closed());
}

#[test]
fn such_a_directory_is_as_it_was_when_the_sender_has_gone_and_gets_its_rest_after_a_kill_too() {
    let world = World::new();
    let relay = world.relay();
    let (proxy, through) = relay.behind(Shape { queue_bytes: 64 << 10, ..Shape::default() });
    proxy.tell("rate 4M".parse::<Command>().expect("a command")).expect("told");
    let (slow, east, west) = (world.party("east", &through), relay.party("east"), relay.party("west"));
    prepare(&world);
    let there = world.path("inbox/tree/full");
    let full = world.dir("tree/full");
    fs::write(full.join("first"), "first").expect("a file");
    set_mode(&full, 0o555);
    let recv = inbox(&world, &west);
    east.send().args(["tree", "west"]).run().expect(exit::DONE);
    assert_eq!(mode(&there), 0o555);
    set_mode(&full, 0o755);
    Random::file(&full.join("large"), 1, 12 * MIB);
    set_mode(&full, 0o555);
    let has_part = || names(&there).iter().any(|name| name.starts_with(".vp-part."));

    let send = slow.send().args(["tree", "west"]).spawn();
    eventually("it is on its way", has_part);
    assert_eq!(mode(&there), 0o755);
    send.signal(crate::harness::Signal::TERM);
    drop(send.wait());
    eventually("it is closed again", || mode(&there) == 0o555);
    assert!(has_part(), "what came is kept");

    let send = slow.send().args(["tree", "west"]).spawn();
    eventually("it is open again", || mode(&there) == 0o755);
    recv.kill();
    send.kill();
    assert_eq!(mode(&there), 0o755, "nobody is left to close it");
    let _recv = inbox(&world, &west);
    east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
    assert_same_tree(&world.path("tree"), &world.path("inbox/tree"));
    [full, there].iter().for_each(|path| set_mode(path, 0o755));
}

/// Of these directories nothing says who made them, so not even their maker comes into them again.
fn stays_closed(world: &World, west: &Party<'_>, east: &Party<'_>, closed: &[(&str, u32)]) {
    let recv = inbox(world, west);
    for (name, _) in closed {
        world.dir(&format!("tree/{name}"));
    }
    let round = |file: &str| {
        for (name, mode) in closed {
            set_mode(&world.path("tree").join(name), 0o755);
            world.write(&format!("tree/{name}/{file}"), file);
            set_mode(&world.path("tree").join(name), *mode);
        }
        east.send().args(["tree", "west"]).run()
    };
    round("one").expect(exit::DONE).expect_silence();
    assert_same_tree(&world.path("tree"), &world.path("inbox/tree"));
    let there: Vec<_> = closed.iter().map(|(name, _)| world.path("inbox/tree").join(name)).collect();
    let before: Vec<_> = there.iter().map(|path| changed(path)).collect();
    let sent = round("two").expect(exit::PARTIAL);
    for (name, _) in closed {
        let is_below =
            |line: &str| line.split_once(&format!("tree/{name}/")).is_some_and(|(_, rest)| !rest.contains("/two"));
        let is_line = |line: &str| is_below(line) && line.contains("permission denied");
        assert_eq!(sent.stderr.lines().filter(|line| is_line(line)).count(), 1, "{name}: {sent}");
        recv.wait_error_line_like("what was not received", is_line);
    }
    assert_eq!(there.iter().map(|path| changed(path)).collect::<Vec<_>>(), before, "not for a moment");
    open_all(world, closed);
}

#[test]
fn a_directory_that_its_owner_may_not_read_does_not_say_whose_it_is_and_stays_closed() {
    let world = World::new();
    let relay = world.relay();
    prepare(&world);
    if !rustix::process::geteuid().is_root() {
        return skip("to send what its owner may not read needs root");
    }
    stays_closed(&world, &relay.party("west"), &relay.party("east"), &[("shut", 0o000), ("passed", 0o100)]);
}

/// Who may pass and fill a directory need not list it: it is as it was announced, and nothing is opened for what comes into it.
#[test]
fn a_directory_that_its_owner_may_not_read_takes_what_comes_and_what_is_there_is_known_again() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    prepare(&world);
    if !rustix::process::geteuid().is_root() {
        return skip("to send what its owner may not read needs root");
    }
    let closed = [("blind", 0o311), ("blind/below", 0o300), ("empty", 0o000)];
    let _recv = inbox(&world, &west);
    for (name, _) in closed {
        world.dir(&format!("tree/{name}"));
    }
    for round in ["one", "one", "two"] {
        for (name, mode) in closed {
            set_mode(&world.path("tree").join(name), 0o755);
            let file = format!("tree/{name}/{round}");
            if name != "empty" && !world.path(&file).exists() {
                world.write(&file, round);
            }
            set_mode(&world.path("tree").join(name), mode);
        }
        east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
        assert_same_content(&world.path("tree"), &world.path("inbox/tree"));
        for (name, mode) in closed {
            assert_eq!(self::mode(&world.path("inbox/tree").join(name)), mode, "{name}");
        }
    }
    open_all(&world, &closed);
}

#[test]
fn where_no_attributes_are_kept_a_closed_directory_stays_closed_whoever_made_it() {
    let world = World::new();
    let relay = world.relay();
    prepare(&world);
    for errno in ["EOPNOTSUPP", "ENOSYS"] {
        let rules = ["fsetxattr", "setxattr", "fgetxattr", "getxattr"].map(|call| format!("{call}={errno}"));
        let west = relay.party("west").filtered(&rules.each_ref().map(String::as_str));
        stays_closed(&world, &west, &relay.party("east"), closed());
        for path in ["tree", "inbox/tree"] {
            fs::remove_dir_all(world.path(path)).expect("removed");
        }
    }
}

#[test]
fn on_a_file_system_without_attributes_a_closed_directory_stays_closed_whoever_made_it() {
    let world = World::new();
    let relay = world.relay();
    prepare(&world);
    let at = world.path("inbox");
    let Some(_mounted) = Mounted::mount(&["-t", "ramfs", "-o", "mode=755", "vp-test"], at.clone()) else { return };
    if rustix::process::geteuid().is_root() {
        chown(&at, Some(ORDINARY), Some(ORDINARY)).expect("an owner");
    }
    let kept = rustix::fs::setxattr(&at, "user.vp.test", b"kept", rustix::fs::XattrFlags::empty());
    if kept.is_ok() {
        return skip("a file system without attributes of users");
    }
    stays_closed(&world, &relay.party("west"), &relay.party("east"), closed());
}
