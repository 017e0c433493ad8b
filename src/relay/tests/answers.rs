//! Clients that say what has to be answered, and take no answers.

use super::testkit::{Client, Got, app, relay};
use super::{MayRead, RelayCore};
use crate::identity::{Identity, PeerId};
use crate::relay::memory::block::BLOCK_BYTES;
use crate::relay::{Limits, OFFERS_PER_PEER_MAX};
use crate::wire::{Control, Kind};
use proptest::prelude::*;
use std::time::Instant;

/// What one read takes at most.
const READ_BYTES: usize = 4 * BLOCK_BYTES;
/// Answers that may wait beyond what is in order, and the one that a last message brought.
const ANSWERS: usize = 65;

/// Whom a client calls.
#[derive(Clone, Copy, Debug)]
enum Whom {
    Nobody,
    Itself,
    /// Somebody who takes all calls.
    Friend,
}

/// Something that a client may say at any time, or that a friend of it may.
#[derive(Clone, Debug)]
enum Word {
    Listen(u8),
    Unlisten(u8),
    /// At once or not; with so many early bytes.
    Connect {
        to: Whom,
        wait_ms: u32,
        early: usize,
    },
    /// The same by the friend.
    Called {
        wait_ms: u32,
        early: usize,
    },
    /// Takes one of the calls that it has heard of, with so many early bytes.
    Take(usize, usize),
    Refuse(usize),
    Accept(u32),
    Reject(u32),
    Reset(u32),
    Bare(Kind, u32),
}

fn word() -> impl Strategy<Value = Word> {
    let kind = prop_oneof![Just(Kind::Ping), Just(Kind::Fin), Just(Kind::Credit)];
    let whom = prop_oneof![Just(Whom::Nobody), Just(Whom::Itself), Just(Whom::Friend)];
    let wait_ms = || prop_oneof![Just(0), Just(5000)];
    prop_oneof![
        3 => (0..40_u8).prop_map(Word::Listen),
        1 => (0..40_u8).prop_map(Word::Unlisten),
        4 => (whom, wait_ms(), 1..2000_usize).prop_map(|(to, wait_ms, early)| Word::Connect { to, wait_ms, early }),
        2 => (wait_ms(), 1..2000_usize).prop_map(|(wait_ms, early)| Word::Called { wait_ms, early }),
        3 => (0..1000_usize, 1..2000_usize).prop_map(|(which, early)| Word::Take(which, early)),
        1 => (0..1000_usize).prop_map(Word::Refuse),
        1 => (0..200_u32).prop_map(Word::Accept),
        1 => (0..200_u32).prop_map(Word::Reject),
        1 => (0..200_u32).prop_map(Word::Reset),
        1 => (kind, 0..200_u32).prop_map(|(kind, number)| Word::Bare(kind, number)),
    ]
}

/// What a peer may have open and have asked for.
fn circuits_max() -> usize {
    usize::try_from(Limits::default().circuits_per_peer).unwrap()
}

/// How often a client says such words, so that they are some reads, whoever says them and whatever comes of them.
fn turns(words: &[Word]) -> usize {
    let bytes = |word: &Word| match word {
        Word::Connect { early, .. } | Word::Called { early, .. } | Word::Take(_, early) => 100 + early,
        _ => 40,
    };
    (8 * READ_BYTES).div_ceil(words.iter().map(bytes).sum())
}

/// A client that says what is to be answered, and a friend of it that takes all calls and hears everything.
struct Pair {
    client: Client,
    friend: Client,
    /// The last number of a call of each.
    circuits: [u32; 2],
    /// Calls that the client has heard of and not answered.
    offers: Vec<u32>,
    /// Calls that it has taken so far.
    taken: usize,
}

impl Pair {
    fn attach(now: Instant, (relay, id): (&mut RelayCore, PeerId)) -> Pair {
        let mut client = Client::attach(now, relay, id, 1);
        let mut friend = Client::attach(now, relay, id, 2);
        [&mut client, &mut friend].into_iter().for_each(|who| who.say(Control::Listen { name: app("a1") }));
        friend.flush(now, relay);
        Pair { client, friend, circuits: [0, 0], offers: Vec::new(), taken: 0 }
    }

    fn say(&mut self, word: &Word) {
        let name = |n: &u8| app(&format!("a{n}"));
        let call = |number: &mut u32, to, (wait_ms, early): (u32, usize)| {
            *number += 2;
            Control::Connect { circuit: *number, to, name: name(&1), wait_ms, early: vec![1; early] }
        };
        let Pair { client, friend, circuits: [circuit, friends], offers, .. } = self;
        // To answer an own call would break the protocol. Numbers of calls from others are odd.
        match word {
            Word::Listen(n) => client.say(Control::Listen { name: name(n) }),
            Word::Unlisten(n) => client.say(Control::Unlisten { name: name(n) }),
            Word::Connect { to, wait_ms, early } => {
                let to = match to {
                    Whom::Nobody => Identity::from_seed(&[77; 32]).id(),
                    Whom::Itself => client.peer,
                    Whom::Friend => friend.peer,
                };
                client.say(call(circuit, to, (*wait_ms, *early)));
            }
            Word::Called { wait_ms, early } => friend.say(call(friends, client.peer, (*wait_ms, *early))),
            Word::Take(which, early) if !offers.is_empty() => {
                let circuit = offers.swap_remove(which % offers.len());
                client.say(Control::Accept { circuit, early: vec![1; *early] });
                self.taken += 1;
            }
            Word::Refuse(which) if !offers.is_empty() => {
                client.say(Control::Reject { circuit: offers.swap_remove(which % offers.len()), code: 3 });
            }
            Word::Take(..) | Word::Refuse(_) => {}
            Word::Accept(n) => client.say(Control::Accept { circuit: 100_001 + 2 * n, early: vec![1] }),
            Word::Reject(n) => client.say(Control::Reject { circuit: 100_001 + 2 * n, code: 3 }),
            Word::Reset(n) => client.bare(Kind::Reset, circuit.saturating_sub(*n).max(1), 8),
            Word::Bare(kind, n) => client.bare(*kind, if *kind == Kind::Ping { 0 } else { n + 1 }, *n),
        }
    }

    /// The relay reads what it will of the client, which takes so much of what it says. The friend takes it all.
    fn turn(&mut self, now: Instant, relay: &mut RelayCore, heard: usize) -> Vec<Got> {
        offer(now, relay, &mut self.client);
        let got = self.client.got(now, relay, heard);
        self.offers.extend(got.iter().filter_map(|got| match got {
            Got::Control(Control::Incoming { circuit, .. }) => Some(*circuit),
            _ => None,
        }));
        offer(now, relay, &mut self.friend);
        for got in self.friend.all(now, relay) {
            if let Got::Control(Control::Incoming { circuit, .. }) = got {
                self.friend.say(Control::Accept { circuit, early: vec![1; 1000] });
            }
        }
        got
    }
}

/// Hands over what is queued, a read at a time, as long as the relay reads; true if that was all.
fn offer(now: Instant, relay: &mut RelayCore, client: &mut Client) -> bool {
    let mut turns = 0..1_000_000;
    while !client.output.is_empty() && relay.may_read(client.id) == MayRead::Now {
        assert!(turns.next().is_some(), "nothing of it is taken");
        let count = client.output.len().min(READ_BYTES);
        let taken = relay.handle_read(now, client.id, &client.output[..count]);
        client.output.drain(..taken);
    }
    client.output.is_empty()
}

#[test]
fn who_hears_no_answers_is_not_listened_to_and_every_word_is_answered_when_it_does() {
    let now = Instant::now();
    let (mut relay, id) = relay(1);
    let mut client = Client::attach(now, &mut relay, id, 1);
    let count = 30_000;
    (0..count).for_each(|_| client.say(Control::Listen { name: app("a") }));
    client.bare(Kind::Ping, 0, 9);
    assert!(!offer(now, &mut relay, &mut client), "all was read");
    assert_eq!(relay.answers(client.id), ANSWERS - 1);
    assert!(relay.used_bytes() <= READ_BYTES, "{}", relay.used_bytes());
    let mut got = Vec::new();
    let mut reads = 0..count;
    while !got.contains(&Got::Pong(9)) {
        assert!(reads.next().is_some(), "not all is answered: {}", got.len());
        // A few bytes of an answer at a time.
        got.extend(client.got(now, &mut relay, 1000));
        offer(now, &mut relay, &mut client);
    }
    got.extend(client.all(now, &mut relay));
    let listening = got.iter().filter(|got| matches!(got, Got::Control(Control::Listening { .. }))).count();
    assert_eq!((listening, relay.used_bytes()), (count, 0));
}

/// What is much work is done bit by bit; that has nothing to do with who takes answers.
#[test]
fn much_at_once_is_used_to_the_end_though_some_answers_wait() {
    let now = Instant::now();
    let (mut relay, id) = relay(1);
    let mut client = Client::attach(now, &mut relay, id, 1);
    (0..10).for_each(|_| client.say(Control::Listen { name: app("a") }));
    (0..4000).for_each(|_| client.say(Control::Unlisten { name: app("b") }));
    assert!(offer(now, &mut relay, &mut client));
    assert!(relay.answers(client.id) > 0 && relay.used_bytes() == 0, "{}", relay.used_bytes());
    client.bare(Kind::Ping, 0, 9);
    assert!(offer(now, &mut relay, &mut client) && client.all(now, &mut relay).contains(&Got::Pong(9)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn whatever_a_client_says_what_it_does_not_take_is_bounded(
        words in proptest::collection::vec(word(), 1..60),
        heard in 0..3000_usize,
        workers in 1..=4_usize,
    ) {
        let now = Instant::now();
        let (mut relay, id) = relay(workers);
        let mut pair = Pair::attach(now, (&mut relay, id));
        // One more for each of its calls that others, or another worker, have yet to answer: each of them is a circuit of its.
        let with_friend = |word: &Word| matches!(word, Word::Called { .. } | Word::Connect { to: Whom::Friend, .. });
        let is_alone = workers == 1 && !words.iter().any(with_friend);
        let answers_max = ANSWERS + if is_alone { 0 } else { circuits_max() };
        for _ in 0..turns(&words) {
            words.iter().for_each(|word| pair.say(word));
            pair.turn(now, &mut relay, heard);
            let answers = relay.answers(pair.client.id);
            prop_assert!(answers <= answers_max, "{answers} answers");
            // What is held, and calls to itself and of its friend, which are bounded as those to any peer.
            prop_assert!(relay.used_bytes() <= READ_BYTES + (4 << 20), "{}", relay.used_bytes());
            if pair.client.output.len() > 2 * READ_BYTES {
                break;
            }
        }
        pair.client.bare(Kind::Ping, 0, u32::MAX);
        let all_heard = (0..1000).any(|_| pair.turn(now, &mut relay, usize::MAX).contains(&Got::Pong(u32::MAX)));
        prop_assert!(all_heard, "{} bytes were never read", pair.client.output.len());
        [pair.client.id, pair.friend.id].into_iter().for_each(|id| relay.handle_closed(now, id));
        prop_assert_eq!(relay.used_bytes(), 0);
    }
}

/// It is slow, and not busy: nobody hears that sooner than of any other callee that does not answer.
#[test]
fn a_callee_that_reads_too_little_is_brought_what_it_may_leave_unanswered_and_nobody_is_refused_for_that() {
    const OPEN: usize = 320;
    let now = Instant::now();
    let (mut relay, id) = relay(1);
    let mut callee = Client::attach(now, &mut relay, id, 1);
    callee.say(Control::Listen { name: app("a") });
    callee.flush(now, &mut relay);
    let mut friend = Client::attach(now, &mut relay, id, 2);
    for circuit in (2..).step_by(2).take(OPEN) {
        friend.connect(circuit, callee.peer, "a", 0);
        friend.flush(now, &mut relay);
        for got in callee.all(now, &mut relay) {
            if let Got::Control(Control::Incoming { circuit, .. }) = got {
                callee.say(Control::Accept { circuit, early: vec![1] });
            }
        }
        callee.flush(now, &mut relay);
    }
    // The end of each is to be heard by the callee, which hears nothing.
    relay.handle_closed(now, friend.id);
    let mut callers = [3, 4, 5].map(|seed| Client::attach_from(now, &mut relay, id, (seed, seed)));
    for caller in &mut callers {
        (1..=100).for_each(|n| caller.connect(2 * n, callee.peer, "a", 5000));
        caller.flush(now, &mut relay);
        let heard = caller.all(now, &mut relay);
        let refused = |got: &&Got| matches!(got, Got::Control(Control::Status { .. }));
        assert_eq!(heard.iter().filter(refused).count(), 0);
    }
    let got = callee.all(now, &mut relay);
    let count = |is: fn(&&Got) -> bool| got.iter().filter(is).count();
    let brought = count(|got| matches!(got, Got::Control(Control::Incoming { .. })));
    assert_eq!((count(|got| matches!(got, Got::Reset(..))), brought), (OPEN, OFFERS_PER_PEER_MAX));
}

/// However little it takes at a time: an answer that has been taken in part is still one.
#[test]
fn who_hears_a_few_bytes_at_a_time_is_listened_to_no_more_than_it_hears() {
    for heard in [1, 5, 21, 40] {
        let now = Instant::now();
        let (mut relay, id) = relay(1);
        let mut pair = Pair::attach(now, (&mut relay, id));
        for _ in 0..20_000 {
            pair.say(&Word::Listen(0));
            pair.turn(now, &mut relay, heard);
        }
        assert!(relay.used_bytes() <= READ_BYTES, "{heard}: {}", relay.used_bytes());
    }
}

/// The words above lead to circuits, at each number of workers.
#[test]
fn calls_of_a_client_and_to_it_are_taken_at_any_number_of_workers() {
    for workers in 1..=4 {
        let now = Instant::now();
        let (mut relay, id) = relay(workers);
        let mut pair = Pair::attach(now, (&mut relay, id));
        let connect = |to| Word::Connect { to, wait_ms: 5000, early: 100 };
        let words = [connect(Whom::Itself), connect(Whom::Friend), Word::Called { wait_ms: 5000, early: 100 }];
        words.iter().for_each(|word| pair.say(word));
        let mut opened = 0;
        for _ in 0..20 {
            let got = pair.turn(now, &mut relay, usize::MAX);
            opened += got.iter().filter(|got| matches!(got, Got::Control(Control::Opened { .. }))).count();
            pair.say(&Word::Take(0, 1000));
        }
        assert_eq!((pair.taken, opened), (2, 2), "{workers}");
    }
}
