//! Carries what an engine wants people to know to the loop.

use super::news::SoFar;
use super::shared::{Shared, State};
use crate::store::attributes::Unkept;
use crate::store::links::LeftLinks;
use crate::store::omit::{KEYS_TOLD_MAX, LeftOut};
use crate::tools::transfers::engine::Item;
use crate::tools::transfers::engine::{ItemEnd, Progress, Snapshot};
use crate::transfer::Fault;
use crate::transfer::outcome::{Failure, Side, Unlike};
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

/// Failures named one by one; the end tells how many there were.
const FAILURES_TOLD_MAX: usize = 1_000;
/// Items that wait to be told, each with its end or as left out; an engine that has more waits for the loop.
const ITEMS_WAITING_MAX: usize = 1_024;
/// Between two reports of progress: as often as a bar is drawn.
const REPORT_PAUSE: Duration = Duration::from_millis(100);

/// Carries an engine's news to the loop.
pub(crate) struct Teller {
    shared: Arc<Shared>,
    next_report: Instant,
    told: usize,
    keys_told: usize,
    /// What has been told of all that it is about.
    told_once: HashSet<(Fault, Side, Vec<u8>)>,
    /// Where files are made.
    made: Side,
    tells_items: bool,
}

impl Teller {
    pub(super) fn new(shared: Arc<Shared>) -> Teller {
        Teller {
            shared,
            next_report: Instant::now(),
            told: 0,
            keys_told: 0,
            told_once: HashSet::new(),
            made: Side::There,
            tells_items: false,
        }
    }

    /// The engine is the receiver's.
    pub(crate) fn serve_receiver(&mut self) {
        self.made = Side::Here;
    }

    /// Whether the end of each item is to be told.
    pub(crate) fn tell_items(&mut self, wanted: bool) {
        self.tells_items = wanted;
    }

    /// Waits while as much waits to be told as may.
    fn room(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.lock();
        while state.news.items.len() + state.news.left_out.len() >= ITEMS_WAITING_MAX && !state.closed {
            if state.loop_sleeps {
                self.shared.wake_loop(state);
                state = self.shared.lock();
            }
            state = self.shared.wait(state, None);
        }
        state
    }

    /// Tells of an end, and counts it at the same time.
    fn tell_end(&mut self, item: ItemEnd<'_>, count: impl FnOnce(&mut SoFar)) {
        // The end of a closed one is short: what is complete by now, at most a batch.
        let mut state = if self.tells_items { self.room() } else { self.shared.lock() };
        count(&mut state.so_far);
        if self.tells_items {
            state.news.items.push(Item::from(item));
            self.shared.wake_loop(state);
        }
    }
}

impl Progress for Teller {
    fn report(&mut self, at: Snapshot<'_>) {
        self.shared.moved.store(at.bytes_done.saturating_sub(at.bytes_skipped), Ordering::Relaxed);
        let now = Instant::now();
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT_PAUSE;
        let mut state = self.shared.lock();
        let progress = state.news.progress.get_or_insert_default();
        progress.bytes = at.bytes_done;
        progress.bytes_skipped = at.bytes_skipped;
        progress.bytes_total = at.bytes_total;
        progress.items = at.items_done;
        progress.items_total = at.items_total;
        progress.current.clear();
        progress.current.extend_from_slice(at.current);
        self.shared.wake_loop(state);
    }

    fn unkept(&mut self, place: &Path, what: Unkept) {
        let mut state = self.shared.lock();
        state.news.unkept = Some((place.to_owned(), what));
        self.shared.wake_loop(state);
    }

    fn left_out(&mut self, left_out: &LeftOut) {
        let is_told = self.tells_items || (left_out.is_key() && self.keys_told < KEYS_TOLD_MAX);
        if is_told {
            self.keys_told += usize::from(left_out.is_key());
            let mut state = self.room();
            state.news.left_out.push(left_out.clone());
            self.shared.wake_loop(state);
        }
    }

    fn remark(&mut self, unlike: &Unlike) {
        let mut state = self.shared.lock();
        state.news.unlike = Some(unlike.clone());
        self.shared.wake_loop(state);
    }

    fn settled(&mut self, item: ItemEnd<'_>) {
        let outcome = item.outcome;
        self.tell_end(item, |so_far| so_far.count(outcome));
    }

    fn skipped(&mut self, item: ItemEnd<'_>) {
        self.tell_end(item, |so_far| so_far.left_out += 1);
    }

    fn links_left_out(&mut self, links: &LeftLinks) {
        if links.count > 0 {
            let mut state = self.shared.lock();
            state.news.left_links = Some(links.clone());
            self.shared.wake_loop(state);
        }
    }

    fn warn(&mut self, failure: &Failure) {
        if let Some(reach) = reach(failure, self.made)
            && (self.told_once.len() >= FAILURES_TOLD_MAX
                || !self.told_once.insert((failure.fault, failure.side, reach.to_vec())))
        {
            return;
        }
        self.told += 1;
        if self.told <= FAILURES_TOLD_MAX {
            let mut state = self.shared.lock();
            state.news.failures.push(failure.clone());
            self.shared.wake_loop(state);
        }
    }
}

/// The directory of which all has this fault once one item has it, if that is so; the empty path is the whole transfer. Told of
/// each item, it would bury the rest; the end tells how many there are.
fn reach(failure: &Failure, made: Side) -> Option<&[u8]> {
    match (failure.fault, failure.side) {
        _ if failure.late => None,
        (Fault::TreeNotTaken | Fault::TooMany | Fault::ReadOnly | Fault::NoSpace | Fault::NoDescriptors, _) => {
            Some(b"")
        }
        // A directory that is not there, or that lets nobody make a file.
        (Fault::Parent | Fault::Denied | Fault::NotFound, side) if side == made => {
            Some(failure.path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |end| &failure.path[..end]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::reactor::Reactor;

    fn told(made: Side, failures: &[(Fault, Side, &str)]) -> Vec<String> {
        let reactor = Reactor::new(1).unwrap();
        let shared = Arc::new(Shared::new(Arc::clone(reactor.waker())));
        let mut teller = Teller { made, ..Teller::new(Arc::clone(&shared)) };
        for (fault, side, path) in failures {
            teller.warn(&Failure {
                path: path.as_bytes().to_vec(),
                fault: *fault,
                side: *side,
                late: false,
                dangling: None,
            });
        }
        let failures = std::mem::take(&mut shared.lock().news.failures);
        failures.into_iter().map(|failure| String::from_utf8(failure.path).unwrap()).collect()
    }

    #[test]
    fn what_ails_all_of_a_transfer_or_of_a_directory_is_told_once() {
        use Fault::{Denied, Exists, NoSpace, Parent, ReadOnly};
        use Side::{Here, There};
        let all = [
            (NoSpace, There, "t/a"),
            (NoSpace, There, "t/b"),
            (ReadOnly, There, "t/a"),
            (NoSpace, Here, "t/c"),
            (Denied, There, "t/d/1"),
            (Denied, There, "t/d/2"),
            (Denied, There, "t/e/1"),
            (Parent, There, "t/e/1"),
            (Parent, There, "t/e/2"),
        ];
        assert_eq!(told(There, &all), ["t/a", "t/a", "t/c", "t/d/1", "t/e/1", "t/e/1"]);
        // Of files that cannot be read, and of what differs, each is told.
        let each = [(Denied, Here, "t/1"), (Denied, Here, "t/2"), (Exists, There, "t/3"), (Exists, There, "t/4")];
        assert_eq!(told(There, &each), ["t/1", "t/2", "t/3", "t/4"]);
        assert_eq!(told(Here, &each), ["t/1", "t/3", "t/4"]);
    }

    #[test]
    fn no_more_is_kept_or_told_than_the_bound() {
        let paths: Vec<String> = (0..2 * FAILURES_TOLD_MAX).map(|number| format!("{number}/f")).collect();
        let failures = paths.iter().map(|path| (Fault::Denied, Side::There, &path[..]));
        assert_eq!(told(Side::There, &failures.collect::<Vec<_>>()).len(), FAILURES_TOLD_MAX);
    }
}
