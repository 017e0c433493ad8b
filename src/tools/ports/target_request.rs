//! A stream of a peer on its way to a target that the peer names: which one it wants, and the addresses that the rules of
//! the export allow it of what the name comes to.

use super::Portrep;
use super::streams::StreamKey;
use crate::net::lookup::Lookup;
use crate::ports::rules::{Allowed, Rules, canonical_name};
use crate::ports::socks::{self, Destination, Parsed};
use crate::run::tool::Context;
use crate::session::{Half, Session};
use crate::wire::CloseCode;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// See the module's text.
pub(super) struct TargetRequest {
    /// The stream.
    pub stream: StreamKey,
    /// The number of the export.
    pub export: usize,
    said: Vec<u8>,
    lookup: Option<NameLookup>,
}

/// A name on its way to its addresses.
pub(super) struct NameLookup {
    /// The name.
    pub name: String,
    /// The port that is wanted of it.
    pub port: u16,
    /// The question.
    pub lookup: Lookup,
}

/// What comes next.
pub(super) enum Next {
    /// The peer or the resolver has something to say.
    Wait,
    /// The addresses of this name are to be looked up, for this port.
    LookUp(String, u16),
    /// The target is at one of these.
    Dial(Allowed),
}

impl TargetRequest {
    /// Of a peer that has said nothing yet.
    pub(super) fn new(stream: StreamKey, export: usize) -> TargetRequest {
        TargetRequest { stream, export, said: Vec::new(), lookup: None }
    }

    /// The name is being looked up.
    pub(super) fn handle_asked(&mut self, lookup: NameLookup) {
        self.lookup = Some(lookup);
    }

    /// How far it is.
    ///
    /// # Errors
    /// The peer names no target, or none that it may reach, or has gone.
    pub(super) fn advance(&mut self, ctx: &mut Context<'_, Portrep>, rules: &Rules) -> Result<Next, CloseCode> {
        let session = ctx.node.session(self.stream.session).ok_or(CloseCode::Cancelled)?;
        if let Half::Broken(_) = session.stream(self.stream.id).recv_half() {
            return Err(CloseCode::Cancelled);
        }
        if let Some(asked) = &self.lookup {
            return match asked.lookup.poll() {
                None => Ok(Next::Wait),
                Some(Ok(found)) => {
                    let addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
                    permitted(rules, Some(&asked.name), &addresses, asked.port)
                }
                Some(Err(_)) => Err(CloseCode::TargetUnreachable),
            };
        }
        let (name, port) = match self.hear(ctx.now, session)? {
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

    /// The destination, once it is there. No byte more is taken than belongs to it.
    fn hear(&mut self, now: Instant, session: &mut Session) -> Result<Option<Destination>, CloseCode> {
        let id = self.stream.id;
        loop {
            let more = match socks::destination(&self.said) {
                Parsed::Done(destination, _) => return Ok(Some(destination)),
                Parsed::Bad(_) => return Err(CloseCode::Refused),
                Parsed::More(count) => count,
            };
            let bytes = session.stream(id).readable();
            let count = bytes.len().min(more);
            self.said.extend_from_slice(&bytes[..count]);
            if count == 0 {
                let open = session.stream(id).recv_half() == Half::Open && !session.stream(id).is_read_out();
                return if open { Ok(None) } else { Err(CloseCode::Cancelled) };
            }
            session.stream_mut(id).read(count);
            session.stream_mut(id).consume(now, count);
        }
    }
}

fn permitted(rules: &Rules, name: Option<&str>, addresses: &[IpAddr], port: u16) -> Result<Next, CloseCode> {
    let allowed = rules.allowed(name, addresses, port);
    if allowed.addresses.is_empty() { Err(CloseCode::Refused) } else { Ok(Next::Dial(allowed)) }
}
