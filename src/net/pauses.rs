//! Whether this process was stopped for a while: by Ctrl-Z, by a debugger, or with the whole machine. Then nobody answered
//! for it, and what broke meanwhile is nobody else's fault.

use std::time::{Duration, Instant, SystemTime};

/// A busy machine may keep a process waiting for so long; more is a pause.
const LATE: Duration = Duration::from_secs(2);

/// When the loop looked last, and how long it may wait before it looks again, `None` for as long as it takes. The clock of a
/// machine that sleeps stands still with it, that of the calendar does not.
#[derive(Debug)]
pub(crate) struct Pauses {
    looked: Instant,
    calendar: SystemTime,
    wait: Option<Duration>,
}

impl Pauses {
    /// It begins to look.
    pub(crate) fn new(now: Instant, calendar: SystemTime) -> Pauses {
        Pauses { looked: now, calendar, wait: Some(Duration::ZERO) }
    }

    /// The loop is about to wait, for so long at most.
    pub(crate) fn expect(&mut self, wait: Option<Duration>) {
        self.wait = wait;
    }

    /// The loop looks again: before it takes any time to be up, for it can be stopped anywhere, not only while it waits.
    /// Whether it was away for much longer than it meant to wait.
    pub(crate) fn notice(&mut self, now: Instant, calendar: SystemTime) -> bool {
        let away = now.saturating_duration_since(self.looked);
        // A calendar that was put back says nothing.
        let away = away.max(calendar.duration_since(self.calendar).unwrap_or_default());
        (self.looked, self.calendar) = (now, calendar);
        let wait = self.wait.replace(Duration::ZERO);
        wait.is_some_and(|wait| away > wait + LATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_pause_is_what_takes_much_longer_than_the_wait_by_either_clock() {
        let (mut now, mut calendar) = (Instant::now(), SystemTime::now());
        let mut pauses = Pauses::new(now, calendar);
        let mut after = |monotonic: Duration, wall: Duration, wait| {
            now += monotonic;
            calendar += wall;
            pauses.expect(wait);
            pauses.notice(now, calendar)
        };
        assert!(!after(10 * SECOND, 10 * SECOND, Some(10 * SECOND)));
        assert!(!after(SECOND, SECOND, Some(Duration::ZERO)));
        assert!(after(5 * SECOND, 5 * SECOND, Some(2 * SECOND)));
        assert!(after(Duration::ZERO, 3600 * SECOND, Some(2 * SECOND)), "the machine slept");
        assert!(!after(SECOND, Duration::ZERO, Some(SECOND)));
        assert!(!after(3600 * SECOND, 3600 * SECOND, None), "it was to wait for as long as it takes");
    }

    #[test]
    fn who_is_stopped_while_at_work_has_paused_too() {
        let (now, calendar) = (Instant::now(), SystemTime::now());
        let mut pauses = Pauses::new(now, calendar);
        pauses.expect(None);
        assert!(!pauses.notice(now + 3600 * SECOND, calendar + 3600 * SECOND), "it waited");
        assert!(pauses.notice(now + 3604 * SECOND, calendar + 3604 * SECOND), "it did not wait in between");
    }
}
