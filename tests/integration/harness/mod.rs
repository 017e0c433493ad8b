//! What every integration test stands on: a world of keys, peers and relays in a directory of its own, programs that
//! cannot outlive their test, and waits that cannot outlive their deadline. It knows the tools' command lines and nothing
//! of what is inside them; [`hostile`] and [`crowd`] alone speak the protocol.

pub mod crowd;
pub mod data;
pub mod done;
pub mod hostile;
pub mod hosts;
pub mod ports;
pub mod process;
pub mod programs;
pub mod proxies;
pub mod sites;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod tunnel;

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vp::identity::PeerId;

pub use data::{Random, assert_same_content, assert_same_tree, held, names};
pub use done::Done;
pub use process::{DEADLINE, Input, Output, Running, Tool, cpu_ticks_of};
pub use rustix::process::Signal;

use crate::impair::{Impair, ReservedPort, Shape};

/// Exit codes, as the design's table gives them: written out a second time, so that a change of the table shows.
pub mod exit {
    pub const DONE: i32 = 0;
    pub const FAILED: i32 = 1;
    pub const USAGE: i32 = 2;
    pub const CONFIG: i32 = 3;
    pub const REFUSED: i32 = 4;
    pub const PEER_ABSENT: i32 = 5;
    pub const NO_RELAY: i32 = 6;
    pub const PARTIAL: i32 = 7;
    pub const INTEGRITY: i32 = 8;
    pub const NOTHING: i32 = 9;
    pub const DEADLINE: i32 = 124;
}

/// One tool of ours, as built for this test run.
pub fn binary(name: &str) -> PathBuf {
    assert_cmd::cargo::cargo_bin(name)
}

/// Long enough for a program to have ended if it is going to; used only where both outcomes are right.
pub const SOON: Duration = Duration::from_millis(300);

/// How often the repeating tests repeat, as a factor of what a quick run does.
pub fn scale() -> u64 {
    let set = std::env::var("VP_TEST_SCALE").ok();
    set.map_or(1, |text| text.parse().expect("VP_TEST_SCALE is a number")).max(1)
}

/// The same, for times.
pub fn factor() -> u32 {
    u32::try_from(scale()).expect("a sensible VP_TEST_SCALE")
}

/// Does something when it goes: also when the test fails, or a scope would wait for ever for a thread that is never told to end.
pub struct AtEnd<F: Fn()>(pub F);

impl<F: Fn()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Waits until `holds`, looking often; the deadline fails the test.
#[track_caller]
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    assert!(within(DEADLINE, holds), "not within {DEADLINE:?}: {what}");
}

/// Whether `holds` comes true within `limit`. For facts that nothing announces: a file, a counter, a process table.
pub fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !holds() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    true
}

/// Processor time that programs use in the next second, all together, hundredths of a second.
pub fn burnt_in_a_second(programs: &[&Running]) -> u64 {
    let pids: Vec<u32> = programs.iter().map(|running| running.pid()).collect();
    burnt_by(&pids)
}

/// The same of processes by their numbers.
pub fn burnt_by(pids: &[u32]) -> u64 {
    let used = || pids.iter().map(|pid| cpu_ticks_of(*pid)).sum::<u64>();
    let before = used();
    within(Duration::from_secs(1), || false);
    used() - before
}

/// Says that a test cannot run here, for want of this. A machine that must run every test fails instead.
pub fn skip(want: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not by a macro: the test runner would keep it to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: {want}");
    assert!(std::env::var_os("VP_TEST_EVERYTHING").is_none(), "every test must run here: {want}");
}

/// Says something that shows only if the test fails.
#[expect(clippy::print_stderr, reason = "the test runner captures this and nothing else")]
pub fn tell(text: &str) {
    eprintln!("{text}");
}

/// Keys and peers files in a directory that goes when the test ends. `east` and `west` know each other by these names;
/// `stranger` has a key and knows everyone, but nobody knows it.
pub struct World {
    dir: TempDir,
}

impl World {
    /// Makes the keys and the peers file.
    pub fn new() -> World {
        let world = World { dir: TempDir::with_prefix("vp-test-").expect("a temporary directory") };
        for name in ["relay", "east", "west", "stranger"] {
            world.keygen().arg("-o").arg(world.key(name)).run().expect(exit::DONE);
        }
        world.write("peers", &format!("east {}\nwest {}\n", world.id("east"), world.id("west")));
        world
    }

    /// A path in the world's directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A fresh directory in it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a directory");
        path
    }

    /// Writes a small file in it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a small file");
        path
    }

    /// Writes a program into it.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.write(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    /// The key file of a party.
    pub fn key(&self, name: &str) -> PathBuf {
        self.path(format!("{name}.key"))
    }

    /// The id of a party, as `vp-keygen -y` prints it.
    pub fn id(&self, name: &str) -> String {
        let done = self.keygen().arg("-y").arg(self.key(name)).run().expect(exit::DONE);
        String::from_utf8(done.stdout).expect("an id is text").trim().to_owned()
    }

    /// A tool with nothing but its environment.
    pub fn tool(&self, name: &str) -> Tool {
        Tool::new(binary(name), self.dir.path())
    }

    /// `vp-keygen`.
    pub fn keygen(&self) -> Tool {
        self.tool("vp-keygen")
    }

    /// A party that reaches the relay at `relay`.
    pub fn party(&self, name: &str, relay: &str) -> Party<'_> {
        Party {
            world: self,
            name: name.to_owned(),
            relay: relay.to_owned(),
            peers: self.path("peers"),
            under: Vec::new(),
        }
    }

    /// A relay that admits `east` and `west`.
    pub fn relay(&self) -> Relay<'_> {
        Relay::start(self, &["--allow", "peers"])
    }
}

/// One side: a key, the peers file, and how it reaches the relay.
pub struct Party<'w> {
    world: &'w World,
    name: String,
    relay: String,
    peers: PathBuf,
    under: Vec<String>,
}

/// Rules for [`Party::filtered`]: what old kernels do not have, and what filters of containers and hardened services refuse.
pub const OLD_SYSTEM: [&str; 4] = ["openat2=ENOSYS", "statx=ENOSYS", "copy_file_range=ENOSYS", "renameat2=ENOSYS"];

impl Party<'_> {
    /// The same party with a peers file of its own.
    pub fn knowing(mut self, peers: PathBuf) -> Self {
        self.peers = peers;
        self
    }

    /// The same party, whose tools run under a system call filter with these rules; see `tests/tools/filtered.pl`.
    pub fn filtered(mut self, rules: &[&str]) -> Self {
        if !rules.is_empty() {
            let words = ["perl", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/filtered.pl")];
            self.under.extend(words.iter().chain(rules).chain(&["--"]).map(|word| (*word).to_owned()));
        }
        self
    }

    fn tool(&self, name: &str) -> Tool {
        let world = self.world;
        let tool =
            world.tool(name).under(&self.under).arg("--relay").arg(&self.relay).arg("--key").arg(world.key(&self.name));
        tool.arg("--peers").arg(&self.peers)
    }

    /// `vp-attach` with relay, key and peers.
    pub fn attach(&self) -> Tool {
        self.tool("vp-attach")
    }

    /// `vp-send` with relay, key and peers.
    pub fn send(&self) -> Tool {
        self.tool("vp-send")
    }

    /// `vp-recv` with relay, key and peers.
    pub fn recv(&self) -> Tool {
        self.tool("vp-recv")
    }

    /// `vp-portrep` with relay, key and peers.
    pub fn portrep(&self) -> Tool {
        self.tool("vp-portrep")
    }

    /// `vp-portrep check` with relay, key and peers.
    pub fn check(&self, to: &str) -> Tool {
        let world = self.world;
        let tool = world.tool("vp-portrep").args(["check", to, "--relay"]).arg(&self.relay);
        tool.arg("--key").arg(world.key(&self.name)).arg("--peers").arg(&self.peers)
    }

    /// Starts a waiting tool and returns once it waits: its ready line `attached APP` comes on standard error here.
    pub fn waiting(&self, tool: Tool) -> Running {
        let running = tool.args(["--ready-fd", "2"]).spawn();
        running.wait_error_line("attached ");
        running
    }
}

/// A running relay on a port that stays its own while it is down.
pub struct Relay<'w> {
    world: &'w World,
    place: ReservedPort,
    args: Vec<String>,
    /// The process, none while it is down.
    pub running: Option<Running>,
    /// The RELAY argument that reaches it, from its ready line.
    pub address: String,
}

impl<'w> Relay<'w> {
    /// Starts a relay with the world's relay key and these further arguments, and waits for its ready line.
    pub fn start(world: &'w World, args: &[&str]) -> Relay<'w> {
        let place = ReservedPort::reserve((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let args = args.iter().map(|word| (*word).to_owned()).collect();
        let mut relay = Relay { world, place, args, running: None, address: String::new() };
        relay.restart();
        relay
    }

    /// The world it is part of.
    pub fn world(&self) -> &'w World {
        self.world
    }

    /// Its command line.
    pub fn tool(&self) -> Tool {
        let tool = self.world.tool("vp-relay").detached().arg("--listen").arg(self.socket().to_string());
        tool.arg("--key").arg(self.world.key("relay")).args(&self.args)
    }

    /// Starts it again: same port, same key, nothing else.
    pub fn restart(&mut self) {
        self.restart_as(self.tool());
    }

    /// Starts it by another command line that leads to the same relay.
    pub fn restart_as(&mut self, tool: Tool) {
        assert!(self.running.is_none(), "the relay is still running");
        // A relay lives as long as its test, whose own waits have deadlines.
        let running = tool.within(10 * DEADLINE).spawn();
        self.address = running.wait_line("listening tcp://")["listening ".len()..].to_owned();
        self.running = Some(running);
    }

    /// The process.
    pub fn process(&self) -> &Running {
        self.running.as_ref().expect("the relay is down")
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Done {
        self.running.take().expect("the relay is down").kill()
    }

    /// Its id, from its ready line.
    pub fn relay_id(&self) -> PeerId {
        let id = self.address.strip_prefix("tcp://").and_then(|rest| rest.split_once('@')).map(|(id, _)| id);
        id.expect("an address").parse().expect("an id")
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        self.place.address
    }

    /// A proxy before the relay, and the RELAY argument that goes through it.
    pub fn behind(&self, shape: Shape) -> (Impair, String) {
        let proxy = Impair::start((Ipv4Addr::LOCALHOST, 0).into(), self.socket(), shape).expect("a proxy");
        let address = self.address.replace(&self.socket().to_string(), &proxy.address().to_string());
        assert_ne!(address, self.address, "the ready line names the address it was given");
        (proxy, address)
    }

    /// A party that reaches it directly.
    pub fn party(&self, name: &str) -> Party<'w> {
        self.world.party(name, &self.address)
    }
}
