//! Two hundred links of one peer that flood a worker with frames of each kind: what others wait for theirs, and how much of the
//! worker's work they have. All of it by the book of `fair/work.rs`: nothing here depends on how fast a machine is.

use super::machine::{Client, HOSTILE, Machine, TURNS_MAX};
use super::*;
use crate::identity::PeerId;
use crate::link::Frame;
use crate::relay::{ConnId, Work};
use crate::wire::limits::{DATA_BODY_MAX, IDLE_DEAD_TIME};

/// Links of the one who floods.
const LINKS: usize = 200;
/// What waits on each of them, bytes.
const FLOOD_BYTES: usize = 16 * 1024;
/// A frame of somebody who wants little is answered within so much work: a turn that has just begun, with half a millisecond of
/// reading, a tenth too much, and half of writing; and its own, in which it is the first.
const ANSWERED_WITHIN: Work = Work::micros(2000);
/// With a flood there are two who want as much as there is. The one that sends has this part of his half at least.
const SHARE_MIN: f64 = 0.5;
/// How long that is measured, in work.
const MEASURED: Work = Work::micros(25_000);
/// The same where circuits go from worker to worker: more waits for a client there, and one write takes more of it.
const CROSSED_WITHIN: Work = Work::micros(2500);
/// A turn takes no more: half a millisecond of reading, half of writing and a quarter of what is written soon, and of each one more
/// than there was time for.
const TURN_MAX: Work = Work::micros(1600);

impl Machine {
    /// A turn while these flood.
    fn turn_under(&mut self, flood: &Flood<'_>) {
        for id in flood.links {
            let client = self.clients.get_mut(id).unwrap();
            if client.sent.len() >= FLOOD_BYTES / 4 {
                continue;
            }
            let mut last = usize::MAX;
            // It may have no credit.
            while client.sent.len() < FLOOD_BYTES && client.sent.len() != last {
                last = client.sent.len();
                (flood.unit)(client);
            }
        }
        self.turn();
    }

    /// How much work goes by at the worker of a client from when it says something, just too late for a turn, until `is_done`.
    fn work_until(
        &mut self,
        flood: &Flood<'_>,
        at: ConnId,
        say: impl Fn(&mut Machine),
        is_done: impl Fn(&Machine) -> bool,
    ) -> Work {
        let began = self.work_at(at);
        self.turn_under(flood);
        say(self);
        let mut turns = 0..TURNS_MAX;
        while !is_done(self) {
            assert!(turns.next().is_some(), "what is waited for never comes");
            self.turn_under(flood);
        }
        self.work_at(at).saturating_sub(began)
    }

    /// The most that goes by until a heartbeat of this client is answered.
    fn heartbeat(&mut self, flood: &Flood<'_>, id: ConnId) -> Work {
        let once = |machine: &mut Machine| {
            let before = machine.clients[&id].pongs;
            let say = |machine: &mut Machine| machine.client(id).say(&Frame::Ping(7));
            machine.work_until(flood, id, say, |machine| machine.clients[&id].pongs > before)
        };
        (0..4).map(|_| once(self)).max().unwrap()
    }

    /// The most that goes by until 64 bytes of one client are with another.
    fn hop(&mut self, flood: &Flood<'_>, (from, to): (ConnId, ConnId)) -> Work {
        let once = |machine: &mut Machine| {
            let before = machine.clients[&to].received;
            let say = |machine: &mut Machine| assert_eq!(machine.client(from).data(64), 64);
            machine.work_until(flood, to, say, |machine| machine.clients[&to].received > before)
        };
        (0..4).map(|_| once(self)).max().unwrap()
    }

    /// Bytes that come through in a microsecond of work, of a client that sends what it may.
    fn throughput(&mut self, flood: &Flood<'_>, (from, to): (ConnId, ConnId)) -> f64 {
        let (began, before) = (self.work_at(to), self.client(to).received);
        let mut turns = 0..TURNS_MAX;
        while self.work_at(to).saturating_sub(began) < MEASURED {
            assert!(turns.next().is_some(), "a worker has no work, with a flood or a client that sends what it may");
            // As much as a kernel may hold for a fast client.
            while self.client(from).sent.len() < 16 * DATA_BODY_MAX && self.client(from).data(DATA_BODY_MAX) > 0 {}
            self.turn_under(flood);
        }
        let (bytes, work) = (self.client(to).received - before, self.work_at(to).saturating_sub(began));
        f64::from(u32::try_from(bytes).unwrap()) * 1000.0 / f64::from(u32::try_from(work.nanos()).unwrap())
    }
}

/// Whoever is heard meanwhile waits for some of them, not for all.
#[test]
fn links_and_connections_that_die_together_are_seen_to_some_at_a_time() {
    const MANY: u8 = 100;
    let start = Instant::now();
    let (mut relay, id) = relay(1);
    let mut conns: Vec<ConnId> =
        (1..=MANY).map(|n| testkit::Client::attach_from(start, &mut relay, id, (n, n)).id).collect();
    conns.extend((1..=MANY).map(|n| relay.handle_accept(start, [127, 0, 1, n].into()).unwrap()));
    let (now, mut left, mut looks) = (start + IDLE_DEAD_TIME, conns.len(), 0);
    let mut rounds = 0..TURNS_MAX;
    loop {
        assert!(rounds.next().is_some(), "the look at the dead has no end");
        let is_more = relay.look_once(now);
        let open = conns.iter().filter(|conn| relay.is_open(**conn)).count();
        assert!(left - open <= 64, "{left} and then {open}");
        (left, looks) = (open, looks + 1);
        if !is_more {
            break;
        }
    }
    assert!(left == 0 && looks >= 4, "{left} after {looks}");
}

/// Six bytes, and nothing for the link: what they cost is their reader's.
#[test]
fn bytes_of_a_carrier_have_their_price_and_others_have_their_turns() {
    let mut machine = Machine::new(1);
    let id = machine.attach(1);
    let before = machine.work_at(id);
    machine.hear_carrier(id, 6 * 10_000);
    let work = machine.work_at(id).saturating_sub(before);
    assert!(work >= Work::micros(500), "{work:?}");
}

/// A byte within TLS is opened and sealed besides, which takes as long as all else that a relay does with it.
#[test]
fn who_sends_much_within_tls_pays_for_what_that_takes() {
    let mut machine = Machine::new(1);
    // More than a window of each holds.
    let pairs = [(2, 3), (4, 5)].map(|seeds| (0..8).map(|_| machine.pair(seeds)).collect::<Vec<_>>());
    machine.sealed.extend(pairs[1].iter().flat_map(|(from, to)| [*from, *to]));
    let received = |machine: &Machine| {
        let sum =
            |pairs: &Vec<(ConnId, ConnId)>| pairs.iter().map(|(_, to)| machine.clients[to].received).sum::<usize>();
        [sum(&pairs[0]), sum(&pairs[1])]
    };
    let (began, before) = (machine.work(), received(&machine));
    while machine.work().saturating_sub(began) < MEASURED {
        for (from, _) in pairs.iter().flatten() {
            let client = machine.client(*from);
            while client.sent.len() < 2 * DATA_BODY_MAX && client.data(DATA_BODY_MAX) > 0 {}
        }
        machine.turn();
    }
    let after = received(&machine);
    let [plain, sealed] = [0, 1].map(|n| after[n] - before[n]);
    assert!(sealed > plain / 4 && sealed < plain * 3 / 4, "{sealed} bytes within TLS, and {plain}");
}

/// Circuits of a link that goes: far more than are seen to in a turn, and fewer than one caller may have with one callee.
const LEFT: usize = 700;

/// What a link leaves is done in turns of its peer, who pays for it: others have theirs meanwhile.
#[test]
fn a_link_that_goes_with_many_circuits_leaves_others_their_turns_and_its_peer_pays_for_it() {
    for goes_first in [0, 1] {
        let mut machine = Machine::new(1);
        let (quiet, pair) = (machine.attach(1), machine.pair((2, 3)));
        let ends = [machine.attach(HOSTILE), machine.attach(HOSTILE - 1)];
        (0..LEFT).for_each(|_| machine.join(ends[0], ends[1]));
        let nobody_floods = Flood { links: &[], unit: |_| () };
        let began = machine.work();
        let before = (machine.clients[&quiet].pongs, machine.clients[&pair.1].received);
        machine.close(ends[goes_first]);
        machine.client(quiet).say(&Frame::Ping(7));
        machine.client(pair.0).data(64);
        let is_answered = |machine: &Machine| {
            machine.clients[&quiet].pongs > before.0 && machine.clients[&pair.1].received > before.1
        };
        let after = machine.work_until(&nobody_floods, quiet, |_| (), is_answered);
        assert!(after <= ANSWERED_WITHIN, "others are answered after {after:?}");
        assert!(machine.has_turns(), "not all is done by then, or this proves nothing");
        machine.run_dry();
        let work = machine.work().saturating_sub(began);
        assert!(work >= Work::of_calls(LEFT), "{work:?} for {LEFT} circuits");
        let other = machine.client(ends[1 - goes_first]);
        assert_eq!(other.resets, LEFT, "all that stay hear of it");
    }
}

/// What a client says again and again.
type Unit = fn(&mut Client);

/// Links that say the same without end.
struct Flood<'a> {
    links: &'a [ConnId],
    unit: Unit,
}

/// A circuit that no link has.
const NONE: u32 = 0x7000_0001;

fn nobody() -> PeerId {
    PeerId::from_bytes([77; 32])
}

fn control(client: &mut Client, message: Control) {
    client.say(&Frame::Control(message));
}

/// DATA of all sizes on a circuit of its own.
const OF_DATA: [(&str, Unit); 3] = [
    ("DATA of a byte", |client| {
        client.data(1);
    }),
    ("DATA of 64 bytes", |client| {
        client.data(64);
    }),
    ("DATA", |client| {
        client.data(DATA_BODY_MAX);
    }),
];

/// All else that a client may say, and what leads to most.
const KINDS: [(&str, Unit); 17] = [
    ("PING", |client| client.say(&Frame::Ping(1))),
    ("PONG", |client| client.say(&Frame::Pong(1))),
    ("CREDIT of a circuit", |client| client.say(&Frame::Credit { circuit: client.circuit, credit: 1 << 30 })),
    ("CREDIT of none", |client| client.say(&Frame::Credit { circuit: NONE, credit: 1 })),
    ("FIN of no circuit", |client| client.say(&Frame::Fin { circuit: NONE })),
    ("RESET of no circuit", |client| client.say(&Frame::Reset { circuit: NONE, code: 8 })),
    ("DATA of no circuit", |client| client.say(&Frame::Data { circuit: NONE, bytes: 0..1, credit: 0 })),
    ("LISTEN", |client| control(client, Control::Listen { name: app("flood") })),
    ("UNLISTEN", |client| control(client, Control::Unlisten { name: app("nothing") })),
    ("LISTEN and UNLISTEN", |client| {
        control(client, Control::Listen { name: app("other") });
        control(client, Control::Unlisten { name: app("other") });
    }),
    ("ACCEPT of no call", |client| control(client, Control::Accept { circuit: NONE, early: vec![] })),
    ("REJECT of no call", |client| control(client, Control::Reject { circuit: NONE, code: 3 })),
    ("a message of a later version", |client| control(client, Control::Unknown { number: 0x80, body: vec![] })),
    ("a long one", |client| control(client, Control::Unknown { number: 0x80, body: vec![1; 16_000] })),
    ("CONNECT to nobody, and RESET", |client| {
        let circuit = client.connect(nobody(), app("x"));
        client.say(&Frame::Reset { circuit, code: 8 });
    }),
    ("CONNECT to itself, and RESET", |client| {
        let circuit = client.connect(client.peer, app("flood"));
        client.say(&Frame::Reset { circuit, code: 8 });
    }),
    ("CONNECT to nobody", |client| {
        client.connect(nobody(), app("x"));
    }),
];

#[test]
fn a_flood_of_any_kind_over_many_links_of_a_peer_leaves_others_their_turns_and_their_share() {
    let mut machine = Machine::new(1);
    let (quiet, pair, bulk) = (machine.attach(1), machine.pair((2, 3)), machine.pair((4, 5)));
    let nobody_floods = Flood { links: &[], unit: |_| () };
    let alone = machine.throughput(&nobody_floods, bulk);
    let links: Vec<ConnId> = (0..LINKS).map(|_| machine.attach(HOSTILE)).collect();
    links.chunks_exact(2).for_each(|pair| machine.join(pair[1], pair[0]));
    let own = machine.attach(HOSTILE);
    for (name, unit) in OF_DATA.into_iter().chain(KINDS) {
        let flood = Flood { links: &links, unit };
        let (began, said) = (machine.work(), machine.price(&links));
        let [heartbeat, hop] = [machine.heartbeat(&flood, quiet), machine.hop(&flood, pair)];
        assert!(heartbeat <= ANSWERED_WITHIN, "{name}: a heartbeat is answered after {heartbeat:?}");
        assert!(hop <= ANSWERED_WITHIN, "{name}: 64 bytes are there after {hop:?}");
        if name == "PING" {
            let own = machine.heartbeat(&flood, own);
            assert!(own > ANSWERED_WITHIN, "who is one of them has to wait: {own:?}");
        }
        let among = machine.throughput(&flood, bulk);
        let share = among / (alone / 2.0);
        assert!(share >= SHARE_MIN, "{name}: {share:.2} of its share, {among:.0} of {alone:.0} bytes a microsecond");
        machine.run_dry();
        // Nothing of it was for nothing.
        let (work, price) = (machine.work().saturating_sub(began), machine.price(&links).saturating_sub(said));
        assert!(work >= price && price > Work::ZERO, "{name}: {work:?} for what costs {price:?}");
    }
}

/// What else crosses between workers.
const CROSSING: [(&str, Unit); 3] = [
    ("CREDIT", |client| client.say(&Frame::Credit { circuit: client.circuit, credit: 1 << 30 })),
    ("CONNECT, ACCEPT and RESET", Client::call_on),
    ("all of that", |client| {
        client.data(1);
        client.say(&Frame::Credit { circuit: client.circuit, credit: 1 << 30 });
        client.call_on();
    }),
];

#[test]
fn a_flood_over_circuits_between_workers_leaves_others_their_turns_and_their_share_at_both() {
    let mut machine = Machine::new(2);
    let honest = [1, 4].map(|seed| (machine.attach(seed), machine.pair((seed + 1, seed + 2))));
    let nobody_floods = Flood { links: &[], unit: |_| () };
    let alone = honest.map(|(_, pair)| machine.throughput(&nobody_floods, pair));
    let all: Vec<ConnId> = (0..LINKS).map(|_| machine.attach(HOSTILE)).collect();
    let of = |at| all.iter().copied().filter(|id| machine.clients[id].at == at).collect::<Vec<_>>();
    let ([here, there], mut links) = ([of(0), of(1)], Vec::new());
    for (n, (here, there)) in here.chunks_exact(2).zip(there.chunks_exact(2)).enumerate() {
        let ([one, three], [two, four]) = ([here[0], here[1]], [there[0], there[1]]);
        // Whoever has a circuit at its own worker stays there when it calls elsewhere.
        let names = [app(&format!("even{n}")), app(&format!("odd{n}"))];
        let calls = [(three, one, 0), (four, two, 1), (three, two, 1), (four, one, 0)];
        calls.into_iter().for_each(|(caller, callee, name)| machine.join_as(caller, callee, names[name].clone()));
        let at = [one, two, three, four].map(|id| machine.clients[&id].at);
        assert!(at[0] == at[2] && at[1] == at[3] && at[0] != at[1], "{at:?}");
        let peer = machine.clients[&one].peer;
        machine.client(three).calls = Some((peer, names[1].clone()));
        machine.client(four).calls = Some((peer, names[0].clone()));
        links.extend([one, two, three, four]);
    }
    assert!(links.len() > LINKS * 9 / 10, "{} of {LINKS}", links.len());
    links.iter().for_each(|id| machine.client(*id).plays = true);
    for (name, unit) in OF_DATA.into_iter().chain(CROSSING) {
        let flood = Flood { links: &links, unit };
        let (began, said, told) = (machine.work(), machine.price(&links), machine.told);
        machine.longest_turn = Work::ZERO;
        for ((quiet, pair), alone) in honest.into_iter().zip(alone) {
            let [heartbeat, hop] = [machine.heartbeat(&flood, quiet), machine.hop(&flood, pair)];
            assert!(heartbeat <= CROSSED_WITHIN, "{name}: a heartbeat is answered after {heartbeat:?}");
            assert!(hop <= CROSSED_WITHIN, "{name}: 64 bytes are there after {hop:?}");
            let share = machine.throughput(&flood, pair) / (alone / 2.0);
            assert!(share >= SHARE_MIN, "{name}: {share:.2} of its share");
        }
        let longest = machine.longest_turn;
        assert!(longest <= TURN_MAX, "{name}: {longest:?} in one turn");
        machine.run_dry();
        // What it led to at the other worker was paid for, too.
        let work = machine.work().saturating_sub(began);
        let price = machine.price(&links).saturating_sub(said) + machine.told.saturating_sub(told);
        assert!(work >= price && price > Work::ZERO, "{name}: {work:?} for what costs {price:?}");
    }
}
