//! A whole relay and some clients, and what a fuzzer does with them.
//!
//! Clients are real ends of links, honest on the wire and not otherwise: they name circuits they do not have, send beyond
//! their credit, stop reading, leave. Whatever they do, every other client can still read what the relay sends it, and when
//! all have left the relay holds nothing.

use super::{ConnId, Limits, Load, Policy, RelayCore};
use crate::identity::{Identity, PeerId};
use crate::link::{Dial, Frame, Link};
use crate::names::Peers;
use crate::wire::{Control, Header, Kind, Name};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Operations of one run.
const OPS_MAX: usize = 300;
/// Connections at once in a run: handshakes cost the most.
const CLIENTS_MAX: usize = 5;
/// Peers that are admitted; one more is known by key only.
const PEERS: u8 = 3;
const MEMORY_BYTES: usize = 4 << 20;
/// Memory that a body or two use up.
const LITTLE_BYTES: usize = 64 << 10;
const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn identity(peer: u8) -> Identity {
    Identity::from_seed(&[peer + 1; 32])
}

struct Client {
    id: ConnId,
    /// None: a stranger that never shook hands.
    link: Option<Link>,
    input: Vec<u8>,
    output: Vec<u8>,
    asked: u32,
}

struct World {
    now: Instant,
    relay: RelayCore,
    clients: Vec<Client>,
    ids: Vec<PeerId>,
    /// Memory is used up soon.
    little: bool,
}

impl World {
    fn new(workers: usize, memory_bytes: usize) -> World {
        let ids: Vec<PeerId> = (0..=PEERS).map(|peer| identity(peer).id()).collect();
        let limits = Limits { links: 64, links_per_peer: 4, circuits_per_peer: 12 };
        let relay = RelayCore::new(identity(200), policy(&ids, limits, ""), memory_bytes, workers);
        World { now: Instant::now(), relay, clients: Vec::new(), ids, little: memory_bytes == LITTLE_BYTES }
    }

    fn step(&mut self, op: u8, amount: u8) {
        let count = usize::from(amount) * usize::from(amount);
        if self.clients.len() < CLIENTS_MAX && (op >> 4 == 15 || self.clients.is_empty()) {
            return self.connect(amount);
        }
        let Some(at) = usize::from(op >> 4).checked_rem(self.clients.len()) else { return };
        match op & 15 {
            0..=8 => self.say(at, op & 15, amount),
            9 | 10 => self.flush(at, count),
            11 | 12 => self.read(at, count),
            13 => self.pass(Duration::from_millis(u64::from(amount) * 60)),
            14 if amount < 32 => self.leave(at),
            14 => self.clients[at].output.extend([amount; 3]),
            _ => {
                let limits = Limits { circuits_per_peer: u32::from(amount), ..Limits::default() };
                let known = &self.ids[..usize::from(amount % PEERS) + 1];
                let rate = if amount & 32 == 0 { "" } else { "rate=9K" };
                self.relay.set_policy(self.now, policy(known, limits, rate));
            }
        }
        self.bury();
    }

    fn connect(&mut self, amount: u8) {
        let Some(id) = self.relay.handle_accept(self.now, SOURCE) else { return };
        let mut client = Client { id, link: None, input: Vec::new(), output: Vec::new(), asked: 0 };
        if amount < 240 {
            let Ok((dial, first)) = Dial::new(&identity(amount % (PEERS + 1)), identity(200).id()) else { return };
            self.relay.handle_bytes(self.now, id, &first);
            self.relay.poll_output(self.now, id, &mut client.input, usize::MAX);
            match dial.handle_bytes(&client.input, &mut client.output) {
                Ok(Ok(admitted)) => {
                    client.input.drain(..admitted.used);
                    client.link = Some(admitted.link);
                }
                _ => panic!("an honest handshake fails"),
            }
        }
        self.clients.push(client);
    }

    fn say(&mut self, at: usize, what: u8, amount: u8) {
        let client = &mut self.clients[at];
        let Some(link) = &mut client.link else { return client.output.extend([what, amount]) };
        let out = &mut client.output;
        let circuit = u32::from(amount & 15);
        let name = match amount >> 6 {
            0 => Name::Session([amount & 1; 16]),
            1 => Name::App("drop".parse().expect("a name")),
            _ => Name::App("pg".parse().expect("a name")),
        };
        let control = match what {
            0 => Control::Listen { name },
            1 => Control::Unlisten { name },
            2 => {
                client.asked += u32::from(amount & 2);
                let to = self.ids[usize::from(amount >> 2) % self.ids.len()];
                let wait_ms = if amount & 1 == 0 { 0 } else { u32::from(amount) * 50 };
                Control::Connect { circuit: client.asked, to, name, wait_ms, early: vec![amount; 4] }
            }
            3 => Control::Accept { circuit, early: vec![amount] },
            4 if amount > 200 => Control::Welcome { circuits: 0 },
            4 if amount >= 128 => Control::Unknown { number: amount, body: vec![amount; 300] },
            4 => Control::Reject { circuit, code: u16::from(amount >> 4) },
            _ => return frame(link, (what, circuit), amount, out),
        };
        link.control(&control, out).expect("within the caps");
    }

    /// Hands over up to `count` queued bytes, if the relay would read them.
    fn flush(&mut self, at: usize, count: usize) {
        let client = &mut self.clients[at];
        if self.relay.may_read(client.id).is_now(self.now) {
            let count = client.output.len().min(count);
            let bytes: Vec<u8> = client.output.drain(..count).collect();
            self.relay.handle_bytes(self.now, client.id, &bytes);
        } else {
            self.relay.handle_unread(self.now, client.id);
        }
    }

    /// Reads up to `count` bytes, all of which must make sense.
    fn read(&mut self, at: usize, count: usize) {
        let client = &mut self.clients[at];
        self.relay.poll_output(self.now, client.id, &mut client.input, count);
        let Some(link) = &mut client.link else { return };
        let mut used = 0;
        loop {
            match link.advance(&client.input[used..]) {
                Ok((0, Frame::Nothing)) => break,
                Ok((more, _)) => used += more,
                Err(error) => panic!("the relay's own words do not open: {error:?}"),
            }
        }
        client.input.drain(..used);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.relay.handle_timeout(self.now);
        if self.is_starved() {
            self.relay.handle_starved(self.now);
        }
        if let Some(next) = self.relay.next_timeout() {
            assert!(next > self.now, "time alone settles what is due");
        }
    }

    fn is_starved(&self) -> bool {
        self.little && self.relay.used_bytes() > LITTLE_BYTES / 2
    }

    fn leave(&mut self, at: usize) {
        let client = self.clients.swap_remove(at);
        self.relay.handle_closed(self.now, client.id);
    }

    fn bury(&mut self) {
        while let Some(id) = self.relay.poll_closed() {
            self.clients.retain(|client| client.id != id);
        }
        while self.relay.poll_fact().is_some() {}
        assert!(self.relay.used_bytes() <= 2 * MEMORY_BYTES, "{} bytes", self.relay.used_bytes());
    }

    /// Everybody leaves.
    fn end(mut self) {
        while !self.clients.is_empty() {
            self.leave(0);
            self.bury();
        }
        self.pass(Duration::from_secs(60));
        assert!(self.relay.load().iter().all(|load| *load == Load::default()), "{:?}", self.relay.load());
        assert_eq!(self.relay.used_bytes(), 0);
        assert_eq!(self.relay.next_timeout(), None);
    }
}

/// A frame that is no control message.
fn frame(link: &mut Link, (what, circuit): (u8, u32), amount: u8, out: &mut Vec<u8>) {
    let circuit = circuit.max(1);
    let sealed = match what {
        5 => {
            let length = u32::from(amount) * u32::from(amount) + 1;
            let header = Header { kind: Kind::Data, circuit, length, credit: 1 << 20 };
            let at = out.len();
            out.resize(at + 32, 0);
            let sealed = link.seal_header(header, &mut out[at..]);
            out.resize(out.len() + usize::try_from(length).unwrap_or(0), amount);
            sealed
        }
        6 => link.bare(Kind::Credit, circuit, u32::from(amount) << 16, out),
        7 => link.bare(
            if amount & 16 == 0 { Kind::Fin } else { Kind::Ping },
            circuit * u32::from(amount & 16 == 0),
            0,
            out,
        ),
        _ => link.reset(circuit, u16::from(amount), out),
    };
    sealed.expect("a fresh key");
}

fn policy(known: &[PeerId], limits: Limits, options: &str) -> Policy {
    let known = known.iter().take(usize::from(PEERS)).enumerate();
    let text: String = known.map(|(n, id)| format!("p{n} {id} {options}\n")).collect();
    let peers = Peers::parse(&text).expect("a good file");
    Policy::only(&peers, limits).expect("good options")
}

/// Fuzz entry: pairs of bytes are operations and their amounts; see the module's text.
pub fn fuzz_relay_ops(data: &[u8]) {
    let Some((workers, ops)) = data.split_first() else { return };
    let memory_bytes = if workers & 2 == 0 { MEMORY_BYTES } else { LITTLE_BYTES };
    let mut world = World::new(usize::from(workers % 2) + 1, memory_bytes);
    for op in ops.chunks_exact(2).take(OPS_MAX) {
        world.step(op[0], op[1]);
    }
    world.end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn clients_harm_nobody_but_themselves(ops in proptest::collection::vec(any::<u8>(), 0..400)) {
            fuzz_relay_ops(&ops);
        }
    }

    /// What the driver does can open a circuit and move bytes, or it would prove little.
    #[test]
    fn the_driver_reaches_open_circuits() {
        let mut world = World::new(1, MEMORY_BYTES);
        for (op, amount) in
            [(0, 0), (0xf0, 1), (0x00, 64), (0x09, 255), (0x12, 64 + 2), (0x19, 255), (0x03, 1), (0x09, 255)]
        {
            world.step(op, amount);
        }
        world.step(0x15, 2 + 16 * 4);
        world.step(0x19, 255);
        assert!(world.relay.used_bytes() > 0, "a body waits for its reader");
        assert_eq!(world.relay.load()[0], Load { links: 2, circuits: 2 });
        world.end();
    }
}
