//! What a target is told of who connects: the PROXY protocol, versions 1 and 2
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! The addresses are those of the connection that we make to the target: they are true, and the only ones this side
//! can vouch for. Who the peer is, proven by its key, stands in a TLV of version 2.

use crate::identity::PeerId;
use std::net::SocketAddr;

/// First bytes of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// Type of the TLV that holds the peer's id as text: the first of those the protocol leaves to applications.
pub(crate) const PEER_TLV: u8 = 0xe0;

/// Which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary, with the peer's id.
    V2,
}

/// The header for a connection between `ends`, ours and the target's; a Unix socket has none.
pub(crate) fn header(version: Version, ends: Option<(SocketAddr, SocketAddr)>, peer: &PeerId) -> Vec<u8> {
    match version {
        Version::V1 => line(ends).into_bytes(),
        Version::V2 => binary(ends, peer),
    }
}

fn line(ends: Option<(SocketAddr, SocketAddr)>) -> String {
    match ends {
        Some((from, to)) if from.is_ipv4() == to.is_ipv4() => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port())
        }
        _ => "PROXY UNKNOWN\r\n".to_owned(),
    }
}

fn binary(ends: Option<(SocketAddr, SocketAddr)>, peer: &PeerId) -> Vec<u8> {
    let (family, addresses) = match ends {
        Some((SocketAddr::V4(from), SocketAddr::V4(to))) => {
            let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
            (TCP4, [&from.ip().octets()[..], &to.ip().octets(), &ports].concat())
        }
        Some((SocketAddr::V6(from), SocketAddr::V6(to))) => {
            let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
            (TCP6, [&from.ip().octets()[..], &to.ip().octets(), &ports].concat())
        }
        _ => (UNSPECIFIED, Vec::new()),
    };
    let id = peer.to_string();
    let length =
        |bytes: usize| u16::try_from(bytes).expect("an id and two addresses are below 200 bytes").to_be_bytes();
    let mut header = SIGNATURE.to_vec();
    header.extend([PROXY, family]);
    header.extend(length(addresses.len() + 3 + id.len()));
    header.extend(addresses);
    header.push(PEER_TLV);
    header.extend(length(id.len()));
    header.extend(id.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn version_1_is_a_line_for_each_family() {
        let peer = Identity::generate().id();
        let ends = |from: &str, to: &str| Some((from.parse().unwrap(), to.parse().unwrap()));
        let text = |ends| String::from_utf8(header(Version::V1, ends, &peer)).unwrap();
        assert_eq!(text(ends("10.0.0.1:4000", "10.0.0.2:5432")), "PROXY TCP4 10.0.0.1 10.0.0.2 4000 5432\r\n");
        assert_eq!(text(ends("[::1]:4000", "[::1]:5432")), "PROXY TCP6 ::1 ::1 4000 5432\r\n");
        assert_eq!(text(None), "PROXY UNKNOWN\r\n");
    }

    /// Family, address block, TLVs.
    type Fields = (u8, Vec<u8>, Vec<(u8, Vec<u8>)>);

    /// The fields of a header as a target reads them.
    fn read(header: &[u8]) -> Fields {
        assert_eq!((&header[..12], header[12]), (&b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"[..], 0x21));
        let family = header[13];
        assert_eq!(usize::from(header[14]) << 8 | usize::from(header[15]), header.len() - 16);
        let block = match family >> 4 {
            0 => 0,
            1 => 12,
            2 => 36,
            other => panic!("family {other}"),
        };
        let mut tlvs = Vec::new();
        let mut rest = &header[16 + block..];
        while let [kind, high, low, after @ ..] = rest {
            let length = usize::from(*high) << 8 | usize::from(*low);
            tlvs.push((*kind, after[..length].to_vec()));
            rest = &after[length..];
        }
        assert!(rest.is_empty());
        (family, header[16..16 + block].to_vec(), tlvs)
    }

    proptest! {
        #[test]
        fn version_2_says_the_addresses_and_the_peer(from: u128, to: u128, four: bool, ports: (u16, u16)) {
            let peer = Identity::generate().id();
            let (low, high) = (u32::try_from(from >> 96).unwrap(), u32::try_from(to >> 96).unwrap());
            let ends: (SocketAddr, SocketAddr) = if four {
                ((Ipv4Addr::from(low), ports.0).into(), (Ipv4Addr::from(high), ports.1).into())
            } else {
                ((Ipv6Addr::from(from), ports.0).into(), (Ipv6Addr::from(to), ports.1).into())
            };
            let (family, block, tlvs) = read(&header(Version::V2, Some(ends), &peer));
            prop_assert_eq!(family, if four { 0x11 } else { 0x21 });
            let mut expected = Vec::new();
            if four {
                expected.extend(low.to_be_bytes());
                expected.extend(high.to_be_bytes());
            } else {
                expected.extend(from.to_be_bytes());
                expected.extend(to.to_be_bytes());
            }
            expected.extend(ports.0.to_be_bytes());
            expected.extend(ports.1.to_be_bytes());
            prop_assert_eq!(block, expected);
            prop_assert_eq!(tlvs, vec![(0xe0, peer.to_string().into_bytes())]);
        }
    }

    #[test]
    fn version_2_of_a_unix_socket_has_no_addresses() {
        let peer = Identity::generate().id();
        let (family, block, tlvs) = read(&header(Version::V2, None, &peer));
        assert_eq!((family, block.len(), tlvs.len()), (0, 0, 1));
    }
}
