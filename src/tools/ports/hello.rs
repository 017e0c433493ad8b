//! The SOCKS server of an import: what an application says before it is joined to a stream.
//!
//! Exactly what belongs to the greeting and the request is read, so that what an application sends behind them is there
//! for whoever comes next.

use crate::net::Read;
use crate::net::socket::Socket;
use crate::ports::socks::{self, Parsed, Reply};

/// An application that has not yet said what it wants.
pub(super) struct Hello {
    /// The connection.
    pub socket: Socket,
    /// The number of the import that accepted it.
    pub import: usize,
    greeted: bool,
    /// What it has said since the greeting.
    pub said: Vec<u8>,
}

/// What came of listening to it.
pub(super) enum HelloResult {
    /// It has more to say.
    Later,
    /// It wants this destination.
    Wants(Vec<u8>),
    /// It is no application of SOCKS 5, or it has gone; and what to answer.
    Bad(Option<Reply>),
}

impl Hello {
    /// With a connection that this import accepted.
    pub(super) fn new(socket: Socket, import: usize) -> Hello {
        Hello { socket, import, greeted: false, said: Vec::new() }
    }

    /// It may have said more.
    pub(super) fn advance(&mut self) -> HelloResult {
        loop {
            let more = if self.greeted {
                match socks::request(&self.said) {
                    Parsed::Done(field, _) => return HelloResult::Wants(self.said[field].to_vec()),
                    Parsed::Bad(reply) => return HelloResult::Bad(reply),
                    Parsed::More(count) => count,
                }
            } else {
                match socks::greeting(&self.said) {
                    Parsed::Done(acceptable, _) => match self.greet(acceptable) {
                        true => continue,
                        false => return HelloResult::Bad(None),
                    },
                    Parsed::Bad(reply) => return HelloResult::Bad(reply),
                    Parsed::More(count) => count,
                }
            };
            let at = self.said.len();
            self.said.resize(at + more, 0);
            let read = self.socket.try_read(&mut self.said[at..]);
            let count = if let Ok(Read::Bytes(count)) = read { count } else { 0 };
            self.said.truncate(at + count);
            match read {
                Ok(Read::Bytes(_)) => {}
                Ok(Read::Later) => return HelloResult::Later,
                Ok(Read::End) | Err(_) => return HelloResult::Bad(None),
            }
        }
    }

    /// True if it may go on.
    fn greet(&mut self, acceptable: bool) -> bool {
        self.greeted = true;
        self.said.clear();
        // A fresh connection has room for two bytes.
        self.socket.try_write(&socks::greeting_answer(acceptable)).is_ok() && acceptable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::endpoint::Endpoint;
    use crate::net::listen::{FourPorts, Listener};
    use crate::net::options::Purpose;
    use crate::net::socket_file::Access;
    use crate::net::testkit::until;
    use std::io::{Read as _, Write as _};

    fn pair() -> (std::net::TcpStream, Hello) {
        let listener =
            Listener::bind(&Endpoint::Tcp("127.0.0.1:0".parse().unwrap()), &FourPorts::default(), Access::default())
                .unwrap();
        let Endpoint::Tcp(address) = listener.place().unwrap() else { panic!("TCP was asked for") };
        let application = std::net::TcpStream::connect(address).unwrap();
        let accepted = until(|| listener.try_accept(Purpose::Link).unwrap());
        (application, Hello::new(accepted.socket, 0))
    }

    fn until_decided(hello: &mut Hello) -> HelloResult {
        until(|| match hello.advance() {
            HelloResult::Later => None,
            turn => Some(turn),
        })
    }

    #[test]
    fn a_request_is_read_and_nothing_behind_it() {
        let (mut application, mut hello) = pair();
        application.write_all(b"\x05\x01\x00\x05\x01\x00\x03\x02db\x15\x38hello").unwrap();
        let HelloResult::Wants(destination) = until_decided(&mut hello) else { panic!("a good request") };
        assert_eq!(destination, b"\x03\x02db\x15\x38");
        let mut answer = [0; 2];
        application.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [5, 0]);
        let mut rest = [0; 16];
        assert!(matches!(hello.socket.try_read(&mut rest), Ok(Read::Bytes(5))));
    }

    #[test]
    fn who_offers_no_way_without_authentication_is_told_so() {
        let (mut application, mut hello) = pair();
        application.write_all(&[5, 1, 2]).unwrap();
        assert!(matches!(until_decided(&mut hello), HelloResult::Bad(None)));
        let mut answer = [0; 2];
        application.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [5, 0xff]);
    }

    #[test]
    fn what_is_no_socks_and_what_ends_early_is_bad() {
        let (mut application, mut hello) = pair();
        application.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert!(matches!(until_decided(&mut hello), HelloResult::Bad(None)));
        let (mut application, mut hello) = pair();
        application.write_all(&[5, 1, 0, 5]).unwrap();
        drop(application);
        assert!(matches!(until_decided(&mut hello), HelloResult::Bad(None)));
    }
}
