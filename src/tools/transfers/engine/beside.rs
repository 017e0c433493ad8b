//! A file that is there already, read beside a stream that may be the same.
//!
//! Whoever keeps what is there needs no copy of the stream to find out: the first byte that differs decides.

use crate::transfer::Fault;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The file, up to where the stream has been the same.
#[derive(Debug)]
pub(crate) struct Beside {
    file: File,
    offset: u64,
    buffer: Vec<u8>,
}

impl Beside {
    /// From its first byte on.
    pub(super) fn new(file: File) -> Self {
        Self { file, offset: 0, buffer: Vec::new() }
    }

    /// Compares the next bytes.
    ///
    /// # Errors
    /// [`Fault::Exists`] if the file has others there, or none; else what reading it says.
    pub(super) fn compare(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.buffer.resize(bytes.len(), 0);
        match self.file.read_exact_at(&mut self.buffer, self.offset) {
            Ok(()) if self.buffer == bytes => {}
            Ok(()) => return Err(Fault::Exists),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(Fault::Exists),
            Err(error) => return Err(error.into()),
        }
        self.offset += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`Fault::Exists`] if the file goes on.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        let length = self.file.metadata()?.len();
        if length == self.offset { Ok(()) } else { Err(Fault::Exists) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_the_whole_file_is_the_same() {
        let compared = |pieces: &[&[u8]]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"abcdef").unwrap();
            let mut beside = Beside::new(file);
            pieces.iter().try_for_each(|piece| beside.compare(piece)).and_then(|()| beside.finish())
        };
        assert_eq!(compared(&[b"abc", b"", b"def"]), Ok(()));
        for other in [&[&b"abc"[..]][..], &[b"abcdefg"], &[b"abd", b"ef"], &[]] {
            assert_eq!(compared(other), Err(Fault::Exists), "{other:?}");
        }
    }
}
