//! The path of a lane: a ping asks whether the other end is there, and its answer takes one round trip.

use std::time::{Duration, Instant};

/// Pings and pongs of one lane, both ways.
pub(crate) struct Path {
    /// What our pings say, so that no answer is taken for one of another lane.
    token: u32,
    /// When a ping was asked for that nobody has answered.
    asked: Option<Instant>,
    ping_due: bool,
    /// A ping of the peer that waits for its answer.
    pong_due: Option<u32>,
}

impl Path {
    /// A ping is due at once: it confirms the lane to a responder, and measures the path.
    pub(super) fn new(now: Instant, token: u32) -> Path {
        Path { token, asked: Some(now), ping_due: true, pong_due: None }
    }

    /// Wants to hear from the other end.
    pub(super) fn ask(&mut self, now: Instant) {
        self.asked = Some(now);
        self.ping_due = true;
    }

    /// The other end asks.
    pub(crate) fn handle_ping(&mut self, token: u32) {
        self.pong_due = Some(token);
    }

    /// The other end answers. Yields the round trip, if it is the answer to what was asked last.
    pub(crate) fn handle_pong(&mut self, now: Instant, token: u32) -> Option<Duration> {
        self.asked.take_if(|_| token == self.token).map(|asked| now.duration_since(asked))
    }

    /// Whether a ping or a pong is to be sent.
    pub(crate) fn is_due(&self) -> bool {
        self.ping_due || self.pong_due.is_some()
    }

    /// The answer to send, once.
    pub(crate) fn take_pong(&mut self) -> Option<u32> {
        self.pong_due.take()
    }

    /// The ping to send, once.
    pub(crate) fn take_ping(&mut self) -> Option<u32> {
        std::mem::take(&mut self.ping_due).then_some(self.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_to_the_last_ping_measures_the_path() {
        let (start, trip) = (Instant::now(), Duration::from_millis(30));
        let mut path = Path::new(start, 7);
        assert_eq!((path.take_ping(), path.take_ping()), (Some(7), None));
        assert_eq!(path.handle_pong(start + trip, 6), None, "of another lane");
        assert_eq!(path.handle_pong(start + trip, 7), Some(trip));
        assert_eq!(path.handle_pong(start + trip, 7), None, "a second time");
        path.ask(start + trip);
        assert_eq!(path.take_ping(), Some(7));
        assert_eq!(path.handle_pong(start + 3 * trip, 7), Some(2 * trip));
    }

    #[test]
    fn a_ping_of_the_peer_is_answered_once() {
        let mut path = Path::new(Instant::now(), 0);
        path.take_ping();
        assert!(!path.is_due());
        path.handle_ping(3);
        assert!(path.is_due());
        assert_eq!((path.take_pong(), path.take_pong()), (Some(3), None));
    }
}
