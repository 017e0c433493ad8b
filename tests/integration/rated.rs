//! What a relay takes from a peer with a `rate=`, whatever that peer says and over however many links; and what those who call
//! such a peer can take from it.

use std::time::{Duration, Instant};

use vp::identity::PeerId;
use vp::link::Frame;
use vp::wire::limits::CIRCUIT_WINDOW_START;
use vp::wire::{CloseCode, Control, Kind};

use crate::harness::hostile::{Heard, Raw, app_name, identity, unread_bytes};
use crate::harness::{DEADLINE, Relay, Signal, World, tell};

/// The rate, bytes a second.
const RATE: u64 = 200 << 10;
/// Circuits that the peer may have.
const CIRCUITS: u64 = 8;
/// How long it says what it likes.
const TIME: Duration = Duration::from_secs(4);
/// What it may be ahead at most, bytes, by section 9.1 of PROTOCOL.md: what comes unbidden, half a second of its rate, and for
/// each of its circuits what needs no grant.
const AHEAD: u64 = (256 << 10) + RATE / 2 + CIRCUITS * CIRCUIT_WINDOW_START as u64;
/// Each worker may be about to read.
const READS: u64 = 2 * (256 << 10);
/// What a link has ready to be taken, bytes.
const READY: usize = 128 << 10;
/// Credit that is more than any of these sends.
const PLENTY: u32 = 1 << 30;

/// A relay with two workers at which this party has these limits.
fn town<'w>(world: &'w World, limited: &str, limits: &str) -> Relay<'w> {
    let line = |name: &&str| {
        let limits = if *name == limited { limits } else { "" };
        format!("{name} {} {limits}\n", world.id(name))
    };
    world.write("allow", &["east", "west", "stranger"].iter().map(line).collect::<String>());
    Relay::start(world, &["--allow", "allow", "--workers", "2"])
}

/// What a link of the flooder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Pings,
    /// Calls of somebody who is there, and of somebody who is not, each withdrawn.
    Calls,
    /// Bytes of circuits, in frames of this size; each circuit ends when what it may bring without a grant is used up.
    Data(usize),
}

/// A link that says more and more of one kind.
struct Flood {
    raw: Raw,
    says: Says,
    /// The call that is not answered.
    calling: Option<u32>,
    /// The circuit that is open, and what may yet be sent into it.
    open: Option<(u32, usize)>,
}

impl Flood {
    fn new(raw: Raw, says: Says) -> Flood {
        Flood { raw, says, calling: None, open: None }
    }

    /// Says more, if the relay has taken most of what was said.
    fn go_on(&mut self, there: PeerId, absent: PeerId) {
        while self.raw.pending_bytes() < READY {
            match self.says {
                Says::Pings => (0..100).for_each(|token| self.raw.ping(token)),
                Says::Calls => {
                    for to in [there, absent] {
                        let circuit = self.raw.connect(to, app_name("sink"), 60_000, vec![1; 64]);
                        self.raw.reset(circuit, CloseCode::Cancelled.to_wire());
                    }
                }
                Says::Data(size) => {
                    let Some((circuit, left)) = self.open.take() else {
                        if self.calling.is_none() {
                            self.calling = Some(self.raw.connect(there, app_name("sink"), 60_000, vec![1]));
                        }
                        break;
                    };
                    self.raw.data(circuit, PLENTY, &vec![7; size.min(left)]);
                    match left.saturating_sub(size) {
                        0 => self.raw.reset(circuit, CloseCode::Cancelled.to_wire()),
                        left => self.open = Some((circuit, left)),
                    }
                }
            }
        }
        self.raw.write_within(Duration::from_millis(1));
        while let Heard::Frame(frame) = self.raw.hear(Duration::from_millis(1)) {
            match frame {
                Frame::Control(Control::Opened { circuit, .. }) if self.calling == Some(circuit) => {
                    self.calling = None;
                    self.open = Some((circuit, CIRCUIT_WINDOW_START as usize));
                }
                Frame::Control(Control::Status { circuit, code })
                    if self.calling == Some(circuit) && code != CloseCode::Waiting.to_wire() =>
                {
                    self.calling = None;
                }
                _ => {}
            }
        }
    }
}

/// Takes every call, and all that comes.
fn take_calls(callee: &mut Raw, mut opened: impl FnMut(&mut Raw, u32)) {
    loop {
        match callee.hear(Duration::from_millis(1)) {
            Heard::Frame(Frame::Control(Control::Incoming { circuit, .. })) => {
                callee.say(&Control::Accept { circuit, early: vec![1] });
                callee.bare(Kind::Credit, circuit, PLENTY);
                opened(callee, circuit);
            }
            Heard::Nothing | Heard::Closed => break,
            _ => {}
        }
    }
    callee.write_within(Duration::from_millis(1));
}

/// How long a heartbeat takes.
fn round_trip(raw: &mut Raw) -> Duration {
    let began = Instant::now();
    raw.settle();
    began.elapsed()
}

#[test]
fn a_rate_holds_for_all_that_a_peer_says_over_all_its_links_and_others_do_not_feel_it() {
    let world = World::new();
    let relay = town(&world, "east", &format!("rate={RATE} circuits={CIRCUITS}"));
    let (mut honest, mut callee) = (Raw::attach(&relay, "stranger"), Raw::attach(&relay, "west"));
    callee.listen("sink");
    callee.settle();
    let (there, absent) = (callee.id(), identity(&world, "east").id());
    let kinds = [Says::Pings, Says::Calls, Says::Data(1), Says::Data(16 << 10)];
    let began = Instant::now();
    let mut floods: Vec<Flood> = kinds.map(|says| Flood::new(Raw::attach(&relay, "east"), says)).into();
    let mut trips = Vec::new();
    while began.elapsed() < TIME {
        if began.elapsed() > TIME * u32::try_from(floods.len() - kinds.len()).expect("a few") / 20 {
            floods.push(Flood::new(Raw::attach(&relay, "east"), kinds[floods.len() % kinds.len()]));
        }
        floods.iter_mut().for_each(|flood| flood.go_on(there, absent));
        take_calls(&mut callee, |_, _| {});
        trips.push(round_trip(&mut honest));
    }
    // What is unread stays so while it is counted.
    relay.process().signal(Signal::STOP);
    let took = began.elapsed();
    let said: u64 = floods.iter().map(|flood| flood.raw.written_bytes).sum();
    let taken = said - floods.iter().map(|flood| unread_bytes(&relay, &flood.raw)).sum::<u64>();
    relay.process().signal(Signal::CONT);
    trips.sort_unstable();
    let trip = trips[trips.len() / 2];
    tell(&format!("{taken} bytes of {said} over {} links in {took:?}; a round trip {trip:?}", floods.len()));
    let paid = RATE * u64::try_from(took.as_millis()).expect("short") / 1000;
    assert!(taken <= paid + AHEAD + READS, "{taken} bytes taken in {took:?}, {paid} are paid for");
    assert!(taken >= paid / 2, "{taken} bytes taken in {took:?}: it is read at the rate");
    assert!(trip < Duration::from_millis(250), "{trip:?}, {:?} at most", trips.last());
}

/// A callee with a rate: it takes every call and sends at once what it may without a grant.
struct Source {
    raw: Raw,
    body: Vec<u8>,
    sent: usize,
    /// Its last heartbeat.
    token: u32,
    said: Instant,
    slowest: Duration,
}

impl Source {
    fn new(mut raw: Raw) -> Source {
        raw.listen("source");
        raw.settle();
        raw.ping(1);
        let body = vec![7; CIRCUIT_WINDOW_START as usize];
        Source { raw, body, sent: 0, token: 1, said: Instant::now(), slowest: Duration::ZERO }
    }

    fn serve(&mut self) {
        loop {
            match self.raw.hear(Duration::from_millis(1)) {
                Heard::Frame(Frame::Control(Control::Incoming { circuit, .. })) => {
                    self.raw.say(&Control::Accept { circuit, early: vec![1] });
                    self.raw.data(circuit, PLENTY, &self.body);
                    self.sent += self.body.len();
                }
                Heard::Frame(Frame::Pong(token)) if token == self.token => {
                    self.slowest = self.slowest.max(self.said.elapsed());
                    (self.token, self.said) = (token + 1, Instant::now());
                    self.raw.ping(self.token);
                }
                Heard::Nothing => break,
                Heard::Closed => panic!("the relay has closed its link"),
                _ => {}
            }
        }
        self.raw.write_within(Duration::from_millis(20));
    }
}

/// Whoever opens circuits and ends them at once.
struct Caller {
    raw: Raw,
    calling: Vec<u32>,
    opened: usize,
}

impl Caller {
    fn new(raw: Raw) -> Caller {
        Caller { raw, calling: Vec::new(), opened: 0 }
    }

    fn go_on(&mut self, to: PeerId) {
        self.raw.write_within(Duration::from_millis(1));
        loop {
            match self.raw.hear(Duration::from_millis(1)) {
                Heard::Frame(Frame::Control(Control::Opened { circuit, .. })) => {
                    self.calling.retain(|other| *other != circuit);
                    self.raw.reset(circuit, CloseCode::Cancelled.to_wire());
                    self.opened += 1;
                }
                Heard::Frame(Frame::Control(Control::Status { circuit, .. })) => {
                    self.calling.retain(|other| *other != circuit);
                }
                Heard::Nothing => break,
                Heard::Closed => panic!("the relay has closed a caller's link"),
                _ => {}
            }
        }
        while self.calling.len() < 16 {
            self.calling.push(self.raw.connect(to, app_name("source"), 0, vec![1]));
        }
    }
}

/// H opens circuits to V, which has a rate and serves it, lets it send what needs no grant, and ends them.
#[test]
fn a_peer_with_a_rate_is_heard_though_a_caller_opens_and_ends_without_end() {
    let world = World::new();
    let relay = town(&world, "west", "rate=50K circuits=64");
    let mut source = Source::new(Raw::attach(&relay, "west"));
    let to = source.raw.id();
    let mut callers: Vec<Caller> = (0..2).map(|_| Caller::new(Raw::attach(&relay, "east"))).collect();
    let began = Instant::now();
    while began.elapsed() < TIME {
        callers.iter_mut().for_each(|caller| caller.go_on(to));
        source.serve();
    }
    let opened: usize = callers.iter().map(|caller| caller.opened).sum();
    let (sent, slowest) = (source.sent, source.slowest.max(source.said.elapsed()));
    tell(&format!("{opened} circuits of H, {sent} bytes in {:?}", began.elapsed()));
    tell(&format!("{} heartbeats, {slowest:?} at most", source.token - 1));
    assert!(sent > 20 * source.body.len(), "{sent} bytes: V owes much");
    assert!(source.token > 2 && slowest < Duration::from_secs(5), "{slowest:?} for a heartbeat of V");
    // Somebody else calls: V is asked, and what needs no grant arrives.
    let mut honest = Raw::attach(&relay, "stranger");
    let circuit = honest.connect(to, app_name("source"), 60_000, vec![1]);
    honest.write();
    let (mut heard, called, mut pinged) = (0, Instant::now(), Duration::ZERO);
    while heard < source.body.len() {
        assert!(called.elapsed() < DEADLINE, "{heard} bytes for S");
        source.serve();
        if called.elapsed() > pinged {
            pinged += Duration::from_secs(1);
            honest.ping(1);
            honest.write();
        }
        match honest.hear(Duration::from_millis(10)) {
            Heard::Frame(Frame::Control(Control::Opened { circuit, .. })) => {
                honest.bare(Kind::Credit, circuit, PLENTY);
                honest.write();
            }
            Heard::Frame(Frame::Control(Control::Status { code, .. })) => {
                assert_eq!(CloseCode::from_wire(code), CloseCode::Waiting);
            }
            Heard::Data { circuit: of, bytes } if of == circuit => heard += bytes.len(),
            Heard::Closed => panic!("the relay has closed its link"),
            _ => {}
        }
    }
    tell(&format!("{heard} bytes for S in {:?}", called.elapsed()));
}
