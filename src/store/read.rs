//! Reads one file of which nothing may change while it is read.

use super::beneath::Nearby;
use super::extent::{Extent, extent_of, hash_range};
use super::found::{Found, open};
use super::stamp::Stamp;
use crate::transfer::fault::Fault;
use crate::transfer::hash::ContentHash;
use rustix::fd::OwnedFd;
use rustix::fs::{Advice, fadvise, fstat};
use rustix::io::{Errno, pread};
use std::cell::Cell;

/// Read-ahead is asked for from this size on; below, one read takes the whole file.
const READ_AHEAD_FROM_BYTES: u64 = 1 << 20;

/// No file that is made up when it is read announces more than a page, which is 64 KiB at most.
const MADE_UP_BYTES_MAX: u64 = 64 << 10;

/// How much of such a file is read at once: whole files, nearly always.
const UNMEASURED_PIECE_BYTES: usize = 64 << 10;

/// An open source file, pinned to the version the walk had seen.
#[derive(Debug)]
pub(crate) struct SourceFile {
    file: OwnedFd,
    /// When it was opened.
    stamp: Stamp,
    unmeasured: bool,
    /// Reading has found the end where the size says.
    end_seen: Cell<bool>,
}

/// Looks whether a file holds what its size says, where that is cheap to tell and often wrong: files in `/proc` and some that a
/// program serves announce nothing, those in `/sys` a page, and all of them hold something else.
pub(crate) fn measure_by_reading(found: &mut Found) {
    let Stamp { size, blockless, .. } = found.stamp;
    if size > MADE_UP_BYTES_MAX || (size > 0 && !blockless) {
        return;
    }
    // What cannot be read now will not be later either, and the reason is told then.
    let Ok(file) = open(found, &mut Nearby::default()) else { return };
    let mut byte = [0];
    let count = pread(&file, &mut byte, size.saturating_sub(1));
    found.unmeasured = matches!((size, count), (0, Ok(1..)) | (1.., Ok(0)));
}

impl SourceFile {
    /// Opens the file, which may be one of several that are opened one after the other.
    ///
    /// # Errors
    /// [`Fault::Changed`] if it is not what the walk had seen, or what the system says.
    pub(crate) fn open(found: &Found, nearby: &mut Nearby) -> Result<Self, Fault> {
        let file = open(found, nearby)?;
        let stamp = Stamp::of(&fstat(&file)?);
        if !stamp.same_version(&found.stamp) {
            return Err(Fault::Changed);
        }
        let source = Self { file, stamp, unmeasured: found.unmeasured, end_seen: Cell::new(false) };
        if source.stamp.size >= READ_AHEAD_FROM_BYTES {
            // Only advice: a file system that cannot take it is read all the same.
            let _ = fadvise(&source.file, 0, None, Advice::Sequential);
        }
        Ok(source)
    }

    /// Length in bytes; `None` if only its end will tell.
    #[must_use]
    pub(crate) fn size(&self) -> Option<u64> {
        (!self.unmeasured).then_some(self.stamp.size)
    }

    /// Makes sure, when everything is read, that what was read is one version of the file: nobody has written it since it
    /// was opened, not even somebody who put its time of modification back, and there is nothing behind its end. `hash` is of
    /// what was read.
    ///
    /// # Errors
    /// [`Fault::Changed`] if somebody has, or what the system says.
    pub(crate) fn check_unchanged(&self, hash: &[u8; 32]) -> Result<(), Fault> {
        if let (Some(size), false) = (self.size(), self.end_seen.get()) {
            self.check_end(size)?;
        }
        let now = Stamp::of(&fstat(&self.file)?);
        if !now.same_version(&self.stamp) {
            return Err(Fault::Changed);
        }
        if now.changed == self.stamp.changed {
            return Ok(());
        }
        // It got another name or other permissions, as a log that is rotated. Or it was written, and looks as if not.
        let mut again = ContentHash::default();
        self.hash_all(&mut again)?;
        let settled = Stamp::of(&fstat(&self.file)?);
        if is_untouched(&now, &settled) && again.hash() == *hash { Ok(()) } else { Err(Fault::Changed) }
    }

    /// Which stretch of data or hole begins at `offset`, which lies below the size.
    #[must_use]
    pub(crate) fn extent(&self, offset: u64) -> Extent {
        let size = self.size().unwrap_or(u64::MAX);
        if self.unmeasured || !self.stamp.sparse {
            return Extent::Data { until: size };
        }
        extent_of(&self.file, offset, size)
    }

    /// Feeds the bytes from `offset` to `until` to a hash state.
    ///
    /// # Errors
    /// As for [`Self::read_into`].
    pub(crate) fn hash(&self, hasher: &mut ContentHash, offset: u64, until: u64) -> Result<(), Fault> {
        hash_range(&self.file, hasher, offset, until)
    }

    /// Feeds all of it to a hash state.
    ///
    /// # Errors
    /// As for [`Self::read_into`].
    pub(crate) fn hash_all(&self, hasher: &mut ContentHash) -> Result<(), Fault> {
        if let Some(size) = self.size() {
            return self.hash(hasher, 0, size);
        }
        let (mut offset, mut buffer) = (0, vec![0; UNMEASURED_PIECE_BYTES]);
        loop {
            let count = self.read_into(&mut buffer, offset, UNMEASURED_PIECE_BYTES)?;
            if count == 0 {
                return Ok(());
            }
            hasher.update(&buffer[..count]);
            offset += u64::try_from(count).map_err(|_| Fault::Io)?;
        }
    }

    /// A size that `stat` tells is not all that is to be said: what grows may not have told it yet.
    fn check_end(&self, size: u64) -> Result<(), Fault> {
        loop {
            match pread(&self.file, &mut [0; 1], size) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(Fault::Changed),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reads up to `max` bytes from `offset` into the front of `room`. One system call; returns how many bytes came: 0 only
    /// at the end of a file of no known size. A read up to the end asks for a byte behind it, if there is room for that: so
    /// it need not be asked for later.
    ///
    /// # Errors
    /// [`Fault::Changed`] at an end of file before its time, and at none at its time, or what the system says.
    pub(crate) fn read_into(&self, room: &mut [u8], offset: u64, max: usize) -> Result<usize, Fault> {
        let is_last =
            self.size().is_some_and(|size| u64::try_from(max).is_ok_and(|max| offset.checked_add(max) == Some(size)));
        let asked = max.saturating_add(usize::from(is_last)).min(room.len());
        let count = loop {
            match pread(&self.file, &mut room[..asked], offset) {
                Err(Errno::INTR) => {}
                done => break done?,
            }
        };
        if (count == 0 && !self.unmeasured) || (is_last && count > max) {
            return Err(Fault::Changed);
        }
        self.end_seen.set(is_last && count == max && asked > max);
        Ok(count)
    }
}

/// Nobody did anything to the file in between. Its blocks do not count: a file system may allocate them when it likes.
fn is_untouched(before: &Stamp, after: &Stamp) -> bool {
    after.same_version(before) && after.changed == before.changed
}

#[cfg(test)]
mod tests {
    use super::super::source::Walk;
    use super::*;
    use crate::transfer::item::Mtime;
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    fn found(path: &std::path::Path) -> Found {
        Walk::new(vec![path.to_path_buf()]).flatten().next().unwrap()
    }

    fn open_alone(found: &Found) -> Result<SourceFile, Fault> {
        SourceFile::open(found, &mut Nearby::default())
    }

    #[test]
    fn a_read_stays_within_the_room_and_the_bytes_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        fs::write(&path, b"0123456789").unwrap();
        let source = open_alone(&found(&path)).unwrap();
        let mut room = [b'-'; 8];
        assert_eq!(source.read_into(&mut room[..4], 0, 10), Ok(4));
        assert_eq!(source.read_into(&mut room[4..], 4, 2), Ok(2));
        assert_eq!(&room, b"012345--");
        assert_eq!(source.read_into(&mut room, 10, 2), Err(Fault::Changed));
    }

    #[test]
    fn a_change_is_noticed_before_and_after() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        fs::write(&path, b"one").unwrap();
        let seen = found(&path);
        let source = open_alone(&seen).unwrap();
        let hash = blake3::hash(b"one").into();
        assert_eq!(source.check_unchanged(&hash), Ok(()));
        fs::write(&path, b"four").unwrap();
        assert_eq!(source.check_unchanged(&hash), Err(Fault::Changed));
        assert_eq!(open_alone(&seen).unwrap_err(), Fault::Changed);
    }

    #[test]
    fn what_grows_is_noticed_before_its_end_is_read_and_afterwards() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        for room in [2, 3, 4, 5, 100] {
            fs::write(&path, b"one").unwrap();
            let source = open_alone(&found(&path)).unwrap();
            let read = |offset: u64, max: usize| {
                let mut buffer = vec![0; room];
                source.read_into(&mut buffer, offset, max).map(|count| buffer[..count].to_vec())
            };
            let whole = if room == 2 { b"on".to_vec() } else { b"one".to_vec() };
            assert_eq!(read(0, 3), Ok(whole), "{room}");
            assert_eq!(source.end_seen.get(), ![2, 3].contains(&room), "{room}");
            let hash = blake3::hash(b"one").into();
            assert_eq!(source.check_unchanged(&hash), Ok(()));
            fs::write(&path, b"four").unwrap();
            assert_eq!(source.check_unchanged(&hash), Err(Fault::Changed));
            assert_eq!(read(1, 1), Ok(b"o".to_vec()), "what is not the end says nothing of it");
            assert!(!source.end_seen.get());
            // Without room for a byte more there is none.
            assert_eq!(read(0, 3).is_err(), ![2, 3].contains(&room), "{room}");
        }
    }

    #[test]
    fn a_file_that_is_made_up_when_it_is_read_has_no_size_before() {
        let mut made_up = found(std::path::Path::new("/proc/version"));
        // Whoever believes what it says finds out at the end.
        let believed = open_alone(&made_up).unwrap();
        assert_eq!(believed.size(), Some(0));
        assert_eq!(believed.check_unchanged(blake3::hash(b"").as_bytes()), Err(Fault::Changed));
        measure_by_reading(&mut made_up);
        let source = open_alone(&made_up).unwrap();
        assert_eq!(source.size(), None);
        assert_eq!(source.extent(0), Extent::Data { until: u64::MAX });
        let mut hasher = ContentHash::default();
        source.hash_all(&mut hasher).unwrap();
        let content = fs::read("/proc/version").unwrap();
        assert_eq!(hasher.hash(), *blake3::hash(&content).as_bytes());
        let end = u64::try_from(content.len()).unwrap();
        assert_eq!(source.read_into(&mut [0; 10], end, 10), Ok(0));
    }

    #[test]
    fn a_file_that_holds_what_it_says_has_its_size() {
        let home = tempfile::tempdir().unwrap();
        let lengths = [0, 1, 4_096, 5_000, 1 << 20];
        for (hole, length) in [true, false].into_iter().flat_map(|hole| lengths.map(|length| (hole, length))) {
            let path = home.path().join(length.to_string());
            let file = File::create(&path).unwrap();
            file.set_len(length).unwrap();
            if !hole && length > 0 {
                file.write_all_at(b"x", 0).unwrap();
            }
            let mut seen = found(&path);
            measure_by_reading(&mut seen);
            assert_eq!(open_alone(&seen).unwrap().size(), Some(length));
        }
    }

    #[test]
    fn putting_the_time_back_hides_a_change_only_from_before_the_file_is_opened() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        fs::write(&path, b"one").unwrap();
        let seen = found(&path);
        let meddle = |text: &[u8]| {
            let file = File::options().write(true).open(&path).unwrap();
            let before = Stamp::of(&fstat(&file).unwrap()).changed;
            // The clock of a file system ticks a hundred times a second or so.
            let mut writes = 0..1 << 20;
            while Stamp::of(&fstat(&file).unwrap()).changed == before {
                assert!(writes.next().is_some(), "the clock stands still");
                file.write_all_at(text, 0).unwrap();
                rustix::fs::futimens(&file, &super::super::attributes::times(seen.stamp.mtime)).unwrap();
            }
        };
        meddle(b"two");
        // Whatever it was before: what is read from here on is of one piece.
        let source = open_alone(&seen).unwrap();
        let hash = blake3::hash(b"two").into();
        assert_eq!(source.check_unchanged(&hash), Ok(()));
        meddle(b"six");
        assert_eq!(source.check_unchanged(&hash), Err(Fault::Changed));
        assert!(open_alone(&seen).is_ok());
    }

    #[test]
    fn another_name_and_other_permissions_are_no_change() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        fs::write(&path, b"one").unwrap();
        let source = open_alone(&found(&path)).unwrap();
        let before = source.stamp.changed;
        let mut changes = 0..1 << 20;
        while Stamp::of(&fstat(&source.file).unwrap()).changed == before {
            assert!(changes.next().is_some(), "the clock stands still");
            fs::rename(&path, home.path().join("log.1")).unwrap();
            fs::rename(home.path().join("log.1"), &path).unwrap();
            rustix::fs::fchmod(&source.file, rustix::fs::Mode::RUSR).unwrap();
        }
        assert_eq!(source.check_unchanged(blake3::hash(b"one").as_bytes()), Ok(()));
        assert_eq!(source.check_unchanged(blake3::hash(b"torn").as_bytes()), Err(Fault::Changed));
    }

    #[test]
    fn blocks_that_are_allocated_late_are_no_change() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("f"), b"one").unwrap();
        let late = found(&home.path().join("f")).stamp;
        let early = Stamp { sparse: !late.sparse, ..late };
        assert!(is_untouched(&early, &late) && is_untouched(&late, &early));
        let seconds = late.mtime.seconds + 1;
        for other in [
            Stamp { size: 4, ..late },
            Stamp { mtime: Mtime { seconds, ..late.mtime }, ..late },
            Stamp { changed: Mtime { seconds, ..late.changed }, ..late },
            Stamp { identity: (late.identity.0, 0), ..late },
        ] {
            assert!(!is_untouched(&late, &other), "{other:?}");
        }
    }

    #[test]
    fn holes_are_found_from_any_offset() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        let file = File::create(&path).unwrap();
        file.set_len(4 << 20).unwrap();
        file.write_all_at(&[1; 65_536], 1 << 20).unwrap();
        let source = open_alone(&found(&path)).unwrap();
        assert_eq!(source.extent(0), Extent::Hole { until: 1 << 20 });
        assert_eq!(source.extent(1 << 20), Extent::Data { until: (1 << 20) + 65_536 });
        assert_eq!(source.extent(2 << 20), Extent::Hole { until: 4 << 20 });
    }
}
