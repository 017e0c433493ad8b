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

/// From here on a number says that a program at the far side failed, and its status: that much less than the number. Whoever
/// does not know them reads [`CloseCode::Failed`].
const STATUSES: u16 = 256;

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

    /// The number of [`CloseCode::Failed`] with the status of the program, as shells count, where it has one of 1 to 255.
    pub(crate) fn failed_with(status: i32) -> u16 {
        let status = u8::try_from(status).ok().filter(|status| *status > 0);
        status.map_or(CloseCode::Failed.to_wire(), |status| STATUSES + u16::from(status))
    }

    /// The status of the program that a number tells of, if it does.
    pub(crate) fn status_in(number: u16) -> Option<i32> {
        let status = u8::try_from(number.checked_sub(STATUSES)?).ok().filter(|status| *status > 0);
        status.map(i32::from)
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

    #[test]
    fn a_failed_program_is_told_with_its_status_to_whoever_knows_the_numbers() {
        for status in 1..=255 {
            let number = CloseCode::failed_with(status);
            assert_eq!((CloseCode::from_wire(number), CloseCode::status_in(number)), (CloseCode::Failed, Some(status)));
        }
        for status in [-1, 0, 256, i32::MAX] {
            assert_eq!(CloseCode::failed_with(status), CloseCode::Failed.to_wire(), "{status}");
        }
        let others = CloseCode::ALL.map(CloseCode::to_wire).into_iter().chain([13, 256, 512, u16::MAX]);
        assert!(others.map(CloseCode::status_in).all(|status| status.is_none()));
    }
}
