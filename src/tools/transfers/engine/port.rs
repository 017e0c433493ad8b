//! What an engine sees of the session below it: one ordered, reliable stream of bytes each way.

use crate::session::Parcel;
use crate::transfer::outcome::PortClosed;
use std::time::{Duration, Instant};

/// What is there to read without waiting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TryRecv {
    /// The next bytes of the peer; give them back with [`Port::recycle`] when they are where they belong.
    Bytes(Parcel),
    /// Nothing yet.
    Empty,
    /// The peer has finished its direction, and everything has been read.
    Finished,
}

/// One ordered, reliable byte stream each way, with back-pressure, for an engine in a thread of
/// its own. Chunk borders carry no meaning: they may be split and joined on the way.
pub(crate) trait Port {
    /// The next bytes of the peer, `None` after its end. Blocks.
    ///
    /// # Errors
    /// [`PortClosed`] if the session ended before the peer had finished.
    fn recv(&mut self) -> Result<Option<Parcel>, PortClosed>;

    /// The next bytes of the peer if there are any. Does not block.
    ///
    /// # Errors
    /// As for [`Self::recv`].
    fn try_recv(&mut self) -> Result<TryRecv, PortClosed>;

    /// Sends the chunk. Blocks while the way is full.
    ///
    /// # Errors
    /// [`PortClosed`] if the session ended.
    fn send(&mut self, chunk: Parcel) -> Result<(), PortClosed>;

    /// Takes bytes of the peer back: they are where they belong.
    fn recycle(&mut self, chunk: Parcel);

    /// An empty chunk, to be filled and sent.
    fn buffer(&mut self) -> Parcel;

    /// The next bytes of the peer, or [`TryRecv::Empty`] when `wait` has passed. Blocks as long.
    ///
    /// This default looks again every few milliseconds; a port that can wait for "bytes or time"
    /// does so instead.
    ///
    /// # Errors
    /// As for [`Self::recv`].
    fn recv_within(&mut self, wait: Duration) -> Result<TryRecv, PortClosed> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.try_recv()? {
                TryRecv::Empty if !left.is_zero() => {
                    std::thread::sleep(left.min(Duration::from_millis(4)));
                }
                other => return Ok(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has something to say at the third time of asking.
    struct Slow(u32);

    impl Port for Slow {
        fn recv(&mut self) -> Result<Option<Parcel>, PortClosed> {
            Err(PortClosed)
        }
        fn try_recv(&mut self) -> Result<TryRecv, PortClosed> {
            self.0 += 1;
            Ok(if self.0 < 3 { TryRecv::Empty } else { TryRecv::Finished })
        }
        fn send(&mut self, _: Parcel) -> Result<(), PortClosed> {
            Err(PortClosed)
        }
        fn recycle(&mut self, _: Parcel) {}
        fn buffer(&mut self) -> Parcel {
            Parcel::default()
        }
    }

    #[test]
    fn the_default_wait_asks_again_until_its_time_is_over() {
        assert_eq!(Slow(0).recv_within(Duration::from_secs(60)), Ok(TryRecv::Finished));
        assert_eq!(Slow(0).recv_within(Duration::ZERO), Ok(TryRecv::Empty));
    }
}
