//! The end-to-end session: streams that outlive the lanes they run over.
//!
//! ```text
//! application ⇄ streams ⇄ records ⇄ lane ⇄ (circuit through a relay)
//!                              └──── lane, later, when the first has died
//! ```
//!
//! A session takes and gives bytes of lanes and of streams. It does not know what a relay is, dials nothing and reads no
//! clock. It runs over one or more lanes; whoever drives it brings them ([`Session::finish_join`]) and reports their end
//! ([`Session::drop_lane`]).
//!
//! Invariants: what an application reads is a prefix of what the other wrote, whatever happens to lanes; a reliable frame
//! is held from the moment it is sealed until the peer acknowledges its record, on whatever lane; memory is bounded by the
//! windows granted, [`RETENTION_MAX`] and a few records, that of many sessions by what each has from the start and one
//! [`Budget`]; nothing a lane delivers counts before it authenticated.
//!
//! Grammar: `handle_*` tells facts, verbs command, `poll_*` drains, time is an argument.

mod budget;
pub mod canary;
pub mod frame;
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod input;
mod join;
mod output;
mod recv;
mod send;
mod streams;
mod window;

pub use crate::lane::{JoinAnswer, JoinRefused, PendingJoin};
pub use budget::{Budget, GROWTH_MAX};
pub use streams::Half;

use crate::lane::{JoinSecret, Lane, LaneTimes, Lanes, Ledger, Pool};
use crate::noise::{Opener, Sealer};
use crate::wire::CloseCode;
use budget::Share;
use canary::{Canary, Planted};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};
use streams::Stream;
use window::Window;

/// Credit of a fresh stream, bytes: known to both ends without a message.
pub const STREAM_WINDOW_START: u64 = 256 * 1024;
/// Largest window of a stream, bytes: 32 MiB carry 600 MiB/s at 50 ms.
pub const STREAM_WINDOW_MAX: u64 = 32 * 1024 * 1024;
/// Credit of a fresh session over all its streams, bytes.
pub const SESSION_WINDOW_START: u64 = 1024 * 1024;
/// Largest window of a session, bytes: a stream that was fast and then is not read leaves something to the others.
pub const SESSION_WINDOW_MAX: u64 = 44 * 1024 * 1024;
/// Memory held for records the peer has not acknowledged; beyond it writers wait.
pub const RETENTION_MAX: usize = 40 * 1024 * 1024;
/// What of it needs no budget, bytes: twice what goes out before an acknowledgement may come back at all.
const RETENTION_START: usize = 4 * 1024 * 1024;
/// What is taken of the budget at once for more, bytes.
const RETENTION_STEP: usize = 4 * 1024 * 1024;
/// What came and was not consumed, and what is retained, together, bytes: writers wait while it is more. It keeps a process
/// under 64 MiB unless what is granted comes in while all that may be retained is: by a peer that sends and acknowledges
/// nothing.
pub const SESSION_BYTES_MAX: usize = 52 * 1024 * 1024;
/// A window is told at the latest when so much of it is free, bytes: what is not told is missing from it.
const TELL_MAX: u64 = 2 * 1024 * 1024;
/// Streams a peer may have open at once.
pub const STREAMS_MAX: u32 = 8192;
/// Age at which a lane gives way to a fresh one with fresh keys. That is the rekey.
pub const LANE_LIFE: Duration = Duration::from_secs(60 * 60);
/// How long an end that has closed, and heard the peer close, keeps looking for a lane to settle the last records.
pub const LINGER: Duration = Duration::from_secs(10);

/// Which end of the session this is: the one that dialled numbers its streams evenly and dials again after a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Dialled.
    Initiator,
    /// Was called.
    Responder,
}

/// What happened, for whoever drives the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer opened a stream towards a service: answer with [`Session::accept_stream`] or [`Session::refuse_stream`].
    StreamOpened {
        /// The stream.
        id: u32,
        /// The service, as sent: at most 64 bytes, not checked.
        service: Vec<u8>,
    },
    /// The peer took a stream we opened.
    StreamAccepted {
        /// The stream.
        id: u32,
    },
    /// The peer did not take a stream we opened, with a close code.
    StreamRefused {
        /// The stream.
        id: u32,
        /// Why.
        code: u16,
    },
    /// The peer ended the session, with a close code.
    Closed {
        /// Why.
        code: u16,
    },
}

/// The session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// The peer broke the protocol: what it did.
    PeerMisbehaved(&'static str),
    /// No lane came back within the time the user allows.
    Expired,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::PeerMisbehaved(what) => write!(f, "the peer broke the session protocol: it {what}"),
            SessionError::Expired => f.write_str("the connection did not come back in time"),
        }
    }
}

impl std::error::Error for SessionError {}

/// The times of a session.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Silence after which a lane is dead.
    pub dead_time: Duration,
    /// How long the session waits without a lane.
    pub resume_timeout: Duration,
    /// How long a lane, and so its key, is used: see [`LANE_LIFE`].
    pub lane_life: Duration,
}

/// One end of a session.
pub struct Session {
    role: Role,
    times: Times,
    secret: JoinSecret,
    streams: HashMap<u32, Stream>,
    brief: VecDeque<u32>,
    bulk: VecDeque<u32>,
    touched: VecDeque<u32>,
    next_stream: u32,
    next_peer_stream: u32,
    lanes: Lanes,
    ledger: Ledger,
    control: VecDeque<Vec<u8>>,
    news: VecDeque<u32>,
    news_at: Option<Instant>,
    news_due: bool,
    share: Share,
    retention_granted: usize,
    retention_was_full: bool,
    sent_bytes: u64,
    peer_limit: u64,
    received_bytes: u64,
    early_pieces: usize,
    consumed_bytes: u64,
    session_window: Window,
    session_limit: u64,
    tell_limits: bool,
    closing: Option<u16>,
    close_queued: bool,
    peer_closed: Option<u16>,
    lingered: bool,
    failed: Option<SessionError>,
    events: VecDeque<Event>,
    pool: Pool,
    scratch: Vec<u8>,
    planted: Planted,
}

impl Session {
    /// A session over its first lane, number 0, whose handshake is done.
    pub fn new(now: Instant, role: Role, export: &[u8; 32], keys: (Sealer, Opener), times: Times) -> Session {
        let first = if role == Role::Initiator { 0 } else { 1 };
        let mut session = Session {
            role,
            times,
            secret: JoinSecret::derive(export),
            streams: HashMap::new(),
            brief: VecDeque::new(),
            bulk: VecDeque::new(),
            touched: VecDeque::new(),
            next_stream: first,
            next_peer_stream: 1 - first,
            lanes: Lanes::new(LaneTimes { dead: times.dead_time, life: times.lane_life }),
            ledger: Ledger::default(),
            control: VecDeque::new(),
            news: VecDeque::new(),
            news_at: None,
            news_due: false,
            share: Share::of(&Budget::default()),
            retention_granted: RETENTION_START,
            retention_was_full: false,
            sent_bytes: 0,
            peer_limit: SESSION_WINDOW_START,
            received_bytes: 0,
            early_pieces: 0,
            consumed_bytes: 0,
            session_window: Window::new(now, SESSION_WINDOW_START, SESSION_WINDOW_MAX),
            session_limit: SESSION_WINDOW_START,
            tell_limits: false,
            closing: None,
            close_queued: false,
            peer_closed: None,
            lingered: false,
            failed: None,
            events: VecDeque::new(),
            pool: Pool::default(),
            scratch: Vec::new(),
            planted: Planted::default(),
        };
        let lane = Lane::new(now, 0, keys, times.dead_time);
        // The responder has seen the initiator's last handshake message; the initiator waits for a first record, so that it
        // never says anything to a peer that may not have heard of this session.
        session.add_lane(now, if role == Role::Responder { lane.confirmed() } else { lane });
        session
    }

    /// Plants a defect for a simulation to find.
    #[cfg(feature = "canaries")]
    pub fn plant(&mut self, canary: Canary) {
        self.planted.plant(canary);
    }

    /// The name under which the relay brings the two ends together again.
    pub fn rendezvous(&self) -> [u8; 16] {
        self.secret.rendezvous()
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    fn add_lane(&mut self, now: Instant, lane: Lane) {
        self.lanes.add(lane);
        if !self.planted.is(Canary::NoSnapshot) {
            self.tell_limits = true;
            let ids: Vec<u32> = self.streams.keys().copied().collect();
            for id in ids {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.recv.tell = true;
                }
                self.add_news(now, id, true);
            }
        }
    }

    /// Whether the lane has been used long enough: the initiator should join with a fresh one while this one still works.
    pub fn wants_fresh_lane(&self) -> bool {
        self.role == Role::Initiator && self.lanes.are_worn() && self.closing.is_none()
    }

    /// Whether a record of the peer ever came in: for an initiator, that the peer knows of the session; for a responder,
    /// that the initiator knows that.
    pub fn is_heard(&self) -> bool {
        self.lanes.is_heard()
    }

    /// Whether a lane is there and its other end has shown itself.
    pub fn is_confirmed(&self, lane: u32) -> bool {
        self.lanes.is_confirmed(lane)
    }

    /// Whether a lane is there.
    pub fn has_lane(&self) -> bool {
        self.lanes.has_any()
    }

    /// The lane's circuit is gone. What it had under way waits for the next lane.
    pub fn drop_lane(&mut self, now: Instant, lane: u32) {
        self.lanes.drop(now, lane, &mut self.ledger);
    }

    /// The peer's process has let go of the session. After its CLOSE that is no accident: nobody is left to tell of ours.
    pub fn handle_forgotten(&mut self) {
        self.lingered |= self.peer_closed.is_some();
    }

    /// The shortest round trip since the newest lane came, if one was measured: what the path takes when nothing queues on it.
    pub fn round_trip(&self) -> Option<Duration> {
        self.lanes.round_trip()
    }

    /// A lane that died in here: its circuit is of no more use.
    pub fn poll_dead_lane(&mut self) -> Option<u32> {
        self.lanes.poll_dead()
    }

    /// A stream with news since it was last asked for: bytes to read, an end, room to write again, or all consumed. With
    /// many streams this is how to find the few that moved.
    pub fn poll_touched(&mut self) -> Option<u32> {
        let id = self.touched.pop_front()?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.touched = false;
        }
        Some(id)
    }

    /// The next event, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next instant at which [`Session::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.failed.is_some() {
            return None;
        }
        let expiry = self.lanes.none_since().map(|since| since + self.times.resume_timeout);
        let worn = self.lanes.next_worn().filter(|_| self.role == Role::Initiator);
        let news = self.news_at.filter(|_| self.has_lane());
        [self.lanes.next_timeout(), expiry, news, self.linger_until(), worn].into_iter().flatten().min()
    }

    /// Both ends want to end and no lane is left to say so: the other is most likely gone.
    fn linger_until(&self) -> Option<Instant> {
        let both = self.peer_closed.is_some() && self.closing.is_some() && !self.lingered;
        self.lanes.none_since().filter(|_| both).map(|since| since + LINGER)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        self.lanes.handle_timeout(now, &mut self.ledger);
        if self.news_at.take_if(|at| *at <= now).is_some() {
            self.news_due = true;
        }
        self.lingered |= self.linger_until().is_some_and(|at| at <= now);
        let expired = self.lanes.none_since().is_some_and(|since| now >= since + self.times.resume_timeout);
        if expired && self.failed.is_none() {
            self.failed = Some(SessionError::Expired);
        }
        self.failed.map_or(Ok(()), Err)
    }

    /// Whoever drives us was stopped for a while: silence counts from now on.
    pub fn handle_pause(&mut self, now: Instant) {
        self.lanes.handle_pause(now);
    }

    /// Ends the session: the last frame of this direction. With [`CloseCode::Done`] what was written before still goes out
    /// first; with any other code what no lane has taken yet is dropped.
    pub fn close(&mut self, code: CloseCode) {
        self.close_by(code.to_wire());
    }

    /// Ends it as with [`CloseCode::Failed`], and says with which status the program failed.
    pub fn close_failed(&mut self, status: i32) {
        self.close_by(CloseCode::failed_with(status));
    }

    fn close_by(&mut self, number: u16) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(number);
        if number != CloseCode::Done.to_wire() {
            for stream in self.streams.values_mut() {
                stream.send.reset(&mut self.pool);
            }
        }
    }

    /// The peer knows that we closed, and what it waits for from us has gone out; or nobody is left to tell.
    pub fn is_over(&self) -> bool {
        let told = self.close_queued && self.has_lane() && self.everything_acked();
        let owing = self.peer_closed.is_some() && self.lanes.owe_acks();
        (told && !owing) || self.lingered
    }

    /// This side has closed the session, though the peer may not know yet.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// The code with which the peer closed the session.
    pub fn peer_close_code(&self) -> Option<u16> {
        self.peer_closed
    }

    fn everything_acked(&self) -> bool {
        self.control.is_empty() && self.ledger.is_settled() && self.lanes.are_acknowledged()
    }
}
