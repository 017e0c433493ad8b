//! SOCKS version 5 (RFC 1928) as far as it is needed: no authentication, CONNECT, addresses and names.
//!
//! The same destination field that an application sends to its proxy goes ahead of its bytes in the stream, so the far
//! side reads it with the same code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const ADDRESS_4: u8 = 1;
const NAME: u8 = 3;
const ADDRESS_6: u8 = 4;
/// Longest thing an application says before it hears of its connection: a request for a name of 255 bytes.
#[cfg(feature = "fuzzing")]
const HELLO_MAX: usize = 4 + 1 + 255 + 2;

/// What a request came to, as the application hears it (section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reply {
    /// Connected.
    Succeeded = 0,
    /// The proxy is of no use now.
    Failure = 1,
    /// The target is not among those allowed.
    NotAllowed = 2,
    /// There is no way to the target.
    HostUnreachable = 4,
    /// The target refused.
    Refused = 5,
    /// Something else than CONNECT was asked for.
    CommandUnknown = 7,
    /// An address of a kind that RFC 1928 does not know.
    AddressUnknown = 8,
}

impl Reply {
    /// The bytes. The bound address is not told: the application has no use for one in another network.
    pub(crate) fn bytes(self) -> [u8; 10] {
        [VERSION, self as u8, 0, ADDRESS_4, 0, 0, 0, 0, 0, 0]
    }
}

/// The answer to a greeting: no authentication, or none of the methods offered.
pub(crate) fn greeting_answer(accepted: bool) -> [u8; 2] {
    [VERSION, if accepted { NO_AUTHENTICATION } else { 0xff }]
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An address.
    Address(SocketAddr),
    /// A name, as sent: anything but empty.
    Name(Vec<u8>, u16),
}

/// What has been read of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// At least so many more bytes belong to it.
    More(usize),
    /// All of it, and how many bytes that was.
    Done(T, usize),
    /// It makes no sense; what to answer, if an answer makes sense.
    Bad(Option<Reply>),
}

/// Reads the greeting: whether it offers to go without authentication.
pub fn greeting(input: &[u8]) -> Parsed<bool> {
    match input {
        [] => Parsed::More(2),
        [VERSION] => Parsed::More(1),
        [VERSION, count, methods @ ..] => match methods.get(..usize::from(*count)) {
            Some(methods) => Parsed::Done(methods.contains(&NO_AUTHENTICATION), 2 + usize::from(*count)),
            None => Parsed::More(usize::from(*count) - methods.len()),
        },
        _ => Parsed::Bad(None),
    }
}

/// Reads the request: the place of its destination field.
pub fn request(input: &[u8]) -> Parsed<std::ops::Range<usize>> {
    match input {
        [VERSION, CONNECT, _, field @ ..] => match destination(field) {
            Parsed::More(count) => Parsed::More(count),
            Parsed::Done(_, length) => Parsed::Done(3..3 + length, 3 + length),
            Parsed::Bad(reply) => Parsed::Bad(reply),
        },
        [VERSION, CONNECT] | [VERSION] | [] => Parsed::More(3 - input.len()),
        [VERSION, ..] => Parsed::Bad(Some(Reply::CommandUnknown)),
        _ => Parsed::Bad(None),
    }
}

/// Reads a destination field: kind, address, port (section 5).
pub fn destination(input: &[u8]) -> Parsed<Destination> {
    let (at, length) = match input {
        [] => return Parsed::More(1),
        [ADDRESS_4, ..] => (1, 4),
        [ADDRESS_6, ..] => (1, 16),
        [NAME] => return Parsed::More(1),
        [NAME, 0, ..] => return Parsed::Bad(Some(Reply::AddressUnknown)),
        [NAME, length, ..] => (2, usize::from(*length)),
        _ => return Parsed::Bad(Some(Reply::AddressUnknown)),
    };
    let end = at + length + 2;
    let Some(field) = input.get(at..end) else { return Parsed::More(end - input.len()) };
    let (host, port) = field.split_at(length);
    let port = u16::from_be_bytes([port[0], port[1]]);
    let destination = if at == 2 {
        Destination::Name(host.to_vec(), port)
    } else if let Ok(four) = <[u8; 4]>::try_from(host) {
        Destination::Address(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(four)), port))
    } else {
        let six: [u8; 16] = host.try_into().expect("the only other length");
        Destination::Address(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(six)), port))
    };
    Parsed::Done(destination, end)
}

/// Whatever is sent is read the same in one piece and byte by byte, and never asks for more than the longest request.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_socks(data: &[u8]) {
    fn check<T: PartialEq + std::fmt::Debug>(data: &[u8], read: impl Fn(&[u8]) -> Parsed<T>) {
        let whole = read(data);
        if let Parsed::Done(_, used) = &whole {
            assert!(*used <= data.len());
            for short in 0..*used {
                let Parsed::More(count) = read(&data[..short]) else { panic!("ended early") };
                assert!(count > 0 && short + count <= *used);
            }
            assert_eq!(read(&data[..*used]), whole);
        }
        if let Parsed::More(count) = whole {
            assert!(count > 0 && data.len() + count <= HELLO_MAX);
        }
    }
    check(data, greeting);
    check(data, request);
    check(data, destination);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_greeting_must_offer_to_go_without_authentication() {
        assert_eq!(greeting(&[5, 1, 0]), Parsed::Done(true, 3));
        assert_eq!(greeting(&[5, 2, 2, 0, 5, 1]), Parsed::Done(true, 4));
        assert_eq!(greeting(&[5, 1, 2]), Parsed::Done(false, 3));
        assert_eq!(greeting(&[5, 0]), Parsed::Done(false, 2));
        assert_eq!(greeting(&[5, 3, 2]), Parsed::More(2));
        assert_eq!(greeting(&[4, 1, 0, 80]), Parsed::Bad(None), "SOCKS 4");
        assert_eq!(greeting(b"GET / HTTP/1.1"), Parsed::Bad(None));
    }

    #[test]
    fn requests_are_for_addresses_and_names() {
        let field = |bytes: &[u8]| match destination(bytes) {
            Parsed::Done(destination, used) if used == bytes.len() => destination,
            other => panic!("{other:?}"),
        };
        let v4 = [1, 10, 0, 0, 1, 0x15, 0x38];
        assert_eq!(field(&v4), Destination::Address("10.0.0.1:5432".parse().unwrap()));
        let v6 = [&[4][..], &Ipv6Addr::LOCALHOST.octets(), &[0, 80]].concat();
        assert_eq!(field(&v6), Destination::Address("[::1]:80".parse().unwrap()));
        assert_eq!(field(b"\x03\x02db\x00\x50"), Destination::Name(b"db".to_vec(), 80));
        assert_eq!(request(b"\x05\x01\x00\x03\x02db\x00\x50more"), Parsed::Done(3..9, 9));
        assert_eq!(request(&[5, 2, 0, 1]), Parsed::Bad(Some(Reply::CommandUnknown)), "BIND");
        assert_eq!(request(&[5, 1, 0, 9]), Parsed::Bad(Some(Reply::AddressUnknown)));
        assert_eq!(destination(&[3, 0, 0, 80]), Parsed::Bad(Some(Reply::AddressUnknown)), "an empty name");
    }

    proptest! {
        #[test]
        fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..6, head in 0usize..3) {
            fuzz_socks(&data);
            let heads = [&[5, 1, 0, kind][..], &[kind], &[5, kind]];
            fuzz_socks(&[heads[head], &data[..]].concat());
        }
    }
}
