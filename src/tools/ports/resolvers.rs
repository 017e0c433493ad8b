//! The threads that look up names for peers, and whether a peer may have one more.
//!
//! The resolver takes as long as it likes, and nobody can stop it: a thread keeps its place until it has ended, also when
//! the stream that asked is long gone. Else whoever asks for slow names and resets would make threads without end.

use crate::identity::PeerId;
use crate::net::lookup::{Lookup, Running};
use crate::node::Places;
use std::io;

/// Threads at a time. The first peer gets half of them, which is enough for all the servers of a web page at once.
const THREADS_MAX: usize = 64;

/// Those that may still live, each with the peer that asked.
#[derive(Debug, Default)]
pub(super) struct Resolvers(Vec<(PeerId, Running)>);

impl Resolvers {
    /// Looks a name up for a peer, by `look`. A peer has a further thread only while more are left than it has.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(super) fn start(&mut self, peer: PeerId, look: impl FnOnce() -> io::Result<Lookup>) -> io::Result<Lookup> {
        self.0.retain(|(_, thread)| !thread.is_over());
        let mut places = Places::default();
        self.0.iter().for_each(|(whose, _)| places.take(*whose));
        if !places.has_room_for(&peer, THREADS_MAX) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let lookup = look()?;
        self.0.push((peer, lookup.thread()));
        Ok(lookup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::lookup::Asked;

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    /// A peer asks for slow names and resets, as often as it can: what the threads hold that it has made.
    fn fill(resolvers: &mut Resolvers, number: u8) -> Vec<Asked> {
        let mut threads = Vec::new();
        for _ in 0..100_000 {
            let (asked, lookup) = Lookup::new();
            match resolvers.start(peer(number), || Ok(lookup)) {
                Ok(_) => threads.push(asked),
                Err(_) => return threads,
            }
        }
        panic!("there are threads without end");
    }

    #[test]
    fn who_resets_and_asks_again_has_no_more_than_half_of_the_threads() {
        let mut resolvers = Resolvers::default();
        let threads = fill(&mut resolvers, 1);
        assert_eq!(threads.len(), THREADS_MAX / 2);
        let look = || -> io::Result<Lookup> { panic!("there is no place for it") };
        assert!(resolvers.start(peer(1), look).is_err(), "they live, although nobody waits for them");
        drop(threads);
        assert_eq!(fill(&mut resolvers, 1).len(), THREADS_MAX / 2, "a thread that has ended gives its place back");
    }

    #[test]
    fn whoever_asks_for_the_first_time_finds_a_thread_beside_those_who_take_all_they_get() {
        let mut resolvers = Resolvers::default();
        let threads = [1, 2, 3, 4, 5, 6].map(|number| fill(&mut resolvers, number));
        assert_eq!(threads.each_ref().map(Vec::len), [32, 16, 8, 4, 2, 1]);
        assert!(resolvers.start(peer(7), || Ok(Lookup::new().1)).is_ok());
    }

    #[test]
    fn a_thread_that_cannot_be_started_takes_no_place() {
        let mut resolvers = Resolvers::default();
        let fail = || -> io::Result<Lookup> { Err(io::ErrorKind::WouldBlock.into()) };
        assert!((0..THREADS_MAX).all(|_| resolvers.start(peer(1), fail).is_err()));
        assert_eq!(fill(&mut resolvers, 1).len(), THREADS_MAX / 2);
    }
}
