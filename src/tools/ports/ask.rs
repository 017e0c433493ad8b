//! An export that serves many targets: a peer names one, and reaches it if the list allows what the name comes to.

use super::Portrep;
use super::approach::Approach;
use super::desk::{End, Owner};
use super::exports::{Dial, TARGET_TIME};
use super::targets::Target;
use crate::net::lookup::Lookup;
use crate::net::slots::Slot;
use crate::net::tcp::Place;
use crate::net::walk::Walk;
use crate::node::Key;
use crate::ports::rules::{Rules, canonical_name};
use crate::ports::service::Wish;
use crate::ports::socks::{self, Destination, Parsed};
use crate::run::tool::Context;
use crate::session::{Half, Session};
use crate::wire::CloseCode;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Names looked up at a time: a thread each, and the resolver may be slow.
const LOOKUPS_MAX: usize = 32;

/// A peer that wants a target, and how far it is.
pub struct Ask {
    /// The session.
    pub key: Key,
    /// The stream.
    pub stream: u32,
    gate: usize,
    said: Vec<u8>,
    lookup: Option<Asked>,
}

/// A name on its way to its addresses.
struct Asked {
    name: String,
    port: u16,
    found: Lookup,
}

impl Ask {
    /// That has said nothing yet.
    pub fn new(key: Key, stream: u32, gate: usize) -> Ask {
        Ask { key, stream, gate, said: Vec::new(), lookup: None }
    }

    /// The destination, once it is there. No byte more is taken than belongs to it.
    fn hear(&mut self, now: Instant, session: &mut Session) -> Result<Option<Destination>, CloseCode> {
        loop {
            let more = match socks::destination(&self.said) {
                Parsed::Done(destination, _) => return Ok(Some(destination)),
                Parsed::Bad(_) => return Err(CloseCode::Refused),
                Parsed::More(count) => count,
            };
            let bytes = session.stream(self.stream).readable();
            let count = bytes.len().min(more);
            self.said.extend_from_slice(&bytes[..count]);
            if count == 0 {
                let open =
                    session.stream(self.stream).recv_half() == Half::Open && !session.stream(self.stream).is_read_out();
                return if open { Ok(None) } else { Err(CloseCode::Cancelled) };
            }
            session.stream_mut(self.stream).read(count);
            session.stream_mut(self.stream).consume(now, count);
        }
    }
}

/// What comes next.
enum Next {
    Wait,
    LookUp(String, u16),
    Dial(Vec<SocketAddr>),
}

impl Portrep {
    /// A peer has opened a stream to say which target it wants.
    pub(super) fn listen_to(&mut self, ctx: &mut Context<'_, Portrep>, ask: Ask) {
        let (key, stream, gate) = (ask.key, ask.stream, ask.gate);
        let slot = self.desk.seat(End::Ask(ask));
        self.desk.wait_until(ctx.now + TARGET_TIME, slot);
        self.desk.own(key, stream, Owner::Export(slot, gate));
        self.desk.enqueue(slot);
    }

    /// The resolver may have answered.
    pub(super) fn poll_lookups(&mut self, ctx: &mut Context<'_, Portrep>) {
        for slot in std::mem::take(&mut self.looking) {
            if matches!(self.desk.ends.get_mut(slot), Some(End::Ask(_))) {
                self.looking.push(slot);
                self.advance_ask(ctx, slot);
            }
        }
    }

    /// The peer, or the resolver, may have said something. True if that led further.
    pub(super) fn advance_ask(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot) -> bool {
        let Some(End::Ask(ask)) = self.desk.ends.get_mut(slot) else { return false };
        let Target::Socks(rules) = self.gates[ask.gate].resolved.target() else { return false };
        match next(ctx, ask, rules) {
            Ok(Next::Wait) => return false,
            Ok(Next::LookUp(name, port)) => {
                if self.looking.len() >= LOOKUPS_MAX {
                    self.turn_down(ctx, slot, CloseCode::Limit);
                } else if let Ok(found) = Lookup::start(&name, ctx.waker) {
                    ask.lookup = Some(Asked { name, port, found });
                    self.looking.push(slot);
                } else {
                    self.turn_down(ctx, slot, CloseCode::Limit);
                }
            }
            Ok(Next::Dial(addresses)) => self.dial_asked(slot, addresses),
            Err(code) => self.turn_down(ctx, slot, code),
        }
        true
    }

    fn dial_asked(&mut self, slot: Slot, addresses: Vec<SocketAddr>) {
        let walk = Walk::new(self.purpose(), slot.token(), addresses.into_iter().map(Place::Tcp));
        self.desk.ends.alter(slot, |end| match end {
            End::Ask(ask) => {
                let approach = Approach::to_places(walk);
                Some(End::Dial(Dial::new(approach, (ask.key, ask.stream), (ask.gate, Wish::Proxied))))
            }
            other => Some(other),
        });
        self.desk.enqueue(slot);
    }

    fn turn_down(&mut self, ctx: &mut Context<'_, Portrep>, slot: Slot, code: CloseCode) {
        if let Some(End::Ask(ask)) = self.desk.take(slot) {
            self.desk.refuse_stream(ctx, (ask.key, ask.stream), code);
        }
    }
}

fn next(ctx: &mut Context<'_, Portrep>, ask: &mut Ask, rules: &Rules) -> Result<Next, CloseCode> {
    let session = ctx.node.session(ask.key).ok_or(CloseCode::Cancelled)?;
    if let Half::Broken(_) = session.stream(ask.stream).recv_half() {
        return Err(CloseCode::Cancelled);
    }
    if let Some(lookup) = &ask.lookup {
        return match lookup.found.poll() {
            None => Ok(Next::Wait),
            Some(Ok(found)) => {
                let addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
                permitted(rules, Some(&lookup.name), &addresses, lookup.port)
            }
            Some(Err(_)) => Err(CloseCode::TargetUnreachable),
        };
    }
    let (name, port) = match ask.hear(ctx.now, session)? {
        None => return Ok(Next::Wait),
        Some(Destination::Address(address)) => return permitted(rules, None, &[address.ip()], address.port()),
        Some(Destination::Name(name, port)) => (canonical_name(&name).ok_or(CloseCode::Refused)?, port),
    };
    match name.parse::<IpAddr>() {
        Ok(address) => permitted(rules, None, &[address], port),
        Err(_) if rules.may_name(&name, port) => Ok(Next::LookUp(name, port)),
        Err(_) => Err(CloseCode::Refused),
    }
}

fn permitted(rules: &Rules, name: Option<&str>, addresses: &[IpAddr], port: u16) -> Result<Next, CloseCode> {
    let allowed = rules.allowed(name, addresses, port);
    if allowed.is_empty() { Err(CloseCode::Refused) } else { Ok(Next::Dial(allowed)) }
}
