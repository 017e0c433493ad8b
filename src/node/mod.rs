//! What a client decides: which relay to dial and when, which circuits carry which lanes, who may call, when to give up.
//!
//! ```text
//! application ⇄ Session ⇄ lane ⇄ circuit ⇄ Link ⇄ bytes of one carrier (dialled by whoever drives the node)
//! ```
//!
//! A [`Node`] is the link to its relay (`uplink`, with its `circuits`), all sessions of the process (`sessions`, with their
//! `timers`), what it serves (`serving`), whom it knows to be there (`presence`, `siblings`), for whom there was no room
//! (`limits`), and how long it waits (`meeting`). Here these meet: what a frame (`heard`) or a session (`settling`) asks
//! for goes to whoever can do it. A node opens no socket and reads no clock: it asks for a carrier ([`Node::poll_dial`]),
//! is told of it, and takes and gives its bytes. It does not know what an application does with a stream. Whether the process
//! at the other end of a session may be gone, and since when, is for tools to ask (`reach`); DESIGN.md, section 5.1, says who does,
//! and after how long.
//!
//! Invariants: a session survives any carrier and any relay as long as its own times allow; a caller is believed to be who
//! the session handshake proved, never who the relay said; output is bounded by one DATA body and the control messages
//! that state calls for; an event costs what the sessions cost that it concerns, however many there are.

mod backoff;
mod callers;
mod calls;
mod circuit_step;
mod circuits;
mod claim;
mod config;
mod entry;
mod event;
mod failure;
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
#[path = "../../fuzz/worlds/node.rs"]
pub mod fuzz;
mod handshakes;
mod heard;
mod incoming;
mod key;
mod kind;
mod limits;
mod meeting;
mod names;
mod output;
mod places;
mod presence;
mod reach;
mod serving;
mod sessions;
mod settling;
mod siblings;
#[cfg(test)]
pub(crate) mod testkit;
mod timers;
mod tombstones;
mod unheard;
mod uplink;
#[cfg(feature = "canaries")]
mod versions;

pub use backoff::REDIAL_MAX;
pub use callers::Callers;
pub use circuit_step::{Aim, CircuitStep};
pub use claim::Claim;
#[cfg(feature = "fuzzing")]
pub use claim::fuzz_claim;
pub use config::{Config, Wait};
pub use event::Event;
pub use failure::{Down, Failure, Fault};
pub use key::Key;
pub use kind::Kind;
pub(crate) use places::{Place, Places};
pub(crate) use reach::{Anew, Reach};
pub use siblings::Sharing;
pub use tombstones::TOMBSTONE_TIME;
#[cfg(feature = "canaries")]
pub use versions::OtherVersion;

use crate::identity::PeerId;
use crate::names::AppName;
use crate::session::Session;
use crate::wire::{CloseCode, Name};
use calls::Calls;
use handshakes::Handshakes;
use heard::Heard;
use limits::Limits;
use meeting::Meeting;
use names::Names;
use presence::Presence;
use serving::Serving;
use sessions::Sessions;
use settling::Settling;
use siblings::{Siblings, name_of};
use std::collections::VecDeque;
use std::time::Instant;
use unheard::Unheard;
use uplink::{Received, Uplink};

/// One process's attachment to the world. See the module's text.
pub struct Node {
    handshakes: Handshakes,
    uplink: Uplink,
    sessions: Sessions,
    serving: Serving,
    unheard: Unheard,
    presence: Presence,
    limits: Limits,
    siblings: Siblings,
    meeting: Meeting,
    events: VecDeque<Event>,
}

impl Node {
    /// A node that will dial as soon as it is driven.
    pub fn new(now: Instant, config: Config) -> Node {
        Node {
            handshakes: Handshakes::new(config.identity, config.kind),
            uplink: Uplink::new(now, config.relays, config.times.dead_time, config.seed),
            sessions: Sessions::new(config.times),
            serving: Serving::new(config.callers, config.callers_max),
            unheard: Unheard::default(),
            presence: Presence::default(),
            limits: Limits::new(config.seed),
            siblings: Siblings::new(config.seed, config.exclusive),
            meeting: Meeting::new(now, config.wait),
            events: VecDeque::new(),
        }
    }

    /// Asks for a session with `peer`'s application. Its fate comes as events.
    pub fn call(&mut self, now: Instant, peer: PeerId, app: AppName) -> Key {
        let key = self.sessions.call(peer, app);
        self.settle(now);
        key
    }

    /// Lets peers call this application from now on.
    pub fn listen(&mut self, app: AppName) {
        self.siblings.add(app.clone());
        self.names().listen_for(&app);
        self.uplink.listen(name_of(&app));
        self.serving.add(app);
    }

    /// No more callers for this application. Sessions that the tool knows of go on; callers that it does not know of yet are
    /// sent away, to call again.
    pub fn unlisten(&mut self, now: Instant, app: &AppName) {
        self.serving.remove(app);
        self.uplink.unlisten(Name::App(app.clone()));
        if let Some(name) = self.siblings.remove(app) {
            self.uplink.unlisten(name);
        }
        for key in self.sessions.unannounced(app) {
            if self.sessions.is_half_open(key) { self.end(now, key) } else { self.sessions.send_away(key) }
        }
        self.settle(now);
    }

    /// Changes who may call. Yields the sessions that the tool has of peers who may no more call what they called: they are
    /// its to end. Calls that wait at the relay, because they were turned away before, are heard again.
    pub(crate) fn set_callers(&mut self, now: Instant, callers: Callers) -> Vec<Key> {
        self.serving.set_callers(callers);
        let mut outcasts = Vec::new();
        for key in self.sessions.keys() {
            let is_caller = self.sessions.rendezvous(key).is_some();
            let called = self.sessions.called(key).filter(|_| is_caller);
            if called.is_none_or(|(peer, app)| self.serving.admits(&peer, app)) {
                continue;
            }
            // Of the others the tool knows nothing.
            if self.sessions.is_announced(key) { outcasts.push(key) } else { self.end(now, key) }
        }
        self.names().listen_for_apps();
        self.settle(now);
        outcasts
    }

    /// The session of a caller takes this of the places of callers: so a process that follows upon one that was killed finds us,
    /// and so does whoever needs the place of one that does nothing with it.
    pub(crate) fn set_place(&mut self, now: Instant, key: Key, place: Place) {
        self.sessions.set_place(key, place);
        self.handle_room(now);
        self.settle(now);
    }

    /// Whether this peer, which may call, finds a place.
    fn has_room_for(&self, peer: &PeerId) -> bool {
        self.sessions.has_room_for(peer, &self.serving)
    }

    /// Places of callers have become free.
    fn handle_room(&mut self, now: Instant) {
        let (sessions, serving) = (&self.sessions, &self.serving);
        self.unheard.handle_room(now, |peer| sessions.has_room_for(peer, serving));
    }

    /// Whoever runs the tool knows that the network is back: dial now, whatever the back-off says.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.uplink.hurry(now);
    }

    /// The session, once it is up.
    pub fn session(&mut self, key: Key) -> Option<&mut Session> {
        self.sessions.session(key)
    }

    /// The peer of a session.
    pub fn peer(&self, key: Key) -> Option<PeerId> {
        self.sessions.peer(key)
    }

    /// Whom a session was asked for, or who asked, and the application.
    pub fn called(&self, key: Key) -> Option<(PeerId, AppName)> {
        self.sessions.called(key).map(|(peer, app)| (peer, app.clone()))
    }

    /// The tool is done with the session. It goes as soon as its end is settled with the peer.
    pub fn release(&mut self, now: Instant, key: Key) {
        self.sessions.release(key);
        self.settle(now);
    }

    /// Forgets the session at once, whatever the peer knows.
    pub fn abandon(&mut self, now: Instant, key: Key) {
        self.end(now, key);
        self.settle(now);
    }

    /// Whether a session is still known here.
    pub fn knows(&self, key: Key) -> bool {
        self.sessions.contains(key)
    }

    /// The next event, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whoever was called has turned to us: from now on the times of the session count, and not that of waiting for the peer.
    pub(crate) fn handle_served(&mut self) {
        self.meeting.handle_met();
    }

    /// Whether there ever was a session in which something could be done.
    pub fn has_met(&self) -> bool {
        self.meeting.has_met()
    }

    /// Whether the link to a relay is up.
    pub fn is_attached(&self) -> bool {
        self.uplink.is_attached()
    }

    /// It is so many seconds after 1970: peers and relays whose card has ended are refused from now on.
    pub(crate) fn handle_clock(&mut self, unix_seconds: u64) {
        self.handshakes.handle_clock(unix_seconds);
    }

    /// The next instant at which [`Node::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let uplink = (!self.meeting.is_over() || self.wants_carrier()).then(|| self.uplink.next_timeout());
        let sessions = self.sessions.next_timeout(self.uplink.state());
        [sessions, uplink, self.meeting.deadline(), self.unheard.next_timeout()].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Err(why) = self.uplink.handle_timeout(now) {
            self.lose_link(now, why, None);
        }
        if self.meeting.deadline().is_some_and(|at| now >= at) {
            if self.meeting.is_hasty() && self.sessions.are_answered() {
                // Somebody is on the way in.
                self.meeting.prolong(now);
            } else {
                self.give_up(self.absence());
            }
        }
        self.sessions.handle_timeout(now);
        self.settle(now);
    }

    /// A carrier is wanted now: the place of the relay in the list. Answer with [`Node::handle_connected`] or
    /// [`Node::handle_down`].
    pub fn poll_dial(&mut self, now: Instant) -> Option<usize> {
        if self.meeting.is_over() { None } else { self.uplink.poll_dial(now) }
    }

    /// Whether the driver should hold a carrier: false tells it to drop the one it has.
    pub fn wants_carrier(&self) -> bool {
        !self.uplink.is_idle()
    }

    /// The addresses of the relay that was asked for are known.
    pub fn handle_resolved(&mut self) {
        self.uplink.handle_resolved();
    }

    /// Something there has taken the connection, and is to say that it carries links.
    pub(crate) fn handle_reached(&mut self) {
        self.uplink.handle_reached();
    }

    /// Something on the way to it is to answer first. Without that it would fail for this reason, if it takes too long.
    pub(crate) fn handle_on_the_way(&mut self, lacks: Down) {
        self.uplink.handle_on_the_way(lacks);
    }

    /// The carrier that was asked for is there.
    pub fn handle_connected(&mut self, now: Instant) {
        if let Err(why) = self.uplink.handle_connected(now, &self.handshakes) {
            self.handle_down(now, why);
        }
    }

    /// The carrier is gone, or could not be had.
    pub fn handle_down(&mut self, now: Instant, why: Down) {
        self.lose_link(now, why, None);
        self.settle(now);
    }

    /// The same, and the driver knows more of it.
    pub(crate) fn handle_fault(&mut self, now: Instant, why: Down, fault: Fault) {
        self.lose_link(now, why, Some(fault));
        self.settle(now);
    }

    /// Whoever drives us was stopped for a while, and nobody answered for us. Silence counts from now on; and whoever has given
    /// us up meanwhile was right.
    pub fn handle_pause(&mut self, now: Instant) {
        self.uplink.handle_pause(now);
        self.sessions.for_each(|session| session.handle_pause(now));
        self.settle(now);
    }

    /// Takes bytes of the carrier from the front of `input`. Yields how many; the rest, always less than one control
    /// frame, comes again with more behind it.
    pub fn handle_bytes(&mut self, now: Instant, input: &[u8]) -> usize {
        let mut at = match self.uplink.handle_received(now, input, &self.handshakes) {
            Ok(Received { used, is_new }) => {
                if is_new {
                    self.attach();
                    self.settle(now);
                }
                used
            }
            Err(why) => {
                self.handle_down(now, why);
                0
            }
        };
        while self.uplink.is_attached() {
            let from = at;
            let taken = match self.uplink.next_frame(&input[at..]) {
                Ok(None) => return at,
                Ok(Some((used, frame))) => {
                    at += used;
                    Heard { node: self, now }.handle_frame(frame, &input[from..])
                }
                Err(why) => Err(why),
            };
            if let Err(why) = taken {
                self.lose_link(now, why, None);
            }
            self.settle(now);
        }
        // No frames (any more): nothing of the input has a meaning, except before the handshake's end.
        if self.uplink.is_shaking() { at } else { input.len() }
    }

    /// Bytes for the carrier: what is pending, after filling up from the sessions if nothing was.
    pub fn poll_output(&mut self, now: Instant) -> &[u8] {
        if self.uplink.output().is_empty() {
            self.settle(now);
            if self.uplink.circuits.has_turn() {
                if let Err(why) = self.uplink.fill(now, &mut self.sessions) {
                    self.lose_link(now, why, None);
                }
                self.settle(now);
            }
        }
        self.uplink.output()
    }

    /// The carrier took `count` bytes of the output, or none although some were pending.
    pub fn handle_written(&mut self, now: Instant, count: usize) {
        if self.uplink.handle_written(now, count) {
            self.sessions.handle_drained();
        }
        self.settle(now);
    }

    /// The link is up: everything we want from the relay goes out behind message 3, in the same flight.
    fn attach(&mut self) {
        self.siblings.forget_answers();
        self.unheard.clear();
        self.names().listen();
        self.sessions.touch_all();
    }

    fn lose_link(&mut self, now: Instant, why: Down, fault: Option<Fault>) {
        let Some(gone) = self.uplink.handle_down(now, why) else { return };
        self.events.push_back(Event::RelayDown { relay: gone.relay, why: gone.why, fault });
        for (id, circuit) in gone.circuits {
            self.calls(now).handle_lost(id, circuit);
        }
        self.sessions.touch_all();
        if self.uplink.is_refused_by_all() {
            self.give_up(match gone.why {
                Down::Said(code) => Failure::RefusedByRelay(code),
                other => Failure::NoRelay(other),
            });
        } else if self.meeting.is_hasty() && !self.meeting.has_met() && self.uplink.has_tried_all() {
            self.give_up(Failure::NoRelay(gone.why));
        }
    }

    /// Brings what follows from what has changed: called at the end of whatever may change something.
    fn settle(&mut self, now: Instant) {
        Settling { node: self, now }.settle();
    }

    fn calls(&mut self, now: Instant) -> Calls<'_> {
        Calls { node: self, now }
    }

    fn names(&mut self) -> Names<'_> {
        let Node { uplink, serving, siblings, sessions, .. } = self;
        Names { uplink, serving, siblings, sessions }
    }

    fn note(&mut self, number: u32, step: CircuitStep) {
        self.events.push_back(Event::Circuit { number, step });
    }

    /// Tells the tool of a session, if it can be told.
    fn announce(&mut self, now: Instant, key: Key) {
        if let Some(event) = self.sessions.announce(key, self.serving.callers_max()) {
            // Whether whoever was called turns to us, the tool will see.
            match self.sessions.rendezvous(key) {
                Some(_) => self.meeting.handle_met(),
                None => self.meeting.handle_reached(now),
            }
            self.events.push_back(event);
        }
    }

    fn fail(&mut self, now: Instant, key: Key, why: Failure) {
        self.events.push_back(Event::Failed { key, why });
        self.end(now, key);
    }

    fn end(&mut self, now: Instant, key: Key) {
        if !self.sessions.contains(key) {
            return;
        }
        // Whoever is only slow may call again.
        let code = if self.sessions.is_half_open(key) { CloseCode::Limit } else { CloseCode::Done };
        if let Some(rendezvous) = self.sessions.remove(now, key) {
            self.uplink.unlisten(Name::Session(rendezvous));
        }
        self.handle_room(now);
        self.presence.forget(key);
        self.limits.forget(key);
        let ids: Vec<u32> = self.uplink.circuits.of(key).collect();
        ids.into_iter().for_each(|id| self.uplink.reset(id, code));
    }

    fn give_up(&mut self, why: Failure) {
        if self.meeting.end() {
            self.events.push_back(Event::Fatal { why });
        }
    }

    /// Why nobody was met: the peer was there, or not, as far as is known.
    fn absence(&self) -> Failure {
        if !self.uplink.is_welcome() {
            return Failure::NoRelay(self.uplink.lack());
        }
        if self.limits.met().any(|key| self.sessions.is_calling(key)) {
            return Failure::RefusedByPeer(CloseCode::Limit);
        }
        if self.sessions.are_reached() {
            return Failure::Unserved;
        }
        let is_there = self.presence.there().any(|key| self.sessions.is_calling(key));
        if is_there { Failure::NotServed } else { Failure::PeerAbsent }
    }
}
