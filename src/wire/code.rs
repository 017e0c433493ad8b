//! Why something ended: the codes of STATUS, RESET and BYE, one table.

/// A reason that crosses the wire as a number. Codes are append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// An orderly end.
    Done = 0,
    /// Nobody there answers to this name yet; the relay keeps the request until it expires.
    Waiting = 1,
    /// Nobody there answers to this name, and the caller did not want to wait (any longer).
    NotHere = 2,
    /// The other side does not serve this caller, or does not serve this name. Deliberately not told apart.
    Refused = 3,
    /// A limit of the relay or of the other side was reached; later may work.
    Limit = 4,
    /// The link of the other side is gone.
    PeerGone = 5,
    /// A process was told to end: a relay's, then dial again; or the peer's, which may come back.
    GoingAway = 6,
    /// The other side broke the protocol.
    Protocol = 7,
    /// The other side gave up: its user or its program ended it.
    Cancelled = 8,
    /// The session is unknown here: it has ended, or its process has.
    UnknownSession = 9,
    /// A program at the far side failed.
    Failed = 10,
    /// A replicated port: the target refused the connection.
    TargetRefused = 11,
    /// A replicated port: the target did not answer, or there is no way to it.
    TargetUnreachable = 12,
}

impl CloseCode {
    const ALL: [CloseCode; 13] = [
        CloseCode::Done,
        CloseCode::Waiting,
        CloseCode::NotHere,
        CloseCode::Refused,
        CloseCode::Limit,
        CloseCode::PeerGone,
        CloseCode::GoingAway,
        CloseCode::Protocol,
        CloseCode::Cancelled,
        CloseCode::UnknownSession,
        CloseCode::Failed,
        CloseCode::TargetRefused,
        CloseCode::TargetUnreachable,
    ];

    /// The number on the wire.
    pub const fn to_wire(self) -> u16 {
        self as u16
    }

    /// The code of a number; a number of a later version reads as [`CloseCode::Failed`], which promises nothing.
    pub fn from_wire(number: u16) -> CloseCode {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(CloseCode::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire_and_unknown_ones_promise_nothing() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_wire(code.to_wire()), code);
        }
        assert_eq!(CloseCode::from_wire(13), CloseCode::Failed);
        assert_eq!(CloseCode::from_wire(u16::MAX), CloseCode::Failed);
    }
}
