//! What a file system that is slow to find errors says at the end.

use crate::net::reactor::Waker;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// Files that are synced one after the other, each in a thread of its own.
pub(super) struct Settling {
    waker: Arc<Waker>,
    news: Option<Receiver<io::Result<()>>>,
}

impl Settling {
    /// Of none yet. The waker tells when there is a result.
    pub(super) fn new(waker: &Arc<Waker>) -> Settling {
        Settling { waker: Arc::clone(waker), news: None }
    }

    /// Syncs a file.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn begin(&mut self, file: OwnedFd) -> io::Result<()> {
        let (teller, news) = channel();
        let waker = Arc::clone(&self.waker);
        std::thread::Builder::new().name("settle".to_owned()).spawn(move || {
            // Failing means that nobody waits for it any more.
            let _ = teller.send(rustix::fs::fsync(file).map_err(io::Error::from));
            let _ = waker.wake();
        })?;
        self.news = Some(news);
        Ok(())
    }

    /// Whether a file is being synced.
    pub(super) fn is_under_way(&self) -> bool {
        self.news.is_some()
    }

    /// What was wrong with it, once that is known. Only once.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        match self.news.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Ok(Err(error)) => {
                self.news = None;
                return Some(error);
            }
            Ok(Ok(())) | Err(TryRecvError::Disconnected) => self.news = None,
        }
        None
    }
}
