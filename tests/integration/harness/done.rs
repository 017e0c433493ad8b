//! How a program ended, and what a test may demand of that. Every failed demand shows the whole of it.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::data::Random;

/// The kinds of lines that a tool says to people.
const KINDS: [&str; 4] = [": error: ", ": hint: ", ": warning: ", ": info: "];

/// How a program ended.
pub struct Done {
    /// The command line.
    pub line: String,
    /// The status as the kernel gave it.
    pub status: ExitStatus,
    /// The first megabyte of standard output.
    pub stdout: Vec<u8>,
    /// All of standard output, bytes.
    pub bytes: u64,
    /// BLAKE3 of all of standard output.
    pub digest: blake3::Hash,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Done {
    /// The exit status, when it exited by itself.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn expect(self, code: i32) -> Done {
        self.expect_one_of(&[code])
    }

    /// Asserts that the exit status is one of several.
    #[track_caller]
    pub fn expect_one_of(self, codes: &[i32]) -> Done {
        assert!(self.code().is_some_and(|code| codes.contains(&code)), "expected exit {codes:?}\n{self}");
        self
    }

    /// Asserts the end by a signal, as a shell would show it: by the signal itself, or by exit 128 + n.
    #[track_caller]
    pub fn expect_signal(self, signal: Signal) -> Done {
        let n = signal.as_raw();
        let seen = self.status.signal() == Some(n) || self.code() == Some(128 + n);
        assert!(seen, "expected an end by signal {n}\n{self}");
        self
    }

    /// Asserts standard output.
    #[track_caller]
    pub fn expect_output(self, expected: &[u8]) -> Done {
        assert!(self.stdout == expected, "expected output {:?}\n{self}", String::from_utf8_lossy(expected));
        self
    }

    /// Asserts that standard output was so many bytes of [`Random`] with this seed.
    #[track_caller]
    pub fn expect_random(self, seed: u64, bytes: u64) -> Done {
        let same = self.bytes == bytes && self.digest == Random::digest(seed, bytes);
        assert!(same, "expected {bytes} bytes of seed {seed}\n{self}");
        self
    }

    /// Asserts that nothing was said.
    #[track_caller]
    pub fn expect_silence(self) -> Done {
        assert!(self.stderr.is_empty(), "expected silence on standard error\n{self}");
        self
    }

    /// Asserts exactly one `TOOL: error: …` line, that it holds `words`, and that only other lines for people stand beside it.
    #[track_caller]
    pub fn expect_error(self, words: &str) -> Done {
        let lines: Vec<_> = self.stderr.lines().filter(|line| line.contains(": error: ")).collect();
        assert!(lines.len() == 1, "expected one error line\n{self}");
        assert!(lines[0].to_lowercase().contains(&words.to_lowercase()), "expected {words:?}\n{self}");
        // The ready line comes on standard error in these tests, for want of another descriptor.
        let known = |line: &&str| line.starts_with("attached ") || KINDS.iter().any(|kind| line.contains(kind));
        assert!(self.stderr.lines().all(|line| known(&line)), "expected only lines for people\n{self}");
        self
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  command: {}", self.line)?;
        writeln!(f, "  status:  {} after {:?}", self.status, self.took)?;
        writeln!(f, "  stdout:  {} bytes {:?}", self.bytes, head(&String::from_utf8_lossy(&self.stdout)))?;
        writeln!(f, "  stderr:  {}", self.stderr)
    }
}

/// Enough of an output to recognise it.
pub fn head(text: &str) -> String {
    text.chars().take(300).collect()
}
