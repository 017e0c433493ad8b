//! A peer's allowance of bytes a second, for whatever comes in from it: one account for all its links, at all workers, which
//! outlives them while something is owed.
//!
//! Two things are counted. *All* that came in: while what somebody had the peer send is ahead of his part of the rate
//! (`sharing.rs`), credit of his circuits is held back. And what came *unbidden*, which is everything but what others asked for:
//! bytes of circuits, within credit. Reading goes on while credit is held back, so that heartbeats and control messages are not
//! stuck behind bytes for which there was credit. But messages need no credit. So no link of the peer is read while what came
//! unbidden is ahead of the rate by more than a constant. Replies to calls are not counted at all, as far as the calls account for
//! them (`replies.rs`): nobody can be kept from calling.
//!
//! Each new circuit has some credit from the start, so others let a peer be ahead by opening circuits to it, as does it itself.
//! That must not leave its links unread: whoever did it would have silenced it. So what bounds that is who may have new
//! circuits: one that has ended counts among those of its peer until it is paid for (`router/owed.rs`). Thus all is never ahead
//! by more than a multiple of the circuits that the peer may have, and a few seconds for all who have it send, whatever others do;
//! only if the peer itself goes on saying what needs no credit, for longer than half its rate allows, does it get there, and then
//! it is not read.
//!
//! Workers change two numbers by an atomic operation each, and the parts behind a lock of the account. Peers without a rate have
//! no account.

use super::sharing::{Party, Sharing};
use crate::wire::limits::CIRCUIT_WINDOW_START;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What each may have a peer be ahead of his part of its rate: half a second of that. Overdrawing by one window is allowed, and
/// paid back. What comes unbidden may be half a second of the whole rate ahead.
const BURST: Duration = Duration::from_millis(500);
/// By so much all may be ahead for that. Whoever was let ahead when so many owed has his part of [`BURST`] by their number, and so
/// it is a whole one, a half, a third and so on: less than 16 of them for all peers that there can be.
const BURSTS: u32 = 16;
/// By so much more it may be overdrawn before it is not read, bytes: a hundred calls with the first messages of their
/// sessions, however low the rate.
const UNBIDDEN_BYTES: u64 = 256 * 1024;
/// And for each circuit that it may have so much of its bytes may be ahead, bytes: what it may bring without a grant, three times
/// for the headers of small frames, and twice because half the rate may go to messages meanwhile.
const CIRCUIT_BYTES: u64 = 6 * CIRCUIT_WINDOW_START as u64;
/// What is bidden of a link though its circuit has ended, bytes: it was on its way when the other side ended that. As much as
/// the buffers of a connection hold.
pub(super) const LATE_BYTES_MAX: u32 = 8 << 20;
/// The least that is read at once, bytes: at a low rate, bit by bit would cost the relay more than it spares others.
const READ_MIN: usize = 4 * 1024;

/// The account of a peer with a rate. Clones are the same account.
#[derive(Clone, Debug)]
pub(crate) struct Rate(Arc<Account>);

#[derive(Debug)]
struct Account {
    bytes_per_second: u64,
    /// By how much all may be ahead before the peer is not read, bytes.
    ahead_max: u64,
    since: Instant,
    /// When everything that came in so far is paid for, nanoseconds from `since`.
    all: AtomicU64,
    /// The same for what came unbidden.
    unbidden: AtomicU64,
    /// Whose it is.
    sharing: Mutex<Sharing>,
}

/// What a peer owes, bytes.
#[derive(Default)]
struct Debt {
    all: u64,
    unbidden: u64,
    /// Who pays for it.
    sharing: Sharing,
}

/// Two are equal if they are the same account.
impl PartialEq for Rate {
    fn eq(&self, other: &Rate) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Rate {}

impl Rate {
    /// A peer that owes nothing may send so many bytes a second, and have so many circuits.
    pub(crate) fn new(now: Instant, bytes_per_second: u64, circuits: u32) -> Rate {
        Rate::owing(now, bytes_per_second, circuits, Debt::default())
    }

    /// Another rate for the same peer: it owes as many bytes as before.
    pub(crate) fn changed_to(&self, now: Instant, bytes_per_second: u64, circuits: u32) -> Rate {
        let [all, unbidden] = [&self.0.all, &self.0.unbidden].map(|paid| {
            let nanos = paid.load(Ordering::Relaxed).saturating_sub(self.nanos(now));
            let bytes = u128::from(nanos) * u128::from(self.0.bytes_per_second) / 1_000_000_000;
            u64::try_from(bytes).unwrap_or(u64::MAX)
        });
        let mut sharing = self.sharing();
        sharing.reckon(self.nanos(now));
        let sharing = sharing.restarted(self.0.bytes_per_second, bytes_per_second);
        Rate::owing(now, bytes_per_second, circuits, Debt { all, unbidden, sharing })
    }

    fn owing(now: Instant, bytes_per_second: u64, circuits: u32, debt: Debt) -> Rate {
        let [all, unbidden] = [debt.all, debt.unbidden].map(|bytes| AtomicU64::new(nanos_of(bytes, bytes_per_second)));
        let ahead_max = ahead_max(circuits);
        let sharing = Mutex::new(debt.sharing);
        Rate(Arc::new(Account { bytes_per_second, ahead_max, since: now, all, unbidden, sharing }))
    }

    /// Whether the peer may have so many bytes a second and so many circuits.
    pub(crate) fn is_for(&self, bytes_per_second: u64, circuits: u32) -> bool {
        (self.0.bytes_per_second, self.0.ahead_max) == (bytes_per_second, ahead_max(circuits))
    }

    /// Bytes a second.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        self.0.bytes_per_second
    }

    /// Whether no link has this account, and nothing is owed: a new one would be the same.
    pub(crate) fn is_unused(&self, now: Instant) -> bool {
        Arc::strong_count(&self.0) == 1 && self.0.all.load(Ordering::Relaxed) <= self.nanos(now)
    }

    /// Counts input.
    fn receive(&self, now: Instant, bytes: u64) {
        let (now, time) = (self.nanos(now), nanos_of(bytes, self.0.bytes_per_second));
        for paid in [&self.0.all, &self.0.unbidden] {
            update(paid, |paid| paid.max(now).saturating_add(time));
        }
        let mut sharing = self.sharing();
        sharing.reckon(now);
        sharing.charge(None, time);
    }

    fn sharing(&self) -> MutexGuard<'_, Sharing> {
        // No panic can happen between two changes that belong together.
        self.0.sharing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So much of that was sent for somebody, within credit that holds for the rate, and so much within credit that was given
    /// before.
    fn note_bidden(&self, with: Party, bytes: u64, free_bytes: u64) {
        let rate = self.0.bytes_per_second;
        update(&self.0.unbidden, |paid| paid.saturating_sub(nanos_of(bytes + free_bytes, rate)));
        if free_bytes > 0 {
            update(&self.0.all, |paid| paid.saturating_sub(nanos_of(free_bytes, rate)));
        }
        let mut sharing = self.sharing();
        sharing.relieve(None, nanos_of(free_bytes, rate));
        sharing.hand_over(with, nanos_of(bytes, rate));
    }

    /// From when on more may be granted that somebody has the peer send.
    fn allows_from(&self, with: Party) -> Instant {
        self.level_from(with, 0)
    }

    /// When all that somebody has had the peer send so far will have been paid for, and so many bytes more.
    pub(super) fn owes_until(&self, now: Instant, with: Party, more: u32) -> Instant {
        self.level_after(now, with, self.time_of(more.into()))
    }

    /// A circuit with somebody has ended, and may bring so many bytes yet. When they will have been paid for if they come, after
    /// all others that may come and all that came.
    pub(super) fn expect_late(&self, now: Instant, with: Party, bytes: u32) -> Instant {
        let expected = self.sharing().expect(with, self.nanos(now), self.time_of(bytes.into()));
        self.level_after(now, with, expected)
    }

    fn level_after(&self, now: Instant, with: Party, more: u64) -> Instant {
        self.sharing().reckon(self.nanos(now));
        self.level_from(with, more).max(now)
    }

    fn time_of(&self, bytes: u64) -> u64 {
        nanos_of(bytes, self.0.bytes_per_second)
    }

    /// So many of them have come.
    fn note_late(&self, with: Party, bytes: u64) {
        self.sharing().handle_expected(with, self.time_of(bytes));
    }

    fn level_from(&self, with: Party, more: u64) -> Instant {
        let burst = u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX);
        self.0.since + Duration::from_nanos(self.sharing().level_from(with, more, burst))
    }

    /// From when on links of the peer may be read.
    fn reads_from(&self) -> Instant {
        let Account { bytes_per_second, ahead_max, since, all, unbidden, .. } = &*self.0;
        let due = [(all, *ahead_max, BURSTS), (unbidden, UNBIDDEN_BYTES, 1)].map(|(paid, ahead, bursts)| {
            let ahead = Duration::from_nanos(nanos_of(ahead, *bytes_per_second)).saturating_add(BURST * bursts);
            Duration::from_nanos(paid.load(Ordering::Relaxed)).saturating_sub(ahead)
        });
        *since + due[0].max(due[1])
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0.since).as_nanos()).unwrap_or(u64::MAX)
    }
}

fn update(number: &AtomicU64, change: impl Fn(u64) -> u64) {
    // It never fails: there is always another number.
    let _ = number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| Some(change(number)));
}

/// By how much all that came in may be ahead of the rate of a peer that may have so many circuits.
fn ahead_max(circuits: u32) -> u64 {
    UNBIDDEN_BYTES + u64::from(LATE_BYTES_MAX) + u64::from(circuits) * CIRCUIT_BYTES
}

/// How long this rate takes for so many bytes.
fn nanos_of(bytes: u64, bytes_per_second: u64) -> u64 {
    // 2^32 bytes and more still fit: 2^32 × 10^9 < 2^64.
    bytes.saturating_mul(1_000_000_000) / bytes_per_second.max(1)
}

/// What a link has to do with the account of its peer. The default has none, and no bound.
#[derive(Debug, Default)]
pub(crate) struct Metered {
    rate: Option<Rate>,
    /// Bytes of its circuits to come that were granted before there was this bound: they are not paid for.
    free_bytes: u64,
}

impl Metered {
    /// A link of a peer with this account.
    pub(crate) fn new(rate: Option<Rate>) -> Metered {
        Metered { rate, free_bytes: 0 }
    }

    /// The same, apart from so many bytes of circuits that were granted before.
    pub(crate) fn after(mut self, free_bytes: u64) -> Metered {
        self.free_bytes = free_bytes;
        self
    }

    /// Whether there is a bound.
    pub(crate) fn is_bounded(&self) -> bool {
        self.rate.is_some()
    }

    /// Counts input.
    pub(crate) fn receive(&self, now: Instant, bytes: usize) {
        if let Some(rate) = &self.rate {
            rate.receive(now, u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }

    /// So much of it somebody has it send, or comes with that.
    pub(crate) fn note_bidden(&mut self, with: Party, bytes: usize) {
        let Some(rate) = &self.rate else { return };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let free = bytes.min(self.free_bytes);
        self.free_bytes -= free;
        rate.note_bidden(with, bytes - free, free);
    }

    /// So much of it was expected of a circuit that has ended.
    pub(crate) fn note_late(&self, with: Party, bytes: usize) {
        if let Some(rate) = &self.rate {
            rate.note_late(with, u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }

    /// So much of it is not paid for.
    pub(crate) fn note_free(&self, bytes: usize) {
        if let Some(rate) = &self.rate {
            rate.note_bidden(None, 0, u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }

    /// Whether more may be granted that somebody has it send.
    pub(crate) fn allows(&self, now: Instant, with: Party) -> bool {
        self.allows_from(with).is_none_or(|from| from <= now)
    }

    /// From when on. None: at any time.
    pub(crate) fn allows_from(&self, with: Party) -> Option<Instant> {
        self.rate.as_ref().map(|rate| rate.allows_from(with))
    }

    /// From when on the link may be read. None without a bound.
    pub(crate) fn reads_from(&self) -> Option<Instant> {
        self.rate.as_ref().map(Rate::reads_from)
    }

    /// How much may be read at once, bytes, so that the link is not unread for long after.
    pub(crate) fn read_most(&self) -> usize {
        let rate = self.rate.as_ref().map(|rate| usize::try_from(rate.bytes_per_second()).unwrap_or(usize::MAX));
        rate.map_or(usize::MAX, |rate| rate.max(READ_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PeerId;

    const WINDOW: usize = CIRCUIT_WINDOW_START as usize;
    /// How many the peer may have.
    const CIRCUITS: u32 = 100;

    fn metered(now: Instant, bytes_per_second: u64) -> (Rate, Metered) {
        let rate = Rate::new(now, bytes_per_second, CIRCUITS);
        (rate.clone(), Metered::new(Some(rate)))
    }

    fn may_read(link: &Metered, now: Instant) -> bool {
        link.reads_from().is_none_or(|from| from <= now)
    }

    #[test]
    fn over_ten_seconds_a_link_gets_ten_seconds_worth_and_its_burst() {
        let start = Instant::now();
        let (_, link) = metered(start, 1000);
        let mut got = 0;
        for tick in 0..1000 {
            let now = start + Duration::from_millis(10 * tick);
            let mut turns = 0..10_000;
            while link.allows(now, None) {
                assert!(turns.next().is_some(), "it is allowed anything");
                link.receive(now, 100);
                got += 100;
            }
        }
        assert!((10_000..=10_700).contains(&got), "{got}");
    }

    #[test]
    fn what_was_granted_before_is_not_paid_for_and_all_else_is() {
        let now = Instant::now();
        let (_, link) = metered(now, 1000);
        let mut link = link.after(100_000);
        for bytes in [60_000, 40_300] {
            link.receive(now, bytes);
            link.note_bidden(None, bytes);
        }
        assert!(link.allows(now, None));
        link.receive(now, 300);
        assert!(!link.allows(now, None));
    }

    #[test]
    fn who_sends_what_needs_no_credit_is_read_at_the_rate_in_the_long_run_and_circuits_and_links_make_it_no_more() {
        for (circuits, links, step) in [(0, 1, 4096), (300, 1, 4096), (3, 16, 256 * 1024)] {
            let start = Instant::now();
            let rate = Rate::new(start, 10_000, circuits);
            let links: Vec<Metered> = (0..links).map(|_| Metered::new(Some(rate.clone()))).collect();
            let mut read = 0;
            for tick in 0..100_000 {
                let now = start + Duration::from_millis(100 * tick);
                for link in links.iter().filter(|link| may_read(link, now)) {
                    let bytes = step.min(link.read_most());
                    link.receive(now, bytes);
                    read += bytes as u64;
                }
            }
            let ahead = 5_000 + UNBIDDEN_BYTES;
            assert!((100_000_000..=100_020_000 + ahead).contains(&read), "{circuits} circuits: {read}");
        }
    }

    #[test]
    fn what_circuits_may_send_without_a_grant_never_leaves_a_link_unread() {
        let now = Instant::now();
        let (rate, mut link) = metered(now, 1000);
        for _ in 0..CIRCUITS {
            link.receive(now, WINDOW);
            link.note_bidden(None, WINDOW);
        }
        assert!(!link.allows(now, None) && may_read(&link, now));
        // Nor when they are over, on whatever link.
        let other = Metered::new(Some(rate.clone()));
        drop(link);
        assert!(!other.allows(now, None) && may_read(&other, now));
        let paid = Duration::from_secs(u64::from(CIRCUITS * CIRCUIT_WINDOW_START) / 1000);
        assert!(rate.owes_until(now, None, 0) > now + paid - Duration::from_secs(1));
        assert!(other.allows(rate.owes_until(now, None, 0), None));
        assert_eq!(rate.owes_until(now, None, 500), rate.owes_until(now, None, 0) + Duration::from_millis(500));
    }

    #[test]
    fn whatever_is_sent_all_of_it_is_ahead_by_no_more_than_a_multiple_of_the_circuits_that_may_be() {
        let start = Instant::now();
        let (_, mut link) = metered(start, 10_000);
        let mut read = 0;
        for tick in 0..100_000 {
            if may_read(&link, start + Duration::from_millis(100 * tick)) {
                link.receive(start + Duration::from_millis(100 * tick), 4096);
                link.note_bidden(None, 4096);
                read += 4096;
            }
        }
        let ahead = ahead_max(CIRCUITS) + 80_000 + 4096;
        assert!((100_000_000..=100_000_000 + ahead).contains(&read), "{read}");
    }

    #[test]
    fn what_was_paid_for_before_it_was_known_who_had_it_sent_is_not_paid_for_again() {
        let now = Instant::now();
        for (passes, left) in [(0, 10), (4, 6), (10, 0), (20, 0)] {
            let (rate, mut link) = metered(now, 1000);
            link.receive(now, 10_000);
            // Something else comes before that is used.
            let later = now + Duration::from_secs(passes);
            link.receive(later, 0);
            let party = Some(PeerId::from_bytes([7; 32]));
            link.note_bidden(party, 10_000);
            let until = (later + Duration::from_secs(left)).checked_sub(BURST).unwrap_or(later).max(later);
            assert_eq!(rate.owes_until(later, party, 0), until, "{passes}");
        }
    }

    #[test]
    fn as_many_as_may_be_have_a_fast_peer_send_as_much_as_each_may_and_its_links_are_read() {
        for parties in [1, 10, 1000] {
            let now = Instant::now();
            let rate = Rate::new(now, 1 << 30, CIRCUITS);
            let mut link = Metered::new(Some(rate));
            let mut sent = 0;
            for n in 0..parties {
                let mut bytes = [0; 32];
                bytes[..4].copy_from_slice(&u32::to_be_bytes(n));
                let party = Some(PeerId::from_bytes(bytes));
                let mut turns = 0..1 << 20;
                while link.allows(now, party) {
                    assert!(turns.next().is_some(), "it is allowed anything");
                    link.receive(now, WINDOW / 8);
                    link.note_bidden(party, WINDOW / 8);
                    sent += WINDOW / 8;
                }
            }
            assert!(may_read(&link, now), "{parties}");
            // Nor is it that nobody may be ahead.
            let halves =
                [(1, 1), (10, 2), (1000, 7)].iter().find(|(of, _)| *of == parties).map_or(0, |(_, halves)| *halves);
            assert!(sent >= halves << 29, "{parties}: {sent}");
            let half_seconds: f64 = (1..=parties).map(|n| 1.0 / f64::from(n)).sum();
            let most = half_seconds * f64::from(1 << 29) + f64::from(parties) * (WINDOW / 4) as f64;
            assert!(sent as f64 <= most, "{parties}: {sent}");
        }
    }

    #[test]
    fn whoever_comes_again_owes_what_it_owed_and_an_account_without_links_or_debts_is_no_use() {
        let now = Instant::now();
        let (rate, link) = metered(now, 1000);
        assert!(!rate.is_unused(now));
        link.receive(now, 1_000_000);
        drop(link);
        assert!(!rate.is_unused(now));
        let link = Metered::new(Some(rate.clone()));
        assert!(!may_read(&link, now) && may_read(&link, now + Duration::from_secs(1000)));
        drop(link);
        assert!(rate.is_unused(now + Duration::from_secs(1000)));
    }

    #[test]
    fn another_rate_is_owed_as_many_bytes() {
        let now = Instant::now();
        let (rate, link) = metered(now, 1000);
        link.receive(now, 1_000_000);
        for (at, bytes_per_second, seconds) in [(0, 10_000, 100), (900, 10, 10_900), (1000, 1000, 1000)] {
            let at = now + Duration::from_secs(at);
            let link = Metered::new(Some(rate.changed_to(at, bytes_per_second, CIRCUITS)));
            let until = now + Duration::from_secs(seconds) - BURST;
            let from = link.allows_from(None).unwrap();
            assert!(from == until || (from == at && until < at), "{bytes_per_second}: {:?}", from - now);
        }
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let now = Instant::now();
        let mut link = Metered::default();
        link.receive(now, usize::MAX);
        link.note_bidden(None, usize::MAX);
        assert!(link.allows(now, None) && link.reads_from().is_none() && link.allows_from(None).is_none());
    }
}
