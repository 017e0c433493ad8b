//! What a load balancer says ahead of a connection's bytes: the PROXY protocol, versions 1 and 2
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! Read strictly, and no byte further than it goes. Of what it says only who has connected to the balancer is of use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a line of version 1 begins.
const LINE_START: [u8; 6] = *b"PROXY ";
/// Longest line, with its end (2.1 of that text).
const LINE_MAX: usize = 107;
/// How version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// Most bytes behind those: addresses, and what else is said, of which nothing is kept. As much as a head of HTTP may have.
const REST_MAX: usize = 4096;

/// It is none that the text allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What came of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It may be one, and more is to come.
    More,
    /// It is none. These came before the bytes that tell, all of which are to be used.
    Absent(&'static [u8]),
    /// It ends behind so many of the bytes. What connected, if that is said; else it is whoever says this.
    Over(usize, Option<IpAddr>),
}

/// A header on its way in.
#[derive(Debug, Default)]
pub(super) struct ProxyHeader {
    /// What came of it, but for what is passed over.
    held: Vec<u8>,
    /// Bytes that are to be passed over, once the rest is held.
    passed_over: Option<usize>,
}

impl ProxyHeader {
    /// Takes what belongs to it from the front of `input`.
    pub(super) fn handle_bytes(&mut self, input: &[u8]) -> Result<Heard, Malformed> {
        for (at, byte) in input.iter().enumerate() {
            if let Some(left) = &mut self.passed_over {
                *left -= 1;
            } else {
                let before = self.held.len();
                self.held.push(*byte);
                match self.held[0] {
                    b'P' if before < LINE_START.len() && *byte != LINE_START[before] => {
                        return Ok(Heard::Absent(&LINE_START[..before - at]));
                    }
                    b'P' if before < LINE_START.len() => {}
                    b'P' => {
                        if self.has_whole_line()? {
                            return Ok(Heard::Over(at + 1, source_in_line(&self.held)?));
                        }
                    }
                    b'\r' => self.passed_over = self.passed_over_next()?,
                    _ => return Ok(Heard::Absent(&[])),
                }
            }
            if self.passed_over == Some(0) {
                return Ok(Heard::Over(at + 1, source_in_binary(&self.held)));
            }
        }
        Ok(Heard::More)
    }

    /// Whether all of a line is there.
    fn has_whole_line(&self) -> Result<bool, Malformed> {
        match self.held[..] {
            [.., b'\r', b'\n'] => Ok(true),
            [.., b'\n'] | [.., b'\r', _] => Err(Malformed),
            _ if self.held.len() == LINE_MAX => Err(Malformed),
            _ => Ok(false),
        }
    }

    /// How much of version 2 is to be passed over, once all else of it is there.
    fn passed_over_next(&self) -> Result<Option<usize>, Malformed> {
        let start = self.held.len().min(SIGNATURE.len());
        if self.held[..start] != SIGNATURE[..start] {
            return Err(Malformed);
        }
        let [_, _, _, _, _, _, _, _, _, _, _, _, command, family, high, low, ..] = self.held[..] else {
            return Ok(None);
        };
        let rest = usize::from(u16::from_be_bytes([high, low]));
        let addresses = match (command, family) {
            (0x20, _) => 0,
            (0x21, 0x00) => 0,
            (0x21, 0x11 | 0x12) => 12,
            (0x21, 0x21 | 0x22) => 36,
            (0x21, 0x31 | 0x32) => 216,
            _ => return Err(Malformed),
        };
        if !(addresses..=REST_MAX).contains(&rest) {
            return Err(Malformed);
        }
        // Of the others nothing would be read.
        let held = if matches!(family, TCP_4 | TCP_6) { addresses } else { 0 };
        Ok((self.held.len() == FIXED_BYTES + held).then_some(rest - held))
    }
}

/// Connections over IPv4, and over IPv6.
const TCP_4: u8 = 0x11;
const TCP_6: u8 = 0x21;

/// Who has connected, by a header of version 2; None where that is the sender itself, or has no such address.
fn source_in_binary(held: &[u8]) -> Option<IpAddr> {
    let (fixed, addresses) = held.split_first_chunk::<FIXED_BYTES>()?;
    match fixed[13] {
        TCP_4 => addresses.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into()),
        TCP_6 => addresses.first_chunk::<16>().map(|octets| IpAddr::from(Ipv6Addr::from(*octets)).to_canonical()),
        _ => None,
    }
}

/// The same by a line of version 1.
fn source_in_line(line: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    let text = std::str::from_utf8(&line[LINE_START.len()..line.len() - 2]).map_err(|_| Malformed)?;
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let mut words = text.split(' ');
    let mut next = || words.next().ok_or(Malformed);
    let (family, from, to) = (next()?, next()?, next()?);
    let ports = [next()?, next()?];
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port.to_string() == text);
    if words.next().is_some() || !ports.into_iter().all(is_port) {
        return Err(Malformed);
    }
    let source = match family {
        "TCP4" => to.parse::<Ipv4Addr>().and(from.parse::<Ipv4Addr>()).map(IpAddr::from),
        "TCP6" => to.parse::<Ipv6Addr>().and(from.parse::<Ipv6Addr>()).map(IpAddr::from),
        _ => return Err(Malformed),
    };
    source.map(|source| Some(source.to_canonical())).map_err(|_| Malformed)
}
