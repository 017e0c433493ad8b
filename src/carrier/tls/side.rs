//! The two ends of TLS, as the library drives them: it has no buffers of its own, and says what it wants step by step.

use super::certificate::Shown;
use super::ends::{TlsClient, TlsFault, TlsServer};
use rustls::Error;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};

/// The longest message of a handshake that a client takes, with the heads of its records.
pub(super) const HANDSHAKE_MAX: usize = 64 * 1024;
/// The longest hello that a server takes, with the head of its record: what somebody may make it hold who has said nothing yet.
const HELLO_MAX: usize = 5 + 16 * 1024;
/// What a record is longer than its content, at most, as this library seals it.
const OVERHEAD_MAX: usize = 64;

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
    /// More has to come before the handshake is done.
    Blocked,
    /// It is, and all that came whole is used.
    Open,
    /// The other side has said that nothing follows.
    Closed,
    Failed(Error),
}

/// Something to be sealed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Say<'a> {
    Nothing,
    /// One record.
    Content(&'a [u8]),
    /// That nothing follows.
    Close,
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

    /// Most that is kept of what came before it is open.
    pub(super) fn handshake_max(&self) -> usize {
        if self.is_client() { HANDSHAKE_MAX } else { HELLO_MAX }
    }

    /// A step with what came: content goes behind `plain`, answers behind `sealed`.
    pub(super) fn take(&mut self, wire: &mut [u8], plain: &mut Vec<u8>, sealed: &mut Vec<u8>) -> Step {
        self.step(wire, Say::Nothing, plain, sealed)
    }

    /// Seals something, behind `sealed`. `held` is what came and is not whole.
    pub(super) fn say(&mut self, held: &mut [u8], what: Say<'_>, sealed: &mut Vec<u8>) -> Result<(), Error> {
        loop {
            match self.step(held, what, &mut Vec::new(), sealed).next {
                Next::Again => {}
                Next::Open => return Ok(()),
                Next::Blocked | Next::Closed => return Err(Error::HandshakeNotComplete),
                Next::Failed(error) => return Err(error),
            }
        }
    }

    /// It has failed: what it has to say of that goes behind `sealed`. It is asked for no more than that: it would fail once more.
    pub(super) fn last_words(&mut self, rest: &mut [u8], sealed: &mut Vec<u8>) {
        while self.has_words() && matches!(self.take(rest, &mut Vec::new(), sealed).next, Next::Again) {}
    }

    fn has_words(&self) -> bool {
        match self {
            Side::Client(connection) => connection.wants_write(),
            Side::Server(connection) => connection.wants_write(),
        }
    }

    fn step(&mut self, wire: &mut [u8], what: Say<'_>, plain: &mut Vec<u8>, sealed: &mut Vec<u8>) -> Step {
        match self {
            Side::Client(connection) => heed(connection.process_tls_records(wire), what, plain, sealed),
            Side::Server(connection) => heed(connection.process_tls_records(wire), what, plain, sealed),
        }
    }
}

/// Does what the library wants.
fn heed<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    what: Say<'_>,
    plain: &mut Vec<u8>,
    sealed: &mut Vec<u8>,
) -> Step {
    let UnbufferedStatus { mut discard, state } = status;
    let next = match state {
        Ok(ConnectionState::ReadTraffic(mut records)) => loop {
            match records.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    plain.extend_from_slice(record.payload);
                }
                Some(Err(error)) => break Next::Failed(error),
                None => break Next::Again,
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut words)) => encode(&mut words, sealed),
        Ok(ConnectionState::TransmitTlsData(words)) => {
            words.done();
            Next::Again
        }
        Ok(ConnectionState::WriteTraffic(mut traffic)) => match seal(&mut traffic, what, sealed) {
            Ok(()) => Next::Open,
            Err(error) => Next::Failed(error),
        },
        Ok(ConnectionState::BlockedHandshake) => Next::Blocked,
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Next::Closed,
        // Data ahead of the handshake, which nobody is allowed.
        Ok(_) => Next::Failed(Error::HandshakeNotComplete),
        Err(error) => Next::Failed(error),
    };
    Step { discard, next }
}

fn encode<Data>(words: &mut EncodeTlsData<'_, Data>, sealed: &mut Vec<u8>) -> Next {
    let at = sealed.len();
    let mut written = words.encode(&mut []);
    if let Err(EncodeError::InsufficientSize(wanted)) = written {
        sealed.resize(at + wanted.required_size, 0);
        written = words.encode(&mut sealed[at..]);
    }
    sealed.truncate(at + written.as_ref().copied().unwrap_or(0));
    match written {
        Ok(_) => Next::Again,
        Err(_) => Next::Failed(Error::HandshakeNotComplete),
    }
}

fn seal<Data>(traffic: &mut WriteTraffic<'_, Data>, what: Say<'_>, sealed: &mut Vec<u8>) -> Result<(), Error> {
    let (at, mut room) = match what {
        Say::Nothing => return Ok(()),
        Say::Content(content) => (sealed.len(), content.len() + OVERHEAD_MAX),
        Say::Close => (sealed.len(), OVERHEAD_MAX),
    };
    loop {
        sealed.resize(at + room, 0);
        let written = match what {
            Say::Content(content) => traffic.encrypt(content, &mut sealed[at..]),
            Say::Nothing | Say::Close => traffic.queue_close_notify(&mut sealed[at..]),
        };
        match written {
            Ok(count) => {
                sealed.truncate(at + count);
                return Ok(());
            }
            // Something of the library's own goes before it.
            Err(EncryptError::InsufficientSize(wanted)) if wanted.required_size > room => room = wanted.required_size,
            Err(_) => {
                sealed.truncate(at);
                return Err(Error::EncryptError);
            }
        }
    }
}
