//! Calls to a peer with a rate, and what it says of them: whoever calls it leaves it heard.

use super::rates::{READ, rated_callee};
use super::*;
use crate::identity::PeerId;
use crate::wire::Name;
use std::fmt::Debug;

/// The early bytes of a call and of a reply, as those of handshakes are.
const CALL: usize = 1615;
const REPLY: usize = 1450;
/// As many as one caller has at once.
const CALLS: u32 = 64;
/// Each takes as long as nobody hears that he is turned away.
const ROUNDS: u32 = 80;

/// How a callee comes to say what is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// The calls are withdrawn while it takes them.
    Withdrawn,
    /// They are questions, and are withdrawn while it answers them.
    Question,
    /// They are withdrawn while it turns them away.
    WithdrawnRefused,
    /// It turns them away.
    Refused,
    /// It turns them away at once, for they are for a session.
    Unknown,
    /// When it takes them it has no circuit left.
    Crowded,
}

/// What the peer with a rate has said is read, as much at once as a worker would, for that may be.
fn read(now: Instant, relay: &mut RelayCore, client: &mut Client, after: impl Debug) {
    for piece in std::mem::take(&mut client.output).chunks(READ) {
        assert!(relay.may_read(client.id).is_now(now), "{after:?}");
        relay.handle_bytes(now, client.id, piece);
    }
    assert!(relay.may_read(client.id).is_now(now), "{after:?}");
}

struct World {
    now: Instant,
    relay: RelayCore,
    callee: Client,
    callers: [Client; 2],
    case: Case,
    /// The highest number of the callers' calls so far.
    called: u32,
    replies: usize,
}

impl World {
    fn new(workers: usize, case: Case) -> World {
        let (relay, [callee, first, second]) = rated_callee(workers, 1);
        let mut world =
            World { now: Instant::now(), relay, callee, callers: [first, second], case, called: 0, replies: 0 };
        world.callee.say(Control::Listen { name: world.name() });
        world.hear();
        world
    }

    fn name(&self) -> Name {
        if self.case == Case::Unknown { Name::Session([9; 16]) } else { app("a") }
    }

    /// What the callee has said is read, for that may be; what it hears.
    fn hear(&mut self) -> Vec<Got> {
        read(self.now, &mut self.relay, &mut self.callee, (self.case, self.replies));
        self.callee.all(self.now, &mut self.relay)
    }

    fn call(&mut self) {
        let name = self.name();
        for caller in &mut self.callers {
            for n in 1..=CALLS {
                let circuit = self.called + 2 * n;
                let (to, early) = (self.callee.peer, vec![1; CALL]);
                caller.say(Control::Connect { circuit, to, name: name.clone(), wait_ms: 0, early });
            }
            caller.flush(self.now, &mut self.relay);
        }
        self.called += 2 * CALLS;
    }

    fn withdraw(&mut self) {
        for caller in &mut self.callers {
            for n in 0..CALLS {
                caller.link_reset(self.called - 2 * n, CloseCode::Cancelled);
            }
            caller.flush(self.now, &mut self.relay);
            caller.all(self.now, &mut self.relay);
        }
    }

    fn reply(&mut self, circuit: u32) {
        match self.case {
            Case::Withdrawn | Case::Crowded => {
                self.callee.say(Control::Accept { circuit, early: vec![2; REPLY] });
                self.callee.bare(Kind::Credit, circuit, 1 << 30);
            }
            Case::Question => {
                self.callee.say(Control::Accept { circuit, early: vec![2; REPLY] });
                self.callee.link_reset(circuit, CloseCode::Done);
            }
            Case::WithdrawnRefused | Case::Refused | Case::Unknown => {
                self.callee.say(Control::Reject { circuit, code: CloseCode::NotHere.to_wire() });
            }
        }
        self.replies += 1;
    }

    fn go_round(&mut self, round: u32) {
        self.call();
        let heard = self.hear();
        if matches!(self.case, Case::Withdrawn | Case::Question | Case::WithdrawnRefused) {
            self.withdraw();
        }
        let own = 2 * round + 2;
        if self.case == Case::Crowded {
            let to = PeerId::from_bytes([7; 32]);
            self.callee.say(Control::Connect { circuit: own, to, name: app("b"), wait_ms: 60_000, early: vec![] });
        }
        for got in heard {
            if let Got::Control(Control::Incoming { circuit, .. }) = got {
                self.reply(circuit);
            }
        }
        if self.case == Case::Crowded {
            self.callee.link_reset(own, CloseCode::Cancelled);
        }
        self.callee.bare(Kind::Ping, 0, round);
        assert!(self.hear().contains(&Got::Pong(round)), "{:?}", self.case);
        self.withdraw();
        self.now += REFUSAL_DELAY;
        self.relay.handle_timeout(self.now);
    }
}

#[test]
fn whoever_calls_a_peer_with_a_rate_without_end_leaves_it_heard_whatever_it_replies() {
    use Case::{Crowded, Question, Refused, Unknown, Withdrawn, WithdrawnRefused};
    for (n, case) in [Withdrawn, Question, WithdrawnRefused, Refused, Unknown, Crowded].into_iter().enumerate() {
        let mut world = World::new(1 + n % 2, case);
        (0..ROUNDS).for_each(|round| world.go_round(round));
        assert_eq!(world.replies, usize::try_from(2 * CALLS * ROUNDS).unwrap(), "{case:?}");
        // Nor does it wait longer for credit.
        let World { mut now, mut relay, mut callee, callers: [mut caller, _], called, .. } = world;
        caller.connect(called + 2, callee.peer, if case == Unknown { "b" } else { "a" }, 0);
        if case == Unknown {
            callee.say(Control::Listen { name: app("b") });
            callee.flush(now, &mut relay);
        }
        caller.flush(now, &mut relay);
        let Some(Got::Control(Control::Incoming { circuit, .. })) = callee.all(now, &mut relay).pop() else { panic!() };
        callee.say(Control::Accept { circuit, early: vec![2; 300] });
        callee.data(circuit, &numbered(WINDOW));
        callee.flush(now, &mut relay);
        caller.bare(Kind::Credit, called + 2, 1 << 30);
        caller.flush(now, &mut relay);
        caller.all(now, &mut relay);
        let mut heard = Vec::new();
        for _ in 0..3 {
            now += Duration::from_secs(5);
            for client in [&mut callee, &mut caller] {
                client.bare(Kind::Ping, 0, 1);
                client.flush(now, &mut relay);
            }
            relay.handle_timeout(now);
            heard.extend(callee.all(now, &mut relay));
        }
        assert!(heard.iter().any(|got| matches!(got, Got::Credit(..))), "{case:?}");
    }
}

/// A callee with a rate and so many circuits open to it, and who called.
fn opened(circuits: u32) -> (RelayCore, [Client; 2]) {
    let (mut relay, [mut callee, _, mut caller]) = rated_callee(1, 16);
    let now = Instant::now();
    callee.say(Control::Listen { name: app("a") });
    callee.flush(now, &mut relay);
    for n in 1..=circuits {
        caller.connect(2 * n, callee.peer, "a", 0);
        caller.flush(now, &mut relay);
        callee.say(Control::Accept { circuit: 2 * n - 1, early: vec![2; 100] });
        callee.all(now, &mut relay);
        callee.flush(now, &mut relay);
    }
    caller.all(now, &mut relay);
    (relay, [callee, caller])
}

/// So others have it reply to heartbeats of a session.
#[test]
fn records_of_23_bytes_within_credit_leave_a_link_heard() {
    let (mut relay, [mut callee, _caller]) = opened(12);
    let now = Instant::now();
    for circuit in (1..24).step_by(2) {
        for _ in 0..WINDOW / 23 {
            callee.data(circuit, &[0; 23]);
        }
        read(now, &mut relay, &mut callee, circuit);
    }
}

#[test]
fn a_frame_that_comes_in_pieces_has_one_header() {
    let mut pings = [0, 0];
    for (pings, step) in pings.iter_mut().zip([usize::MAX, 32]) {
        let (mut relay, [mut callee, _caller]) = opened(1);
        let now = Instant::now();
        let mut ping = |callee: &mut Client, relay: &mut RelayCore, most: u32| {
            while *pings < most && relay.may_read(callee.id).is_now(now) {
                *pings += 1;
                callee.bare(Kind::Ping, 0, *pings);
                callee.flush(now, relay);
            }
        };
        ping(&mut callee, &mut relay, 6000);
        callee.data(1, &numbered(WINDOW));
        callee.trickle(now, &mut relay, step);
        ping(&mut callee, &mut relay, u32::MAX);
    }
    // Time passes between the two: a second is 320 pings.
    assert!(pings[0] > 6000 && pings[1] < pings[0] + 1000, "{pings:?}");
}
