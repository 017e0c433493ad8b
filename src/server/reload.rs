//! Reading the allow file and the certificate again while the relay serves. Each is read by itself, in a thread of its own, and
//! stays as it was if the new one cannot be used: who is gone from the list is not to stay for the sake of a certificate that is wrong,
//! or on a disk that does not answer.

use super::Trouble;
use super::certificate::Stamps;
use super::life::Stage;
use super::log::LogLine;
use super::mail::Package;
use super::renewal::Why;
use super::shared::Shared;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// So often somebody looks whether the certificate's files have changed. They are read when they have not changed again since.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// So often it is told of a certificate that its time is over, or nearly so.
const TELL_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads them again, away from the links: disks may be slow, and links must not wait for them. What is asked for
/// while a thread reads it does when it has finished.
pub(super) fn begin(shared: &Arc<Shared>) {
    if shared.certificate.is_of_files() {
        shared.certificate.renewal.request();
    }
    let Some(path) = shared.allow.path().map(Path::to_owned) else { return };
    if !shared.allow.request() {
        return;
    }
    let there = Arc::clone(shared);
    let body = move || {
        loop {
            read_again(&path, &there);
            if !there.allow.finish() {
                return;
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("reload".into()).spawn(body) {
        shared.allow.give_up();
        shared.log.line(LogLine::Trouble(Trouble::Thread(error)));
    }
}

/// Makes the thread that reads a certificate of files again, when that is asked for or they have changed, until the relay ends.
///
/// # Errors
/// There is none to be had.
pub(super) fn watch(shared: &Arc<Shared>) -> io::Result<()> {
    if !shared.certificate.is_of_files() {
        return Ok(());
    }
    let shared = Arc::clone(shared);
    // Nobody waits for it at the end: the disk may not answer.
    thread::Builder::new().name("certificate".into()).spawn(move || watch_certificate(&shared)).map(drop)
}

fn watch_certificate(shared: &Shared) {
    let (log, certificate) = (shared.log.writer(), &shared.certificate);
    let mut told = Instant::now();
    let mut seen: Option<Stamps> = None;
    loop {
        let is_wanted = match certificate.renewal.wait(LOOK_EVERY) {
            Why::End => return,
            Why::Asked => true,
            Why::Time => {
                let changed = certificate.changed();
                let is_settled = changed.is_some() && changed == seen;
                seen = changed;
                is_settled
            }
        };
        if is_wanted {
            (told, seen) = (Instant::now(), None);
            if let Err(error) = certificate.read_again(log) {
                log(LogLine::Trouble(Trouble::Certificate(error)));
            }
        } else if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            certificate.tell_of_time(log);
        }
    }
}

fn read_again(path: &Path, shared: &Shared) {
    let mut package = match shared.allow.read_again(shared.log.writer()) {
        Ok(policy) => Package::Policy(Box::new(policy)),
        Err(error) => return shared.log.line(LogLine::Trouble(Trouble::Reload(path.to_owned(), error))),
    };
    while let Err(back) = shared.inboxes[0].put(package) {
        if shared.life.stage() != Stage::Serving {
            // Nobody attaches any more, and nobody may look into that inbox again.
            return;
        }
        package = back;
        thread::yield_now();
    }
    // It fails if the relay has ended.
    let _ = shared.inboxes[0].wake();
}
