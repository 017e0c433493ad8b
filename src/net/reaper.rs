//! Who has ended: the statuses of our own children, and the orphans that are left to us as process 1.
//!
//! In a container the first process inherits every process whose parent has ended, and has to ask for its status, or its
//! number stays taken. Asking for anybody's may bring a status that somebody here waits for. So all children are started and
//! asked for here, under one lock: what was brought that way is kept for whoever started the child.

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;

/// Children of ours that nobody has the status of yet; with it, where it was brought by the way.
static OURS: Mutex<BTreeMap<u32, Option<ExitStatus>>> = Mutex::new(BTreeMap::new());

fn ours() -> MutexGuard<'static, BTreeMap<u32, Option<ExitStatus>>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child: the process, and a descriptor that becomes readable when it has ended.
pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, OwnedFd)> {
    let mut ours = ours();
    let mut child = command.spawn()?;
    match pidfd_open(Pid::from_child(&child), PidfdFlags::NONBLOCK) {
        Ok(ended) => {
            ours.insert(child.id(), None);
            Ok((child, ended))
        }
        Err(errno) => {
            // Nobody could ever learn of its end. It fails only if it has ended.
            let _ = child.kill();
            let _ = child.wait();
            Err(errno.into())
        }
    }
}

/// The status of a child, if it has ended. To be asked no more once it was told.
pub(super) fn try_wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let mut ours = ours();
    let status = match ours.get(&child.id()) {
        Some(Some(status)) => Some(*status),
        _ => child.try_wait()?,
    };
    if status.is_some() {
        ours.remove(&child.id());
    }
    Ok(status)
}

/// Sends `signal` to a child by `send`, while the number is surely its own.
pub(super) fn signal(child: &Child, signal: Signal, send: fn(Pid, Signal) -> rustix::io::Result<()>) {
    if let Some(None) = ours().get(&child.id()) {
        // It fails only if there is nobody any more who could take it.
        let _ = send(Pid::from_child(child), signal);
    }
}

/// Nobody will ask for the status of this child any more.
pub(super) fn forget(child: &mut Child) {
    ours().remove(&child.id());
    // If it has ended, its number need not stay taken; else, as process 1, we ask when it does.
    let _ = child.try_wait();
}

/// As process 1, asks for the status of whoever ends, from now on; as any other, does nothing.
///
/// # Errors
/// No thread can be started, or no descriptor is left.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut started = Ok(());
    if getpid().is_init() {
        ONCE.call_once(|| started = start());
    }
    started
}

fn start() -> io::Result<()> {
    let (mut ended, handler) = UnixStream::pair()?;
    handler.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, handler)?;
    let run = move || {
        let mut bytes = [0; 64];
        reap();
        while !matches!(ended.read(&mut bytes), Ok(0)) {
            reap();
        }
    };
    thread::Builder::new().name("orphans".into()).spawn(run).map(drop)
}

fn reap() {
    let mut ours = ours();
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        let kept = u32::try_from(pid.as_raw_pid()).ok().and_then(|pid| ours.get_mut(&pid));
        if let Some(kept) = kept {
            *kept = Some(ExitStatus::from_raw(status.as_raw()));
        }
    }
}
