//! Waiting for events: a short while awake where that pays off, then asleep.
//!
//! A round trip through a relay wakes six threads. Each wake costs 5 µs on a core that is awake and 20 to 60 µs on one that
//! has gone to sleep, most of all in a virtual machine, and is then most of the round trip. So a thread that has exchanged
//! small messages in quick succession looks again for a moment before it sleeps (busy polling), and gives its core to
//! whoever wants it between two looks. The moment grows while waits turn out short and shrinks to nothing when they do not,
//! as in the kernel's halt polling for guests, and at once when others have work for the core. Idle and bulk links never pay
//! for it.

use mio::{Events, Poll};
use std::io;
use std::time::{Duration, Instant};

/// The longest time awake: a round trip between the other threads of a pipe on one machine, all awake, with some to spare.
const AWAKE_MAX: Duration = Duration::from_micros(100);
/// The shortest that is tried.
const AWAKE_MIN: Duration = Duration::from_micros(12);
/// A wait that took longer would not have been worth it; a shorter one, asleep, is a reason to try. It is longer than
/// [`AWAKE_MAX`] because others sleep less, too, once we do.
const BRIEF_WAIT: Duration = Duration::from_micros(200);
/// A look that took longer than this had to give its core to somebody who had work for it. A thread that goes on looking
/// then only gets in the way, and is late itself, because one that sleeps is woken ahead of those that run.
const WANTED_BY_OTHERS: Duration = Duration::from_micros(25);
/// It may happen now and then: what it weighs against a wait in which it did not.
const WANTED_WEIGHT: u32 = 8;
/// From here on it is no accident.
const WANTED_MAX: u32 = 40;
/// Waits without being awake after that.
const RESTRAINT: u32 = 256;
/// More bytes than this lately are bulk: what comes next comes soon anyway, and gathers meanwhile.
const BULK_BYTES: usize = 16 * 1024;

/// How long to stay awake, from how long the last waits took.
#[derive(Debug, Default)]
struct Patience {
    awake: Duration,
    /// How often others wanted the core lately.
    wanted: u32,
    /// Waits until being awake may be tried again.
    restraint: u32,
}

impl Patience {
    /// Learns from a wait.
    fn handle_waited(&mut self, waited: Duration) {
        if self.restraint > 0 {
            self.restraint -= 1;
        } else if waited > BRIEF_WAIT {
            self.awake = if self.awake > AWAKE_MIN { self.awake / 2 } else { Duration::ZERO };
        } else if waited > self.awake {
            self.awake = (self.awake * 2).clamp(AWAKE_MIN, AWAKE_MAX);
        }
    }

    /// An event came while awake.
    fn handle_caught(&mut self) {
        self.wanted = self.wanted.saturating_sub(1);
    }

    /// Others want the core.
    fn handle_wanted(&mut self) {
        self.wanted += WANTED_WEIGHT;
        if self.wanted >= WANTED_MAX {
            *self = Patience { awake: Duration::ZERO, wanted: 0, restraint: RESTRAINT };
        }
    }
}

/// Waits on behalf of one thread.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    patience: Patience,
    /// Bytes since the last wait, and half of what there was before it.
    recent_bytes: usize,
}

impl Waiter {
    /// So many bytes were read or written since the last wait.
    pub(super) fn note_bytes(&mut self, count: usize) {
        self.recent_bytes = self.recent_bytes.saturating_add(count);
    }

    /// As [`Poll::poll`]. It may return early with no events, as that may.
    ///
    /// # Errors
    /// Those of [`Poll::poll`].
    pub(super) fn wait(&mut self, poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let is_bulk = self.recent_bytes > BULK_BYTES;
        self.recent_bytes /= 2;
        if is_bulk || timeout == Some(Duration::ZERO) {
            return poll.poll(events, timeout);
        }
        let began = Instant::now();
        let awake = self.patience.awake.min(timeout.unwrap_or(Duration::MAX));
        let mut waited = Duration::ZERO;
        while waited < awake {
            poll.poll(events, Some(Duration::ZERO))?;
            if !events.is_empty() {
                self.patience.handle_caught();
                return Ok(());
            }
            std::thread::yield_now();
            let looked = began.elapsed();
            if looked - waited > WANTED_BY_OTHERS {
                self.patience.handle_wanted();
                break;
            }
            waited = looked;
        }
        let result = poll.poll(events, timeout.map(|timeout| timeout.saturating_sub(began.elapsed())));
        if !events.is_empty() {
            self.patience.handle_waited(began.elapsed());
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn short_waits_keep_a_thread_awake_longer_up_to_a_bound_and_long_ones_let_it_sleep() {
        let mut patience = Patience::default();
        patience.handle_waited(micros(30));
        assert_eq!(patience.awake, AWAKE_MIN);
        for _ in 0..10 {
            patience.handle_waited(micros(150));
        }
        assert_eq!(patience.awake, AWAKE_MAX);
        patience.handle_waited(micros(40));
        assert_eq!(patience.awake, AWAKE_MAX, "it was awake for it");
        for _ in 0..10 {
            patience.handle_waited(micros(5000));
        }
        assert_eq!(patience.awake, Duration::ZERO);
    }

    #[test]
    fn a_thread_whose_core_others_want_sleeps_for_many_waits() {
        let mut patience = Patience::default();
        patience.handle_waited(micros(30));
        for _ in 0..100 {
            patience.handle_wanted();
            for _ in 0..WANTED_WEIGHT {
                patience.handle_caught();
            }
        }
        assert_eq!(patience.awake, AWAKE_MIN, "now and then is no reason");
        for _ in 0..WANTED_MAX / WANTED_WEIGHT {
            patience.handle_wanted();
        }
        for _ in 0..RESTRAINT {
            assert_eq!(patience.awake, Duration::ZERO);
            patience.handle_waited(micros(30));
        }
        patience.handle_waited(micros(30));
        assert_eq!(patience.awake, AWAKE_MIN);
    }

    #[test]
    fn a_wait_is_as_long_as_was_asked_for_awake_or_asleep() {
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(1));
        let mut waiter = Waiter::default();
        for awake in [Duration::ZERO, AWAKE_MAX] {
            waiter.patience.awake = awake;
            let began = Instant::now();
            waiter.wait(&mut poll, &mut events, Some(Duration::from_millis(3))).unwrap();
            assert!(events.is_empty() && began.elapsed() >= Duration::from_millis(2));
        }
    }

    #[test]
    fn an_event_that_is_there_is_seen_awake() {
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(1));
        let waker = mio::Waker::new(poll.registry(), mio::Token(7)).unwrap();
        let mut waiter = Waiter::default();
        waiter.patience.awake = AWAKE_MAX;
        waker.wake().unwrap();
        waiter.wait(&mut poll, &mut events, None).unwrap();
        assert_eq!(events.iter().next().unwrap().token(), mio::Token(7));
    }
}
