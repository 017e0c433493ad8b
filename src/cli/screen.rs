//! The terminal that standard error is, for what is drawn there again and again.
//!
//! Only the foreground draws: a job in the background would draw over what its user types, and where the terminal is set to
//! stop who writes from there (`stty tostop`) it would stop. It is looked at before each drawing, so that a job draws again once
//! it is brought to the foreground.

use indicatif::TermLike;
use rustix::io::Errno;
use rustix::termios::{tcgetpgrp, tcgetwinsize};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

/// What a terminal that does not tell its size has.
const COLUMNS: u16 = 80;
/// As [`COLUMNS`].
const ROWS: u16 = 24;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Screen {
    drawing: Mutex<String>,
}

impl Screen {
    /// Columns of a line, now.
    pub(super) fn columns() -> u16 {
        size().1
    }

    fn draw(&self, what: std::fmt::Arguments<'_>) -> io::Result<()> {
        let mut drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        drawing.write_fmt(what).map_err(io::Error::other)
    }
}

/// Rows and columns.
fn size() -> (u16, u16) {
    let size = tcgetwinsize(io::stderr()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((ROWS, COLUMNS), |size| (size.ws_row, size.ws_col))
}

/// Whether what this process writes to standard error comes from the foreground.
fn is_in_foreground() -> bool {
    match tcgetpgrp(io::stderr()) {
        // Not our terminal: no job of it either.
        Err(Errno::NOTTY) => true,
        Err(Errno::IO) => false,
        _ => {
            // The numbers of groups as this process sees them: one outside of its container has none, which only here may be
            // said.
            let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
            groups(&stat).is_none_or(|(ours, foreground)| ours == foreground)
        }
    }
}

/// The process group of `/proc/PID/stat`, and the one that is in the foreground of its terminal.
fn groups(stat: &str) -> Option<(i32, i32)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let ours = fields.nth(2)?.parse().ok()?;
    let foreground = fields.nth(2)?.parse().ok()?;
    Some((ours, foreground))
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        Screen::columns()
    }

    fn height(&self) -> u16 {
        size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.draw(format_args!("\x1b[{n}A")) }
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.draw(format_args!("\x1b[{n}B")) }
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.draw(format_args!("\x1b[{n}C")) }
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.draw(format_args!("\x1b[{n}D")) }
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.draw(format_args!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.draw(format_args!("{text}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw(format_args!("\r\x1b[2K"))
    }

    /// Draws what has been collected, in one piece, or forgets it.
    fn flush(&self) -> io::Result<()> {
        let drawing = std::mem::take(&mut *self.drawing.lock().unwrap_or_else(PoisonError::into_inner));
        if drawing.is_empty() || !is_in_foreground() {
            return Ok(());
        }
        io::stderr().write_all(drawing.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_behind_a_name_of_any_kind() {
        let stat = "4242 (a) b (c) S 1 4240 4200 34816 4250 4194304 99";
        assert_eq!(groups(stat), Some((4240, 4250)));
        assert_eq!(groups(""), None);
        assert_eq!(groups("1 (vp) S 0"), None);
    }
}
