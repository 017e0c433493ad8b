//! Connections on which nothing happens: the kernel asks after them before a firewall forgets them, as far as told.

use std::fs;
use std::net::SocketAddr;

use crate::harness::ports::{Target, ask, connect, listening};
use crate::harness::{World, eventually, exit};

/// The state of a connection's timers in `/proc/net/tcp`: a keepalive is pending.
const KEEPALIVE: &str = "02";
/// No timer at all.
const NOTHING: &str = "00";
/// Units of a timer's time: hundredths of a second.
const TICKS: u64 = 100;

/// The timer of the established connection between these two ports, and when it is due.
fn timer(here: Option<u16>, there: u16) -> (String, u64) {
    let table = fs::read_to_string("/proc/net/tcp").expect("a table");
    let port = |field: &str| u16::from_str_radix(&field[field.len() - 4..], 16).expect("a port");
    let lines: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let found = lines.iter().find(|fields| {
        fields[3] == "01" && port(fields[2]) == there && here.is_none_or(|here| port(fields[1]) == here)
    });
    let (kind, when) = found.expect("the connection")[5].split_once(':').expect("a timer");
    (kind.to_owned(), u64::from_str_radix(when, 16).expect("ticks"))
}

fn expect_keepalive(what: &str, within_seconds: u64, timer: impl Fn() -> (String, u64)) {
    eventually(what, || {
        let (kind, when) = timer();
        kind == KEEPALIVE && when <= within_seconds * TICKS
    });
}

#[test]
fn silent_connections_are_asked_after_as_told_and_links_always() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let export = |words: &[&str]| west.portrep().arg("--export").arg(format!("app={}", target.at)).args(words).spawn();
    let import = |words: &[&str]| {
        let import = east.portrep().args(["--import", "0=west:app"]).args(words).spawn();
        let at = listening(&import, "west:app");
        (import, at)
    };
    let mapped = |at: SocketAddr| {
        let stream = connect(at);
        ask(&stream, b"once, and then nothing");
        let port = stream.local_addr().expect("an address").port();
        (stream, port)
    };
    for (words, seconds) in [(&[][..], 60), (&["--keepalive", "20s"], 20)] {
        let exporting = export(words);
        exporting.wait_line("serving app ");
        let (_importing, at) = import(words);
        let (_stream, port) = mapped(at);
        expect_keepalive("of an application", seconds, || timer(Some(at.port()), port));
        expect_keepalive("of a target", seconds, || timer(None, target.at.port()));
        expect_keepalive("of a link", 60, || timer(None, relay.socket().port()));
    }
    let exporting = export(&["--keepalive", "0"]);
    exporting.wait_line("serving app ");
    let (_importing, at) = import(&["--keepalive", "0"]);
    let (_stream, port) = mapped(at);
    eventually("nobody asks after the application", || timer(Some(at.port()), port).0 == NOTHING);
    eventually("nobody asks after the target", || timer(None, target.at.port()).0 == NOTHING);
}

#[test]
fn a_time_that_the_kernel_cannot_be_told_is_a_usage_error() {
    let world = World::new();
    for time in ["10h", "soon", "60"] {
        let tool = world.tool("vp-portrep").args(["--export", "1", "--keepalive", time]);
        tool.run().expect(exit::USAGE).expect_error("--keepalive");
    }
}
