//! Who asks, as web servers in front say it in a request: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Each that a request comes through adds, at the right, from where it had it. So the list is read from the right: what one that
//! is trusted has said is so, and what stands to the left of it was said by whoever is there. Where a word is no address, what is
//! sure is the one before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The two fields of a request, of each all its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::carrier) struct Said<'a> {
    /// `Forwarded`.
    pub forwarded: Vec<&'a [u8]>,
    /// `X-Forwarded-For`.
    pub x_forwarded_for: Vec<&'a [u8]>,
}

/// Who asks, where the request came from `nearest`, which is trusted to say it as all are of which `is_front` is true.
///
/// Where both fields are there and differ, one may be what a client has said, which the other's writer let pass: neither is believed.
pub(super) fn source(nearest: IpAddr, said: &Said<'_>, is_front: impl Fn(IpAddr) -> bool) -> IpAddr {
    let listed = said.x_forwarded_for.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',').map(listed));
    let named = said.forwarded.iter().rev().flat_map(|line| elements(line).into_iter().rev());
    let by_list = walk(nearest, listed, &is_front);
    let by_name = walk(nearest, named, &is_front);
    match (said.x_forwarded_for.is_empty(), said.forwarded.is_empty()) {
        (_, true) => by_list,
        (true, false) => by_name,
        (false, false) if by_list == by_name => by_list,
        (false, false) => nearest,
    }
}

/// The first that is not trusted, or the last of whom somebody trusted has spoken.
fn walk(nearest: IpAddr, said: impl Iterator<Item = Option<IpAddr>>, is_front: &impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut source = nearest;
    for address in said {
        if !is_front(source) {
            break;
        }
        let Some(address) = address else { break };
        source = address;
    }
    source
}

/// One of a list: an address of either kind, and perhaps a port, for which IPv6 stands in brackets.
fn listed(word: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(word.trim_ascii()).ok()?;
    text.parse().ok().map(|address: IpAddr| address.to_canonical()).or_else(|| node(text))
}

/// A node that is an address (RFC 7239, 6), IPv6 in brackets. Those that hide who they are have none.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (six, port) = rest.split_once(']')?;
            (IpAddr::from(six.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (four, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (IpAddr::from(four.parse::<Ipv4Addr>().ok()?), port)
        }
    };
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then(|| address.to_canonical())
}

fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(hidden) => {
            !hidden.is_empty() && hidden.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// What each element of a line of `Forwarded` says of who has asked there. Of a line that is none, nothing is known: where a quote
/// is left open, what a server has added may be inside of it.
fn elements(line: &[u8]) -> Vec<Option<IpAddr>> {
    let mut rest = line;
    let mut found = Vec::new();
    loop {
        let Some((element, behind)) = element(rest) else { return vec![None] };
        found.push(element);
        match behind.split_first() {
            None => return found,
            Some((_, behind)) => rest = behind,
        }
    }
}

/// An element, and what follows it from its comma on. None: it is none.
fn element(line: &[u8]) -> Option<(Option<IpAddr>, &[u8])> {
    let mut rest = line;
    let (mut source, mut is_said) = (None, false);
    loop {
        rest = rest.trim_ascii_start();
        let name = &rest[..rest.iter().take_while(|byte| is_token(**byte)).count()];
        if !name.is_empty() {
            let (value, behind) = value(rest[name.len()..].strip_prefix(b"=")?)?;
            if name.eq_ignore_ascii_case(b"for") && std::mem::replace(&mut is_said, true) {
                return None;
            } else if name.eq_ignore_ascii_case(b"for") {
                source = std::str::from_utf8(&value).ok().and_then(node);
            }
            rest = behind.trim_ascii_start();
        }
        match rest.first() {
            None | Some(b',') => return Some((source, rest)),
            Some(b';') => rest = &rest[1..],
            Some(_) => return None,
        }
    }
}

/// A value, a token or in quotes, and what is behind it.
fn value(rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut quoted) = rest.strip_prefix(b"\"") else {
        let count = rest.iter().take_while(|byte| is_token(**byte)).count();
        return (count > 0).then(|| (rest[..count].to_vec(), &rest[count..]));
    };
    let mut value = Vec::new();
    loop {
        match quoted {
            [b'"', behind @ ..] => return Some((value, behind)),
            [b'\\', byte, behind @ ..] => {
                value.push(*byte);
                quoted = behind;
            }
            [] | [b'\\'] => return None,
            [byte, behind @ ..] => {
                value.push(*byte);
                quoted = behind;
            }
        }
    }
}

/// Characters of a token (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
