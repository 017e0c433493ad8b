//! A terminal whose other end the test holds: what is typed there, and what would be seen.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags, fcntl_getfl, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::eventually;

/// Moves to the start of the line and clears it.
pub const CLEARED: &str = "\r\u{1b}[2K";

/// A terminal of 80 columns, as the kernel makes it: lines are edited and echoed, and a line end is shown as two bytes.
pub struct Terminal {
    path: PathBuf,
    keyboard: File,
    /// Held so that a program's end does not end the terminal.
    line: OwnedFd,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// One that somebody looks at.
    pub fn new() -> Terminal {
        let terminal = Terminal::unseen();
        terminal.look();
        terminal
    }

    /// One whose output nobody takes until [`Terminal::look`].
    pub fn unseen() -> Terminal {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("a terminal");
        let name = ptsname(&keyboard, Vec::new()).expect("its name").into_string().expect("text");
        let line = open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("its other end");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&line, size).expect("a size");
        Terminal { path: name.into(), keyboard: keyboard.into(), line, screen: Arc::default() }
    }

    /// Takes what comes from now on.
    pub fn look(&self) {
        let mut output = self.keyboard.try_clone().expect("a descriptor");
        let screen = Arc::clone(&self.screen);
        // It ends with the terminal, whose last user is this value.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = output.read(&mut buffer) {
                screen.lock().expect("no reader panics").extend_from_slice(&buffer[..bytes]);
            }
        });
    }

    /// The program's end of it, to be passed on.
    pub fn line(&self) -> OwnedFd {
        self.line.try_clone().expect("a descriptor")
    }

    /// Whether the program's end still blocks, as every other program on it relies on.
    pub fn is_blocking(&self) -> bool {
        !fcntl_getfl(&self.line).expect("a terminal").contains(OFlags::NONBLOCK)
    }

    /// The words that run a program with this as its standard error.
    pub fn as_standard_error(&self) -> [String; 4] {
        self.opened_as("2>")
    }

    /// The words that run a program with this opened by a shell's redirection, such as `2>`.
    pub fn opened_as(&self, redirection: &str) -> [String; 4] {
        ["sh".into(), "-c".into(), format!("exec \"$@\" {redirection}{}", self.path.display()), "sh".into()]
    }

    /// The window is closed: whoever has it as a controlling terminal is told, and it can be used no more. Nobody may
    /// [`look`](Terminal::look) at it.
    pub fn close(self) {
        drop(self.keyboard);
    }

    /// Types.
    pub fn types(&self, text: &str) {
        (&self.keyboard).write_all(text.as_bytes()).expect("a terminal");
    }

    /// All that has come.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no reader panics")).into_owned()
    }

    /// Waits until this has come.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        eventually(&format!("{text:?} on the terminal"), || self.seen().contains(text));
    }
}
