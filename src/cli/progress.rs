//! The progress bar: on standard error, only if somebody watches, gone when the work is done.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, FormattedDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::bar::{Pace, View};
use super::counted::counted;
use super::env::Env;
use super::escape::printable;
use super::events;
use super::report::{Format, Report, Verbosity};
use super::screen::Screen;

/// Redraws in a second: smooth to the eye, and too few to cost anything over a slow terminal line.
const REDRAWS_PER_SECOND: u8 = 10;
/// Drawn so often when nothing happens: time passes, and a job comes back to the foreground.
const IDLE_REDRAW: Duration = Duration::from_secs(1);
/// Nothing has moved for so long: it is said to stall. The far side may well be busy for a second or two.
const STALLED_AFTER: Duration = Duration::from_secs(5);
/// Of a name at most so many characters can be shown on any terminal; the last of them.
const NAME_MAX: usize = 200;

/// Whether a bar is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Somebody watches a terminal that can redraw a line.
    Terminal,
    /// Nobody does, or wants to.
    Nobody,
}

impl Audience {
    /// Who reads this process's standard error.
    pub(crate) fn of_process(report: &Report, env: &Env) -> Self {
        Self::of(io::stderr().is_terminal(), report.verbosity(), report.format(), env)
    }

    fn of(is_terminal: bool, verbosity: Verbosity, format: Format, env: &Env) -> Self {
        let can_redraw = env.get("TERM").is_some_and(|name| name != "dumb");
        let wanted = verbosity > Verbosity::Quiet && format == Format::Text;
        if is_terminal && can_redraw && wanted { Self::Terminal } else { Self::Nobody }
    }
}

/// How much there is to do, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Files and directories.
    pub items: Option<u64>,
}

/// How much is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// Bytes.
    pub bytes: u64,
    /// Those of them that did not have to be moved, and so say nothing about speed: an earlier run had done them.
    pub skipped: u64,
}

/// How far a transfer is. Dropping it clears the bar, so that whatever comes next has a clean line.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Never drawn: counts only what had to be moved, and estimates speed and time from that.
    moved: ProgressBar,
    totals: Totals,
    items: u64,
    name: String,
    shown: Arc<Mutex<Shown>>,
}

/// What the bar is drawn from, besides its position.
struct Shown {
    name: String,
    counted: String,
    /// When something moved last.
    moved_at: Instant,
}

impl Shown {
    /// How fast it goes, `done` of `total` being done, and so long from now on as `time` says.
    fn pace(&self, (done, total): (u64, Option<u64>), moved: &ProgressBar, time: Duration) -> Pace {
        if total == Some(done) {
            Pace::Settling
        } else if self.moved_at.elapsed() >= STALLED_AFTER {
            Pace::Stalled
        } else {
            Pace::Moving(bytes_per_second(moved), time)
        }
    }
}

impl Progress {
    /// Begins. Messages of `report` will appear above the bar from now on.
    pub(crate) fn start(report: &Report, audience: Audience, totals: Totals) -> Self {
        let target = match audience {
            Audience::Terminal => {
                ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), REDRAWS_PER_SECOND)
            }
            Audience::Nobody => ProgressDrawTarget::hidden(),
        };
        let progress = Self::drawn(target, Screen::columns, totals);
        if audience == Audience::Terminal {
            progress.bar.enable_steady_tick(IDLE_REDRAW);
        }
        report.share_terminal_with(progress.bar.clone());
        progress
    }

    /// Draws on `target`, in so many columns.
    fn drawn(
        target: ProgressDrawTarget,
        columns: impl Fn() -> u16 + Clone + Send + Sync + 'static,
        totals: Totals,
    ) -> Self {
        let bar = ProgressBar::with_draw_target(totals.bytes, target);
        let moved = ProgressBar::with_draw_target(totals.bytes, ProgressDrawTarget::hidden());
        let shown = Shown { name: String::new(), counted: String::new(), moved_at: Instant::now() };
        let shown = Arc::new(Mutex::new(shown));
        let (line_of, speed_of) = (Arc::clone(&shown), moved.clone());
        let line = move |state: &ProgressState, out: &mut dyn fmt::Write| {
            let shown = lock(&line_of);
            let (done, total) = (state.pos(), state.len());
            let time = if total.is_some() { speed_of.eta() } else { state.elapsed() };
            let pace = shown.pace((done, total), &speed_of, time);
            let view = View { name: &shown.name, counted: &shown.counted, done, total, pace };
            // A drawing that fails has nobody to be told.
            let _ = out.write_str(&view.line(usize::from(columns())));
        };
        // The template is a constant, and a test renders it.
        bar.set_style(ProgressStyle::with_template("{line}").expect("a constant template").with_key("line", line));
        Self { bar, moved, totals, items: 0, name: String::new(), shown }
    }

    /// Learns how much there is: a tree is counted while it is already being sent.
    pub(crate) fn set_totals(&mut self, totals: Totals) {
        self.totals = totals;
        if let Some(bytes) = totals.bytes {
            self.bar.set_length(bytes);
        }
    }

    /// Tells how far it is. Cheap enough to be called for every piece.
    pub(crate) fn set(&mut self, done: Amount, items: u64, name: &str) {
        let renamed = self.name != name;
        if renamed || self.items != items || self.bar.position() != done.bytes {
            let mut shown = lock(&self.shown);
            shown.moved_at = Instant::now();
            if renamed {
                name.clone_into(&mut self.name);
                shown.name = printable(last_of(name));
            }
            self.items = items;
            shown.counted = items_of(items, self.totals.items);
        }
        if let Some(bytes) = self.totals.bytes {
            self.moved.set_length(bytes.saturating_sub(done.skipped));
        }
        self.moved.set_position(done.bytes.saturating_sub(done.skipped));
        self.bar.set_position(done.bytes);
    }

    /// One line on how far it is, for SIGUSR1.
    pub(crate) fn status_line(&self) -> String {
        let (shown, done, total) = (lock(&self.shown), self.bar.position(), self.totals.bytes);
        let pace = shown.pace((done, total), &self.moved, self.moved.eta());
        Status { name: &printable(&self.name), counted: &shown.counted, bytes: done, total, pace }.to_string()
    }

    /// The same as an event, without the name.
    pub(crate) fn status(&self) -> events::Status {
        let left = self.totals.bytes.map(|_| self.moved.eta().as_secs());
        events::Status {
            message: self.status_line(),
            items: Some(self.items),
            items_total: self.totals.items,
            bytes: Some(self.bar.position()),
            bytes_total: self.totals.bytes,
            bytes_per_second: Some(bytes_per_second(&self.moved)),
            seconds_left: left,
            ..events::Status::default()
        }
    }

    /// Ends, and clears the bar.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of a name, as far as it could be shown.
fn last_of(name: &str) -> &str {
    let start = name.char_indices().rev().nth(NAME_MAX - 1);
    start.map_or(name, |(at, _)| &name[at..])
}

fn items_of(items: u64, total: Option<u64>) -> String {
    match (items, total) {
        (0, None) => String::new(),
        (items, None) => format!("{} ", counted(items, "item")),
        (items, Some(total)) => format!("{items}/{total} "),
    }
}

/// A rate is shown in whole bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates, and nothing is computed from it"
)]
fn bytes_per_second(moved: &ProgressBar) -> u64 {
    moved.per_sec() as u64
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("totals", &self.totals).field("items", &self.items).finish_non_exhaustive()
    }
}

struct Status<'a> {
    name: &'a str,
    counted: &'a str,
    bytes: u64,
    total: Option<u64>,
    pace: Pace,
}

impl fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, "{} ", self.name)?;
        }
        write!(f, "{}{}", self.counted, BinaryBytes(self.bytes))?;
        if let Some(total) = self.total {
            write!(f, " of {}", BinaryBytes(total))?;
        }
        match (self.pace, self.total) {
            (Pace::Moving(speed, left), Some(_)) => {
                write!(f, ", {}/s, {} left", BinaryBytes(speed), FormattedDuration(left))
            }
            (Pace::Moving(speed, _), None) => write!(f, ", {}/s", BinaryBytes(speed)),
            (Pace::Stalled, _) => f.write_str(", stalled"),
            (Pace::Settling, _) => f.write_str(", finishing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{InMemoryTerm, TermLike};

    #[test]
    fn a_bar_needs_a_capable_terminal_and_a_wish() {
        let xterm = Env::from_iter([("TERM", "xterm"), ("NO_COLOR", "1")]);
        let show = |terminal, verbosity, format, env: &Env| Audience::of(terminal, verbosity, format, env);
        assert_eq!(show(true, Verbosity::Normal, Format::Text, &xterm), Audience::Terminal);
        assert_eq!(show(true, Verbosity::Verbose, Format::Text, &xterm), Audience::Terminal);
        let dumb = Env::from_iter([("TERM", "dumb")]);
        for nobody in [
            show(false, Verbosity::Normal, Format::Text, &xterm),
            show(true, Verbosity::Quiet, Format::Text, &xterm),
            show(true, Verbosity::Normal, Format::Json, &xterm),
            show(true, Verbosity::Normal, Format::Text, &dumb),
            show(true, Verbosity::Normal, Format::Text, &Env::default()),
        ] {
            assert_eq!(nobody, Audience::Nobody);
        }
    }

    fn on(term: &InMemoryTerm, totals: Totals) -> Progress {
        let width = term.width();
        Progress::drawn(ProgressDrawTarget::term_like(Box::new(term.clone())), move || width, totals)
    }

    #[test]
    fn the_bar_shows_name_amount_and_share_and_then_goes() {
        let term = InMemoryTerm::new(5, 100);
        let mut progress = on(&term, Totals { bytes: Some(4096), items: Some(3) });
        progress.set(Amount { bytes: 1024, skipped: 0 }, 1, "a\u{1b}[2Jb");
        progress.bar.tick();
        let shown = term.contents();
        assert!(shown.starts_with("a\\x1b[2Jb ") && shown.contains("1/3 1.00 KiB/4.00 KiB [=====>"), "{shown}");
        assert!(shown.contains(" 25% ") && shown.contains("/s"), "{shown}");
        assert!(shown.chars().count() <= usize::from(term.width()));
        progress.finish();
        assert_eq!(term.contents(), "");
    }

    #[test]
    fn a_stream_has_no_share_and_an_error_finds_a_clean_line() {
        let term = InMemoryTerm::new(5, 60);
        let mut progress = on(&term, Totals::default());
        progress.set(Amount { bytes: 2048, skipped: 0 }, 0, "stdin");
        progress.bar.tick();
        let shown = term.contents();
        assert!(shown.contains("2.00 KiB") && !shown.contains('%'), "{shown}");
        drop(progress);
        assert_eq!(term.contents(), "");
    }

    /// Sets the amount again and again until the estimate has been made from it.
    fn settle(progress: &mut Progress, done: Amount) {
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_millis(50) {
            progress.set(done, 0, "f");
        }
    }

    #[test]
    fn what_an_earlier_run_has_done_is_shown_and_does_not_count_for_speed() {
        const TIB: u64 = 1 << 40;
        for skipped in [2 * TIB, 0] {
            let term = InMemoryTerm::new(5, 100);
            let mut progress = on(&term, Totals { bytes: Some(4 * TIB), items: None });
            settle(&mut progress, Amount { bytes: 2 * TIB, skipped });
            progress.bar.tick();
            let shown = term.contents();
            assert!(shown.contains("2.00 TiB/4.00 TiB") && shown.contains(" 50% "), "{shown}");
            let line = progress.status_line();
            // Two tebibytes in a twentieth of a second would be left again at once.
            assert_eq!(shown.contains(" 0 B/s"), skipped > 0, "{shown}");
            assert_eq!(line.contains(", 0 B/s"), skipped > 0, "{line}");
        }
    }

    #[test]
    fn what_has_not_moved_for_a_while_is_said_to_stall_until_it_moves_again() {
        let term = InMemoryTerm::new(5, 40);
        let mut progress = on(&term, Totals { bytes: Some(4096), items: None });
        progress.set(Amount { bytes: 1024, skipped: 0 }, 0, "f");
        progress.bar.tick();
        assert!(!term.contents().contains("stalled"), "{}", term.contents());
        let before = Instant::now().checked_sub(STALLED_AFTER).expect("a clock that began before");
        lock(&progress.shown).moved_at = before;
        // The same again is no news.
        progress.set(Amount { bytes: 1024, skipped: 0 }, 0, "f");
        progress.bar.tick();
        assert!(term.contents().ends_with(" 25% stalled"), "{}", term.contents());
        assert_eq!(progress.status_line(), "f 1.00 KiB of 4.00 KiB, stalled");
        progress.set(Amount { bytes: 1025, skipped: 0 }, 0, "f");
        progress.bar.tick();
        assert!(!term.contents().contains("stalled"), "{}", term.contents());
        progress.set(Amount { bytes: 4096, skipped: 0 }, 0, "f");
        progress.bar.tick();
        assert!(term.contents().ends_with("100% finishing"), "{}", term.contents());
    }

    #[test]
    fn the_end_of_a_name_is_shown_however_long_it_is() {
        let term = InMemoryTerm::new(5, 40);
        let mut progress = on(&term, Totals { bytes: Some(4096), items: None });
        progress.set(Amount::default(), 0, &("directory/".repeat(100) + "the-file"));
        progress.bar.tick();
        assert!(term.contents().starts_with('…') && term.contents().contains("the-file "), "{}", term.contents());
        assert!(term.contents().lines().count() == 1);
    }

    #[test]
    fn the_status_line_tells_what_is_known() {
        let mut status = Status {
            name: "a.iso",
            counted: "1/3 ",
            bytes: 1 << 30,
            total: Some(2 << 30),
            pace: Pace::Moving(100 << 20, Duration::from_secs(11)),
        };
        assert_eq!(status.to_string(), "a.iso 1/3 1.00 GiB of 2.00 GiB, 100.00 MiB/s, 00:00:11 left");
        (status.name, status.counted, status.total) = ("", "", None);
        assert_eq!(status.to_string(), "1.00 GiB, 100.00 MiB/s");
    }
}
