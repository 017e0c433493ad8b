//! A client for tests: the other end of a link, without a session on top.

use crate::identity::{Identity, PeerId};
use crate::link::{Dial, Frame, Link};
use crate::relay::{ConnId, Limits, Policy, RelayCore};
use crate::wire::limits::CIRCUIT_WINDOW_START;
use crate::wire::{CloseCode, Control, Header, Kind, Name};
use std::time::Instant;

/// Something a client got from its relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Got {
    Control(Control),
    Data(u32, Vec<u8>),
    Credit(u32, u32),
    Fin(u32),
    Reset(u32, u16),
    Pong(u32),
    /// The relay closed the connection.
    Closed,
}

pub(super) struct Client {
    pub id: ConnId,
    pub peer: PeerId,
    link: Link,
    input: Vec<u8>,
    /// Bytes for the relay that [`Client::flush`] has not handed over.
    pub output: Vec<u8>,
}

pub(super) fn relay(workers: usize) -> (RelayCore, PeerId) {
    relay_with(Policy::open(Limits::default()), workers)
}

pub(super) fn relay_with(policy: Policy, workers: usize) -> (RelayCore, PeerId) {
    let identity = Identity::from_seed(&[0; 32]);
    let id = identity.id();
    (RelayCore::new(identity, policy, 64 << 20, workers), id)
}

pub(super) fn app(name: &str) -> Name {
    Name::App(name.parse().unwrap())
}

impl Client {
    /// A client whose key is made of `seed`, through the handshake.
    pub(super) fn attach(now: Instant, relay: &mut RelayCore, relay_id: PeerId, seed: u8) -> Client {
        Client::attach_from(now, relay, relay_id, (seed, 1))
    }

    /// The same, and the last part of its address.
    pub(super) fn attach_from(now: Instant, relay: &mut RelayCore, relay_id: PeerId, who: (u8, u8)) -> Client {
        let mut client = Client::arrive_from(now, relay, relay_id, who);
        client.flush(now, relay);
        client
    }

    /// The same, but for the last message of the handshake, which is the first of its output.
    pub(super) fn arrive(now: Instant, relay: &mut RelayCore, relay_id: PeerId, seed: u8) -> Client {
        Client::arrive_from(now, relay, relay_id, (seed, 1))
    }

    fn arrive_from(now: Instant, relay: &mut RelayCore, relay_id: PeerId, (seed, last): (u8, u8)) -> Client {
        let identity = Identity::from_seed(&[seed; 32]);
        let id = relay.handle_accept(now, [127, 0, 0, last].into()).unwrap();
        let (dial, first) = Dial::new(&identity, relay_id).unwrap();
        relay.handle_bytes(now, id, &first);
        let mut input = Vec::new();
        relay.poll_output(now, id, &mut input, usize::MAX);
        let mut output = Vec::new();
        let Ok(Ok(admitted)) = dial.handle_bytes(&input, &mut output) else { panic!("handshake") };
        Client { id, peer: identity.id(), link: admitted.link, input: input.split_off(admitted.used), output }
    }

    pub(super) fn flush(&mut self, now: Instant, relay: &mut RelayCore) {
        relay.handle_bytes(now, self.id, &std::mem::take(&mut self.output));
    }

    /// Hands over what is queued, as from a socket, as far as there is memory; whether that was all.
    pub(super) fn pour(&mut self, now: Instant, relay: &mut RelayCore) -> bool {
        let taken = relay.handle_read(now, self.id, &self.output);
        self.output.drain(..taken);
        self.output.is_empty()
    }

    /// Hands over what is queued, `step` bytes at a time.
    pub(super) fn trickle(&mut self, now: Instant, relay: &mut RelayCore, step: usize) {
        for chunk in std::mem::take(&mut self.output).chunks(step) {
            relay.handle_bytes(now, self.id, chunk);
        }
    }

    pub(super) fn say(&mut self, message: Control) {
        self.link.control(&message, &mut self.output).unwrap();
    }

    pub(super) fn data(&mut self, circuit: u32, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap();
        let header = Header { kind: Kind::Data, circuit, length, credit: CIRCUIT_WINDOW_START };
        let at = self.output.len();
        self.output.resize(at + 32, 0);
        self.link.seal_header(header, &mut self.output[at..]).unwrap();
        self.output.extend_from_slice(bytes);
    }

    pub(super) fn bare(&mut self, kind: Kind, circuit: u32, credit: u32) {
        self.link.bare(kind, circuit, credit, &mut self.output).unwrap();
    }

    pub(super) fn link_reset(&mut self, circuit: u32, code: CloseCode) {
        self.link.reset(circuit, code.to_wire(), &mut self.output).unwrap();
    }

    pub(super) fn connect(&mut self, circuit: u32, to: PeerId, name: &str, wait_ms: u32) {
        self.say(Control::Connect { circuit, to, name: app(name), wait_ms, early: vec![1] });
    }

    /// What has come since the last call, adjacent pieces of a circuit joined. Reads at most `max` bytes.
    pub(super) fn got(&mut self, now: Instant, relay: &mut RelayCore, max: usize) -> Vec<Got> {
        relay.poll_output(now, self.id, &mut self.input, max);
        let mut got: Vec<Got> = Vec::new();
        let mut at = 0;
        loop {
            let (used, frame) = self.link.advance(&self.input[at..]).unwrap();
            let body = |range: std::ops::Range<usize>| self.input[at + range.start..at + range.end].to_vec();
            match frame {
                Frame::Nothing => {}
                Frame::Data { circuit, bytes, .. } => match got.last_mut() {
                    Some(Got::Data(last, so_far)) if *last == circuit => so_far.extend(body(bytes)),
                    _ => got.push(Got::Data(circuit, body(bytes))),
                },
                Frame::Control(message) => got.push(Got::Control(message)),
                Frame::Credit { circuit, credit } => got.push(Got::Credit(circuit, credit)),
                Frame::Fin { circuit } => got.push(Got::Fin(circuit)),
                Frame::Reset { circuit, code } => got.push(Got::Reset(circuit, code)),
                Frame::Ping(_) => panic!("a relay does not ask"),
                Frame::Pong(token) => got.push(Got::Pong(token)),
            }
            if used == 0 {
                break;
            }
            at += used;
        }
        self.input.drain(..at);
        if !relay.is_open(self.id) {
            got.push(Got::Closed);
        }
        got
    }

    pub(super) fn all(&mut self, now: Instant, relay: &mut RelayCore) -> Vec<Got> {
        self.got(now, relay, usize::MAX)
    }
}

/// A caller (circuit 2) and a callee (circuit 1) with an open circuit, nothing left to read at either.
pub(super) fn joined(now: Instant, relay: &mut RelayCore, relay_id: PeerId) -> (Client, Client) {
    joined_as(now, relay, relay_id, (1, 2))
}

/// The same with the seeds of callee and caller. Of several links of a callee the newest is called.
pub(super) fn joined_as(now: Instant, relay: &mut RelayCore, relay_id: PeerId, seeds: (u8, u8)) -> (Client, Client) {
    joined_from(now, relay, relay_id, (seeds, 1))
}

/// The same, and the last part of their address.
pub(super) fn joined_from(
    now: Instant,
    relay: &mut RelayCore,
    relay_id: PeerId,
    (seeds, last): ((u8, u8), u8),
) -> (Client, Client) {
    let mut callee = Client::attach_from(now, relay, relay_id, (seeds.0, last));
    let mut caller = Client::attach_from(now, relay, relay_id, (seeds.1, last));
    callee.say(Control::Listen { name: app("a") });
    callee.flush(now, relay);
    caller.connect(2, callee.peer, "a", 0);
    caller.flush(now, relay);
    callee.say(Control::Accept { circuit: 1, early: vec![2] });
    callee.flush(now, relay);
    let expected = Got::Control(Control::Opened { circuit: 2, early: vec![2] });
    assert_eq!(caller.all(now, relay).last(), Some(&expected));
    let incoming = Control::Incoming { circuit: 1, from: caller.peer, name: app("a"), early: vec![1] };
    assert_eq!(callee.all(now, relay).last(), Some(&Got::Control(incoming)));
    (caller, callee)
}
