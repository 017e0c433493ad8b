//! Two sites with `vp-portrep` at each end: services at `west`, applications at `east`, and paths to the relay that can be
//! broken while the applications work.

use std::net::SocketAddr;
use std::time::Duration;

use super::{DEADLINE, Done, Relay, Running, Tool, World, within};
use crate::impair::{Command, Impair, Shape};

/// Between two troubles, bytes, unless a test has more to move: no trouble meets an idle path.
const BETWEEN_BYTES: u64 = 1 << 20;

/// Does something to a path.
pub fn tell(proxy: &Impair, line: &str) {
    proxy.tell(line.parse::<Command>().expect("a command")).expect("told");
}

/// A path of 16 MiB/s with little in flight, so that a break meets bytes everywhere.
pub fn path(relay: &Relay<'_>) -> (Impair, String) {
    let (proxy, address) = relay.behind(Shape { queue_bytes: 128 << 10, ..Shape::default() });
    tell(&proxy, "rate 16M");
    (proxy, address)
}

/// Mappings from east to west, and what is between them.
pub struct Sites<'w> {
    /// The relay in the middle.
    pub relay: Relay<'w>,
    /// East's path to it.
    pub up: Impair,
    /// West's path to it.
    pub down: Impair,
    /// `vp-portrep --export` at west.
    _west: Running,
    /// Bytes that pass between two troubles.
    pub between_bytes: u64,
    /// `vp-portrep --import` at east.
    pub east: Running,
}

impl<'w> Sites<'w> {
    /// Maps every service of west, by name, to a free port of east.
    pub fn start(world: &'w World, services: &[(&str, SocketAddr)]) -> Sites<'w> {
        let exports = services.iter().map(|(app, target)| format!("--export={app}={target}")).collect();
        let imports = services.iter().map(|(app, _)| format!("--import=0=west:{app}")).collect();
        Sites::with(world, exports, imports)
    }

    /// With these words for `vp-portrep` at west and at east; an export and an import each at least.
    pub fn with(world: &'w World, west_words: Vec<String>, east_words: Vec<String>) -> Sites<'w> {
        let relay = world.relay();
        let ((up, east_relay), (down, west_relay)) = (path(&relay), path(&relay));
        let long = 2 * DEADLINE * super::factor();
        let portrep = |name: &str, relay: &str, words: Vec<String>| {
            world.party(name, relay).portrep().args(words).within(long).spawn()
        };
        let west = portrep("west", &west_relay, west_words);
        west.wait_line("serving ");
        let east = portrep("east", &east_relay, east_words);
        east.wait_line("listening ");
        Sites { relay, up, down, _west: west, between_bytes: BETWEEN_BYTES, east }
    }

    /// Where applications of east reach this service of west.
    pub fn at(&self, app: &str) -> SocketAddr {
        let line = self.east.wait_line_like(app, |line| line.ends_with(&format!(" west:{app}")));
        let address = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        address.unwrap_or_else(|| panic!("no address: {line}"))
    }

    /// `kill -9` of the relay, and its start.
    pub fn restart_relay(&mut self) {
        self.relay.kill();
        self.relay.restart();
    }

    /// Runs a program of east. Every megabyte it moves one way, or as much as was set, a path is cut or reset or the relay
    /// is killed, in turn. Paths break by themselves at their byte, and the one that is before the relay stops there until
    /// the relay is killed: however late this thread looks, the program cannot get past. It must move some, or nothing was
    /// shown.
    pub fn run_troubled(&mut self, tool: Tool) -> Done {
        let mut running = tool.within(DEADLINE * super::factor()).spawn();
        let mut troubles = 0;
        loop {
            let (proxy, fault) =
                [(&self.up, "cut"), (&self.down, "reset"), (&self.up, "stall"), (&self.down, "cut")][troubles % 4];
            let points = proxy.count().delivered.map(|bytes| bytes + self.between_bytes);
            tell(proxy, &format!("at up {} {fault}", points[0]));
            tell(proxy, &format!("at down {} {fault}", points[1]));
            let has_met = || proxy.count().delivered.into_iter().zip(points).any(|(bytes, point)| bytes >= point);
            within(DEADLINE, || has_met() || !running.is_running());
            let met = has_met();
            if met && fault == "stall" {
                self.relay.kill();
                self.relay.restart();
            }
            // What has not happened must not wait for the next program.
            tell(proxy, "heal");
            if !met {
                break;
            }
            troubles += 1;
        }
        let done = running.wait();
        assert!(troubles >= 3, "only {troubles} troubles\n{done}");
        done
    }

    /// Runs a program of east, and kills the relay and starts it again every so often.
    pub fn run_while_the_relay_dies(&mut self, tool: Tool, every: Duration) -> Done {
        let mut running = tool.within(DEADLINE * super::factor()).spawn();
        let mut deaths = 0;
        while !within(every, || !running.is_running()) {
            self.restart_relay();
            deaths += 1;
        }
        let done = running.wait();
        assert!(deaths >= 2, "the relay died {deaths} times\n{done}");
        done
    }
}
