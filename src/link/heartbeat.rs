//! When a link is dead, and when to ask. The client asks, the relay answers: bytes flow both ways.

use crate::wire::limits::{DEAD_TIME, HEARTBEATS_PER_DEAD_TIME, IDLE_DEAD_TIME};
use std::time::{Duration, Instant};

/// Which end of a link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sends PING.
    Client,
    /// Answers with PONG.
    Relay,
}

/// The two clocks of a link: silence of the other side, and our own output that does not move.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    side: Side,
    dead_time: Duration,
    busy: bool,
    heard: Instant,
    asked: Instant,
    stuck_since: Option<Instant>,
}

impl Heartbeat {
    /// A heartbeat that counts from `now`. `dead_time` holds while the link carries circuits.
    pub(crate) fn new(now: Instant, side: Side, dead_time: Duration) -> Heartbeat {
        Heartbeat { side, dead_time, busy: false, heard: now, asked: now, stuck_since: None }
    }

    /// The default for links with circuits.
    pub(crate) fn standard(now: Instant, side: Side) -> Heartbeat {
        Heartbeat::new(now, side, DEAD_TIME)
    }

    /// Whether the link carries circuits. A link that turns busy gets a whole dead time from now.
    pub(crate) fn set_busy(&mut self, now: Instant, busy: bool) {
        if busy && !self.busy {
            self.heard = now;
            self.asked = now;
        }
        self.busy = busy;
    }

    /// Bytes came in.
    pub(crate) fn handle_received(&mut self, now: Instant) {
        self.heard = now;
    }

    /// We have not looked for a while: what may have come or gone meanwhile is yet to be seen, and silence counts from now on.
    pub(crate) fn handle_pause(&mut self, now: Instant) {
        self.heard = now;
        self.stuck_since = self.stuck_since.map(|_| now);
    }

    /// Output was offered to the carrier: it took something or nothing, and `pending` tells whether some is left.
    pub(crate) fn handle_written(&mut self, now: Instant, took: bool, pending: bool) {
        if !pending {
            self.stuck_since = None;
        } else if took || self.stuck_since.is_none() {
            self.stuck_since = Some(now);
        }
    }

    fn dead_after(&self) -> Duration {
        if self.busy { self.dead_time } else { self.dead_time.max(IDLE_DEAD_TIME) }
    }

    /// The other side has dead times of its own, those of the protocol at most: a user who is more patient still asks as often.
    fn interval(&self) -> Duration {
        let theirs = if self.busy { DEAD_TIME } else { IDLE_DEAD_TIME };
        self.dead_after().min(theirs) / HEARTBEATS_PER_DEAD_TIME
    }

    /// The next instant at which [`Heartbeat::is_dead`] or [`Heartbeat::take_ping`] can turn true.
    pub(crate) fn deadline(&self) -> Instant {
        let mut next = self.heard + self.dead_after();
        if let Some(since) = self.stuck_since {
            next = next.min(since + self.dead_time);
        }
        if self.side == Side::Client {
            next = next.min(self.asked + self.interval());
        }
        next
    }

    /// Nothing heard, or nothing taken from us, for the dead time.
    pub(crate) fn is_dead(&self, now: Instant) -> bool {
        now >= self.heard + self.dead_after() || self.stuck_since.is_some_and(|since| now >= since + self.dead_time)
    }

    /// Whether a PING is due; answering yes counts it as sent.
    pub(crate) fn take_ping(&mut self, now: Instant) -> bool {
        let due = self.side == Side::Client && now >= self.asked + self.interval();
        if due {
            self.asked = now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn whoever_did_not_look_asks_before_it_gives_up() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(start, Side::Client, 8 * SECOND);
        beat.set_busy(start, true);
        beat.handle_written(start, false, true);
        let back = start + 60 * SECOND;
        beat.handle_pause(back);
        assert!(!beat.is_dead(back) && beat.take_ping(back));
        assert!(beat.is_dead(back + 8 * SECOND));
    }

    #[test]
    fn a_patient_client_asks_as_often_as_the_relay_expects() {
        for (busy, expected) in [(true, DEAD_TIME), (false, IDLE_DEAD_TIME)] {
            let start = Instant::now();
            let mut client = Heartbeat::new(start, Side::Client, 600 * SECOND);
            let mut relay = Heartbeat::standard(start, Side::Relay);
            client.set_busy(start, busy);
            relay.set_busy(start, busy);
            let mut turns = 0..10_000;
            while client.deadline() < start + 600 * SECOND {
                assert!(turns.next().is_some(), "its deadline stays where it is");
                let now = client.deadline();
                assert!(now < relay.deadline(), "the relay hears nothing for {expected:?}");
                if client.take_ping(now) {
                    relay.handle_received(now);
                    client.handle_received(now);
                }
            }
        }
    }

    #[test]
    fn a_busy_client_asks_four_times_before_it_gives_up() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(start, Side::Client, 8 * SECOND);
        beat.set_busy(start, true);
        let (mut now, mut asked) = (start, 0);
        while !beat.is_dead(now) {
            asked += u32::from(beat.take_ping(now));
            assert!(beat.deadline() > now);
            now = beat.deadline();
        }
        assert_eq!((now - start, asked), (8 * SECOND, 3));
    }

    #[test]
    fn an_answer_keeps_it_alive_and_a_stuck_write_kills_it() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(start, Side::Client, 8 * SECOND);
        beat.set_busy(start, true);
        beat.handle_received(start + 7 * SECOND);
        assert!(!beat.is_dead(start + 14 * SECOND));
        beat.handle_written(start + 7 * SECOND, true, true);
        beat.handle_written(start + 9 * SECOND, false, true);
        beat.handle_received(start + 15 * SECOND);
        assert!(!beat.is_dead(start + 14 * SECOND));
        assert!(beat.is_dead(start + 15 * SECOND));
        beat.handle_written(start + 14 * SECOND, true, false);
        assert!(!beat.is_dead(start + 15 * SECOND));
    }

    #[test]
    fn a_parked_link_is_quiet_and_turning_busy_gives_a_whole_dead_time() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(start, Side::Client, 8 * SECOND);
        assert!(!beat.take_ping(start + 12 * SECOND));
        assert!(beat.take_ping(start + 13 * SECOND));
        let later = start + 40 * SECOND;
        beat.set_busy(later, true);
        assert!(!beat.is_dead(later));
        assert!(beat.is_dead(later + 8 * SECOND));
    }
}
