//! The end-to-end session: streams that outlive the lanes they run over.
//!
//! ```text
//! application ⇄ streams ⇄ records ⇄ lane ⇄ (circuit through a relay)
//!                              └──── lane, later, when the first has died
//! ```
//!
//! | file | what |
//! |---|---|
//! | `streams` | the streams, by number, and which of them wait for what; `send` and `recv` are the two halves of one |
//! | `origin` | what the first handshake settled for good |
//! | `handle` | handles of one stream: [`Session::stream`] to look at it, [`Session::stream_mut`] to work with it |
//! | `input` | what a record that came in means |
//! | `schedule` | what goes out next |
//! | `frame` | frames and their bytes |
//! | `credit`, `window` | how many stream bytes each end may still send |
//! | `retention` | how much may be kept for a peer that has not acknowledged it |
//! | `budget` | what all sessions of a process may hold together |
//! | `violation` | what the peer must never do |
//! | `changed` | whether there may be more to send or to wait for than before |
//! | `event` | what whoever drives it is told |
//! | `parcel` | bytes of a stream that change hands uncopied |
//! | `ending` | CLOSE of both ends, failure, and how long a session waits for a lane |
//!
//! A session takes and gives bytes of lanes and of streams. It does not know what a relay is, dials nothing and reads no
//! clock. Whoever drives it brings lanes ([`Session::finish_join`], [`Session::answer_join`]) and reports their end
//! ([`Session::drop_lane`]). One lane carries the session; a fresh one replaces it.
//!
//! Invariants:
//! - What an application reads is a prefix of what the other wrote, whatever happens to lanes.
//! - A record with a reliable frame is kept from the moment it is sealed until the peer has acknowledged it, on whatever lane.
//! - Nothing a lane delivers counts before it authenticated.
//! - Memory is bounded. Bytes that came wait within [`SESSION_WINDOW_MAX`], bytes that were sent within [`RETENTION_MAX`] and
//!   a mebibyte of commands; both start small, and all sessions that share a [`Budget`] grow within it. Beside them a session
//!   has a few records of buffers, and tables for [`STREAMS_MAX`] streams of each end.

mod budget;
pub mod canary;
mod changed;
mod credit;
mod ending;
mod event;
pub mod frame;
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
#[path = "../../fuzz/worlds/session.rs"]
pub mod fuzz;
mod handle;
mod input;
mod origin;
mod parcel;
mod retention;
mod schedule;
mod streams;
mod violation;
mod window;

pub use budget::Budget;
pub use credit::{SESSION_WINDOW_MAX, SESSION_WINDOW_START, STREAM_WINDOW_MAX, STREAM_WINDOW_START};
pub use ending::{LINGER, SessionError};
pub use event::Event;
pub use handle::{Stream, StreamMut};
pub use origin::{Config, Role, Times};
pub use parcel::Parcel;
pub use retention::{RETENTION_MAX, SESSION_BYTES_MAX};
pub use streams::{Half, STREAMS_MAX};
pub use violation::Violation;

use crate::lane::{
    Acks, Channel, JoinAnswer, JoinRefused, JoinRequest, JoinSecret, Lane, LaneTimes, Lanes, Ledger, PendingJoin, Pool,
};
use crate::noise::Suite;
#[cfg(feature = "canaries")]
use crate::wire::features::TRIAL;
use crate::wire::{CloseCode, Features};
use canary::{Canary, Planted};
use changed::Changed;
use credit::Credit;
use ending::Ending;
use frame::Frame;
use input::Incoming;
use origin::Origin;
use retention::{Load, Retention};
use schedule::{Filling, Room, Schedule};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use streams::Streams;

/// Age at which a lane gives way to a fresh one with fresh keys. That is the rekey.
pub const LANE_LIFE: Duration = Duration::from_secs(60 * 60);

/// One end of a session.
pub struct Session {
    origin: Origin,
    lanes: Lanes,
    ledger: Ledger,
    streams: Streams,
    credit: Credit,
    retention: Retention,
    ending: Ending,
    schedule: Schedule,
    events: VecDeque<Event>,
    pool: Pool,
    planted: Planted,
    changed: Changed,
}

impl Session {
    /// A session over its first lane, number 0, whose handshake is done.
    pub fn new(now: Instant, config: Config<'_>) -> Session {
        let Config { role, export, keys, features, times } = config;
        let budget = Budget::default();
        let mut session = Session {
            origin: Origin { role, secret: JoinSecret::derive(export), features },
            lanes: Lanes::new(LaneTimes { dead: times.dead_time, life: times.lane_life }),
            ledger: Ledger::default(),
            streams: Streams::new(role),
            credit: Credit::new(now, &budget),
            retention: Retention::new(&budget),
            ending: Ending::new(times.resume_timeout),
            schedule: Schedule::default(),
            events: VecDeque::new(),
            pool: Pool::default(),
            planted: Planted::default(),
            changed: Changed::default(),
        };
        let lane = Lane::new(now, 0, Channel::new(keys), times.dead_time);
        // The responder has seen the initiator's last handshake message; the initiator waits for a first record, so that it
        // never says anything to a peer that may not have heard of this session.
        session.add_lane(now, if role == Role::Responder { lane.confirmed() } else { lane });
        session
    }

    /// Grows within a budget that others draw on too. To be said before anything has grown; unsaid, the session has a
    /// budget of its own.
    #[must_use]
    pub fn within(mut self, budget: &Budget) -> Session {
        self.credit.grow_within(budget);
        self.retention.grow_within(budget);
        self
    }

    /// Sends a frame that the other end does not know, of number 80 or above.
    #[cfg(any(feature = "canaries", feature = "fuzzing"))]
    pub fn send_unknown(&mut self, number: u8, bytes: &[u8]) {
        self.changed.note();
        self.schedule.push_unknown(number, bytes);
    }

    /// Sends the frame of the feature for tests, if both ends have that.
    #[cfg(feature = "canaries")]
    pub fn send_trial(&mut self) {
        self.changed.note();
        if self.origin.features.has(TRIAL) || self.planted.is(Canary::OneEndsFeature) {
            self.schedule.push(&Frame::Trial);
        }
    }

    /// Plants a defect for a simulation to find.
    #[cfg(feature = "canaries")]
    pub fn plant(&mut self, canary: Canary) {
        self.planted.plant(canary);
    }

    /// The name under which the relay brings the two ends together again.
    pub fn rendezvous(&self) -> [u8; 16] {
        self.origin.secret.rendezvous()
    }

    /// What both ends can do.
    pub fn features(&self) -> &Features {
        &self.origin.features
    }

    /// Whether anything was done since its node saw to it, so that it may have more to send or to wait for.
    pub(crate) fn has_changed(&self) -> bool {
        Changed::of(self)
    }

    /// Its node has seen to that.
    pub(crate) fn clear_changed(&mut self) {
        Changed::clear(self);
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.origin.role
    }

    // Its lanes: who brings them, and who hears that they are gone.

    fn add_lane(&mut self, now: Instant, lane: Lane) {
        let is_confirmed = lane.is_confirmed();
        self.changed.note();
        self.lanes.add(lane);
        if is_confirmed {
            self.tell_limits(now);
        }
    }

    /// A lane carries something now. What was told on older ones may be lost: all limits are told again. Said before the
    /// lane is confirmed it would go out on an older one, which the peer has left.
    fn tell_limits(&mut self, now: Instant) {
        if !self.planted.is(Canary::NoSnapshot) {
            self.credit.tell();
            self.streams.tell_all(now);
        }
    }

    /// Starts a lane towards the peer: the machine that waits for the answer, and message 1.
    ///
    /// # Errors
    /// Never with the session's own secret and a short list of dead lanes.
    pub fn start_join(&mut self, suite: Suite) -> Result<(PendingJoin, Vec<u8>), JoinRefused> {
        self.changed.note();
        let lane = self.lanes.take_number();
        PendingJoin::start(suite, &self.origin.secret, lane, &self.lanes.taken(&self.ledger))
    }

    /// The answer came: the lane is up and replaces every other. Yields its number.
    ///
    /// # Errors
    /// The answer is not genuine, or the session has failed meanwhile. Nothing has changed.
    pub fn finish_join(&mut self, now: Instant, join: PendingJoin, message: &[u8]) -> Result<u32, JoinRefused> {
        self.failure().map_or(Ok(()), |_| Err(JoinRefused::Stale))?;
        let joined = join.finish(message)?;
        self.lanes.kill_each(now, &mut self.ledger, |_| true);
        self.settle(joined.acks);
        // Message 2 answers our fresh message 1: the peer is there.
        self.add_lane(now, Lane::new(now, joined.lane, Channel::new(joined.keys), self.lanes.dead_time()).confirmed());
        Ok(joined.lane)
    }

    /// The peer wants to join with a lane: checks the proof before anything is touched.
    ///
    /// # Errors
    /// The message is not genuine, or was answered before. Nothing has changed.
    pub fn answer_join(&mut self, now: Instant, suite: Suite, message: &[u8]) -> Result<JoinAnswer, JoinRefused> {
        if self.origin.role != Role::Responder || self.failure().is_some() {
            return Err(JoinRefused::Unauthentic);
        }
        let request = JoinRequest::read(suite, &self.origin.secret, message)?;
        if !self.lanes.is_fresh_number(request.lane()) {
            return Err(JoinRefused::Stale);
        }
        let (joined, message) = request.answer(&self.lanes.taken(&self.ledger))?;
        self.lanes.kill_each(now, &mut self.ledger, |lane| !lane.is_confirmed());
        self.ledger.put_join_acks(joined.acks);
        self.add_lane(now, Lane::new(now, joined.lane, Channel::new(joined.keys), self.lanes.dead_time()));
        Ok(JoinAnswer { lane: joined.lane, message })
    }

    /// A record came in on a lane: the other end is there. What older lanes had under way goes out again, if that is news.
    fn note_record(&mut self, now: Instant, lane: u32) {
        if self.lanes.handle_record(now, lane, &mut self.ledger) {
            let acks = self.ledger.take_join_acks();
            self.settle(acks);
            self.tell_limits(now);
        }
    }

    /// The peer said how far dead lanes got: what they had under way is done, or goes out again.
    fn settle(&mut self, mut acks: Acks) {
        if self.planted.is(Canary::StaleLane) {
            acks = self.ledger.acks_of_dead(acks.first().map_or(0, |ack| ack.records));
        } else if self.planted.is(Canary::NoRequeue) {
            acks = self.ledger.acks_of_dead(u64::MAX);
        }
        self.ledger.settle(&mut self.pool, &acks);
        self.wake_writers();
    }

    /// Whether the lane has been used long enough: the initiator should join with a fresh one while this one still works.
    pub fn wants_fresh_lane(&self) -> bool {
        self.origin.role == Role::Initiator && self.lanes.are_worn() && !self.is_closing()
    }

    /// Whether a record of the peer ever came in: for an initiator, that the peer knows of the session; for a responder,
    /// that the initiator knows that.
    pub(crate) fn is_heard(&self) -> bool {
        self.lanes.is_heard()
    }

    /// Whether a lane is there and its other end has shown itself.
    pub(crate) fn is_confirmed(&self, lane: u32) -> bool {
        self.lanes.is_confirmed(lane)
    }

    /// Whether a lane is there.
    pub fn has_lane(&self) -> bool {
        self.lanes.has_any()
    }

    /// The lane's circuit is gone. What it had under way waits for the next lane.
    pub fn drop_lane(&mut self, now: Instant, lane: u32) {
        self.changed.note();
        self.lanes.drop(now, lane, &mut self.ledger);
    }

    /// A lane that died in here: its circuit is of no more use.
    pub fn poll_dead_lane(&mut self) -> Option<u32> {
        self.lanes.poll_dead()
    }

    /// The shortest round trip since the newest lane came, if one was measured: what the path takes when nothing queues on it.
    pub fn round_trip(&self) -> Option<Duration> {
        self.lanes.round_trip()
    }

    // Bytes of lanes, both ways.

    /// Takes bytes of a lane's pipe, all of them. A lane that fails is dropped ([`Session::poll_dead_lane`]).
    ///
    /// # Errors
    /// What ended the session, now or before.
    pub fn handle_bytes(&mut self, now: Instant, lane: u32, input: &[u8]) -> Result<(), SessionError> {
        self.changed.note();
        match self.failure() {
            Some(error) => Err(error),
            None => Incoming { session: self, now, lane }.handle_bytes(input),
        }
    }

    /// Appends whole records for a lane to `out`, at most `budget` bytes of them. Yields how many bytes that was; 0 when
    /// there is nothing to say or no room to say it.
    pub fn poll_output(&mut self, now: Instant, lane_id: u32, out: &mut Vec<u8>, budget: usize) -> usize {
        // A joined lane carries nothing of a responder before its other end has shown that it is there.
        if !self.lanes.is_confirmed(lane_id) {
            return 0;
        }
        self.queue_close();
        let Some(lane) = self.lanes.get(lane_id) else { return 0 };
        let before = out.len();
        let mut filling = Filling {
            lane,
            room: Room::new(out, budget),
            ledger: &mut self.ledger,
            streams: &mut self.streams,
            credit: &mut self.credit,
            retention: &mut self.retention,
            schedule: &mut self.schedule,
            pool: &mut self.pool,
            planted: self.planted,
        };
        if filling.fill().is_err() {
            self.lanes.kill(now, lane_id, &mut self.ledger);
            self.changed.note();
        }
        self.changed.note_if(out.len() > before);
        out.len() - before
    }

    // Its streams.

    /// Opens a stream towards a service of the peer. Bytes may be written at once. None: too many are open.
    pub fn open_stream(&mut self, now: Instant, service: &str) -> Option<u32> {
        let is_full = self.streams.are_many() && !self.planted.is(Canary::OpensWithoutEnd);
        if is_full || self.is_closing() {
            return None;
        }
        self.changed.note();
        let id = self.streams.open(now);
        self.schedule.push_open(id, service);
        Some(id)
    }

    /// A stream, to be looked at.
    pub fn stream(&self, id: u32) -> Stream<'_> {
        Stream { session: self, id }
    }

    /// A stream, to work with.
    pub fn stream_mut(&mut self, id: u32) -> StreamMut<'_> {
        StreamMut { session: self, id }
    }

    /// Whether the stream is known here.
    pub fn has_stream(&self, id: u32) -> bool {
        self.streams.is_known(id)
    }

    /// Streams that are still remembered.
    pub fn stream_count(&self) -> usize {
        self.streams.count()
    }

    /// A stream with news since it was last asked for: bytes to read, an end, room to write again, or all consumed. With
    /// many streams this is how to find the few that moved.
    pub fn poll_touched(&mut self) -> Option<u32> {
        self.streams.poll_touched()
    }

    /// The next event, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn load(&self) -> Load {
        Load { retained: self.ledger.retained_bytes(), held: self.credit.held() }
    }

    /// Less is held or retained than before: writers that were refused may find room.
    fn wake_writers(&mut self) {
        if self.retention.handle_freed(self.load()) {
            self.streams.wake_writers();
        }
    }

    // The time.

    /// The next instant at which [`Session::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.failure().is_some() {
            return None;
        }
        let worn = self.lanes.next_worn().filter(|_| self.origin.role == Role::Initiator);
        let news = self.streams.next_timeout().filter(|_| self.has_lane());
        let ending = self.ending.next_timeout(self.lanes.none_since());
        [self.lanes.next_timeout(), worn, news, ending].into_iter().flatten().min()
    }

    /// Time has passed.
    ///
    /// # Errors
    /// What ended the session, now or before.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        self.changed.note();
        self.lanes.handle_timeout(now, &mut self.ledger);
        self.streams.handle_timeout(now);
        self.ending.handle_timeout(now, self.lanes.none_since());
        self.failure().map_or(Ok(()), Err)
    }

    /// Whoever drives us was stopped for a while: silence counts from now on.
    pub fn handle_pause(&mut self, now: Instant) {
        self.changed.note();
        self.lanes.handle_pause(now);
    }

    // Its end.

    /// Ends the session: the last frame of this direction. With [`CloseCode::Done`] what was written before still goes out
    /// first; with any other code what no lane has taken yet is dropped.
    pub fn close(&mut self, code: CloseCode) {
        self.close_by(code.to_wire());
    }

    /// Ends it as with [`CloseCode::Failed`], and says with which status the program failed.
    pub(crate) fn close_failed(&mut self, status: i32) {
        self.close_by(CloseCode::failed_with(status));
    }

    fn close_by(&mut self, number: u16) {
        self.changed.note();
        if self.ending.close(number) && number != CloseCode::Done.to_wire() {
            self.streams.reset_all(&mut self.pool);
        }
    }

    /// CLOSE is the last frame: it waits for everything written.
    fn queue_close(&mut self) {
        if let Some(code) = self.ending.wanted().filter(|_| !self.streams.have_more_to_send()) {
            self.changed.note();
            self.ending.note_queued();
            self.schedule.push(&Frame::Close { code });
        }
    }

    /// The peer's process has let go of the session. After its CLOSE that is no accident: nobody is left to tell of ours.
    pub(crate) fn handle_forgotten(&mut self) {
        self.changed.note();
        self.ending.handle_forgotten();
    }

    /// The peer knows that we closed, and what it waits for from us has gone out; or nobody is left to tell.
    pub fn is_over(&self) -> bool {
        let is_told = self.ending.is_queued() && self.has_lane() && self.is_everything_acknowledged();
        let owes = self.ending.peer_code().is_some() && self.lanes.owe_acks();
        (is_told && !owes) || self.ending.is_abandoned()
    }

    fn is_everything_acknowledged(&self) -> bool {
        self.schedule.is_empty() && self.ledger.is_settled() && self.lanes.are_acknowledged()
    }

    /// This side has closed the session, though the peer may not know yet.
    pub(crate) fn is_closing(&self) -> bool {
        self.ending.is_closing()
    }

    /// The code with which the peer closed the session.
    pub fn peer_close_code(&self) -> Option<u16> {
        self.ending.peer_code()
    }

    /// The error that ended the session.
    pub fn failure(&self) -> Option<SessionError> {
        self.ending.failure()
    }
}
