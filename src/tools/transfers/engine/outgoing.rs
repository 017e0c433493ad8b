//! The sender's way out: puts what its machine says into chunks, keeps to the rate, measures the link.

use super::port::{Port, TryRecv};
use crate::session::Parcel;
use crate::store::read::SourceFile;
use crate::transfer::Fault;
use crate::transfer::blocks::Encoded;
use crate::transfer::encode::HEADER_BYTES;
use crate::transfer::limit::RateLimit;
use crate::transfer::meter::LinkMeter;
use crate::transfer::offering::Offering;
use crate::transfer::{messages::CHUNK_BYTES, outcome::PortClosed};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Less room than this at the end of a chunk is not worth a piece of a file.
const PIECE_BYTES_MIN: usize = 1_024;
/// Chunks of answers that are taken in while the rate is waited for; then they wait outside.
const RECEIVED_MAX: usize = 64;

/// The way out.
pub(crate) struct Outgoing<'p> {
    port: &'p mut dyn Port,
    chunk: Parcel,
    /// A chunk that holds so much is sent; less than [`CHUNK_BYTES`] at a low rate.
    chunk_bytes: usize,
    limit: Option<RateLimit>,
    link: LinkMeter,
    /// What is said, and what may be answered.
    pub offering: Offering,
    received: VecDeque<Parcel>,
    peer_finished: bool,
}

impl<'p> Outgoing<'p> {
    pub(super) fn new(port: &'p mut dyn Port, offering: Offering, limit: Option<RateLimit>, now: Instant) -> Self {
        let chunk = port.buffer();
        let chunk_bytes = limit.as_ref().map_or(CHUNK_BYTES, |limit| limit.piece_bytes().min(CHUNK_BYTES));
        let link = LinkMeter::new(now);
        Self { port, chunk, chunk_bytes, limit, link, offering, received: VecDeque::new(), peer_finished: false }
    }

    fn room(&self) -> usize {
        self.chunk_bytes.saturating_sub(self.chunk.len())
    }

    /// Sends the message that was said last with the next chunk.
    pub(super) fn say(&mut self) -> Result<(), PortClosed> {
        if self.offering.offers().len() > self.room() {
            self.flush()?;
        }
        // It fits: no message is longer than a chunk.
        let message = self.offering.offers();
        self.chunk.push(message);
        message.clear();
        Ok(())
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<(), PortClosed> {
        while !bytes.is_empty() {
            if self.room() == 0 {
                self.flush()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.room()));
            self.chunk.push(now);
            bytes = later;
        }
        Ok(())
    }

    /// Reads up to `max` bytes of the file straight into the chunk, as one DATA message, and
    /// returns them for hashing: none at the end of a file of no known size.
    pub(super) fn read_raw(
        &mut self,
        file: &SourceFile,
        offset: u64,
        max: usize,
    ) -> Result<Result<&[u8], Fault>, PortClosed> {
        if self.room() < (HEADER_BYTES + PIECE_BYTES_MIN).min(self.chunk_bytes) {
            self.flush()?;
        }
        let begin = self.chunk.len();
        let max = max.min(self.room() - HEADER_BYTES);
        self.chunk.push(&[0; HEADER_BYTES]);
        match file.read_into(self.chunk.room(), offset, max) {
            Ok(0) => {
                self.chunk.truncate(begin);
                Ok(Ok(&[]))
            }
            Ok(count) => {
                let body = begin + HEADER_BYTES;
                self.chunk.commit(count);
                self.chunk[begin..body].copy_from_slice(&self.offering.data(count));
                self.link.handle_content(count);
                Ok(Ok(&self.chunk[body..]))
            }
            Err(fault) => {
                self.chunk.truncate(begin);
                Ok(Err(fault))
            }
        }
    }

    /// Sends a block as ZDATA, or as DATA if that does not pay.
    pub(super) fn pack(&mut self, block: &[u8]) -> Result<(), PortClosed> {
        let begin = Instant::now();
        let encoded = self.offering.pack(block);
        self.offering.blocks().note_effort(begin.elapsed());
        self.link.handle_content(block.len());
        match encoded {
            Encoded::Packed => {
                let mut message = std::mem::take(self.offering.offers());
                self.append(&message)?;
                message.clear();
                *self.offering.offers() = message;
                Ok(())
            }
            Encoded::Raw => {
                let header = self.offering.data(block.len());
                self.append(&header)?;
                self.append(block)
            }
        }
    }

    /// Sends what has been packed so far.
    pub(super) fn flush(&mut self) -> Result<(), PortClosed> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let next = self.port.buffer();
        let chunk = std::mem::replace(&mut self.chunk, next);
        let bytes = chunk.len();
        let begin = Instant::now();
        self.keep_rate(bytes)?;
        self.port.send(chunk)?;
        let now = Instant::now();
        self.link.handle_wait(now - begin);
        self.link.handle_sent(now, bytes, self.offering.blocks());
        Ok(())
    }

    /// Waits for the rate limit, with an ear to the peer.
    fn keep_rate(&mut self, bytes: usize) -> Result<(), PortClosed> {
        let Some(limit) = &mut self.limit else {
            return Ok(());
        };
        loop {
            let wait = limit.wait(Instant::now());
            if wait.is_zero() {
                // The debt for these bytes is waited for before the next.
                let _ = limit.take(Instant::now(), bytes);
                return Ok(());
            }
            if self.peer_finished || self.received.len() >= RECEIVED_MAX {
                std::thread::sleep(wait.min(Duration::from_millis(100)));
                continue;
            }
            match self.port.recv_within(wait)? {
                TryRecv::Bytes(chunk) => self.received.push_back(chunk),
                TryRecv::Finished => self.peer_finished = true,
                TryRecv::Empty => {}
            }
        }
    }

    /// What the peer has said, without waiting.
    pub(super) fn heard(&mut self) -> Result<TryRecv, PortClosed> {
        match self.received.pop_front() {
            Some(chunk) => Ok(TryRecv::Bytes(chunk)),
            None if self.peer_finished => Ok(TryRecv::Finished),
            None => self.port.try_recv(),
        }
    }

    /// What the peer says next, everything of ours being sent first; `None` after its end.
    pub(super) fn listen(&mut self) -> Result<Option<Parcel>, PortClosed> {
        self.flush()?;
        match self.heard()? {
            TryRecv::Bytes(chunk) => Ok(Some(chunk)),
            TryRecv::Finished => Ok(None),
            TryRecv::Empty => {
                // A pause of ours says nothing about the link.
                let heard = self.port.recv();
                self.link.restart(Instant::now());
                heard
            }
        }
    }

    pub(super) fn recycle(&mut self, chunk: Parcel) {
        self.port.recycle(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::beneath::Nearby;
    use crate::store::source::Walk;
    use crate::tools::transfers::engine::memory::pair;
    use crate::transfer::blocks::Compression;
    use crate::transfer::item::{Kind, Mtime};
    use crate::transfer::messages::{Entry, RawPath};
    use crate::transfer::path::TreePath;
    use std::num::NonZeroU64;

    /// Lengths of the chunks in which a message and a file leave at this rate.
    fn chunks(rate: Option<u64>, file_bytes: usize) -> Vec<usize> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        std::fs::write(&path, vec![7; file_bytes]).unwrap();
        let file = SourceFile::open(&Walk::new(vec![path]).flatten().next().unwrap(), &mut Nearby::default()).unwrap();
        let (mut ours, mut theirs) = pair();
        let now = Instant::now();
        let limit = rate.map(|rate| RateLimit::new(NonZeroU64::new(rate).unwrap(), now));
        let mut out = Outgoing::new(&mut ours, Offering::files(Vec::new(), None, Compression::Off), limit, now);
        out.offering.offers().clear();
        let path = RawPath::from(&TreePath::top(&[b'n'; 200]).unwrap());
        let (kind, mtime) = (Kind::Link(vec![b't'; 2_000]), Mtime { seconds: 0, nanos: 0 });
        out.offering.announce(Entry { index: 0, kind, mode: 0, mtime, size: Some(0), path });
        out.say().unwrap();
        let mut offset = 0;
        while offset < file_bytes {
            let begin = u64::try_from(offset).unwrap();
            offset += out.read_raw(&file, begin, file_bytes - offset).unwrap().unwrap().len();
        }
        out.flush().unwrap();
        drop(out);
        drop(ours);
        let mut lengths = Vec::new();
        while let Some(chunk) = theirs.recv().unwrap() {
            lengths.push(chunk.len());
        }
        lengths
    }

    #[test]
    fn at_a_low_rate_chunks_are_short() {
        let slow = chunks(Some(64 << 10), 20_000);
        assert_eq!(slow[..slow.len() - 1], [8_192, 8_192], "{slow:?}");
        // A message that is longer than such a chunk goes whole.
        let slower = chunks(Some(8 << 10), 1_000);
        assert!(slower[0] > 2_000 && slower[1..].iter().all(|length| *length <= 1_024), "{slower:?}");
        assert_eq!(chunks(None, 20_000).len(), 1);
        assert_eq!(chunks(Some(u64::MAX), 20_000).len(), 1);
    }
}
