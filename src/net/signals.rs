//! Signals as readiness: the handler writes one byte, the loop does the work. And what SIGHUP means, which depends on whether
//! there is a terminal that can hang up.

use mio::{Interest, Registry, Token};
use rustix::fs::{Mode, OFlags, open};
use signal_hook::consts::{SIGINT, SIGQUIT};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Signals and the pipe their handlers write to.
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
    hangup: Hangup,
}

/// What SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hangup {
    /// The terminal has gone, and whoever sat there: the end.
    Ends,
    /// The terminal may go, as whoever started us by `nohup` said.
    Ignored,
    /// There is no terminal, so an administrator sent it.
    Refreshes,
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Came {
    /// Its number.
    pub signal: i32,
    /// It was typed at the terminal, so that everybody in the foreground there has got it.
    pub typed: bool,
    /// What it asks for.
    pub request: Request,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To read again what may have changed, and to dial at once: SIGHUP where there is no terminal.
    Refresh,
    /// To say how it stands: SIGUSR1.
    Status,
    /// To end by this signal.
    End(i32),
}

/// Whether there is a terminal whose keys are for us.
pub(crate) fn is_in_foreground() -> bool {
    let terminal = open("/dev/tty", OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
    terminal.and_then(rustix::termios::tcgetpgrp).is_ok_and(|group| group == rustix::process::getpgrp())
}

impl Signals {
    /// Catches `signals` from now on.
    pub(crate) fn new(signals: &[i32]) -> io::Result<Signals> {
        let hangup = Hangup::of_process();
        let (ours, handlers) = UnixStream::pair()?;
        let caught = signals.iter().filter(|signal| **signal != HUP || hangup != Hangup::Ignored);
        Ok(Signals { delivery: SignalDelivery::with_pipe(ours, handlers, WithOrigin::default(), caught)?, hangup })
    }

    /// Catches one more.
    pub(crate) fn add(&mut self, signal: i32) -> io::Result<()> {
        self.delivery.handle().add_signal(signal)
    }

    /// Lets events with `token` tell of any of them.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        super::register(registry, self.delivery.get_read(), token, Interest::READABLE)
    }

    /// The signals that came since the last call, each once.
    pub(crate) fn take(&mut self) -> Vec<Came> {
        let mut all: Vec<Came> = Vec::new();
        for origin in self.delivery.pending() {
            let came = came(&origin, self.hangup);
            if !all.contains(&came) {
                all.push(came);
            }
        }
        all
    }
}

fn came(origin: &Origin, hangup: Hangup) -> Came {
    let request = match origin.signal {
        HUP if hangup == Hangup::Refreshes => Request::Refresh,
        USR1 => Request::Status,
        signal => Request::End(signal),
    };
    // Only a terminal makes the kernel itself send these two.
    let typed = matches!(origin.signal, SIGINT | SIGQUIT) && origin.cause == Cause::Kernel;
    Came { signal: origin.signal, typed, request }
}

impl Hangup {
    fn of_process() -> Hangup {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Hangup::of(has_terminal(), is_ignored(&status, HUP))
    }

    fn of(terminal: bool, ignored: bool) -> Hangup {
        match (terminal, ignored) {
            (true, false) => Hangup::Ends,
            (true, true) => Hangup::Ignored,
            // Where nothing can hang up, nobody meant that by ignoring it.
            (false, _) => Hangup::Refreshes,
        }
    }
}

/// Whether this process has a controlling terminal.
fn has_terminal() -> bool {
    open("/dev/tty", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).is_ok()
}

/// Whether the process with this `/proc/PID/status` ignores a signal.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// From now on a write beyond the limit on the length of files (`ulimit -f`) fails as one beyond the room on a disk does, instead
/// of ending the process. By a handler, which no command that we run inherits, as it would inherit that the signal is ignored.
pub(crate) fn outlive_file_limit() -> io::Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).map(drop)
}

/// SIGHUP
pub(crate) const HUP: i32 = signal_hook::consts::SIGHUP;
/// SIGINT
pub(crate) const INT: i32 = SIGINT;
/// SIGQUIT
pub(crate) const QUIT: i32 = SIGQUIT;
/// SIGTERM
pub(crate) const TERM: i32 = signal_hook::consts::SIGTERM;
/// SIGXCPU: the limit on processor time is reached, and a harder one may follow.
pub(crate) const XCPU: i32 = signal_hook::consts::SIGXCPU;
/// SIGUSR1
pub(crate) const USR1: i32 = signal_hook::consts::SIGUSR1;
/// SIGUSR2
pub(crate) const USR2: i32 = signal_hook::consts::SIGUSR2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_ends_only_where_a_terminal_can_hang_up_and_nobody_said_otherwise() {
        assert_eq!(Hangup::of(true, false), Hangup::Ends);
        assert_eq!(Hangup::of(true, true), Hangup::Ignored);
        assert_eq!(Hangup::of(false, false), Hangup::Refreshes);
        assert_eq!(Hangup::of(false, true), Hangup::Refreshes);
    }

    #[test]
    fn what_is_ignored_is_read_from_the_mask() {
        let status = "Name:\tvp\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(is_ignored(status, HUP) && !is_ignored(status, INT));
        assert!(!is_ignored("", HUP) && !is_ignored("SigIgn:\tx\n", HUP));
    }
}
