//! What a relay does when its memory is used up, and what it counts as memory.

use super::*;
use crate::identity::PeerId;
use crate::relay::Cut;
use crate::wire::limits::EARLY_MAX;

const SECOND: Duration = Duration::from_secs(1);
const MEMORY: usize = 4 << 20;

fn small(workers: usize) -> (RelayCore, PeerId) {
    of_size(MEMORY, workers)
}

fn of_size(memory_bytes: usize, workers: usize) -> (RelayCore, PeerId) {
    let identity = Identity::from_seed(&[0; 32]);
    let id = identity.id();
    // It knows its peers: where anybody may attach, all callers of one address would be one.
    let text: String = (0..=u8::MAX).map(|n| format!("p{n} {}\n", Identity::from_seed(&[n; 32]).id())).collect();
    let policy = Policy::only(&Peers::parse(&text).unwrap(), Limits::default()).unwrap();
    (RelayCore::new(identity, policy, memory_bytes, workers), id)
}

/// Where anybody may attach.
fn open() -> (RelayCore, PeerId) {
    let identity = Identity::from_seed(&[0; 32]);
    let id = identity.id();
    (RelayCore::new(identity, Policy::open(Limits::default()), MEMORY, 1), id)
}

/// A circuit with a sender that sends what it may and a receiver that grants all there is.
struct Pair {
    caller: Client,
    callee: Client,
    /// Bytes of a frame.
    piece: u32,
    credit: u32,
    sent: u32,
    received: usize,
    ended: bool,
}

impl Pair {
    fn new(now: Instant, relay: &mut RelayCore, id: PeerId, seeds: (u8, u8)) -> Pair {
        Pair::new_from(now, relay, id, (seeds, 1))
    }

    /// Both of an address with this last part.
    fn new_from(now: Instant, relay: &mut RelayCore, id: PeerId, who: ((u8, u8), u8)) -> Pair {
        let (mut caller, mut callee) = joined_from(now, relay, id, who);
        callee.bare(Kind::Credit, 1, 1 << 30);
        callee.flush(now, relay);
        caller.all(now, relay);
        Pair { caller, callee, piece: 60_000, credit: CIRCUIT_WINDOW_START, sent: 0, received: 0, ended: false }
    }

    /// Sends up to `most` bytes, a little at a time, as long as the relay reads.
    fn send(&mut self, now: Instant, relay: &mut RelayCore, most: u32) {
        let goal = self.credit.min(self.sent.saturating_add(most));
        while !self.ended {
            if self.caller.output.is_empty() {
                let count = (goal - self.sent).min(self.piece);
                if count == 0 {
                    return;
                }
                self.caller.data(2, &numbered(usize::try_from(count).unwrap()));
                self.sent += count;
            }
            if !self.caller.pour(now, relay) {
                return;
            }
        }
    }

    /// The receiver takes up to `most` bytes off its connection, the sender all.
    fn take(&mut self, now: Instant, relay: &mut RelayCore, most: usize) {
        let got = self.callee.got(now, relay, most).into_iter().chain(self.caller.all(now, relay));
        for got in got {
            match got {
                Got::Data(1, bytes) => self.received += bytes.len(),
                Got::Credit(2, credit) => self.credit = credit,
                Got::Reset(..) | Got::Closed => self.ended = true,
                Got::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Both are alive.
    fn beat(&mut self, now: Instant, relay: &mut RelayCore) {
        for client in [&mut self.caller, &mut self.callee] {
            relay.handle_unread(now, client.id);
        }
    }
}

#[test]
fn receivers_that_take_a_little_now_and_then_do_not_keep_the_memory_from_the_others() {
    for workers in [1, 2] {
        let start = Instant::now();
        let (mut relay, id) = small(workers);
        let mut hoarders: Vec<_> = (0..40).map(|_| Pair::new(start, &mut relay, id, (1, 2))).collect();
        let mut slow = Pair::new(start, &mut relay, id, (3, 4));
        let mut usual = Pair::new(start, &mut relay, id, (5, 6));
        let (mut now, mut before, mut back) = (start, 0, None);
        slow.send(now, &mut relay, u32::MAX);
        while now < start + 30 * SECOND {
            let at = now - start;
            for pair in &mut hoarders {
                pair.send(now, &mut relay, u32::MAX);
                if at.as_millis().is_multiple_of(9000) && !pair.ended {
                    pair.take(now, &mut relay, 4096);
                }
            }
            slow.send(now, &mut relay, u32::MAX);
            let most = if at.as_millis().is_multiple_of(1000) { 20_000 } else { 0 };
            slow.take(now, &mut relay, most);
            usual.send(now, &mut relay, 20_000);
            usual.take(now, &mut relay, usize::MAX);
            if at == SECOND {
                assert!(!usual.caller.output.is_empty(), "{workers}: memory is used up");
                before = usual.received;
            } else if at > SECOND && usual.received > before {
                back = back.or(Some(at));
            }
            let all = hoarders.iter_mut().filter(|pair| !pair.ended).chain([&mut slow, &mut usual]);
            all.for_each(|pair| pair.beat(now, &mut relay));
            now += Duration::from_millis(50);
            relay.handle_timeout(now);
        }
        assert!(back.is_some_and(|at| at < 4 * SECOND), "{workers}: memory is back after {back:?}");
        assert!(usual.received > 5_000_000, "{workers}: {} bytes", usual.received);
        assert!(!usual.ended && !slow.ended, "{workers}: those who hold little are the last");
        assert!(hoarders.iter().any(|pair| pair.ended));
        let closed = why_closed(&mut relay);
        let cut = |why: &CloseReason| {
            matches!(why, CloseReason::LinkEnded | CloseReason::Cut(Cut::TakenTooSlowly | Cut::GotNoCredit))
        };
        assert!(!closed.is_empty() && closed.iter().all(cut), "{workers}: {closed:?}");
        assert!(slow.received > 400_000, "{workers}: {}", slow.received);
    }
}

#[test]
fn what_is_copied_takes_no_more_memory_than_there_is_and_a_read() {
    for workers in [1, 2] {
        let start = Instant::now();
        let (mut relay, id) = small(workers);
        let mut hoarders: Vec<_> = (0..60).map(|_| Pair::new(start, &mut relay, id, (1, 2))).collect();
        let mut usual = Pair::new(start, &mut relay, id, (3, 4));
        let (mut now, mut most) = (start, 0);
        while now < start + 15 * SECOND {
            for pair in &mut hoarders {
                pair.piece = 8000;
                pair.send(now, &mut relay, u32::MAX);
                most = most.max(relay.used_bytes());
                if now == start && !pair.ended {
                    pair.take(now, &mut relay, 4096);
                }
            }
            usual.send(now, &mut relay, 20_000);
            usual.take(now, &mut relay, usize::MAX);
            let all = hoarders.iter_mut().filter(|pair| !pair.ended).chain([&mut usual]);
            all.for_each(|pair| pair.beat(now, &mut relay));
            now += Duration::from_millis(50);
            relay.handle_timeout(now);
        }
        let read = crate::relay::READ_BLOCKS * crate::relay::memory::block::BLOCK_BYTES;
        assert!((MEMORY / 2..=MEMORY + workers * read).contains(&most), "{workers}: {most}");
        hoarders.iter_mut().for_each(|pair| pair.take(now, &mut relay, usize::MAX));
        assert!(hoarders.iter().any(|pair| pair.ended), "{workers}: memory was used up");
        assert!(usual.received > 1_000_000 && !usual.ended, "{workers}: {} bytes", usual.received);
    }
}

#[test]
fn bytes_that_wait_for_credit_count_with_the_blocks_that_they_keep() {
    for workers in [1, 2] {
        let mut now = Instant::now();
        let (mut relay, id) = small(workers);
        let mut usual = Pair::new(now, &mut relay, id, (3, 4));
        let frame = crate::relay::memory::block::BLOCK_BYTES - 32;
        let mut hoarders = Vec::new();
        for _ in 0..70 {
            let (mut caller, mut callee) = joined_as(now, &mut relay, id, (1, 2));
            callee.bare(Kind::Credit, 1, u32::try_from(3 * frame - 1).unwrap());
            callee.flush(now, &mut relay);
            for _ in 0..3 {
                caller.data(2, &numbered(frame));
                caller.pour(now, &mut relay);
                callee.all(now, &mut relay);
                caller.all(now, &mut relay);
            }
            hoarders.push((caller, callee));
        }
        usual.send(now, &mut relay, 20_000);
        assert!(!usual.caller.output.is_empty(), "{workers}: memory is used up");
        for _ in 0..100 {
            // There is always something that was not read: it could be the credit.
            for client in hoarders.iter().flat_map(|(caller, callee)| [caller, callee]) {
                relay.handle_unread(now, client.id);
            }
            usual.send(now, &mut relay, 20_000);
            usual.take(now, &mut relay, usize::MAX);
            usual.beat(now, &mut relay);
            now += Duration::from_millis(50);
            relay.handle_timeout(now);
        }
        assert!(usual.received > 500_000 && !usual.ended, "{workers}: {}", usual.received);
    }
}

#[test]
fn what_moves_slowly_is_left_alone_while_most_of_the_memory_moves() {
    let start = Instant::now();
    let (mut relay, id) = small(1);
    let mut slow: Vec<_> = (0..5).map(|_| Pair::new(start, &mut relay, id, (1, 2))).collect();
    let mut now = start;
    while now < start + 20 * SECOND {
        for pair in &mut slow {
            pair.send(now, &mut relay, u32::MAX);
            pair.take(now, &mut relay, 500);
            pair.beat(now, &mut relay);
        }
        // Somebody finds no memory, time and again.
        relay.handle_starved(now);
        now += Duration::from_millis(50);
        relay.handle_timeout(now);
    }
    assert!(relay.used_bytes() > MEMORY / 8, "{}", relay.used_bytes());
    assert!(slow.iter().all(|pair| !pair.ended));
}

#[test]
fn calls_that_nobody_hears_are_bounded_in_all_and_those_who_do_not_listen_let_go_of_them() {
    for workers in [1, 2] {
        let mut now = Instant::now();
        let (mut relay, id) = small(workers);
        let mut caller = Client::attach(now, &mut relay, id, 2);
        caller.all(now, &mut relay);
        // One alone can have so many calls with each, and no more.
        let mut callers = crowd(now, &mut relay, id, 9);
        // Somebody who is slow as well, and has more bytes than any of the others, but a single message.
        let mut slow = Pair::new(now, &mut relay, id, (9, 8));
        slow.send(now, &mut relay, u32::MAX);
        caller.connect(2, slow.callee.peer, "a", 0);
        caller.flush(now, &mut relay);
        slow.take(now, &mut relay, 1);
        let (stalling, mut stalled) = stalled(now, &mut relay, id, (6, 7));
        let before = relay.used_bytes();
        assert!(before > WINDOW);
        let (mut deaf, mut circuit) = (Vec::new(), 2);
        for n in 0..18 {
            let mut callee = Client::attach(now, &mut relay, id, 11 + n / 3);
            callee.say(Control::Listen { name: app("a") });
            callee.flush(now, &mut relay);
            // It takes a byte, and no more: what is put in order for it stays there.
            callee.got(now, &mut relay, 1);
            let to = callee.peer;
            for call in 0..100 {
                circuit += 2;
                let caller = &mut callers[usize::from(n % 3) * 3 + call % 3];
                caller.say(Control::Connect { circuit, to, name: app("a"), wait_ms: 0, early: vec![1; EARLY_MAX] });
                caller.flush(now, &mut relay);
                callee.got(now, &mut relay, 1);
                caller.bare(Kind::Reset, circuit, 8);
                caller.flush(now, &mut relay);
                assert_eq!(caller.all(now, &mut relay), []);
            }
            deaf.push(callee);
        }
        const { assert!(18 * 100 * EARLY_MAX > MEMORY / 2, "more than there is room for") };
        let messages = relay.used_bytes() - before;
        assert!((MEMORY / 5..MEMORY / 4 + 10_000).contains(&messages), "{messages}");
        // Somebody else is called once the deaf have been deaf for a while.
        let mut hearing = Client::attach(now, &mut relay, id, 3);
        hearing.say(Control::Listen { name: app("b") });
        hearing.flush(now, &mut relay);
        now += 3 * SECOND;
        circuit += 2;
        for (is_heard, circuit) in [(false, circuit), (true, circuit + 2)] {
            caller.connect(circuit, hearing.peer, "b", 0);
            caller.flush(now, &mut relay);
            let heard =
                hearing.all(now, &mut relay).iter().any(|got| matches!(got, Got::Control(Control::Incoming { .. })));
            assert_eq!((heard, caller.all(now, &mut relay)), (is_heard, vec![]));
        }
        relay.handle_timeout(now + REFUSAL_DELAY);
        assert_eq!(caller.all(now, &mut relay), [status(circuit, CloseCode::NotHere)], "as if it was not there");
        assert!(deaf.iter().any(|callee| !relay.is_open(callee.id)));
        assert!(relay.is_open(slow.callee.id), "it has not much of what is lacking");
        stalled.bare(Kind::Credit, 1, 1 << 20);
        stalled.flush(now, &mut relay);
        let got = stalled.all(now, &mut relay);
        assert!(got == [Got::Data(1, numbered(WINDOW / 2))], "memory for bodies is not lacking");
        deaf.iter().chain([&hearing, &slow.callee, &stalling]).for_each(|callee| relay.handle_closed(now, callee.id));
        assert_eq!(relay.used_bytes(), 0);
    }
}

#[test]
fn a_peer_that_hears_none_of_its_calls_does_not_keep_the_others_from_theirs() {
    let now = Instant::now();
    let (mut relay, id) = small(1);
    let mut caller = Client::attach(now, &mut relay, id, 2);
    let mut hearing = Client::attach(now, &mut relay, id, 3);
    let mut deaf = Client::attach(now, &mut relay, id, 1);
    for callee in [&mut deaf, &mut hearing] {
        callee.say(Control::Listen { name: app("a") });
        callee.flush(now, &mut relay);
        callee.all(now, &mut relay);
    }
    let (mut circuit, to) = (0, deaf.peer);
    let mut callers = crowd(now, &mut relay, id, 2);
    loop {
        circuit += 2;
        assert!(circuit < 100_000, "there is room for any number of calls");
        let caller = &mut callers[usize::from(circuit % 4 == 0)];
        caller.say(Control::Connect { circuit, to, name: app("a"), wait_ms: 0, early: vec![1; EARLY_MAX] });
        caller.flush(now, &mut relay);
        if caller.all(now, &mut relay).last() == Some(&status(circuit, CloseCode::Limit)) {
            break;
        }
    }
    // A quarter of a quarter.
    assert!((MEMORY / 16..MEMORY / 15).contains(&relay.used_bytes()), "{}", relay.used_bytes());
    caller.connect(circuit + 2, hearing.peer, "a", 0);
    caller.flush(now, &mut relay);
    assert!(matches!(hearing.all(now, &mut relay)[..], [Got::Control(Control::Incoming { .. })]));
}

#[test]
fn keys_of_one_address_that_hear_none_of_their_calls_have_the_part_of_one_where_anybody_may_attach() {
    for is_open in [false, true] {
        let now = Instant::now();
        let (mut relay, id) = if is_open { open() } else { small(1) };
        let mut callers = crowd(now, &mut relay, id, 2);
        let mut circuit = 0;
        for key in 20..24 {
            let mut deaf = Client::attach_from(now, &mut relay, id, (key, 9));
            deaf.say(Control::Listen { name: app("a") });
            deaf.flush(now, &mut relay);
            deaf.all(now, &mut relay);
            for n in 0..200 {
                circuit += 2;
                let caller = &mut callers[n % 2];
                let early = vec![1; EARLY_MAX];
                caller.say(Control::Connect { circuit, to: deaf.peer, name: app("a"), wait_ms: 0, early });
                caller.flush(now, &mut relay);
                caller.all(now, &mut relay);
            }
        }
        let parts = if is_open { MEMORY / 16..MEMORY / 15 } else { MEMORY / 5..MEMORY / 3 };
        assert!(parts.contains(&relay.used_bytes()), "{is_open}: {}", relay.used_bytes());
    }
}

/// Much waits for an address in little pieces, each for a key of its own, and more for somebody than for any of them.
#[test]
fn keys_of_one_address_hold_together_where_anybody_may_attach_and_lose_before_who_holds_less_than_all() {
    for is_open in [false, true] {
        let start = Instant::now();
        let (mut relay, id) = if is_open { open() } else { small(1) };
        let mut slow = Pair::new(start, &mut relay, id, (1, 2));
        let hoarder = |n: u8| Pair::new_from(start, &mut relay, id, ((20 + n, 80 + n), 9));
        let mut hoarders: Vec<_> = (0..60).map(hoarder).collect();
        hoarders.iter_mut().for_each(|pair| pair.send(start, &mut relay, 40_000));
        let mut now = start;
        while now < start + 10 * SECOND {
            slow.send(now, &mut relay, u32::MAX);
            slow.take(now, &mut relay, 500);
            for pair in hoarders.iter_mut().filter(|pair| !pair.ended) {
                pair.take(now, &mut relay, 0);
                pair.beat(now, &mut relay);
            }
            slow.beat(now, &mut relay);
            relay.handle_starved(now);
            now += Duration::from_millis(50);
            relay.handle_timeout(now);
        }
        assert!(slow.ended || hoarders.iter().any(|pair| pair.ended), "{is_open}: somebody has to lose");
        assert_eq!(slow.ended, !is_open, "each key alone holds less");
    }
}

#[test]
fn calls_that_are_withdrawn_before_they_go_out_take_no_memory() {
    let now = Instant::now();
    let (mut relay, id) = small(1);
    let mut callers = crowd(now, &mut relay, id, 20);
    let (mut deaf, mut circuit) = (Vec::new(), 0);
    for _ in 0..4 {
        let mut callee = Client::attach(now, &mut relay, id, 1);
        callee.say(Control::Listen { name: app("a") });
        callee.flush(now, &mut relay);
        for n in 0..300_u32 {
            circuit += 2;
            let (to, early) = (callee.peer, vec![1; EARLY_MAX]);
            let caller = &mut callers[usize::try_from(n % 20).unwrap()];
            caller.say(Control::Connect { circuit, to, name: app("a"), wait_ms: 0, early });
            caller.flush(now, &mut relay);
            if n < 10 {
                callee.got(now, &mut relay, 1);
            }
            // An answer to what it has not been asked is no better than none.
            let answer = if n % 2 == 0 { (&mut *caller, circuit) } else { (&mut callee, 2 * n + 1) };
            answer.0.bare(Kind::Reset, answer.1, 8);
            answer.0.flush(now, &mut relay);
            callers.iter_mut().for_each(|caller| drop(caller.all(now, &mut relay)));
        }
        deaf.push(callee);
    }
    assert!(relay.used_bytes() < 4 * 10 * 2500, "{}", relay.used_bytes());
    for callee in &mut deaf {
        // It hears the end of nothing of which it has not heard before.
        let (mut heard, mut ended) = (Vec::new(), Vec::new());
        for got in callee.all(now, &mut relay) {
            match got {
                Got::Control(Control::Incoming { circuit, .. }) => heard.push(circuit),
                Got::Reset(circuit, _) => ended.push(circuit),
                _ => {}
            }
        }
        assert!(!ended.is_empty() && ended.iter().all(|circuit| heard.contains(circuit)), "{ended:?} of {heard:?}");
    }
    assert_eq!(relay.used_bytes(), 0);
}

/// So many callers, each of an address of its own: those of one address would share their turns with a callee.
fn crowd(now: Instant, relay: &mut RelayCore, id: PeerId, count: u8) -> Vec<Client> {
    let attach = |n| Client::attach_from(now, relay, id, (100 + n, 100 + n));
    let mut callers: Vec<Client> = (0..count).map(attach).collect();
    callers.iter_mut().for_each(|caller| drop(caller.all(now, relay)));
    callers
}

/// Caller and callee with a circuit whose start window has gone out. More waits for credit.
fn stalled(now: Instant, relay: &mut RelayCore, id: PeerId, seeds: (u8, u8)) -> (Client, Client) {
    let (mut caller, mut callee) = joined_as(now, relay, id, seeds);
    for _ in 0..2 {
        caller.data(2, &numbered(WINDOW / 2));
    }
    caller.flush(now, relay);
    callee.all(now, relay);
    for got in caller.all(now, relay) {
        assert!(matches!(got, Got::Credit(2, _)), "{got:?}");
    }
    caller.data(2, &numbered(WINDOW / 2));
    caller.flush(now, relay);
    (caller, callee)
}

#[test]
fn nobody_is_blamed_for_credit_that_was_not_read() {
    let mut now = Instant::now();
    let (mut relay, id) = small(1);
    let (_caller, callee) = stalled(now, &mut relay, id, (1, 2));
    for (unread, ended) in [(true, false), (false, true)] {
        for _ in 0..30 {
            now += Duration::from_millis(100);
            if unread {
                relay.handle_unread(now, callee.id);
            }
            relay.handle_starved(now);
        }
        if unread {
            relay.handle_bytes(now, callee.id, &[]);
        }
        assert_eq!(relay.used_bytes() == 0, ended);
        let cut = CloseReason::Cut(Cut::GotNoCredit);
        assert_eq!(why_closed(&mut relay), if ended { vec![cut] } else { vec![] });
        // There is nothing more that could be credit.
        relay.handle_read(now, callee.id, &[]);
    }
}

#[test]
fn who_waits_for_a_link_that_is_dropped_for_being_slow_learns_of_it_at_once() {
    for workers in [1, 2] {
        let mut now = Instant::now();
        let (mut relay, id) = of_size(2 * WINDOW, workers);
        let (mut caller, mut callee) = joined(now, &mut relay, id);
        caller.data(2, &numbered(WINDOW));
        caller.flush(now, &mut relay);
        callee.got(now, &mut relay, 1);
        let mut other = Client::attach(now, &mut relay, id, 3);
        other.connect(2, callee.peer, "a", 0);
        other.flush(now, &mut relay);
        assert!(matches!(other.all(now, &mut relay)[..], [Got::Control(Control::Welcome { .. })]));
        now += 3 * SECOND;
        for _ in 0..4 {
            relay.handle_starved(now);
            now += Duration::from_millis(100);
        }
        assert!(!relay.is_open(callee.id));
        assert_eq!(other.all(now, &mut relay), [status(2, CloseCode::NotHere)]);
        assert_eq!(caller.all(now, &mut relay).last(), Some(&Got::Reset(2, CloseCode::PeerGone.to_wire())));
        assert_eq!(relay.used_bytes(), 0);
    }
}
