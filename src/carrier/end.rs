//! How a carrier comes to its end.

/// How a carrier came to its end, other than by that of its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The other side has closed it.
    Closed,
    /// The other side broke the rules, and was told so with this close code.
    Broken(CloseStatus),
    /// Somebody asked for something else, and was told that it is not here; or did not ask.
    NotFound,
    /// What answered is no such carrier; the HTTP status, if it said one.
    NotTaken(Option<u16>),
    /// TLS came to nothing, and the other side was told.
    Tls(TlsEnd),
}

/// How TLS came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsEnd {
    /// What came is no TLS.
    NotTls,
    /// The other side ended it with this alert (RFC 8446, 6.2).
    Told(u8),
    /// The two have no version, or no suite, in common.
    Incompatible,
    /// Nobody who is trusted says that it is who it should be.
    Untrusted,
    /// What came breaks the rules, or does not authenticate.
    Broken,
    /// Our key has sealed as much as it may, and this version of TLS has no other (RFC 8446, 5.5).
    UsedUp,
}

/// Why a WebSocket is closed (RFC 6455, 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseStatus {
    /// 1000: all is done.
    Normal,
    /// 1002: it breaks the rules.
    Protocol,
    /// 1003: text, of which a link has none.
    Unsupported,
    /// 1007: a reason that is no UTF-8.
    NotText,
    /// 1009: a message that is too large.
    TooLarge,
}

impl CloseStatus {
    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            CloseStatus::Normal => 1000,
            CloseStatus::Protocol => 1002,
            CloseStatus::Unsupported => 1003,
            CloseStatus::NotText => 1007,
            CloseStatus::TooLarge => 1009,
        }
    }
}
