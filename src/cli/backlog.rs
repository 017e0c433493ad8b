//! Lines for a standard error that is perhaps not read: they wait here, and whoever has written them does not, or not for long.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that wait, at most: a burst that a reader takes in no time.
const LINES_MAX: usize = 4096;
/// And bytes.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a thread that has written all of them waits for more before it ends: a process that has nothing to say is to have
/// no thread for that, which makes each call of the kernel a little dearer.
const LINGERS: Duration = Duration::from_secs(1);
/// How long the end waits for a reader who takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// And for one who does, in all.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(30);

/// See the module. Each write is a line.
pub(super) struct Backlog {
    lines: Arc<Lines>,
    patience: Duration,
    write: Arc<Writes>,
    start: fn(Job) -> io::Result<()>,
    /// Whether a line can be written at once, without a wait for anybody.
    takes: fn(&[u8]) -> bool,
}

/// What a thread is to do.
type Job = Box<dyn FnOnce() + Send>;

/// Writes a line, told how many were left out since the one before.
type Writes = dyn Fn(&[u8], u64) + Send + Sync;

#[derive(Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// With each, how many were left out since the one before.
    lines: VecDeque<(Vec<u8>, u64)>,
    bytes: usize,
    left_out: u64,
    /// Lines that were taken.
    taken: u64,
    /// Since the last line was taken somebody has waited for that in vain.
    is_stuck: bool,
    /// No more of them come.
    is_over: bool,
    /// Somebody takes them, and has perhaps not written the last that he took.
    is_taken: bool,
}

impl Waiting {
    /// Whether nothing waits, and nobody writes.
    fn has_none(&self) -> bool {
        !self.is_taken && self.lines.is_empty() && self.left_out == 0
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= LINES_MAX || self.bytes >= BYTES_MAX
    }

    /// The next line, and how many were left out before it: of the last ones that is told at the end, with no line.
    fn take(&mut self) -> Option<(Vec<u8>, u64)> {
        let next = self.lines.pop_front();
        let next = next
            .or_else(|| (self.is_over && self.left_out > 0).then(|| (Vec::new(), std::mem::take(&mut self.left_out))));
        let (line, left_out) = next?;
        self.bytes -= line.len();
        self.taken += 1;
        self.is_stuck = false;
        Some((line, left_out))
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as that holds, or until so much time is over.
    fn wait_while<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        time: Duration,
        holds: impl Fn(&Waiting) -> bool,
    ) -> MutexGuard<'a, Waiting> {
        let waited = self.changed.wait_timeout_while(waiting, time, |waiting| holds(waiting));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Takes them one after the other and has each written, until none has come for a while, or the end has.
    fn write_with(&self, write: &Writes) {
        loop {
            let mut waiting =
                self.wait_while(self.lock(), LINGERS, |waiting| waiting.lines.is_empty() && !waiting.is_over);
            let next = waiting.take();
            waiting.is_taken = next.is_some();
            self.changed.notify_all();
            drop(waiting);
            let Some((line, left_out)) = next else { break };
            write(&line, left_out);
        }
    }
}

impl Backlog {
    /// Lines that `write` writes, in a thread of its own; with each it is told how many were left out since the one before, and
    /// at the end with none. Where there is no room, whoever has one more waits so long for a line to be taken, and from then
    /// on not at all until one is. While no such thread can be had they wait: the next line asks for one again.
    pub(super) fn new(patience: Duration, write: impl Fn(&[u8], u64) + Send + Sync + 'static) -> Backlog {
        let start = |job| thread::Builder::new().name("log".to_owned()).spawn(job).map(drop);
        Backlog { lines: Arc::default(), patience, write: Arc::new(write), start, takes: |_| false }
    }

    /// The same, where whoever has a line writes it while the reader takes it at once and none waits: it is there before anything
    /// that he does next.
    pub(super) fn where_taken(mut self, takes: fn(&[u8]) -> bool) -> Backlog {
        self.takes = takes;
        self
    }

    /// Has somebody take them, if nobody does.
    fn have_taken(&self, mut waiting: MutexGuard<'_, Waiting>) {
        if std::mem::replace(&mut waiting.is_taken, true) {
            return;
        }
        drop(waiting);
        let (lines, write) = (Arc::clone(&self.lines), Arc::clone(&self.write));
        if (self.start)(Box::new(move || lines.write_with(&*write))).is_err() {
            // Nobody else writes them: he would wait for the reader.
            self.lines.lock().is_taken = false;
        }
    }
}

impl Write for Backlog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.lines.lock();
        if waiting.has_none() && (self.takes)(line) {
            drop(waiting);
            (self.write)(line, 0);
            return Ok(line.len());
        }
        if waiting.is_full() && !waiting.is_stuck {
            waiting = self.lines.wait_while(waiting, self.patience, Waiting::is_full);
            waiting.is_stuck = waiting.is_full();
        }
        if waiting.is_full() {
            waiting.left_out += 1;
        } else {
            let left_out = std::mem::take(&mut waiting.left_out);
            waiting.bytes += line.len();
            waiting.lines.push_back((line.to_vec(), left_out));
            self.lines.changed.notify_all();
        }
        self.have_taken(waiting);
        Ok(line.len())
    }

    /// The end is near: waits for a reader who still takes lines until he has all of them.
    fn flush(&mut self) -> io::Result<()> {
        let mut waiting = self.lines.lock();
        waiting.is_over = true;
        self.lines.changed.notify_all();
        if waiting.left_out > 0 || !waiting.lines.is_empty() {
            // There may be nobody to tell that.
            self.have_taken(waiting);
            waiting = self.lines.lock();
        }
        let give_up = Instant::now() + PATIENCE_IN_ALL;
        while waiting.is_taken && Instant::now() < give_up {
            let taken = waiting.taken;
            let is_read = |waiting: &Waiting| !waiting.is_taken || waiting.taken > taken;
            waiting = self.lines.wait_while(waiting, PATIENCE, |waiting| !is_read(waiting));
            if !is_read(&waiting) {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        // It does not fail.
        let _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, sync_channel};

    /// A backlog whose lines are written one for each of those that are sent, or all once nobody sends any; and what was.
    fn backlog(patience: Duration, may_go: Receiver<()>) -> (Backlog, Receiver<(String, u64)>) {
        let (show, shown) = sync_channel(4 * LINES_MAX);
        let may_go = Mutex::new(may_go);
        let write = move |line: &[u8], left_out| {
            let _ = may_go.lock().unwrap().recv();
            show.send((String::from_utf8(line.to_vec()).unwrap(), left_out)).unwrap();
        };
        (Backlog::new(patience, write), shown)
    }

    fn say(backlog: &mut Backlog, numbers: std::ops::Range<usize>) {
        numbers.for_each(|n| backlog.write_all(format!("{n}\n").as_bytes()).unwrap());
    }

    #[test]
    fn nobody_waits_for_a_reader_who_is_told_how_much_he_has_missed() {
        let (go, may_go) = sync_channel(0);
        let (mut backlog, shown) = backlog(Duration::ZERO, may_go);
        // One is under way, or about to be.
        let all = LINES_MAX + 10;
        say(&mut backlog, 0..all);
        drop(go);
        drop(backlog);
        let told: Vec<(String, u64)> = shown.iter().collect();
        let (last, lines) = told.split_last().unwrap();
        assert!(lines.iter().enumerate().all(|(at, (line, left_out))| *line == format!("{at}\n") && *left_out == 0));
        assert!(last.0.is_empty() && (9..=10).contains(&last.1), "{last:?}");
        assert_eq!(u64::try_from(lines.len()).unwrap() + last.1, u64::try_from(all).unwrap());
    }

    #[test]
    fn all_that_was_said_before_it_is_flushed_is_read_then_though_others_hold_it() {
        let (go, may_go) = sync_channel(0);
        let (mut backlog, shown) = backlog(Duration::ZERO, may_go);
        say(&mut backlog, 0..10);
        thread::scope(|scope| {
            scope.spawn(|| (0..10).for_each(|_| go.send(()).unwrap()));
            backlog.flush().unwrap();
            assert_eq!(shown.try_iter().count(), 10);
        });
        drop(go);
        say(&mut backlog, 10..11);
        assert_eq!(shown.recv().unwrap(), ("10\n".to_owned(), 0), "whoever is late is heard if there is time");
    }

    #[test]
    fn whoever_has_nothing_to_say_has_no_thread_for_that() {
        let (mut backlog, shown) = backlog(Duration::ZERO, sync_channel(0).1);
        for n in 0..2 {
            say(&mut backlog, n..n + 1);
            assert_eq!(shown.recv().unwrap(), (format!("{n}\n"), 0));
            let waiting = backlog.lines.wait_while(backlog.lines.lock(), 60 * LINGERS, |waiting| waiting.is_taken);
            assert!(!waiting.is_taken);
        }
        drop(backlog);
        assert_eq!(shown.iter().count(), 0);
    }

    #[test]
    fn a_line_that_is_taken_at_once_is_written_at_once_and_none_overtakes_another() {
        let (go, may_go) = sync_channel(10);
        let (backlog, shown) = backlog(Duration::ZERO, may_go);
        let mut backlog = backlog.where_taken(|line| line != b"1\n");
        backlog.start = |_| panic!("nothing waits");
        go.send(()).unwrap();
        say(&mut backlog, 0..1);
        assert_eq!(shown.try_iter().count(), 1);
        backlog.start = |_| Err(io::ErrorKind::WouldBlock.into());
        say(&mut backlog, 1..3);
        assert_eq!(shown.try_iter().count(), 0);
    }

    #[test]
    fn lines_wait_while_no_thread_can_be_had_for_them_and_nobody_else_does() {
        let (mut backlog, shown) = backlog(Duration::ZERO, sync_channel(0).1);
        let start = std::mem::replace(&mut backlog.start, |_| Err(io::ErrorKind::WouldBlock.into()));
        say(&mut backlog, 0..2);
        assert_eq!(shown.try_iter().count(), 0);
        backlog.start = start;
        say(&mut backlog, 2..3);
        backlog.start = |_| Err(io::ErrorKind::WouldBlock.into());
        drop(backlog);
        assert_eq!(shown.try_iter().map(|(line, _)| line).collect::<String>(), "0\n1\n2\n");
    }

    #[test]
    fn the_end_waits_for_a_reader_as_long_as_he_reads() {
        const LINES: usize = 6;
        let (go, may_go) = sync_channel(0);
        let (mut backlog, shown) = backlog(Duration::ZERO, may_go);
        say(&mut backlog, 0..LINES);
        // Each line takes less than the end's patience, all of them more.
        let reader = thread::spawn(move || {
            for _ in 0..LINES {
                thread::sleep(PATIENCE / 4);
                go.send(()).unwrap();
            }
        });
        drop(backlog);
        assert_eq!(shown.try_iter().count(), LINES);
        reader.join().unwrap();
    }

    #[test]
    fn whoever_is_read_slowly_loses_nothing_and_whoever_is_not_read_waits_once() {
        let (go, may_go) = sync_channel(1);
        let (mut backlog, shown) = backlog(Duration::from_secs(3600), may_go);
        let reading = thread::spawn(move || (0..3 * LINES_MAX).for_each(|_| go.send(()).unwrap()));
        say(&mut backlog, 0..3 * LINES_MAX);
        reading.join().unwrap();
        drop(backlog);
        assert_eq!(shown.iter().map(|(_, left_out)| left_out).sum::<u64>(), 0);

        let (go, may_go) = sync_channel(0);
        let patience = Duration::from_millis(200);
        let (mut backlog, shown) = self::backlog(patience, may_go);
        let began = Instant::now();
        say(&mut backlog, 0..2 * LINES_MAX);
        assert!((patience..100 * patience).contains(&began.elapsed()), "{:?}", began.elapsed());
        drop(go);
        drop(backlog);
        let left_out: u64 = shown.iter().map(|(_, left_out)| left_out).sum();
        assert!(left_out >= u64::try_from(LINES_MAX).unwrap() - 1, "{left_out}");
    }
}
