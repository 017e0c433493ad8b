//! A receiver that is an ordinary user: what its own directories do not permit, it permits itself for as long as it takes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use crate::harness::{Party, Random, Running, World, assert_same_tree, eventually, exit, names};
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

/// Directories that do not let their owner work in them, and one that does. The last are read by nobody but root.
fn closed() -> &'static [(&'static str, u32)] {
    let all = &[("open", 0o755), ("full", 0o555), ("full/below", 0o500), ("blind", 0o311), ("shut", 0o000)];
    if rustix::process::geteuid().is_root() { all } else { &all[..3] }
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
    // So that whoever is no root can remove it.
    closed().iter().for_each(|(name, _)| {
        set_mode(&world.path("tree").join(name), 0o755);
        set_mode(&world.path("inbox/tree").join(name), 0o755);
    });
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
