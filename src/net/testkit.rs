//! For tests.

use std::time::{Duration, Instant};

/// Nothing that a test waits for takes so long.
pub(crate) const WHILE: Duration = Duration::from_secs(60);

/// Asks again and again, until there is an answer.
#[track_caller]
pub(crate) fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < WHILE, "what is waited for never comes");
        std::thread::yield_now();
    }
}
