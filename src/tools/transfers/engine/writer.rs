//! A writer as the place where a transfer goes: standard output, or a command's input.

use super::sending::zeros;
use super::sink::{Offered, Settled, Sink, Verdict};
use crate::transfer::Fault;
use crate::transfer::item::Kind;
use crate::transfer::messages::ItemOutcome;
use crate::transfer::path::TreePath;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::time::Instant;

/// What a stream without a name is called in reports.
const UNNAMED: &[u8] = b"-";

/// What a writer's error holds when it is a command that ended with this status before it had everything. With 0, it wanted
/// no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommandEnded(pub i32);

impl fmt::Display for CommandEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the command ended with status {}", self.0)
    }
}

impl Error for CommandEnded {}

/// Takes the bytes of one file or stream; the writer is closed when they are complete.
pub(crate) struct WriterSink {
    writer: Option<Box<dyn Write + Send>>,
    taken: bool,
    command_status: Option<i32>,
}

impl WriterSink {
    pub(super) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self { writer: Some(writer), taken: false, command_status: None }
    }

    fn note(&mut self, error: io::Error) -> Fault {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<CommandEnded>()) {
            Some(CommandEnded(status)) => {
                self.command_status = Some(*status);
                Fault::Cancelled
            }
            None => error.into(),
        }
    }
}

impl Sink for WriterSink {
    fn takes_several(&self) -> bool {
        false
    }

    fn look(&mut self, _: Instant, item: &Offered, _: NonZeroU64) -> Result<Verdict, Fault> {
        if item.kind != Kind::File || item.path.depth() != 1 || self.taken {
            return Err(Fault::TreeNotTaken);
        }
        self.taken = true;
        Ok(Verdict::Want(Vec::new()))
    }

    fn begin_stream(&mut self, name: &[u8]) -> Result<Offered, Fault> {
        let named = TreePath::top(name).or_else(|_| TreePath::top(UNNAMED));
        let path = named.map_err(|_| Fault::Name)?;
        Ok(Offered { index: 0, path, kind: Kind::File, size: None, mode: None, mtime: None, hash: None })
    }

    fn begin(&mut self, _: &Offered, _: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let written = self.writer.as_mut().ok_or(Fault::Io)?.write_all(bytes);
        written.map_err(|error| self.note(error))
    }

    fn skip(&mut self, count: u64) -> Result<(), Fault> {
        zeros(count).try_for_each(|piece| self.write(piece))
    }

    fn complete(&mut self, _: Instant, item: Offered) -> Result<Option<Settled>, Fault> {
        self.writer.take().ok_or(Fault::Io)?.flush()?;
        let Offered { index, path, .. } = item;
        Ok(Some(Settled { index, path, outcome: ItemOutcome::Committed, renamed: None }))
    }

    fn keep(&mut self, _: Instant, item: Offered) -> Option<Settled> {
        // Nothing is ever here already, and so nothing is ever compared.
        Some(Settled { index: item.index, path: item.path, outcome: Fault::Io.into(), renamed: None })
    }

    fn abandon(&mut self, _: &Offered, _: Fault) {
        self.writer = None;
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn commit(&mut self) -> Vec<Settled> {
        Vec::new()
    }

    fn finish(&mut self) -> Vec<(TreePath, Fault)> {
        self.writer = None;
        Vec::new()
    }

    fn command_status(&self) -> Option<i32> {
        self.command_status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Remembers how much it was given at once.
    struct Pieces(Arc<Mutex<Vec<usize>>>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(bytes.iter().all(|byte| *byte == 0));
            self.0.lock().unwrap().push(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_hole_is_written_in_large_pieces() {
        let pieces = Arc::default();
        let mut sink = WriterSink::new(Box::new(Pieces(Arc::clone(&pieces))));
        sink.skip((1 << 20) + 5).unwrap();
        let pieces = pieces.lock().unwrap();
        assert_eq!((pieces.len(), pieces.iter().sum::<usize>()), (17, (1 << 20) + 5));
    }
}
