//! What stands in front of a relay: web servers and load balancers that are trusted to say where connections come from, and the
//! path that they lead to it.
//!
//! One rule decides whom to believe: an address says where it has a connection from, and is believed if it is trusted. So what a
//! PROXY header says is the next address; what is said in the request is asked only while that one is trusted, too, as where a
//! load balancer stands in front of web servers. Nobody else's word counts.

mod forwarded;
mod proxy_header;

use crate::names::Fronts;
pub(super) use forwarded::Said;
use proxy_header::{Heard, Malformed, ProxyHeader};
use std::net::IpAddr;
use std::sync::Arc;

/// Somebody who has connected to a relay, as far as is known.
#[derive(Clone, Debug)]
pub struct Visitor {
    fronts: Arc<Fronts>,
    /// The nearest address that is sure.
    source: IpAddr,
    /// Whether a front has connected, and nobody has been told yet where it has that from.
    is_sought: bool,
}

impl Default for Visitor {
    /// From nowhere that is known, to a relay that nothing stands in front of.
    fn default() -> Visitor {
        Visitor::new(Arc::default(), IpAddr::from([0, 0, 0, 0]))
    }
}

impl Visitor {
    /// From this address.
    pub fn new(fronts: Arc<Fronts>, address: IpAddr) -> Visitor {
        let (source, is_sought) = (address.to_canonical(), fronts.are_at(address));
        Visitor { fronts, source, is_sought }
    }

    /// The nearest address that is sure.
    pub(super) fn address(&self) -> IpAddr {
        self.source
    }

    /// What it may say ahead of all else.
    pub(super) fn ahead(&self) -> Option<Box<Ahead>> {
        self.is_sought.then(Box::default)
    }

    /// Where a front has it from, once there is nothing more to be said: once, and None if no front has connected.
    pub(super) fn take_source(&mut self) -> Option<IpAddr> {
        std::mem::take(&mut self.is_sought).then_some(self.source)
    }

    /// The same while more may be said, where nothing can change it: whoever holds back his first byte is bounded already.
    pub(super) fn take_sure_source(&mut self) -> Option<IpAddr> {
        if self.fronts.are_at(self.source) { None } else { self.take_source() }
    }

    /// Whether a request for this is one for the relay.
    pub(super) fn may_ask_for(&self, target: &str) -> bool {
        self.fronts.path.as_ref().is_none_or(|path| path.is_of(target))
    }

    /// The request says this of where it comes from.
    pub(super) fn handle_said(&mut self, said: &Said<'_>) {
        self.source = forwarded::source(self.source, said, |address| self.fronts.are_at(address));
    }
}

/// What a front says ahead of all else, if it does.
#[derive(Debug, Default)]
pub(super) struct Ahead(ProxyHeader);

/// What came of some bytes.
pub(super) enum Passed {
    /// All were used, and more are to come before others are.
    None,
    /// It is over: so many of the bytes were used, and these, which came before and are none of it, go first.
    Through(usize, &'static [u8]),
    /// What came is nothing that anybody says.
    Garbage,
}

impl Ahead {
    /// Bytes came from this visitor.
    pub(super) fn handle_wire(&mut self, visitor: &mut Visitor, wire: &[u8]) -> Passed {
        match self.0.handle_bytes(wire) {
            Ok(Heard::More) => Passed::None,
            Ok(Heard::Absent(before)) => Passed::Through(0, before),
            Ok(Heard::Over(used, said)) => {
                visitor.source = said.unwrap_or(visitor.source);
                Passed::Through(used, &[])
            }
            Err(Malformed) => Passed::Garbage,
        }
    }
}

/// Fuzz entry: any bytes as a PROXY header, in one piece and byte by byte, and as both fields of a request.
#[cfg(feature = "fuzzing")]
pub fn fuzz_forwarded(data: &[u8]) {
    let read = |step: usize| {
        let (mut header, mut came) = (ProxyHeader::default(), 0);
        for piece in data.chunks(step.max(1)) {
            match header.handle_bytes(piece) {
                Ok(Heard::More) => came += piece.len(),
                Ok(Heard::Absent(before)) => {
                    assert_eq!(before, &data[came - before.len()..came]);
                    return Ok(None);
                }
                Ok(Heard::Over(used, source)) => return Ok(Some((came + used, source))),
                Err(malformed) => return Err(malformed),
            }
        }
        Ok(None)
    };
    assert_eq!(read(1), read(data.len()));
    let fronts = Fronts { trusted: "127.0.0.0/8".parse().into_iter().collect(), path: None };
    let front = IpAddr::from([127, 0, 0, 1]);
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let of = |said: &Said<'_>| forwarded::source(front, said, |address| fronts.are_at(address));
    let by_list = of(&Said { x_forwarded_for: lines.clone(), ..Said::default() });
    let by_name = of(&Said { forwarded: lines.clone(), ..Said::default() });
    let both = of(&Said { forwarded: lines.clone(), x_forwarded_for: lines.clone() });
    assert_eq!(both, if by_list == by_name { by_list } else { front });
    // Whoever stands in front of a client has the last word.
    let added: &[u8] = b"192.0.2.1";
    let said = of(&Said { x_forwarded_for: lines.into_iter().chain([added]).collect(), ..Said::default() });
    assert_eq!(said, IpAddr::from([192, 0, 2, 1]));
}

#[cfg(test)]
#[path = "../tests/front.rs"]
mod tests;
