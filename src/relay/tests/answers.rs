//! Clients that say what has to be answered, and take no answers.

use super::testkit::{Client, Got, app, relay};
use super::{MayRead, RelayCore};
use crate::relay::BLOCK_BYTES;
use crate::wire::{Control, Kind};
use proptest::prelude::*;
use std::time::Instant;

/// What one read takes at most.
const READ_BYTES: usize = 4 * BLOCK_BYTES;
/// Answers that may wait beyond what is in order, and the one that a last message brought.
const ANSWERS: usize = 65;

/// Something that a client may say at any time.
#[derive(Clone, Debug)]
enum Word {
    Listen(u8),
    Unlisten(u8),
    /// To nobody, or to itself; at once or not; with so many early bytes.
    Connect {
        own: bool,
        wait_ms: u32,
        early: usize,
    },
    Accept(u32),
    Reject(u32),
    Reset(u32),
    Bare(Kind, u32),
}

fn word() -> impl Strategy<Value = Word> {
    let kind = prop_oneof![Just(Kind::Ping), Just(Kind::Fin), Just(Kind::Credit)];
    prop_oneof![
        3 => (0..40_u8).prop_map(Word::Listen),
        1 => (0..40_u8).prop_map(Word::Unlisten),
        3 => (any::<bool>(), prop_oneof![Just(0), Just(5000)], 1..2000_usize)
            .prop_map(|(own, wait_ms, early)| Word::Connect { own, wait_ms, early }),
        1 => (0..200_u32).prop_map(Word::Accept),
        1 => (0..200_u32).prop_map(Word::Reject),
        1 => (0..200_u32).prop_map(Word::Reset),
        1 => (kind, 0..200_u32).prop_map(|(kind, number)| Word::Bare(kind, number)),
    ]
}

fn say(client: &mut Client, word: &Word, circuit: &mut u32) {
    let name = |n: &u8| app(&format!("a{n}"));
    // To answer an own call would break the protocol. Numbers of calls from others are odd.
    match word {
        Word::Listen(n) => client.say(Control::Listen { name: name(n) }),
        Word::Unlisten(n) => client.say(Control::Unlisten { name: name(n) }),
        Word::Connect { own, wait_ms, early } => {
            *circuit += 2;
            let to = if *own { client.peer } else { crate::identity::Identity::from_seed(&[77; 32]).id() };
            let early = vec![1; *early];
            client.say(Control::Connect { circuit: *circuit, to, name: name(&1), wait_ms: *wait_ms, early });
        }
        Word::Accept(n) => client.say(Control::Accept { circuit: 100_001 + 2 * n, early: vec![1] }),
        Word::Reject(n) => client.say(Control::Reject { circuit: 2 * n + 1, code: 3 }),
        Word::Reset(n) => client.bare(Kind::Reset, circuit.saturating_sub(*n).max(1), 8),
        Word::Bare(kind, n) => client.bare(*kind, if *kind == Kind::Ping { 0 } else { n + 1 }, *n),
    }
}

/// Hands over what is queued, a read at a time, as long as the relay reads; true if that was all.
fn offer(now: Instant, relay: &mut RelayCore, client: &mut Client) -> bool {
    while !client.output.is_empty() && relay.may_read(client.id) == MayRead::Now {
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
    while !got.contains(&Got::Pong(9)) {
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
    ) {
        let now = Instant::now();
        let (mut relay, id) = relay(1);
        let mut client = Client::attach(now, &mut relay, id, 1);
        let (mut circuit, mut said) = (0, 0);
        while said < 8 * READ_BYTES {
            for word in &words {
                say(&mut client, word, &mut circuit);
            }
            said += client.output.len();
            offer(now, &mut relay, &mut client);
            prop_assert!(relay.answers(client.id) <= ANSWERS);
            // What is held, and calls to itself, which are bounded as those to any peer.
            prop_assert!(relay.used_bytes() <= READ_BYTES + (4 << 20), "{}", relay.used_bytes());
            client.got(now, &mut relay, heard);
            if client.output.len() > 2 * READ_BYTES {
                break;
            }
        }
        client.bare(Kind::Ping, 0, u32::MAX);
        let all_heard = (0..1000).any(|_| {
            offer(now, &mut relay, &mut client);
            client.all(now, &mut relay).contains(&Got::Pong(u32::MAX))
        });
        prop_assert!(all_heard, "{} bytes were never read", client.output.len());
        relay.handle_closed(now, client.id);
        prop_assert_eq!(relay.used_bytes(), 0);
    }
}
