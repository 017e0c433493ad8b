//! Signals as readiness: the handler writes one byte, the loop does the work.

use mio::{Interest, Registry, Token};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;

/// Signals and the pipes their handlers write to.
pub struct Signals {
    pipes: Vec<(i32, UnixStream)>,
}

impl Signals {
    /// Catches `signals` from now on.
    pub fn new(signals: &[i32]) -> io::Result<Signals> {
        let mut pipes = Vec::new();
        for signal in signals {
            let (ours, handlers) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            handlers.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(*signal, handlers)?;
            pipes.push((*signal, ours));
        }
        Ok(Signals { pipes })
    }

    /// Lets events with `token` tell of any of them.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        for (_, pipe) in &self.pipes {
            super::register(registry, pipe, token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// The signals that came since the last call, each once.
    pub fn take(&mut self) -> Vec<i32> {
        let mut came = Vec::new();
        for (signal, pipe) in &mut self.pipes {
            let mut bytes = [0; 64];
            let mut any = false;
            while let Ok(1..) = pipe.read(&mut bytes) {
                any = true;
            }
            if any {
                came.push(*signal);
            }
        }
        came
    }
}

/// SIGHUP
pub const HUP: i32 = signal_hook::consts::SIGHUP;
/// SIGINT
pub const INT: i32 = signal_hook::consts::SIGINT;
/// SIGTERM
pub const TERM: i32 = signal_hook::consts::SIGTERM;
/// SIGUSR1
pub const USR1: i32 = signal_hook::consts::SIGUSR1;
