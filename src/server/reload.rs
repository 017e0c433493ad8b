//! Reading the allow file and the certificate again while the relay serves. Each stays as it was if the new one cannot be used,
//! whatever becomes of the other: who is gone from the list is not to stay for the sake of a certificate.

use super::Trouble;
use super::life::Stage;
use super::log::LogLine;
use super::mail::Package;
use super::shared::Shared;
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// Reads them again, in a thread of its own: disks may be slow, links must not wait for them. What is asked for
/// while that thread reads it does when it has finished.
pub(super) fn begin(shared: &Arc<Shared>) {
    let path = shared.allow.path();
    if path.is_none() && !shared.certificate.is_of_files() {
        return;
    }
    if !shared.allow.request() {
        return;
    }
    let (path, there) = (path.map(Path::to_owned), Arc::clone(shared));
    let body = move || {
        loop {
            if there.certificate.is_of_files()
                && let Err(error) = there.certificate.read_again()
            {
                there.log.line(LogLine::Trouble(Trouble::Certificate(error)));
            }
            if let Some(path) = &path {
                read_again(path, &there);
            }
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
