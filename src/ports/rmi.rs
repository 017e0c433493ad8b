//! Where a Java RMI server sends its callers: to the host and port in its answers, whatever the port they came in by.
//!
//! A server that was not told otherwise names its own address and a port of the system's choice, and a client at the far
//! side of a mapping gets no further than the registry. This reads along at the beginning of connections that speak
//! JRMP, finds those names, and has one line said about each that no import leads to. It changes no byte.
//!
//! ```text
//! client ─▶ "JRMI" …                                                     what makes it worth reading along
//! server ◀─ … 00 0a "UnicastRef"     length host port …                  Java Object Serialization of a remote
//!           … 00 0b "UnicastRef2" 00 length host port …                  reference; lengths 16 bits, ports 32
//! ```

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// How JRMP begins (Java RMI Specification, section 10.2.1).
const MAGIC: [u8; 4] = *b"JRMI";
/// Read of a server's answers: hundreds of them from a registry, and little beside what else a connection costs.
const WATCHED_BYTES: usize = 64 << 10;
/// The name of a kind of reference, without what tells them apart.
const NAME: &[u8] = b"UnicastRef";
/// Its length as the old kind has it, and the new one.
const LENGTHS: [u8; 2] = [10, 11];
/// The end of the new kind's name, and its two formats: without and with a factory for sockets behind the port.
const NEW: u8 = b'2';
const FORMATS: [u8; 2] = [0, 1];
/// Targets told of at most: a server that makes them up gets no further.
const TOLD_MAX: usize = 32;

/// Where a server sends its callers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Referral {
    /// A name or an address: 1 to 255 printable ASCII characters and no space, which is more than names can have.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

impl fmt::Display for Referral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Referral { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Referral {
    /// Whether a client of this machine that follows it comes to a listener that is bound to `listener`. Other names than
    /// localhost are believed: what they mean only the client knows, and it says so itself if they mean nothing.
    pub(crate) fn leads_to(&self, listener: SocketAddr) -> bool {
        let bound = listener.ip();
        if self.port != listener.port() {
            return false;
        }
        if bound.is_unspecified() {
            return true;
        }
        let without_scope = self.host.split_once('%').map_or(self.host.as_str(), |(address, _)| address);
        match without_scope.parse::<IpAddr>() {
            Ok(address) => address.to_canonical() == bound.to_canonical(),
            Err(_) => !self.host.eq_ignore_ascii_case("localhost") || bound.is_loopback(),
        }
    }
}

/// Reads along on one connection.
#[derive(Debug, Default)]
pub(crate) enum Watch {
    /// Not, or no longer.
    #[default]
    Off,
    /// So many bytes of the client were as JRMP has them.
    ExpectMagic(usize),
    /// The server's answers.
    Answers(Box<Scan>),
}

/// How far the search is.
#[derive(Debug)]
pub(crate) struct Scan {
    left: usize,
    state: State,
    host: Vec<u8>,
    found: VecDeque<Referral>,
}

/// What the next byte of an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The name, of whose two bytes of length and text so many are there, and the lower byte of its length.
    Name(usize, u8),
    New,
    Format,
    LengthHigh,
    LengthLow,
    /// So many bytes of the host.
    Host(u8),
    /// So many bytes of the port, and what those before them make.
    Port(usize, u32),
}

impl Watch {
    /// For a connection of which nothing has been seen yet.
    pub(crate) fn begin() -> Watch {
        Watch::ExpectMagic(0)
    }

    /// Bytes of the client, in order.
    pub(crate) fn handle_client(&mut self, bytes: &[u8]) {
        let Watch::ExpectMagic(seen) = self else { return };
        for byte in bytes {
            match MAGIC.get(*seen) {
                Some(expected) if expected == byte => *seen += 1,
                Some(_) => {
                    *self = Watch::Off;
                    return;
                }
                None => break,
            }
        }
        if *seen == MAGIC.len() {
            let (left, state) = (WATCHED_BYTES, State::Name(0, 0));
            *self = Watch::Answers(Box::new(Scan { left, state, host: Vec::new(), found: VecDeque::new() }));
        }
    }

    /// Bytes of the server, in order.
    pub(crate) fn handle_server(&mut self, bytes: &[u8]) {
        match self {
            Watch::Off => {}
            // Whoever hears from the server first does not speak JRMP.
            Watch::ExpectMagic(_) => *self = Watch::Off,
            Watch::Answers(scan) => {
                let watched = &bytes[..bytes.len().min(scan.left)];
                scan.left -= watched.len();
                watched.iter().for_each(|byte| scan.step(*byte));
            }
        }
    }

    /// The next place that the server has named.
    pub(crate) fn poll_referral(&mut self) -> Option<Referral> {
        let Watch::Answers(scan) = self else { return None };
        let next = scan.found.pop_front();
        if next.is_none() && scan.left == 0 {
            *self = Watch::Off;
        }
        next
    }
}

impl Scan {
    fn step(&mut self, byte: u8) {
        self.state = match self.state {
            State::Name(seen, length) => name(seen, length, byte),
            State::New if byte == NEW => State::Format,
            State::Format if FORMATS.contains(&byte) => State::LengthHigh,
            State::LengthHigh if byte == 0 => State::LengthLow,
            State::LengthLow if byte != 0 => {
                self.host.clear();
                State::Host(byte)
            }
            State::Host(left) if byte.is_ascii_graphic() => {
                self.host.push(byte);
                if left == 1 { State::Port(0, 0) } else { State::Host(left - 1) }
            }
            State::Port(3, high) => {
                self.find(high << 8 | u32::from(byte));
                State::Name(0, 0)
            }
            State::Port(seen, high) => State::Port(seen + 1, high << 8 | u32::from(byte)),
            // It only looked like one.
            _ => name(0, 0, byte),
        };
    }

    fn find(&mut self, port: u32) {
        let host = String::from_utf8_lossy(&self.host).into_owned();
        match u16::try_from(port) {
            Err(_) | Ok(0) => {}
            Ok(port) => self.found.push_back(Referral { host, port }),
        }
    }
}

/// One more byte of a name and its length before it: 00 0a or 00 0b, then the letters.
fn name(seen: usize, length: u8, byte: u8) -> State {
    match (seen, byte) {
        (1, byte) if LENGTHS.contains(&byte) => State::Name(2, byte),
        (2.., byte) if NAME.get(seen - 2) == Some(&byte) => match (seen - 1 == NAME.len(), length) {
            (false, _) => State::Name(seen + 1, length),
            (true, length) if length == LENGTHS[0] => State::LengthHigh,
            (true, _) => State::New,
        },
        (_, 0) => State::Name(1, 0),
        _ => State::Name(0, 0),
    }
}

/// Referrals that a person was told of: each once, and no more than a few in all.
#[derive(Debug, Default)]
pub struct Told(HashSet<Referral>);

impl Told {
    /// Adds one. False if it is to be passed over: it was told of before, or enough were.
    pub fn add(&mut self, referral: &Referral) -> bool {
        self.0.len() < TOLD_MAX && self.0.insert(referral.clone())
    }
}

/// Whatever a server answers, in whatever pieces, the same is found, and each finding is written there.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_rmi(data: &[u8]) {
    let whole = findings(&[data]);
    let pieces: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(whole, findings(&pieces));
    for Referral { host, port } in whole {
        let written = [host.as_bytes(), &u32::from(port).to_be_bytes()].concat();
        assert!((1..=255).contains(&host.len()) && port != 0, "{host}:{port}");
        assert!(data.windows(written.len()).any(|window| window == written), "{host}:{port}");
    }
}

#[cfg(feature = "fuzzing")]
fn findings(answers: &[&[u8]]) -> Vec<Referral> {
    let mut watch = Watch::begin();
    watch.handle_client(&MAGIC);
    answers.iter().for_each(|piece| watch.handle_server(piece));
    std::iter::from_fn(|| watch.poll_referral()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What registries of Java 17 answered to a lookup: with a factory for server sockets, and without.
    const NEW_KIND: &[u8] = include_bytes!("../../fuzz/corpus/rmi/lookup-new");
    const OLD_KIND: &[u8] = include_bytes!("../../fuzz/corpus/rmi/lookup-old");

    fn referral(host: &str, port: u16) -> Referral {
        Referral { host: host.to_owned(), port }
    }

    fn reference(host: &[u8], port: u32) -> Vec<u8> {
        let length = u16::try_from(host.len()).unwrap_or(u16::MAX).to_be_bytes();
        [b"\0\x0aUnicastRef", &length[..], host, &port.to_be_bytes()].concat()
    }

    #[test]
    fn what_java_answers_is_understood() {
        assert_eq!(findings(&[NEW_KIND]), [referral("127.0.0.2", 21_100)]);
        assert_eq!(findings(&[OLD_KIND]), [referral("depot.example.com", 22_100)]);
        assert_eq!(findings(&[OLD_KIND, NEW_KIND, OLD_KIND]).len(), 3);
    }

    #[test]
    fn only_what_begins_as_jrmp_is_read() {
        for (client, found) in [(&[&b"JR"[..], b"MI\0\x02K"][..], 1), (&[b"JRMJ"], 0), (&[b"J", b"GET"], 0), (&[], 0)] {
            let mut watch = Watch::begin();
            client.iter().for_each(|piece| watch.handle_client(piece));
            watch.handle_server(OLD_KIND);
            assert_eq!(std::iter::from_fn(|| watch.poll_referral()).count(), found, "{client:?}");
            assert_eq!(matches!(watch, Watch::Off), found == 0, "what is not JRMP is not looked at again");
        }
        let mut watch = Watch::begin();
        watch.handle_server(b"220 smtp");
        watch.handle_client(b"JRMI");
        assert!(matches!(watch, Watch::Off), "a server that speaks first speaks no JRMP");
    }

    #[test]
    fn only_the_beginning_is_read() {
        let last = reference(b"a", 1);
        let before = vec![0; WATCHED_BYTES - last.len()];
        assert_eq!(findings(&[&before, &last]).len(), 1);
        assert_eq!(findings(&[&before, b"\0", &last]).len(), 0);
        let mut watch = Watch::begin();
        watch.handle_client(&MAGIC);
        watch.handle_server(&before);
        watch.handle_server(&last);
        assert_eq!(watch.poll_referral(), Some(referral("a", 1)));
        assert_eq!(watch.poll_referral(), None);
        assert!(matches!(watch, Watch::Off), "its memory is given back");
    }

    #[test]
    fn what_is_no_place_is_passed_over() {
        assert_eq!(findings(&[&reference(b"a", 1)]), [referral("a", 1)]);
        assert_eq!(findings(&[&reference(&[b'a'; 255], 65_535)]).len(), 1);
        for (host, port) in [(&b""[..], 1), (b"a", 0), (b"a", 65_536), (&[b'a'; 256], 1), (b"a\n", 1), (b"a b", 1)] {
            assert_eq!(findings(&[&reference(host, port), b"\0", &reference(b"b", 2)]), [referral("b", 2)], "{host:?}");
        }
        let unknown_format = b"\0\x0bUnicastRef2\x02\0\x01a\0\0\0\x01";
        assert_eq!(findings(&[unknown_format]), []);
        assert_eq!(findings(&[b"\0\0\x0aUni\0", &reference(b"a", 1)]), [referral("a", 1)]);
    }

    #[test]
    fn a_listener_is_where_its_address_is() {
        let at = |host: &str, bound: &str| {
            let bound: IpAddr = bound.parse().expect("an address");
            assert!(!referral(host, 1).leads_to((bound, 2).into()), "another port");
            referral(host, 1).leads_to((bound, 1).into())
        };
        assert!(at("127.0.0.1", "127.0.0.1") && at("::ffff:127.0.0.1", "127.0.0.1") && at("fe80::1%eth0", "fe80::1"));
        assert!(at("LocalHost", "127.0.0.1") && at("localhost", "::1") && !at("localhost", "10.0.0.1"));
        // What Debian calls itself.
        assert!(!at("127.0.1.1", "127.0.0.1"));
        assert!(!at("10.0.0.1", "127.0.0.1") && at("10.0.0.1", "0.0.0.0") && at("10.0.0.1", "::"));
        assert!(at("depot.example.com", "127.0.0.1"));
    }

    #[test]
    fn each_is_told_of_once_and_a_server_that_makes_them_up_gets_no_further() {
        let mut told = Told::default();
        let added = (1..=2 * TOLD_MAX).filter(|port| told.add(&referral("a", u16::try_from(*port).expect("a port"))));
        assert_eq!(added.count(), TOLD_MAX);
        let mut told = Told::default();
        assert_eq!([1, 1, 2].map(|port| told.add(&referral("a", port))), [true, false, true]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(data in proptest::collection::vec(any::<u8>(), 0..200), port: u32) {
            fuzz_rmi(&data);
            fuzz_rmi(&reference(&data, port));
            fuzz_rmi(&[&data[..], OLD_KIND, &data].concat());
        }
    }
}
