//! What a session tells whoever drives it.

/// What happened, for whoever drives the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer opened a stream towards a service: answer with [`accept`](super::StreamMut::accept) or
    /// [`refuse`](super::StreamMut::refuse).
    StreamOpened {
        /// The stream.
        id: u32,
        /// The service, as sent: at most 64 bytes, not checked.
        service: Vec<u8>,
    },
    /// The peer took a stream we opened.
    StreamAccepted {
        /// The stream.
        id: u32,
    },
    /// The peer did not take a stream we opened, with a close code.
    StreamRefused {
        /// The stream.
        id: u32,
        /// Why.
        code: u16,
    },
    /// The peer ended the session, with a close code.
    Closed {
        /// Why.
        code: u16,
    },
}
