//! What a client decides: which relay to dial and when, which circuits carry which lanes, who may call, when to give up.
//!
//! ```text
//! application ⇄ Session ⇄ lane ⇄ circuit ⇄ Link ⇄ bytes of one carrier (dialled by whoever drives the node)
//! ```
//!
//! A node owns the link to its relay and every session of the process. It opens no socket and reads no clock: it asks for
//! a carrier ([`Node::poll_dial`]), is told of it, and takes and gives its bytes. It does not know what an application does
//! with a stream.
//!
//! Invariants: a session survives any carrier and any relay as long as its own times allow; a caller is believed to be who
//! the session handshake proved, never who the relay said; output is bounded by one DATA body and the control messages
//! that state calls for.

mod backoff;
mod callers;
mod calls;
mod circuits;
mod claim;
mod clock;
mod config;
mod event;
mod failure;
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod kind;
mod output;
mod presence;
mod sibling;
mod step;
mod uplink;

pub use backoff::CAP as REDIAL_MAX;
pub use callers::Callers;
pub use claim::Claim;
#[cfg(feature = "fuzzing")]
pub use claim::fuzz_claim;
pub use config::{Config, Wait};
pub use event::{Event, Key};
pub use failure::{Down, Failure};
pub use kind::Kind;
pub use output::Output;
pub use sibling::Sharing;
pub use step::{Aim, Step};

use crate::identity::PeerId;
use crate::names::AppName;
use crate::session::{Budget, Session};
use crate::wire::{CloseCode, Name};
use backoff::Backoff;
use circuits::Circuit;
use clock::Clock;
use presence::Presence;
use sibling::{SIBLING, Siblings};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};
use uplink::Carrier;

/// A listener that does not wait gives callers the relay has parked so long to come in.
const CALLERS_TIME: Duration = Duration::from_secs(1);
/// Ended sessions whose orderly end is remembered, so that a late join is told so.
pub const TOMBSTONE_TIME: Duration = Duration::from_secs(60);
const TOMBSTONES_MAX: usize = 256;
/// Sessions a process holds at once, those under way included.
const SESSIONS_MAX: usize = 1024;

struct Entry {
    peer: PeerId,
    app: AppName,
    phase: Phase,
    released: bool,
    /// Of the peer of a call, while nobody answers to the application.
    presence: Presence,
}

impl Entry {
    fn new(peer: PeerId, app: AppName, phase: Phase) -> Entry {
        Entry { peer, app, phase, released: false, presence: Presence::Unknown }
    }
}

enum Phase {
    /// Asked for; a CONNECT goes out with the next link.
    Calling { circuit: Option<u32>, not_before: Option<Instant> },
    /// Called; its first lane's last handshake message is still to come.
    Answering,
    /// The handshake is done. `circuit` carries its lane, or is about to. `announced`: the tool knows of it. A caller
    /// announces a session when it has heard the peer, and calls afresh if the lane breaks before: nothing was said yet.
    /// The called side keeps it all the same, but announces it only when it has heard the caller.
    Up { session: Box<Session>, circuit: Option<u32>, rejoin_at: Option<Instant>, announced: bool },
}

/// One process's attachment to the world. See the module's text.
pub struct Node {
    config: Config,
    carrier: Carrier,
    backoff: Backoff,
    relay: usize,
    refusals: usize,
    tried: usize,
    last_down: Down,
    /// What is lost before then is lost because we were stopped.
    paused_until: Option<Instant>,
    born: Instant,
    met: bool,
    listening_since: Option<Instant>,
    circuits: BTreeMap<u32, Circuit>,
    next_circuit: u32,
    turn: u32,
    entries: HashMap<Key, Entry>,
    /// What all of them may hold together.
    budget: Budget,
    next_key: u64,
    apps: Vec<AppName>,
    siblings: Siblings,
    findable: bool,
    tombstones: VecDeque<([u8; 16], Instant)>,
    out: Output,
    events: VecDeque<Event>,
    fatal: bool,
    clock: Clock,
}

impl Node {
    /// A node that will dial as soon as it is driven.
    pub fn new(now: Instant, config: Config) -> Node {
        let backoff = Backoff::new(config.seed);
        let siblings = Siblings::new(config.seed, config.exclusive);
        Node {
            config,
            carrier: Carrier::Idle { dial_at: now },
            backoff,
            relay: 0,
            refusals: 0,
            tried: 0,
            last_down: Down::Unreachable,
            paused_until: None,
            born: now,
            met: false,
            listening_since: None,
            circuits: BTreeMap::new(),
            next_circuit: 2,
            turn: 0,
            entries: HashMap::new(),
            budget: Budget::default(),
            next_key: 0,
            apps: Vec::new(),
            siblings,
            findable: true,
            tombstones: VecDeque::new(),
            out: Output::default(),
            events: VecDeque::new(),
            fatal: false,
            clock: Clock::default(),
        }
    }

    /// Asks for a session with `peer`'s application. Its fate comes as events.
    pub fn call(&mut self, now: Instant, peer: PeerId, app: AppName) -> Key {
        let key = self.insert(now, Entry::new(peer, app, Phase::Calling { circuit: None, not_before: None }));
        self.place_calls(now);
        key
    }

    fn insert(&mut self, now: Instant, entry: Entry) -> Key {
        let key = Key(self.next_key);
        self.next_key += 1;
        self.entries.insert(key, entry);
        // The relay counts a call among the circuits of the link, and expects signs of life as often.
        self.refresh_busy(now);
        key
    }

    /// Lets peers call this application from now on.
    pub fn listen(&mut self, app: AppName) {
        self.siblings.add(app.clone());
        self.send_listen_app(app.clone());
        self.send_listen(Name::Session(SIBLING));
        self.apps.push(app);
    }

    /// No more callers for this application; sessions go on.
    pub fn unlisten(&mut self, app: &AppName) {
        self.apps.retain(|known| known != app);
        self.siblings.remove(app);
        self.send_unlisten(Name::App(app.clone()));
    }

    /// Whoever runs the tool knows that the network is back: dial now, whatever the back-off says.
    pub fn hurry(&mut self, now: Instant) {
        self.backoff.reset();
        if let Carrier::Idle { dial_at } = &mut self.carrier {
            *dial_at = now;
        }
    }

    /// The session, once it is up.
    pub fn session(&mut self, key: Key) -> Option<&mut Session> {
        match &mut self.entries.get_mut(&key)?.phase {
            Phase::Up { session, .. } => Some(session),
            _ => None,
        }
    }

    /// The peer of a session.
    pub fn peer(&self, key: Key) -> Option<PeerId> {
        self.entries.get(&key).map(|entry| entry.peer)
    }

    /// Whom a session was asked for, or who asked, and the application.
    pub fn called(&self, key: Key) -> Option<(PeerId, AppName)> {
        self.entries.get(&key).map(|entry| (entry.peer, entry.app.clone()))
    }

    /// The tool is done with the session. It goes as soon as its end is settled with the peer.
    pub fn release(&mut self, now: Instant, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.released = true;
        }
        self.settle(now, key);
    }

    /// Forgets the session at once, whatever the peer knows.
    pub fn abandon(&mut self, now: Instant, key: Key) {
        let Some(entry) = self.entries.remove(&key) else { return };
        if let Phase::Up { session, .. } = &entry.phase {
            let rendezvous = session.rendezvous();
            if session.role() == crate::session::Role::Responder {
                self.send_unlisten(Name::Session(rendezvous));
            }
            self.tombstones.push_back((rendezvous, now + TOMBSTONE_TIME));
            if self.tombstones.len() > TOMBSTONES_MAX {
                self.tombstones.pop_front();
            }
        }
        self.reset_circuits_of(key, CloseCode::Done);
        self.announce_next();
        self.refresh_findable();
        self.refresh_busy(now);
    }

    /// Whether a session is still known here.
    pub fn knows(&self, key: Key) -> bool {
        self.entries.contains_key(&key)
    }

    fn settle(&mut self, now: Instant, key: Key) {
        let Some(entry) = self.entries.get(&key) else { return };
        let over = match &entry.phase {
            Phase::Up { session, .. } => session.is_over() || session.failure().is_some(),
            _ => true,
        };
        if entry.released && over && (self.out.is_empty() || !self.is_attached()) {
            self.abandon(now, key);
        }
    }

    /// The next event, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there ever was a session.
    pub fn has_met(&self) -> bool {
        self.met
    }

    /// Whether the link to a relay is up.
    pub fn is_attached(&self) -> bool {
        matches!(self.carrier, Carrier::Up { .. })
    }

    fn fail_all(&mut self, why: Failure) {
        if self.fatal {
            return;
        }
        self.fatal = true;
        self.events.push_back(Event::Fatal { why });
    }

    /// The next instant at which [`Node::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let sessions = self.entries.values().filter_map(|entry| match &entry.phase {
            Phase::Up { session, rejoin_at, circuit, .. } => {
                let rejoin = rejoin_at.filter(|_| circuit.is_none() && self.is_attached());
                [session.next_timeout(), rejoin].into_iter().flatten().min()
            }
            Phase::Calling { circuit: None, not_before } if self.is_attached() => *not_before,
            Phase::Calling { .. } | Phase::Answering => None,
        });
        sessions.chain(self.carrier_deadline()).chain(self.meeting_deadline()).min()
    }

    fn meeting_deadline(&self) -> Option<Instant> {
        match self.config.wait {
            _ if self.met || self.fatal => None,
            Wait::AtMost(time) => Some(self.born + time),
            Wait::No => self.listening_since.map(|since| since + CALLERS_TIME),
            Wait::Forever => None,
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_carrier_timeout(now);
        if self.meeting_deadline().is_some_and(|at| now >= at) {
            if self.config.wait == Wait::No && !self.entries.is_empty() {
                // Somebody is on the way in.
                self.listening_since = Some(now);
            } else {
                let why = if self.is_attached() { self.absence() } else { Failure::NoRelay(self.lack()) };
                self.fail_all(why);
            }
        }
        while self.tombstones.front().is_some_and(|(_, until)| *until <= now) {
            self.tombstones.pop_front();
        }
        for key in self.keys() {
            self.drive_session(now, key);
        }
        self.place_calls(now);
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.entries.keys().copied().collect();
        keys.sort_unstable();
        keys
    }
}
