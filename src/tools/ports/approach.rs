//! The way of one connection to its target: a walk over the places of the target, which asks for its name again when it
//! leads nowhere.

use super::names::Name;
use crate::net::endpoint::Endpoint;
use crate::net::lookup::Lookup;
use crate::net::reactor::Registry;
use crate::net::walk::{Walk, Walked};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// If nobody has answered for so long, the name may have moved.
const DOUBT: Duration = Duration::from_secs(1);

/// See the module's text.
pub(super) struct Approach {
    walk: Walk,
    named: Option<Named>,
    fault: Option<io::Error>,
}

/// What a connection knows of the name it leads to.
struct Named {
    port: u16,
    /// The answers that have been taken into the walk; none at the beginning, if what is known is old.
    heard: Option<u64>,
    /// Those there were at the beginning: a later one is the last word.
    before: u64,
    doubts_at: Instant,
    doubted: bool,
}

impl Approach {
    /// Over places that are what they are.
    pub(super) fn to_places(walk: Walk) -> Approach {
        Approach { walk, named: None, fault: None }
    }

    /// To this port of a name; over an empty walk.
    pub(super) fn to_name(now: Instant, walk: Walk, port: u16, name: &Name) -> Approach {
        let named = Named { port, heard: None, before: name.answers(), doubts_at: now + DOUBT, doubted: false };
        Approach { walk, named: Some(named), fault: None }
    }

    /// Looks how far it is. `name` is the target's, if it has one, and `look` begins to look it up.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        registry: &Registry,
        name: Option<&mut Name>,
        look: impl Fn(&str) -> io::Result<Lookup>,
    ) -> Walked {
        let (Some(named), Some(name)) = (&mut self.named, name) else { return self.walk.advance(now, registry) };
        if named.waits_for(now, name) {
            name.ask(now, &look);
            if named.waits_for(now, name) {
                return Walked::Later;
            }
        }
        if named.heard != Some(name.answers()) {
            named.heard = Some(name.answers());
            self.walk.add(name.addresses().iter().map(|address| with_port(*address, named.port)));
        }
        match self.walk.advance(now, registry) {
            Walked::Failed(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    self.fault = Some(error);
                }
                if name.answers() == named.before {
                    name.ask(now, look);
                }
                if name.is_looking() {
                    return Walked::Later;
                }
                Walked::Failed(self.fault.take().unwrap_or_else(|| io::ErrorKind::NotFound.into()))
            }
            Walked::Later => {
                let doubts = now >= named.doubts_at && !std::mem::replace(&mut named.doubted, true);
                if doubts && name.answers() == named.before {
                    name.ask(now, look);
                }
                Walked::Later
            }
            reached @ Walked::Reached(_) => reached,
        }
    }

    /// Why nobody was reached, as far as that is known.
    pub(super) fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    /// When to look again even without an event. The end of a question brings an event.
    pub(super) fn next_timeout(&self, name: Option<&Name>) -> Option<Instant> {
        let doubt = self.named.as_ref().filter(|named| !named.doubted).map(|named| named.doubts_at);
        let unheard = self.named.as_ref().is_some_and(|named| named.heard.is_none());
        let resolver = name.filter(|_| unheard).and_then(Name::waits_until);
        [self.walk.next_timeout(), doubt, resolver].into_iter().flatten().min()
    }
}

impl Named {
    /// Whether the walk has to wait for an answer before it begins.
    fn waits_for(&self, now: Instant, name: &Name) -> bool {
        let overdue = name.waits_until().is_some_and(|until| until <= now);
        self.heard.is_none() && !name.is_fresh(now) && name.answers() == self.before && !overdue
    }
}

fn with_port(mut address: SocketAddr, port: u16) -> Endpoint {
    address.set_port(port);
    Endpoint::Tcp(address)
}
