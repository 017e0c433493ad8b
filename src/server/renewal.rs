//! Who has asked that the certificate is read again, and who waits for that.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    asked: Mutex<Asked>,
    came: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    Nothing,
    ToRead,
    ToEnd,
}

/// Why whoever waited goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The time is over.
    Time,
    /// It is to be read again.
    Asked,
    /// The relay ends.
    End,
}

impl Renewal {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is to be read again.
    pub(super) fn request(&self) {
        let mut asked = self.asked();
        if *asked == Asked::Nothing {
            *asked = Asked::ToRead;
        }
        self.came.notify_all();
    }

    /// Nobody connects any more.
    pub(super) fn end(&self) {
        *self.asked() = Asked::ToEnd;
        self.came.notify_all();
    }

    /// Waits until something is asked for, for so long at most.
    pub(super) fn wait(&self, most: Duration) -> Why {
        let is_idle = |asked: &mut Asked| *asked == Asked::Nothing;
        let waited = self.came.wait_timeout_while(self.asked(), most, is_idle);
        let mut asked = waited.unwrap_or_else(PoisonError::into_inner).0;
        match *asked {
            Asked::Nothing => Why::Time,
            Asked::ToEnd => Why::End,
            Asked::ToRead => {
                *asked = Asked::Nothing;
                Why::Asked
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_done_once_and_the_end_is_for_ever() {
        let renewal = Renewal::default();
        assert_eq!(renewal.wait(Duration::ZERO), Why::Time);
        renewal.request();
        renewal.request();
        assert_eq!(renewal.wait(Duration::MAX), Why::Asked);
        assert_eq!(renewal.wait(Duration::ZERO), Why::Time);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| renewal.wait(Duration::MAX));
            renewal.end();
            assert_eq!(waiting.join().expect("no panic"), Why::End);
        });
        renewal.request();
        assert_eq!(renewal.wait(Duration::MAX), Why::End);
    }
}
