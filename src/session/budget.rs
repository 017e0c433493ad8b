//! What all sessions of a process may hold together, beyond what each may hold from its first byte on.
//!
//! Windows and retention grow to the path, for each session by tens of megabytes. That is right for a few, and no bound for
//! hundreds. So each step of growth is taken from one budget. A window that was granted stays; what is denied is asked for
//! again when the next occasion comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Growth of all sessions of a process together, bytes. One that uses all it may takes 79 MiB, so three such run at full
/// speed, and hundreds stay within a quarter of a gigabyte and what each has from the start.
pub(crate) const GROWTH_MAX: usize = 256 * 1024 * 1024;
/// A step takes at most this part of what is left: when nothing is left for another large window, small ones still grow.
const STEP_PART: usize = 4;

/// The budget that sessions share; a clone is the same budget.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicUsize>,
}

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: usize) -> Budget {
        Budget { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// Bytes that nobody has taken.
    pub(crate) fn left_bytes(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// How many draw on it.
    #[cfg(test)]
    pub(crate) fn sharers(&self) -> usize {
        Arc::strong_count(&self.left)
    }
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::new(GROWTH_MAX)
    }
}

/// What one part of a session has taken of a budget. It goes back when the session goes.
pub(super) struct Share {
    budget: Budget,
    taken: usize,
}

impl Share {
    pub(super) fn of(budget: &Budget) -> Share {
        Share { budget: budget.clone(), taken: 0 }
    }

    /// A share of another budget, for one that has taken nothing yet.
    pub(super) fn moved_to(&self, budget: &Budget) -> Share {
        debug_assert_eq!(self.taken, 0);
        Share::of(budget)
    }

    /// Takes all of `bytes` or nothing. Yields whether it did.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let rest = |left: usize| if bytes <= left / STEP_PART { Some(left - bytes) } else { None };
        let done = self.budget.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok();
        self.taken += if done { bytes } else { 0 };
        done
    }

    /// The same for a step of a window.
    pub(super) fn take_step(&mut self, step: u64) -> bool {
        usize::try_from(step).is_ok_and(|step| self.take(step))
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.taken);
        self.taken -= bytes;
        self.budget.left.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The largest step that is to be had, bytes.
    pub(super) fn step_max(&self) -> u64 {
        u64::try_from(self.budget.left_bytes() / STEP_PART).unwrap_or(u64::MAX)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fuzz::{channel, config};
    use crate::session::retention::{RETENTION_MAX, RETENTION_START, RETENTION_STEP};
    use crate::session::window::Window;
    use crate::session::{
        Role, SESSION_WINDOW_MAX, SESSION_WINDOW_START, STREAM_WINDOW_MAX, STREAM_WINDOW_START, Session,
    };
    use crate::wire::limits::RECORD_PLAINTEXT_MAX;
    use std::time::{Duration, Instant};

    const MIB: usize = 1 << 20;

    fn pair(now: Instant, budget: &Budget) -> (Session, Session) {
        let (ours, theirs) = channel();
        let end = |role, keys| Session::new(now, config(role, keys)).within(budget);
        (end(Role::Initiator, ours), end(Role::Responder, theirs))
    }

    fn one(now: Instant, budget: &Budget) -> Session {
        pair(now, budget).0
    }

    /// What the session may hold of what came, and may retain, beyond what it has from the start.
    fn grown(session: &Session) -> usize {
        let window = usize::try_from(session.credit.window_size() - SESSION_WINDOW_START).unwrap();
        window + session.retention.granted() - RETENTION_START
    }

    /// A peer that sends what it may and acknowledges nothing: everything grows as far as it goes.
    fn press(session: &mut Session) {
        for _ in 0..10 {
            session.credit.set_held(session.credit.window_size());
            session.credit.widen_for_unread();
        }
        session.credit.set_held(0);
        for _ in 0..20 {
            session.ledger.set_retained_bytes(session.retention.granted());
            session.retention.make_room(session.load());
        }
    }

    #[test]
    fn one_session_grows_to_its_full_windows_and_gives_them_back() {
        let budget = Budget::default();
        let mut session = one(Instant::now(), &budget);
        press(&mut session);
        assert_eq!(session.credit.window_size(), SESSION_WINDOW_MAX);
        assert_eq!((session.retention.granted(), session.retention.make_room(session.load())), (RETENTION_MAX, false));
        assert_eq!(budget.left_bytes(), GROWTH_MAX - 79 * MIB);
        // What is acknowledged need not be retained, and its room is for others at once.
        session.ledger.set_retained_bytes(0);
        session.wake_writers();
        assert_eq!(session.retention.granted(), RETENTION_STEP);
        assert_eq!(budget.left_bytes(), GROWTH_MAX - 43 * MIB);
        drop(session);
        assert_eq!(budget.left_bytes(), GROWTH_MAX);
    }

    #[test]
    fn many_sessions_together_stay_within_the_budget() {
        let (now, budget) = (Instant::now(), Budget::default());
        let mut sessions: Vec<Session> = (0..300).map(|_| one(now, &budget)).collect();
        sessions.iter_mut().for_each(press);
        let all: usize = sessions.iter().map(grown).sum();
        assert_eq!(all, GROWTH_MAX - budget.left_bytes());
        assert!((GROWTH_MAX * 9 / 10..=GROWTH_MAX).contains(&all), "{all}");
        assert!(sessions.iter().take(3).all(|session| session.credit.window_size() >= 16 << 20), "the first ones run");
        assert!(grown(&sessions[7]) > 0, "and large ones leave small ones something");
        // Each on a budget of its own: the pressure would have shown.
        let alone: usize = (0..20)
            .map(|_| {
                let mut session = one(now, &Budget::default());
                press(&mut session);
                grown(&session)
            })
            .sum();
        assert!(alone > GROWTH_MAX);
    }

    #[test]
    fn what_was_denied_is_asked_for_again() {
        let (now, budget) = (Instant::now(), Budget::new(80 * MIB));
        let mut second = one(now, &budget);
        let mut rival = Share::of(&budget);
        assert!((0..1000).any(|_| !rival.take(MIB)), "there is no end of it");
        press(&mut second);
        assert_eq!(grown(&second), 0);
        assert!(!second.credit.tells_growth(), "nothing is told that did not grow");
        drop(rival);
        press(&mut second);
        assert!(grown(&second) > 16 * MIB, "{}", grown(&second));
    }

    /// No stream has this number.
    const NOBODY: u32 = u32::MAX;

    /// Writes to streams what there is room for and moves it, for so many round trips; the responder reads the stream `reads`
    /// and no other. Yields how many bytes it read.
    fn exchange(now: &mut Instant, ends: &mut (Session, Session), trips: usize, writes: &[u32], reads: u32) -> usize {
        exchange_watched(now, ends, trips, writes, reads, |_, _, _| {})
    }

    /// The same; shows the responder whenever it has consumed something, and how much.
    fn exchange_watched(
        now: &mut Instant,
        ends: &mut (Session, Session),
        trips: usize,
        writes: &[u32],
        reads: u32,
        mut watch: impl FnMut(&Session, Instant, usize),
    ) -> usize {
        let mut moved = 0;
        for _ in 0..trips {
            let mut wire = Vec::new();
            loop {
                for id in writes {
                    while ends.0.stream_mut(*id).write(&[7; RECORD_PLAINTEXT_MAX]) > 0 {}
                }
                if ends.0.poll_output(*now, 0, &mut wire, 16 * MIB) == 0 {
                    break;
                }
            }
            *now += Duration::from_millis(25);
            ends.1.handle_bytes(*now, 0, &wire).unwrap();
            while let count @ 1.. = ends.1.stream(reads).readable().len() {
                ends.1.stream_mut(reads).read(count);
                ends.1.stream_mut(reads).consume(*now, count);
                moved += count;
                watch(&ends.1, *now, moved);
            }
            wire.clear();
            ends.1.handle_timeout(*now).unwrap();
            ends.1.poll_output(*now, 0, &mut wire, MIB);
            *now += Duration::from_millis(25);
            ends.0.handle_bytes(*now, 0, &wire).unwrap();
            ends.0.handle_timeout(*now).unwrap();
        }
        moved
    }

    #[test]
    fn with_nothing_left_streams_still_move_past_one_that_nobody_reads() {
        let mut now = Instant::now();
        for (bytes, window) in [(0, SESSION_WINDOW_START), (GROWTH_MAX, 2 * SESSION_WINDOW_START)] {
            let mut ends = pair(now, &Budget::new(bytes));
            exchange(&mut now, &mut ends, 1, &[], NOBODY);
            let ids = [(); 2].map(|()| ends.0.open_stream(now, "drop").unwrap());
            let moved = exchange(&mut now, &mut ends, 40, &ids, ids[1]);
            assert!(moved > 4 * MIB, "{moved}");
            assert!(ends.1.credit.held() <= STREAM_WINDOW_START, "{}", ends.1.credit.held());
            let size = ends.1.credit.window_size();
            assert!(if bytes == 0 { size == window } else { size >= window }, "{size}");
            assert!(ends.0.ledger.retained_bytes() <= RETENTION_START, "{}", ends.0.ledger.retained_bytes());
        }
    }

    #[test]
    fn a_stream_that_grew_alone_and_is_not_read_any_more_leaves_something_to_the_next() {
        let mut now = Instant::now();
        // Nothing to be had, or enough for a few steps; or all of it, of which a rival takes what is left on some round trip.
        let poor = [0, 4 * MIB, 20 * MIB].map(|bytes| (bytes, 20, false));
        for (bytes, trips, rival_comes) in poor.into_iter().chain((1..9).map(|trips| (GROWTH_MAX, trips, true))) {
            let budget = Budget::new(bytes);
            let mut ends = pair(now, &budget);
            exchange(&mut now, &mut ends, 1, &[], NOBODY);
            let first = ends.0.open_stream(now, "drop").unwrap();
            exchange(&mut now, &mut ends, trips, &[first], first);
            let mut rival = Share::of(&budget);
            while rival_comes && budget.left_bytes() > 0 && rival.take_step(rival.step_max().max(1)) {}
            exchange(&mut now, &mut ends, 20, &[first], NOBODY); // from here on nobody reads it
            let window = ends.1.streams.peek(first).unwrap().recv.window_size();
            assert!(window >= 2 * STREAM_WINDOW_START && ends.1.credit.held() > STREAM_WINDOW_START, "{window}");
            let second = ends.0.open_stream(now, "drop").unwrap();
            let moved = exchange(&mut now, &mut ends, 40, &[first, second], second);
            assert!(moved > 4 * MIB, "{moved} beside {window}, budget {bytes}, {trips} round trips");
        }
    }

    #[test]
    fn a_stream_alone_grows_as_if_its_session_did_not_bound_it() {
        let mut now = Instant::now();
        let mut ends = pair(now, &Budget::default());
        exchange(&mut now, &mut ends, 1, &[], NOBODY);
        let id = ends.0.open_stream(now, "drop").unwrap();
        let mut unbounded: Option<Window> = None;
        exchange_watched(&mut now, &mut ends, 30, &[id], id, |session, now, moved| {
            let window = unbounded.get_or_insert_with(|| Window::new(now, STREAM_WINDOW_START, STREAM_WINDOW_MAX));
            window.handle_consumed(now, session.lanes.round_trip(), u64::try_from(moved).unwrap(), |_| true);
            assert_eq!(session.streams.peek(id).unwrap().recv.window_size(), window.size(), "{moved}");
        });
        assert_eq!(ends.1.streams.peek(id).unwrap().recv.window_size(), STREAM_WINDOW_MAX);
        assert_eq!(ends.1.credit.window_size(), SESSION_WINDOW_MAX);
    }
}
