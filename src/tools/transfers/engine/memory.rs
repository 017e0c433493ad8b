//! Two joined ports in memory, for tests: bounded by bytes as a session is, cut on demand.

use super::port::{Port, TryRecv};
use crate::session::Parcel;
use crate::transfer::{messages::ANSWER_BYTES, outcome::PortClosed};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One direction.
#[derive(Default)]
struct Way {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
    finished: bool,
    closed: bool,
}

#[derive(Default)]
struct Pipe {
    way: Mutex<Way>,
    moved: Condvar,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap()
    }

    fn close(&self) {
        self.lock().closed = true;
        self.moved.notify_all();
    }
}

/// One end. Dropping it finishes its direction.
pub(crate) struct MemoryPort {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
    capacity: usize,
    /// Chunks it takes or gives before the session breaks.
    pub chunks_left: Option<usize>,
    /// Then the engine does not even learn of it: it dies on the spot, as by `kill -9`.
    pub deadly: bool,
    /// Largest piece in which bytes arrive.
    pub piece_bytes: usize,
    /// Bytes sent so far.
    pub sent_bytes: u64,
}

/// What a thread dies of whose port is deadly.
pub(crate) struct Killed;

/// Two ends, each direction holding as little as the contract of a port allows.
pub(crate) fn pair() -> (MemoryPort, MemoryPort) {
    let (a, b) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
    let end = |incoming: &Arc<Pipe>, outgoing: &Arc<Pipe>| MemoryPort {
        incoming: Arc::clone(incoming),
        outgoing: Arc::clone(outgoing),
        capacity: ANSWER_BYTES,
        chunks_left: None,
        deadly: false,
        piece_bytes: usize::MAX,
        sent_bytes: 0,
    };
    (end(&a, &b), end(&b, &a))
}

impl MemoryPort {
    /// Sends nothing more, but goes on reading.
    pub(super) fn finish(&mut self) {
        self.outgoing.lock().finished = true;
        self.outgoing.moved.notify_all();
    }

    fn count_chunk(&mut self) -> Result<(), PortClosed> {
        match &mut self.chunks_left {
            Some(0) => {
                self.incoming.close();
                self.outgoing.close();
                if self.deadly {
                    // Unwinds without the panic hook; no engine does anything when dropped.
                    std::panic::resume_unwind(Box::new(Killed));
                }
                Err(PortClosed)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn take(&mut self, way: &mut Way) -> Result<TryRecv, PortClosed> {
        match way.chunks.front_mut() {
            Some(front) if front.len() > self.piece_bytes => {
                let piece = front.drain(..self.piece_bytes).collect::<Vec<u8>>();
                way.bytes -= piece.len();
                Ok(TryRecv::Bytes(parcel(&piece)))
            }
            Some(_) => {
                let chunk = way.chunks.pop_front().unwrap();
                way.bytes -= chunk.len();
                Ok(TryRecv::Bytes(parcel(&chunk)))
            }
            None if way.closed => Err(PortClosed),
            None if way.finished => Ok(TryRecv::Finished),
            None => Ok(TryRecv::Empty),
        }
    }
}

impl Port for MemoryPort {
    fn recv(&mut self) -> Result<Option<Parcel>, PortClosed> {
        match self.recv_within(Duration::from_secs(60))? {
            TryRecv::Bytes(chunk) => Ok(Some(chunk)),
            TryRecv::Finished => Ok(None),
            TryRecv::Empty => panic!("nothing moved for a minute: the engines wait for each other"),
        }
    }

    fn try_recv(&mut self) -> Result<TryRecv, PortClosed> {
        self.recv_within(Duration::ZERO)
    }

    fn recv_within(&mut self, wait: Duration) -> Result<TryRecv, PortClosed> {
        let deadline = Instant::now() + wait;
        let pipe = Arc::clone(&self.incoming);
        let mut way = pipe.lock();
        loop {
            let taken = self.take(&mut way)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if taken != TryRecv::Empty || left.is_zero() {
                drop(way);
                if matches!(taken, TryRecv::Bytes(_)) {
                    self.count_chunk()?;
                    pipe.moved.notify_all();
                }
                return Ok(taken);
            }
            way = pipe.moved.wait_timeout(way, left).unwrap().0;
        }
    }

    fn send(&mut self, chunk: Parcel) -> Result<(), PortClosed> {
        assert!(!chunk.is_empty() && chunk.len() <= crate::transfer::messages::CHUNK_BYTES);
        self.count_chunk()?;
        self.sent_bytes += super::sending::wide(chunk.len());
        let pipe = Arc::clone(&self.outgoing);
        let mut way = pipe.lock();
        while way.bytes + chunk.len() > self.capacity && !way.closed {
            let waited = pipe.moved.wait_timeout(way, Duration::from_secs(60)).unwrap();
            assert!(!waited.1.timed_out(), "blocked for a minute: the engines wait for each other");
            way = waited.0;
        }
        if way.closed {
            return Err(PortClosed);
        }
        way.bytes += chunk.len();
        way.chunks.push_back(chunk.to_vec());
        pipe.moved.notify_all();
        Ok(())
    }

    fn recycle(&mut self, _: Parcel) {}

    fn buffer(&mut self) -> Parcel {
        Parcel::default()
    }
}

/// Bytes that fit into one, as a chunk to send.
pub(crate) fn parcel(bytes: &[u8]) -> Parcel {
    let mut parcel = Parcel::default();
    assert_eq!(parcel.push(bytes), bytes.len());
    parcel
}

impl Drop for MemoryPort {
    fn drop(&mut self) {
        self.finish();
        // Nobody reads any more: whoever writes must not wait for it.
        self.incoming.close();
    }
}
