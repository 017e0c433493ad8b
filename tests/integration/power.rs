//! A power cut: the receiver's disk forgets at once whatever had not been synced. What a sender was told is there, is there.
//!
//! The disk is a small ext4 in a file; the cut is ext4's own shutdown, which drops even the journal that is still in memory.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::data::digest;
use crate::harness::{Party, Random, Running, Tool, World, assert_same_tree, exit, scale, skip};

/// Shuts the file system down that holds the directory, without flushing the journal (`EXT4_IOC_SHUTDOWN`, flag 2).
const CUT: &str =
    r#"open(my $dir, "<", $ARGV[0]) or die; my $flags = pack("L", 2); ioctl($dir, 0x8004587d, $flags) or die $!"#;

struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// None where such disks cannot be had.
    fn new(world: &World) -> Option<Disk> {
        let disk = Disk { image: world.path("image"), at: world.dir("disk") };
        let image = fs::File::create(&disk.image).expect("an image");
        image.set_len(96 << 20).expect("room");
        let made = Command::new("mkfs.ext4").arg("-q").arg(&disk.image).status().is_ok_and(|status| status.success());
        if made && disk.mount() {
            return Some(disk);
        }
        skip("power cuts need root, mkfs.ext4 and loop devices");
        None
    }

    /// An inbox that the disk knows of, and of nothing that comes into it.
    fn inbox(&self) {
        let inbox = self.at.join("inbox");
        fs::create_dir(&inbox).expect("an inbox");
        Tool::new("sync", &self.at).arg("-f").arg(inbox).run().expect(0);
    }

    fn mount(&self) -> bool {
        let done = Command::new("mount").args(["-o", "loop"]).args([&self.image, &self.at]).output();
        done.is_ok_and(|done| done.status.success())
    }

    /// The power goes, and comes back: `receiver` dies of it.
    fn cut(&self, receiver: Running) {
        Tool::new("perl", &self.at).arg("-e").arg(CUT).arg(&self.at).run().expect(0);
        receiver.kill();
        self.unmount();
        assert!(self.mount(), "it cannot be mounted again");
    }

    fn unmount(&self) {
        let unmounted = || Command::new("umount").arg(&self.at).output().is_ok_and(|done| done.status.success());
        crate::harness::eventually("it is unmounted", unmounted);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).output();
    }
}

fn receiver(west: &Party<'_>, words: &[&str]) -> Running {
    west.waiting(west.recv().args(["x", "-d", "disk/inbox", "--keep"]).args(words))
}

#[test]
fn what_was_acknowledged_outlives_a_power_cut() {
    let world = World::new();
    let Some(disk) = Disk::new(&world) else { return };
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    Random::file(&world.path("file"), 1, 4 << 20);
    world.dir("tree/empty");
    world.dir("tree/inner");
    for n in 0..200 {
        world.write(&format!("tree/inner/{n}"), &format!("content {n}"));
    }
    std::os::unix::fs::symlink("inner/7", world.path("tree/link")).expect("a link");
    for round in 0..scale() {
        disk.inbox();
        let recv = receiver(&west, &[]);
        east.send().args(["file", "tree", "west:x"]).run().expect(exit::DONE);
        world.write("disk/inbox/unsynced", "nobody was told of this");
        disk.cut(recv);
        assert!(!world.path("disk/inbox/unsynced").exists(), "round {round}: the cut took nothing away");
        assert_eq!(digest(&world.path("disk/inbox/file")), Random::digest(1, 4 << 20));
        assert_same_tree(&world.path("tree"), &world.path("disk/inbox/tree"));
        fs::remove_dir_all(world.path("disk/inbox")).expect("an inbox");
    }
}

#[test]
fn what_was_found_to_be_there_outlives_a_power_cut_too() {
    let world = World::new();
    let Some(disk) = Disk::new(&world) else { return };
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("file", "content");
    world.dir("tree/inner");
    world.write("tree/inner/file", "content");
    disk.inbox();
    // Somebody has put it there, and synced nothing.
    Tool::new("cp", &world.path("")).args(["-a", "file", "tree", "disk/inbox"]).run().expect(0);
    let recv = receiver(&west, &[]);
    east.send().args(["file", "tree", "west:x"]).run().expect(exit::DONE);
    disk.cut(recv);
    assert_eq!(fs::read(world.path("disk/inbox/file")).expect("a file"), b"content");
    assert_same_tree(&world.path("tree"), &world.path("disk/inbox/tree"));
}

#[test]
fn directory_of_a_peer_and_who_made_those_in_it_outlive_a_power_cut() {
    let world = World::new();
    let Some(disk) = Disk::new(&world) else { return };
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("tree/inner");
    disk.inbox();
    for more in ["one", "two"] {
        world.write(&format!("tree/inner/{more}"), more);
        let recv = west.waiting(west.recv().args(["x", "-d", "disk/inbox/%p", "--keep"]));
        east.send().args(["tree", "west:x"]).run().expect(exit::DONE).expect_silence();
        disk.cut(recv);
        // With its time, though it was there when the second came.
        assert_same_tree(&world.path("tree"), &world.path("disk/inbox/east/tree"));
    }
}

#[test]
fn command_that_failed_before_a_power_cut_runs_after_it() {
    let world = World::new();
    let Some(disk) = Disk::new(&world) else { return };
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("file", "content");
    disk.inbox();
    let recv = receiver(&west, &["--exec", "exit 42"]);
    east.send().args(["file", "west:x"]).run().expect(exit::FAILED).expect_error("42");
    disk.cut(recv);
    assert!(world.path("disk/inbox/file").exists());
    let _recv = receiver(&west, &["--exec", "echo did > did"]);
    east.send().args(["file", "west:x"]).run().expect(exit::DONE);
    assert_eq!(fs::read(world.path("did")).expect("it ran"), b"did\n");
}

#[test]
fn what_came_onto_a_disk_within_the_inbox_outlives_its_power_cut_too() {
    let world = World::new();
    let Some(disk) = Disk::new(&world) else { return };
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    for n in 0..50 {
        world.dir("from/disk/tree");
        world.write(&format!("from/disk/tree/{n}"), &format!("content {n}"));
    }
    world.write("from/disk/file", "content");
    // The disk is mounted below what is received into, so nothing but its name tells where its files go.
    let recv = west.waiting(west.recv().args(["x", "-d", ".", "--keep"]));
    east.send().args(["from/disk", "west:x"]).run().expect(exit::DONE);
    disk.cut(recv);
    assert_same_tree(&world.path("from/disk/tree"), &world.path("disk/tree"));
    assert_eq!(fs::read(world.path("disk/file")).expect("a file"), b"content");
}
