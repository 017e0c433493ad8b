//! Sockets that were passed (`sd_listen_fds(3)`), as the environment announces them: which numbers, and to whom.

use super::env::Env;
use super::exit::Exit;
use super::report::{Fault, chain};
use crate::net::passed::{FIRST, Passed, PassedError, close_all, close_listeners, take_passed};

/// More than any machine lets a process have open unless it is told to.
const COUNT_MAX: u16 = 4096;

/// What was passed to this process, in its order. To be called once, first of all: later their numbers may mean other files.
///
/// # Errors
/// It is nothing that can be listened on.
pub(super) fn take() -> Result<Vec<Passed>, Fault> {
    take_passed().map_err(|error| {
        let why = match error {
            PassedError::Taken => "a descriptor that was passed was taken before".to_owned(),
            PassedError::Deaf => "a socket that was passed does not listen".to_owned(),
            PassedError::System(error) => chain(&error),
        };
        Fault::new(Exit::Config, format!("LISTEN_FDS: {why}"))
    })
}

/// What was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// So many, from the first behind the standard descriptors on.
    count: u16,
    /// To this process, and not to one that started it.
    is_ours: bool,
}

impl Announced {
    /// In this environment.
    pub(super) fn of(env: &Env) -> Announced {
        let value = |name| env.get(name).and_then(|value| value.to_str()?.parse::<u32>().ok());
        let count = value("LISTEN_FDS").unwrap_or(0);
        let is_ours = value("LISTEN_PID") == Some(std::process::id());
        Announced { count: u16::try_from(count).unwrap_or(u16::MAX).min(COUNT_MAX), is_ours }
    }

    /// Whether this number is that of a socket that is to be served by this process.
    pub(super) fn is_for_us(self, number: u16) -> bool {
        self.is_ours && (FIRST..FIRST + self.count).contains(&number)
    }

    /// Closes what this process does not serve, or its commands would have it too: they could take connections in the name of
    /// whoever does. A wrapper to which sockets were passed hands them on without knowing it, and may have other files under
    /// these numbers by then.
    pub(super) fn close_unserved(self, serves: bool) {
        match self.is_ours {
            true if serves => {}
            true => close_all(self.count),
            false => close_listeners(self.count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_to_this_process_is_known_by_its_number() {
        let pid = std::process::id().to_string();
        let announced =
            |pid: &str, count: &str| Announced::of(&Env::from_iter([("LISTEN_PID", pid), ("LISTEN_FDS", count)]));
        let ours = announced(&pid, "2");
        assert_eq!([2, 3, 4, 5].map(|number| ours.is_for_us(number)), [false, true, true, false]);
        assert!(!announced("1", "2").is_for_us(3), "what is for others is no concern of ours");
        assert!(!Announced::of(&Env::default()).is_for_us(3));
        for odd in ["-1", "x", "", "0"] {
            assert!(!announced(&pid, odd).is_for_us(3), "{odd}");
        }
        assert!(announced(&pid, "4294967295").is_for_us(3) && announced(&pid, "99999999999").count == 0);
    }
}
