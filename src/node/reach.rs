//! Whether the process at the other end of a session may be gone, and when to call its peer anew beside the session.
//!
//! Nobody can see from here whether a process lives: what answers no more may be without a path. What is known is since when
//! the session has none, and since when the relay can be reached again: by ourselves, or as somebody's call shows. Who lives
//! comes back soon after both. How soon is for whoever asks to say, by what a mistake would cost.

use std::time::{Duration, Instant};

/// Of one session: whether it has a path, or since when it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    lost_since: Option<Instant>,
}

impl Reach {
    /// It has lost its path now.
    pub(crate) fn lost(now: Instant) -> Reach {
        Reach { lost_since: Some(now) }
    }

    /// Whether it has a path.
    pub(crate) fn has_path(&self) -> bool {
        self.lost_since.is_none()
    }

    /// Since when it has none.
    pub(crate) fn lost_since(&self) -> Option<Instant> {
        self.lost_since
    }

    /// When its process is taken for gone: without a path for so long.
    pub(crate) fn gone_at(&self, patience: Duration) -> Option<Instant> {
        self.lost_since?.checked_add(patience)
    }

    /// The same, so long after both, the loss of its path and a sign that the relay can be reached.
    pub(crate) fn gone_after(&self, sign: Instant, patience: Duration) -> Option<Instant> {
        self.lost_since?.max(sign).checked_add(patience)
    }
}

/// The call that may lead to another process of a peer while a session with it has no path. `K` is the key of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anew<K> {
    patience: Duration,
    /// A call that has failed counts as a loss, so that the next is made after as long.
    reach: Reach,
    call: Option<K>,
}

impl<K: Copy + PartialEq> Anew<K> {
    /// Beside a session that has its path. A call is made so long after both, the loss of it and the return of our relay.
    pub(crate) fn after(patience: Duration) -> Anew<K> {
        Anew { patience, reach: Reach::default(), call: None }
    }

    /// The session has lost its path.
    pub(crate) fn handle_lost(&mut self, now: Instant) {
        self.reach = Reach::lost(now);
    }

    /// The session has a path again, or has ended, or another has taken its place. Yields the call beside it, which is needed
    /// no more.
    pub(crate) fn settle(&mut self) -> Option<K> {
        self.reach = Reach::default();
        self.call.take()
    }

    /// Whether the session has a path.
    pub(crate) fn has_path(&self) -> bool {
        self.reach.has_path()
    }

    /// The call that is under way, if there is one.
    pub(crate) fn call(&self) -> Option<K> {
        self.call
    }

    /// When to call, given since when we have had a relay; None while a call is under way, or without reason.
    pub(crate) fn call_at(&self, relay_since: Option<Instant>) -> Option<Instant> {
        self.reach.gone_after(relay_since?, self.patience).filter(|_| self.call.is_none())
    }

    /// The peer was called. Yields a call that was under way.
    pub(crate) fn handle_called(&mut self, call: K) -> Option<K> {
        self.call.replace(call)
    }

    /// A call has failed. Whether it was this one.
    pub(crate) fn handle_failed(&mut self, now: Instant, call: K) -> bool {
        let is_ours = self.call.take_if(|ours| *ours == call).is_some();
        if is_ours {
            self.reach = Reach::lost(now);
        }
        is_ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(4);

    #[test]
    fn a_process_is_taken_for_gone_so_long_after_the_loss_of_its_path_and_a_sign_of_the_relay() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let (here, lost) = (Reach::default(), Reach::lost(start + second));
        assert_eq!((here.has_path(), here.gone_at(PATIENCE), here.gone_after(start, PATIENCE)), (true, None, None));
        assert_eq!(lost.gone_at(PATIENCE), Some(start + second + PATIENCE));
        assert_eq!(lost.gone_after(start, PATIENCE), lost.gone_at(PATIENCE));
        assert_eq!(lost.gone_after(start + 3 * second, PATIENCE), Some(start + 3 * second + PATIENCE));
        assert_eq!(lost.gone_at(Duration::MAX), None);
    }

    #[test]
    fn a_peer_is_called_beside_a_session_without_a_path_once_and_again_when_that_fails() {
        let now = Instant::now();
        let mut anew = Anew::after(PATIENCE);
        assert_eq!(anew.call_at(Some(now)), None);
        anew.handle_lost(now);
        assert_eq!((anew.call_at(None), anew.call_at(Some(now))), (None, Some(now + PATIENCE)));
        let back = now + 2 * PATIENCE;
        assert_eq!(anew.call_at(Some(back)), Some(back + PATIENCE), "the relay was gone as well");
        assert_eq!(anew.handle_called(1), None);
        assert_eq!((anew.call_at(Some(now)), anew.call()), (None, Some(1)));
        assert!(!anew.handle_failed(back, 2) && anew.handle_failed(back, 1));
        assert_eq!(anew.call_at(Some(now)), Some(back + PATIENCE));
        anew.handle_called(3);
        assert_eq!((anew.settle(), anew.has_path(), anew.call_at(Some(now))), (Some(3), true, None));
    }
}
