//! Both ends of a link by requests, with whatever lies between them: pieces, repeats, another order, connections that end, and
//! somebody who holds answers back.

use super::super::{OWN_SLICES, Target, Visitor};
use super::*;
use crate::carrier::What;
use std::io::IoSlice;
use std::time::{Duration, Instant};

const TO: Target<'_> = Target { host: "relay.example.com", port: 80, path: "/vp", usual_port: 80 };

/// What a carrier has to say, where its link shows this, as far as the kernel takes it; and how much of the link's was in that.
pub(super) fn written(carrier: &mut Carrier, link: &[u8], most: usize) -> (Vec<u8>, usize) {
    let (first, second) = link.split_at(link.len() / 3);
    let shown = [IoSlice::new(first), IoSlice::new(second)];
    let mut wire = [IoSlice::new(&[]); 2 + OWN_SLICES];
    let used = carrier.wrap(&shown, &mut wire);
    let mut out: Vec<u8> = wire[..used].iter().flat_map(|slice| slice.to_vec()).collect();
    out.truncate(most);
    let count = out.len();
    (out, count)
}

/// A relay and a client, and the bytes that are on their way on each connection.
pub(super) struct World {
    pub now: Instant,
    pub client: ClientEnd<u8, Way>,
    pub relay: Option<RelayEnd<u8, Way>>,
    /// Connections of which the relay has not heard a whole head.
    fresh: Vec<Line<u8, Way>>,
    keys: u8,
    /// How much the kernel takes, and is read, at once.
    step: usize,
    /// Whatever is said by a relay is held back until its answer is whole.
    holds_back: bool,
    heard: [Vec<u8>; 2],
    refused: usize,
}

/// Bytes on one connection: to the relay, and to the client.
#[derive(Default)]
pub(super) struct Way {
    bytes: Vec<u8>,
    is_over: bool,
}

impl World {
    pub(super) fn new(step: usize) -> World {
        let now = Instant::now();
        World {
            now,
            client: ClientEnd::new(now, &TO),
            relay: None,
            fresh: Vec::new(),
            keys: 0,
            step,
            holds_back: false,
            heard: Default::default(),
            refused: 0,
        }
    }

    fn connect(&mut self) -> u8 {
        let key = self.keys;
        self.keys += 1;
        self.client.add(self.now, Line { key, socket: Way::default(), carrier: Carrier::asking() });
        self.fresh.push(Line { key, socket: Way::default(), carrier: Carrier::undecided(Visitor::default()) });
        key
    }

    /// The client asks for what it wants, and says a piece of what its link shows.
    pub(super) fn client_speaks(&mut self, link: &mut Vec<u8>) {
        while self.client.ask_down(self.now) == Lack::Line || self.client.ask_up(self.now, link.len()) == Lack::Line {
            self.connect();
        }
        let keys: Vec<u8> = self.client.lines_mut().map(|line| line.key).collect();
        for key in keys {
            let shown: &[u8] = if self.client.writing() == Some(key) { link } else { &[] };
            let Some(line) = self.client.line_mut(key) else { continue };
            let (out, count) = written(&mut line.carrier, shown, self.step);
            line.socket.bytes.extend(out);
            let taken = self.client.handle_written(key, count);
            link.drain(..taken);
        }
    }

    pub(super) fn relay_hears(&mut self) {
        let keys: Vec<u8> = self.client.lines_mut().map(|line| line.key).collect();
        for key in keys {
            let step = self.step;
            let Some(line) = self.client.line_mut(key) else { continue };
            if let Some(at) = self.fresh.iter().position(|fresh| fresh.key == key) {
                // As a relay reads of whoever has not said whose it is.
                let step = step.min(4096).min(line.socket.bytes.len());
                let mut piece: Vec<u8> = line.socket.bytes.drain(..step).collect();
                assert_eq!(self.fresh[at].carrier.handle_wire(&mut piece), 0, "nobody has said whose it is");
                if self.fresh[at].carrier.asked().is_some() {
                    let line = self.fresh.remove(at);
                    self.joins(line);
                }
                continue;
            }
            let Some(relay) = self.relay.as_mut().filter(|relay| relay.may_read(key)) else { continue };
            if line.socket.is_over && line.socket.bytes.is_empty() {
                relay.handle_end(key);
                continue;
            }
            let is_between = relay.line_mut(key).is_some_and(|line| line.carrier.expects_request());
            let step = if is_between { step.min(4096) } else { step };
            let mut piece: Vec<u8> = line.socket.bytes.drain(..step.min(line.socket.bytes.len())).collect();
            let mut held = vec![0; 1 << 20];
            while let Some(key) = relay.held() {
                let count = relay.take_held(key, &mut held);
                self.heard[0].extend(&held[..count]);
            }
            let count = relay.handle_wire(key, &mut piece);
            self.heard[0].extend(&piece[..count]);
        }
        let Some(relay) = &mut self.relay else { return };
        let mut held = vec![0; 1 << 20];
        while let Some(key) = relay.held() {
            let count = relay.take_held(key, &mut held);
            self.heard[0].extend(&held[..count]);
        }
        while relay.take_leaver().is_some() {
            self.refused += 1;
        }
    }

    fn joins(&mut self, line: Line<u8, Way>) {
        match &mut self.relay {
            None => {
                let asked = *line.carrier.asked().expect("it has a request");
                assert_eq!(asked.what, What::Down(0));
                let mut relay = RelayEnd::new(line, asked.carrier);
                relay.welcome();
                self.relay = Some(relay);
            }
            Some(relay) => assert!(relay.join(line).is_none()),
        }
    }

    pub(super) fn relay_speaks(&mut self, link: &mut Vec<u8>) {
        let Some(relay) = &mut self.relay else { return };
        let keys: Vec<u8> = relay.lines().map(|line| line.key).collect();
        for key in keys {
            let shown: &[u8] = if relay.answering() == Some(key) { link } else { &[] };
            let Some(line) = relay.line_mut(key) else { continue };
            let (out, count) = written(&mut line.carrier, shown, self.step);
            line.socket.bytes.extend(out);
            let taken = relay.handle_written(key, count);
            link.drain(..taken);
        }
    }

    pub(super) fn client_hears(&mut self) {
        let Some(relay) = &mut self.relay else { return };
        let keys: Vec<u8> = self.client.lines_mut().map(|line| line.key).collect();
        for key in keys.into_iter() {
            if !self.client.may_read(key) {
                continue;
            }
            let answering = relay.answering();
            let Some(line) = relay.line_mut(key) else { continue };
            if self.holds_back && answering == Some(key) && !line.socket.bytes.ends_with(b"\r\n0\r\n\r\n") {
                continue;
            }
            let step = if self.holds_back { usize::MAX } else { self.step };
            let mut piece: Vec<u8> = line.socket.bytes.drain(..step.min(line.socket.bytes.len())).collect();
            if piece.is_empty() {
                continue;
            }
            let count = self.client.handle_wire(self.now, key, &mut piece);
            self.heard[1].extend(&piece[..count]);
        }
    }

    /// Both say all of this to each other.
    pub(super) fn exchange(&mut self, up: &[u8], down: &[u8]) {
        let wanted = [self.heard[0].len() + up.len(), self.heard[1].len() + down.len()];
        let (mut up, mut down) = (up.to_vec(), down.to_vec());
        let turns = 200 + 40 * (up.len() + down.len() + 4000) / self.step;
        for _ in 0..turns {
            if [self.heard[0].len(), self.heard[1].len()] == wanted && up.is_empty() && down.is_empty() {
                return;
            }
            self.client_speaks(&mut up);
            self.relay_hears();
            self.relay_speaks(&mut down);
            self.client_hears();
            assert_eq!(self.client.end(), None);
        }
        panic!("{} of {} and {} of {}", self.heard[0].len(), wanted[0], self.heard[1].len(), wanted[1]);
    }
}

pub(super) fn numbered(count: usize, by: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from((at * by + at / 251) % 256).unwrap()).collect()
}

#[test]
fn what_both_ends_say_comes_whole_and_in_order_however_it_is_cut() {
    for (step, bytes) in [(1, 3000), (2, 3000), (7, 20_000), (4096, 2_000_000), (1 << 20, 3_000_000)] {
        let mut world = World::new(step);
        let (up, down) = (numbered(bytes, 3), numbered(bytes / 2, 7));
        world.exchange(&up, &down);
        world.exchange(b"again", b"and back");
        assert_eq!(world.heard[0], [&up[..], b"again"].concat());
        assert_eq!(world.heard[1], [&down[..], b"and back"].concat());
        assert_eq!(world.refused, 0);
    }
}

#[test]
fn an_answer_gives_way_to_the_next_after_so_long_and_loses_nothing() {
    for step in [1, 1000] {
        let mut world = World::new(step);
        let mut wanted: Vec<u8> = Vec::new();
        for round in 1..6 {
            let words = numbered(3000, round);
            world.exchange(b"up", &words);
            wanted.extend(&words);
            world.now += Duration::from_secs(301);
        }
        assert_eq!(world.heard[1], wanted);
        assert!(world.keys < 14, "{} connections", world.keys);
    }
}

#[test]
fn somebody_who_holds_answers_back_is_found_out_and_each_answer_is_whole_from_then_on() {
    let mut world = World::new(100_000);
    world.holds_back = true;
    for _ in 0..4 {
        world.client_speaks(&mut Vec::new());
        world.relay_hears();
        world.relay_speaks(&mut Vec::new());
        world.client_hears();
    }
    assert!(!world.client.is_open());
    let at = world.client.next_timeout().expect("it waits for the first bytes");
    assert!(at - world.now <= Duration::from_secs(5));
    world.now = at;
    for _ in 0..4 {
        world.client_speaks(&mut Vec::new());
        world.relay_hears();
        world.relay_speaks(&mut Vec::new());
        world.client_hears();
    }
    assert!(world.client.is_open());
    // What is whole says how long it is.
    world.holds_back = false;
    let (up, down) = (numbered(300_000, 3), numbered(700_000, 7));
    world.exchange(&up, &down);
    world.now += Duration::from_secs(21);
    world.exchange(b"", b"later");
    assert_eq!((&world.heard[0], &world.heard[1]), (&up, &[&down[..], b"later"].concat()));
}
