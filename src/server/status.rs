//! What SIGUSR1 asks for.

/// A relay's state in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Connections.
    pub links: usize,
    /// Open circuits and requests for some.
    pub circuits: usize,
    /// Memory that holds bodies on their way, and is ready for the next ones.
    pub buffered_bytes: usize,
    /// Bytes of circuits that came in so far.
    pub forwarded_bytes: u64,
}
