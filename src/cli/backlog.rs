//! Lines for a standard error that is perhaps not read: they wait here, and whoever has written them does not.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that wait, at most: a burst that a reader takes in no time.
const LINES_MAX: usize = 4096;
/// How long the end waits for a reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module. Each write is a line.
pub(super) struct Backlog {
    /// None once it is about to end.
    lines: Option<SyncSender<Vec<u8>>>,
    left_out: Arc<AtomicU64>,
    /// Nothing ever comes: it ends with the thread that writes.
    written: Receiver<()>,
}

impl Backlog {
    /// Lines that `write` writes, in a thread of its own; with each it is told how many were left out
    /// since the one before, and at the end with none.
    ///
    /// # Errors
    /// There can be no such thread.
    pub(super) fn new(write: impl Fn(&[u8], u64) + Send + 'static) -> io::Result<Backlog> {
        let ((lines, waiting), (end, written)) = (sync_channel::<Vec<u8>>(LINES_MAX), sync_channel(0));
        let left_out = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&left_out);
        let run = move || {
            let _end: SyncSender<()> = end;
            for line in waiting {
                write(&line, count.swap(0, Ordering::Relaxed));
            }
            match count.swap(0, Ordering::Relaxed) {
                0 => {}
                left_out => write(&[], left_out),
            }
        };
        thread::Builder::new().name("log".to_owned()).spawn(run)?;
        Ok(Backlog { lines: Some(lines), left_out, written })
    }
}

impl Write for Backlog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.as_ref().is_none_or(|lines| lines.try_send(line.to_vec()).is_err()) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.lines = None;
        let _ = self.written.recv_timeout(PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_reader_who_is_told_how_much_he_has_missed() {
        let ((go, may_go), (show, shown)) = (sync_channel::<()>(0), sync_channel(2 * LINES_MAX));
        let mut backlog = Backlog::new(move |line, left_out| {
            let _ = may_go.recv();
            show.send((String::from_utf8(line.to_vec()).unwrap(), left_out)).unwrap();
        });
        let lines = backlog.as_mut().unwrap();
        // One is under way, or about to be.
        let all = LINES_MAX + 10;
        (0..all).for_each(|n| lines.write_all(format!("{n}\n").as_bytes()).unwrap());
        drop(go);
        drop(backlog);
        let told: Vec<(String, u64)> = shown.iter().collect();
        let left_out: u64 = told.iter().map(|(_, left_out)| left_out).sum();
        assert!(told.iter().enumerate().all(|(at, (line, _))| *line == format!("{at}\n")));
        assert!((9..=10).contains(&left_out) && told.len() as u64 + left_out == all as u64, "{left_out}");
    }
}
