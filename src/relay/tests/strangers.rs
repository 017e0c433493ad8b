//! Two worlds, with and without somebody who is called and turns the caller away: what the caller hears of the whole relay, and
//! where its link is.

use super::testkit::{Client, Got, app, relay};
use crate::identity::{Identity, PeerId};
use crate::relay::RelayCore;
use crate::relay::fair::account::Owner;
use crate::relay::memory::charge::{Charge, most_bytes};
use crate::wire::{CloseCode, Control, Kind, Name};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The seed of the one who is called.
const CALLED: u8 = 2;
const TICK: Duration = Duration::from_millis(10);

#[derive(Clone, Debug)]
enum Step {
    /// So many CONNECT in one write, each with a PING behind it.
    Call { calls: u32, name: u8, wait: u8 },
    /// RESET of one of them.
    Cancel(u32),
    /// LISTEN, whatever that is good for.
    Listen,
    /// So many ticks go by, with a PING in each.
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..70_u32, 0..3_u8, 0..4_u8).prop_map(|(calls, name, wait)| Step::Call { calls, name, wait }),
        2 => (0..50_u32).prop_map(Step::Cancel),
        1 => Just(Step::Listen),
        4 => (1..60_u8).prop_map(Step::Pass),
    ]
}

/// What the one who is called does with calls.
#[derive(Clone, Copy, Debug)]
enum Called {
    Absent,
    /// It says NOT_HERE after so many ticks.
    TurnsAway(u32),
    Takes,
    /// It hears of no call: messages take all the memory that they may.
    HearsNothing,
}

/// Who came before whom, and so at which workers they are.
#[derive(Clone, Copy, Debug)]
struct Places {
    workers: usize,
    before: u8,
    between: u8,
}

/// A relay, one who calls, and perhaps one who is called.
struct World {
    now: Instant,
    relay: RelayCore,
    caller: Client,
    called: Option<Client>,
    does: Called,
    /// Its answers, by the tick in which it gives them.
    answers: VecDeque<(u32, u32)>,
    ticks: u32,
    circuit: u32,
    tokens: u32,
    /// What the caller hears after each thing that it says and in each tick, and where its link is.
    seen: Vec<(u32, Option<usize>, Vec<Got>)>,
    /// They are there, and say nothing.
    others: Vec<Client>,
    _messages: Option<Charge>,
}

impl World {
    fn new(Places { workers, before, between }: Places, does: Called) -> World {
        let now = Instant::now();
        let (mut relay, id) = relay(workers);
        let mut others: Vec<Client> = (0..before).map(|n| Client::attach(now, &mut relay, id, 100 + n)).collect();
        let caller = Client::attach(now, &mut relay, id, 1);
        others.extend((0..between).map(|n| Client::attach(now, &mut relay, id, 150 + n)));
        let called = (!matches!(does, Called::Absent)).then(|| {
            let mut called = Client::attach(now, &mut relay, id, CALLED);
            (0..2).for_each(|n| called.say(Control::Listen { name: name(n) }));
            called.flush(now, &mut relay);
            called
        });
        let (answers, seen) = (VecDeque::new(), Vec::new());
        let _messages = matches!(does, Called::HearsNothing).then(|| {
            let budget = &relay.budget;
            Charge::new(budget, Owner::Strangers, most_bytes(budget))
        });
        World { now, relay, caller, called, does, answers, ticks: 0, circuit: 0, tokens: 0, seen, others, _messages }
    }

    fn ping(&mut self) {
        self.tokens += 1;
        self.caller.bare(Kind::Ping, 0, self.tokens);
    }

    /// Hands over what the caller says, and looks what comes of it.
    fn look(&mut self) {
        let (now, relay) = (self.now, &mut self.relay);
        self.caller.flush(now, relay);
        if let Some(called) = &mut self.called {
            for got in called.all(now, relay) {
                let Got::Control(Control::Incoming { circuit, .. }) = got else { continue };
                let away = if let Called::TurnsAway(away) = self.does { away } else { 0 };
                self.answers.push_back((self.ticks + away, circuit));
            }
            while let Some((_, circuit)) = self.answers.pop_front_if(|(at, _)| *at <= self.ticks) {
                called.say(match self.does {
                    Called::Takes => Control::Accept { circuit, early: vec![] },
                    _ => Control::Reject { circuit, code: CloseCode::NotHere.to_wire() },
                });
            }
            called.bare(Kind::Ping, 0, 1);
            called.flush(now, relay);
        }
        for other in &mut self.others {
            other.bare(Kind::Ping, 0, 1);
            other.flush(now, relay);
            other.all(now, relay);
        }
        let got = self.caller.all(now, relay);
        self.seen.push((self.ticks, relay.worker_of(self.caller.id), got));
    }

    fn play(mut self, steps: &[Step]) -> Vec<(u32, Option<usize>, Vec<Got>)> {
        let to: PeerId = Identity::from_seed(&[CALLED; 32]).id();
        for step in steps {
            match *step {
                Step::Call { calls, name: of, wait } => {
                    for _ in 0..calls {
                        self.circuit += 2;
                        let (circuit, wait_ms) = (self.circuit, [0, 100, 700, 60_000][usize::from(wait)]);
                        self.caller.say(Control::Connect { circuit, to, name: name(of), wait_ms, early: vec![1] });
                        self.ping();
                    }
                }
                Step::Cancel(n) => self.caller.link_reset(2 * n + 2, CloseCode::Cancelled),
                Step::Listen => self.caller.say(Control::Listen { name: name(0) }),
                Step::Pass(ticks) => {
                    for _ in 0..ticks {
                        self.now += TICK;
                        self.ticks += 1;
                        self.relay.handle_timeout(self.now);
                        self.ping();
                        self.look();
                    }
                }
            }
            self.look();
        }
        self.seen
    }
}

/// Two that are listened to, and one that is not.
fn name(n: u8) -> Name {
    match n {
        0 => app("a"),
        1 => Name::Session([0; 16]),
        _ => app("other"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_stranger_is_at_the_same_worker_and_hears_the_same_whether_somebody_is_there(
        workers in 2..4_usize, before in 0..3_u8, between in 0..3_u8,
        steps in proptest::collection::vec(step(), 1..16), away in 0..29_u32,
    ) {
        let places = Places { workers, before, between };
        let absent = World::new(places, Called::Absent).play(&steps);
        prop_assert_eq!(&World::new(places, Called::TurnsAway(away)).play(&steps), &absent);
        prop_assert_eq!(World::new(places, Called::HearsNothing).play(&steps), absent);
    }
}

/// Whoever takes the call is known to be there, and the link goes where it is; or the test above would prove nothing.
#[test]
fn a_link_goes_to_whoever_takes_its_call_and_not_before() {
    let steps = [Step::Call { calls: 1, name: 0, wait: 0 }, Step::Pass(40)];
    let (mut moved, places) = (0, |between| Places { workers: 3, before: 0, between });
    for between in 0..3 {
        let ends = |does| World::new(places(between), does).play(&steps).last().map(|(_, worker, _)| *worker);
        let absent = ends(Called::Absent);
        assert_eq!(ends(Called::TurnsAway(3)), absent);
        moved += usize::from(ends(Called::Takes) != absent);
    }
    assert_eq!(moved, 2, "of three workers it is at one");
}
