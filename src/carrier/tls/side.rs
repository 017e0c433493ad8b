//! The handshake of the two ends of TLS, as the library drives it: it has no buffers of its own, and says what it wants step by step.

use super::certificate::Shown;
use super::ends::{TlsClient, TlsFault, TlsServer};
use super::keys::{Keys, Secrets};
use super::seal::HEAD_BYTES;
use rustls::Error;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

/// The longest message of a handshake that a client takes, with the heads of its records.
pub(super) const HANDSHAKE_MAX: usize = 64 * 1024;
/// The longest hello that a server takes, with the head of its record: what somebody may make it hold who has said nothing yet.
const HELLO_MAX: usize = 5 + 16 * 1024;

/// One end.
pub(super) enum Side {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// What came of a step.
pub(super) struct Step {
    /// Bytes at the front of what came that are used up.
    pub discard: usize,
    pub next: Next,
}

/// What follows a step.
pub(super) enum Next {
    /// Another one.
    Again,
    /// More has to come.
    Blocked,
    /// The other side has said that nothing follows.
    Closed,
    Failed(Error),
}

impl Side {
    pub(super) fn server(server: &TlsServer) -> Option<Side> {
        UnbufferedServerConnection::new(server.config()).ok().map(|connection| Side::Server(Box::new(connection)))
    }

    pub(super) fn client(client: &TlsClient, host: &str) -> Result<(Side, Shown), TlsFault> {
        let (config, name, shown) = client.config(host)?;
        let connection = UnbufferedClientConnection::new(config, name).map_err(|_| TlsFault::Library)?;
        Ok((Side::Client(Box::new(connection)), shown))
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self, Side::Client(_))
    }

    /// Most that is kept of what came.
    pub(super) fn held_max(&self) -> usize {
        if self.is_client() { HANDSHAKE_MAX } else { HELLO_MAX }
    }

    /// Whether both have agreed, and nothing is left to be said of that.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Side::Client(connection) => !connection.is_handshaking() && !connection.wants_write(),
            Side::Server(connection) => !connection.is_handshaking() && !connection.wants_write(),
        }
    }

    /// What they have agreed on: asked for as soon as it is done, before anything is opened that came behind it and is not used up.
    pub(super) fn into_keys(self) -> Result<(Keys, Secrets), Error> {
        match self {
            Side::Client(connection) => {
                let (secrets, keys) = connection.dangerous_into_kernel_connection()?;
                Ok((Keys::Client(keys), secrets))
            }
            Side::Server(connection) => {
                let (secrets, keys) = connection.dangerous_into_kernel_connection()?;
                Ok((Keys::Server(keys), secrets))
            }
        }
    }

    /// A step with what came: answers go behind `words`.
    pub(super) fn take(&mut self, wire: &mut [u8], words: &mut Vec<u8>) -> Step {
        match self {
            Side::Client(connection) => heed(connection.process_tls_records(wire), words),
            Side::Server(connection) => heed(connection.process_tls_records(wire), words),
        }
    }

    /// It has failed: what it has to say of that goes behind `words`. It is asked for no more than that: it would fail once more.
    pub(super) fn last_words(&mut self, rest: &mut [u8], words: &mut Vec<u8>) {
        while self.has_words() && matches!(self.take(rest, words).next, Next::Again) {}
    }

    fn has_words(&self) -> bool {
        match self {
            Side::Client(connection) => connection.wants_write(),
            Side::Server(connection) => connection.wants_write(),
        }
    }
}

/// How long the record at the front is, with its head, if it is whole.
pub(super) fn record(wire: &[u8]) -> Option<usize> {
    let [_, _, _, length @ ..] = wire.first_chunk::<HEAD_BYTES>()?;
    let length = HEAD_BYTES + usize::from(u16::from_be_bytes(*length));
    (length <= wire.len()).then_some(length)
}

/// Does what the library wants.
fn heed<Data>(status: UnbufferedStatus<'_, '_, Data>, words: &mut Vec<u8>) -> Step {
    let UnbufferedStatus { discard, state } = status;
    let next = match state {
        Ok(ConnectionState::EncodeTlsData(mut said)) => encode(&mut said, words),
        Ok(ConnectionState::TransmitTlsData(said)) => {
            said.done();
            Next::Again
        }
        Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => Next::Blocked,
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Next::Closed,
        // Data ahead of the handshake, which nobody is allowed.
        Ok(_) => Next::Failed(Error::HandshakeNotComplete),
        Err(error) => Next::Failed(error),
    };
    Step { discard, next }
}

fn encode<Data>(said: &mut EncodeTlsData<'_, Data>, words: &mut Vec<u8>) -> Next {
    let at = words.len();
    let mut written = said.encode(&mut []);
    if let Err(EncodeError::InsufficientSize(wanted)) = written {
        words.resize(at + wanted.required_size, 0);
        written = said.encode(&mut words[at..]);
    }
    words.truncate(at + written.as_ref().copied().unwrap_or(0));
    match written {
        Ok(_) => Next::Again,
        Err(_) => Next::Failed(Error::HandshakeNotComplete),
    }
}
