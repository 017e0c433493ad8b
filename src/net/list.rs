//! Lists that people keep in files, read whole: who is called what, who may attach. One may come out of a pipe, such as the
//! `<(command)` of a shell gives; for what gives nothing nobody waits without end.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::retry_on_intr;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

/// So long nothing may come out of what is no regular file. A shell starts the command behind a pipe at the same time as us.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// A file that somebody has changed within this time may be written just now, and half of it is there.
const WRITTEN_WITHIN: Duration = Duration::from_millis(100);
/// And one that is empty: whoever writes one anew empties it first, and may be held up before he goes on.
const EMPTY_WITHIN: Duration = Duration::from_secs(2);
/// So often one is read that is changed again and again.
const READS_MAX: usize = 40;
/// One read.
const CHUNK_BYTES: usize = 16 * 1024;

/// All of a file of at most so many bytes.
///
/// # Errors
/// `FileTooLarge`: it is beyond that. `TimedOut`: it is no regular file, and nothing came out of it for [`PATIENCE`]. What the
/// system says.
pub(crate) fn read_list(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_within(path, most, PATIENCE)
}

/// The same of a list that people may change meanwhile: once nobody has changed it for a moment. For a thread that may wait.
///
/// # Errors
/// As [`read_list`].
pub(crate) fn read_settled(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = read_list(path, most);
    for _ in 1..READS_MAX {
        let Some(time) = settles_in(path) else { break };
        thread::sleep(time);
        bytes = read_list(path, most);
    }
    bytes
}

/// In what time to read a file again that has just been read, because it is perhaps being written. None: it is not.
pub(crate) fn settles_in(path: &Path) -> Option<Duration> {
    let about = path.metadata().ok().filter(Metadata::is_file)?;
    let within = if about.len() == 0 { EMPTY_WITHIN } else { WRITTEN_WITHIN };
    // The clock of another machine, on whose disk it is, may be ahead.
    let age = SystemTime::now().duration_since(about.modified().ok()?).unwrap_or_else(|ahead| ahead.duration());
    within.checked_sub(age).filter(|time| !time.is_zero())
}

fn read_within(path: &Path, most: u64, patience: Duration) -> io::Result<Vec<u8>> {
    // To open a pipe that nobody writes to, or a serial line, would wait already.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let is_regular = file.metadata()?.is_file();
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
    loop {
        // A pipe that has no writer yet looks like one at its end to a read, but not to poll(2).
        let mut comes = [PollFd::new(&file, PollFlags::IN)];
        if !is_regular && retry_on_intr(|| poll(&mut comes, Some(&patience)))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match file.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        if u64::try_from(bytes.len()).is_ok_and(|length| length > most) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::io::Write;
    use std::thread;

    fn fifo() -> (tempfile::TempDir, std::path::PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("list");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        (home, path)
    }

    fn kind(path: &Path, most: u64) -> io::ErrorKind {
        read_within(path, most, Duration::from_millis(50)).unwrap_err().kind()
    }

    #[test]
    fn a_pipe_is_read_to_its_end_however_late_and_slowly_it_is_written() {
        let (_home, path) = fifo();
        let to = path.clone();
        let writing = thread::spawn(move || {
            let mut pipe = OpenOptions::new().write(true).open(to).unwrap();
            for _ in 0..3 {
                thread::yield_now();
                pipe.write_all(&[7; 40_000]).unwrap();
            }
        });
        assert_eq!(read_list(&path, 120_000).unwrap(), vec![7; 120_000]);
        writing.join().unwrap();
    }

    #[test]
    fn a_pipe_that_gives_nothing_is_not_waited_for_without_end() {
        let (_home, path) = fifo();
        assert_eq!(kind(&path, 9), io::ErrorKind::TimedOut, "nobody writes to it");
        let silent = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert_eq!(kind(&path, 9), io::ErrorKind::TimedOut, "somebody might");
        drop(silent);
    }

    #[test]
    fn a_file_that_was_changed_just_now_is_read_again_and_an_empty_one_later() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("list");
        let put = |text: &str, age: Duration| {
            std::fs::write(&path, text).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        for (text, within) in [("a", WRITTEN_WITHIN), ("", EMPTY_WITHIN)] {
            put(text, within);
            assert_eq!(settles_in(&path), None);
            put(text, Duration::ZERO);
            assert!(settles_in(&path).is_none_or(|time| time <= within), "{text}");
            assert_eq!(read_settled(&path, 9).unwrap(), text.as_bytes());
            assert_eq!(settles_in(&path), None, "it has been waited for");
        }
        put("", Duration::ZERO);
        let to = path.clone();
        let writing = thread::spawn(move || std::fs::write(to, "a").unwrap());
        assert_eq!(read_settled(&path, 9).unwrap(), b"a");
        writing.join().unwrap();
    }

    #[test]
    fn what_is_too_long_or_empty_is_told_apart_whatever_it_is() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("list");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_list(&path, 10).unwrap(), b"0123456789");
        assert_eq!(kind(&path, 9), io::ErrorKind::FileTooLarge);
        assert_eq!(kind(Path::new("/dev/zero"), 100_000), io::ErrorKind::FileTooLarge);
        assert_eq!(read_list(Path::new("/dev/null"), 9).unwrap(), b"");
        assert_eq!(kind(home.path(), 9), io::ErrorKind::IsADirectory);
    }
}
