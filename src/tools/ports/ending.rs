//! How the tool ends, and when.

use super::Error;
use crate::run::farewell::Farewell;
use std::time::Instant;

/// Nothing at first; then the end that is to be, while the sessions are ended; then the end that is.
#[derive(Default)]
pub(super) struct Ending {
    /// How it will end, and when at the latest.
    coming: Option<(Result<(), Error>, Instant)>,
    outcome: Option<Result<(), Error>>,
}

impl Ending {
    /// It will end so, as soon as the sessions have ended, and soon in any case.
    pub(super) fn begin(&mut self, now: Instant, outcome: Result<(), Error>) {
        self.coming = Some((outcome, Farewell::OfMany.until(now)));
    }

    /// Whether it is about to end.
    pub(super) fn has_begun(&self) -> bool {
        self.coming.is_some()
    }

    /// It ends so at once, unless it has ended before.
    pub(super) fn finish(&mut self, outcome: Result<(), Error>) {
        self.outcome.get_or_insert(outcome);
    }

    /// Time has passed, and the sessions have ended or not.
    pub(super) fn handle_time(&mut self, now: Instant, is_settled: bool) {
        if let Some((outcome, _)) = self.coming.take_if(|(_, until)| is_settled || now >= *until) {
            self.finish(outcome);
        }
    }

    /// When it ends at the latest, if it is about to.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.coming.as_ref().map(|(_, until)| *until)
    }

    /// How it has ended. Only once.
    pub(super) fn take(&mut self) -> Option<Result<(), Error>> {
        self.outcome.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_its_sessions_have_or_after_a_few_seconds() {
        let now = Instant::now();
        let latest = Farewell::OfMany.until(now);
        for (settled, at) in [(true, now), (false, latest)] {
            let mut ending = Ending::default();
            ending.begin(now, Ok(()));
            ending.handle_time(now, false);
            assert!(ending.take().is_none() && ending.has_begun());
            assert_eq!(ending.deadline(), Some(latest));
            ending.handle_time(at, settled);
            assert!(matches!(ending.take(), Some(Ok(()))) && ending.take().is_none());
        }
    }
}
