//! The progress bar: on standard error, only if somebody watches, gone when the work is done.

use std::fmt;
use std::io::{self, IsTerminal};

use indicatif::{
    BinaryBytes, FormattedDuration, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};

use super::env::Env;
use super::escape::printable;
use super::report::{Format, Report, Verbosity};

/// Redraws in a second: smooth to the eye, and too few to cost anything over a slow terminal line.
const REDRAWS_PER_SECOND: u8 = 10;

/// With a known total. No colours, so `NO_COLOR` has nothing to take away; the name gives way on narrow terminals.
const KNOWN: &str =
    "{wide_msg} {prefix}{binary_bytes}/{binary_total_bytes} [{bar:20}] {percent:>3}% {speed} {time_left} left";
/// Of a stream, whose end nobody knows.
const UNKNOWN: &str = "{wide_msg} {prefix}{binary_bytes} {speed} {elapsed}";

/// Whether a bar is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Somebody watches a terminal that can redraw a line.
    Terminal,
    /// Nobody does, or wants to.
    Nobody,
}

impl Audience {
    /// Who reads this process's standard error.
    pub fn of_process(report: &Report, env: &Env) -> Self {
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
pub struct Totals {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Files and directories.
    pub items: Option<u64>,
}

/// How much is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes.
    pub bytes: u64,
    /// Those of them that did not have to be moved, and so say nothing about speed: an earlier run had done them.
    pub skipped: u64,
}

/// How far a transfer is. Dropping it clears the bar, so that whatever comes next has a clean line.
pub struct Progress {
    bar: ProgressBar,
    /// Never drawn: counts only what had to be moved, and estimates speed and time from that.
    moved: ProgressBar,
    totals: Totals,
    items: u64,
    name: String,
}

impl Progress {
    /// Begins. Messages of `report` will appear above the bar from now on.
    pub fn start(report: &Report, audience: Audience, totals: Totals) -> Self {
        let target = match audience {
            Audience::Terminal => ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND),
            Audience::Nobody => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(totals.bytes, target);
        let moved = ProgressBar::with_draw_target(totals.bytes, ProgressDrawTarget::hidden());
        let template = if totals.bytes.is_some() { KNOWN } else { UNKNOWN };
        // Both templates are constants, and a test renders them.
        let style = ProgressStyle::with_template(template).expect("a constant template").progress_chars("=> ");
        let (speed, left) = (moved.clone(), moved.clone());
        // A drawing that fails has nobody to be told.
        let style = style
            .with_key("speed", move |_: &ProgressState, out: &mut dyn fmt::Write| {
                let _ = write!(out, "{}/s", BinaryBytes(bytes_per_second(&speed)));
            })
            .with_key("time_left", move |_: &ProgressState, out: &mut dyn fmt::Write| {
                let _ = write!(out, "{:#}", HumanDuration(left.eta()));
            });
        bar.set_style(style);
        report.share_terminal_with(bar.clone());
        Self { bar, moved, totals, items: 0, name: String::new() }
    }

    /// Learns how much there is: a tree is counted while it is already being sent.
    pub fn set_totals(&mut self, totals: Totals) {
        self.totals = totals;
        if let Some(bytes) = totals.bytes {
            self.bar.set_length(bytes);
        }
    }

    /// Tells how far it is. Cheap enough to be called for every piece.
    pub fn set(&mut self, done: Amount, items: u64, name: &str) {
        if self.name != name {
            name.clone_into(&mut self.name);
            self.bar.set_message(printable(name));
        }
        if self.items != items {
            self.items = items;
            self.bar.set_prefix(self.counted());
        }
        if let Some(bytes) = self.totals.bytes {
            self.moved.set_length(bytes.saturating_sub(done.skipped));
        }
        self.moved.set_position(done.bytes.saturating_sub(done.skipped));
        self.bar.set_position(done.bytes);
    }

    /// One line on how far it is, for SIGUSR1.
    pub fn status_line(&self) -> String {
        let eta = self.totals.bytes.map(|_| self.moved.eta());
        Status {
            name: &printable(&self.name),
            counted: &self.counted(),
            bytes: self.bar.position(),
            total: self.totals.bytes,
            bytes_per_second: bytes_per_second(&self.moved),
            eta,
        }
        .to_string()
    }

    /// Ends, and clears the bar.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn counted(&self) -> String {
        match (self.items, self.totals.items) {
            (0, None) => String::new(),
            (items, None) => format!("{items} items "),
            (items, Some(total)) => format!("{items}/{total} "),
        }
    }
}

/// A rate is shown in whole bytes; `as` saturates here, and nothing is computed from it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
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
    bytes_per_second: u64,
    eta: Option<std::time::Duration>,
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
        write!(f, ", {}/s", BinaryBytes(self.bytes_per_second))?;
        match self.eta {
            Some(eta) => write!(f, ", {} left", FormattedDuration(eta)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{InMemoryTerm, TermLike};
    use std::time::Duration;

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
        let report = Report::to("vp-test", Verbosity::Normal, Format::Text, Box::new(io::sink()));
        let progress = Progress::start(&report, Audience::Nobody, totals);
        progress.bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(term.clone())));
        progress
    }

    #[test]
    fn the_bar_shows_name_amount_and_share_and_then_goes() {
        let term = InMemoryTerm::new(5, 100);
        let mut progress = on(&term, Totals { bytes: Some(4096), items: Some(3) });
        progress.set(Amount { bytes: 1024, skipped: 0 }, 1, "a\u{1b}[2Jb");
        progress.bar.tick();
        let shown = term.contents();
        assert!(shown.starts_with("a\\x1b[2Jb ") && shown.contains("1/3 1.00 KiB/4.00 KiB [=====>"), "{shown}");
        assert!(shown.contains(" 25% ") && shown.ends_with("left"), "{shown}");
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
            assert_eq!(shown.contains(" 0 B/s "), skipped > 0, "{shown}");
            assert_eq!(line.contains(", 0 B/s"), skipped > 0, "{line}");
        }
    }

    #[test]
    fn the_status_line_tells_what_is_known() {
        let mut status = Status {
            name: "a.iso",
            counted: "1/3 ",
            bytes: 1 << 30,
            total: Some(2 << 30),
            bytes_per_second: 100 << 20,
            eta: Some(Duration::from_secs(11)),
        };
        assert_eq!(status.to_string(), "a.iso 1/3 1.00 GiB of 2.00 GiB, 100.00 MiB/s, 00:00:11 left");
        (status.name, status.counted, status.total, status.eta) = ("", "", None, None);
        assert_eq!(status.to_string(), "1.00 GiB, 100.00 MiB/s");
    }
}
