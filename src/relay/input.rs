//! Input of a worker's links: handshakes, then frames.

use super::LinkId;
use super::attached::Port;
use super::circuit::end::Arrival;
use super::conn::{Conn, Greeted};
use super::memory::block::{Buffer, Piece};
use super::worker::{ENDING_MAX, Flow, Forwarder, Notice, Parcel, Why};
use crate::link::{Frame, LinkError};
use crate::wire::CloseCode;
use std::sync::Arc;
use std::time::Instant;

impl Forwarder {
    /// A read has found nothing: whatever was not read before is no more than that.
    pub fn handle_empty(&mut self, id: LinkId) {
        if let Some(Conn::Open(port)) = self.conns.get_mut(&id) {
            port.unread = false;
        }
    }

    /// Uses `block[*at..filled]`, a frame at a time.
    pub(super) fn feed(
        &mut self,
        now: Instant,
        id: LinkId,
        block: &Arc<Buffer>,
        at: &mut usize,
        filled: usize,
    ) -> Flow {
        while *at < filled {
            let start = *at;
            let frame = match self.conns.get_mut(&id) {
                None => return Flow::Gone,
                Some(Conn::Greeting(_)) => {
                    *at += match self.feed_greeting(now, id, &block.bytes()[start..filled]) {
                        Some(taken) => taken,
                        None => return Flow::Gone,
                    };
                    continue;
                }
                Some(Conn::Open(port)) if port.is_ending() => return Flow::Gone,
                Some(Conn::Open(port)) => match port.read(&block.bytes()[start..filled]) {
                    Ok((used, frame)) => {
                        *at += used;
                        frame
                    }
                    Err(error) => return self.fail(now, id, error),
                },
            };
            match frame {
                Frame::Nothing => {}
                Frame::Data { circuit, bytes, credit } => {
                    let range = start + bytes.start..start + bytes.end;
                    if let Flow::Gone = self.data(now, (id, circuit), Piece::new(block, range), credit) {
                        return Flow::Gone;
                    }
                }
                frame => match self.frame(now, id, frame) {
                    Flow::Continue => {}
                    other => return other,
                },
            }
        }
        Flow::Continue
    }

    fn feed_greeting(&mut self, now: Instant, id: LinkId, input: &[u8]) -> Option<usize> {
        let Some(Conn::Greeting(greeting)) = self.conns.get_mut(&id) else { return None };
        let Ok((taken, greeted)) = greeting.handle_bytes(&self.identity, input) else {
            self.drop_conn(now, id, Why::Garbage);
            return None;
        };
        let Greeted::Admitted { link, peer } = greeted else { return Some(taken) };
        let owed = std::mem::take(&mut greeting.output);
        let admission = self.ask(|router, _| router.attach(id, peer));
        let mut port = Box::new(Port::new(now, id, (*link, peer), owed));
        let notice = match admission {
            Ok(share) => {
                port.admit(share);
                Notice::Attached(peer)
            }
            Err(code) => {
                port.end(code, now + ENDING_MAX);
                Notice::TurnedAway(peer, code)
            }
        };
        self.notice(id, notice);
        self.conns.insert(id, Conn::Open(port));
        Some(taken)
    }

    /// A piece of a circuit. Unknown circuits have ended: what is still on its way is dropped.
    fn data(&mut self, now: Instant, (id, circuit): (LinkId, u32), piece: Piece, credit: u32) -> Flow {
        let Some(Conn::Open(port)) = self.conns.get_mut(&id) else { return Flow::Gone };
        if !port.circuits.contains_key(&circuit) {
            return Flow::Continue;
        }
        port.raise_credit(circuit, credit);
        let Some((peer, Ok(arrival))) = port.receive(now, circuit, piece.len()) else {
            self.end(now, id, CloseCode::Protocol);
            return Flow::Gone;
        };
        if arrival == Arrival::Overflows {
            self.cut_circuit(now, (id, circuit), CloseCode::Limit);
            return Flow::Continue;
        }
        self.forwarded_bytes += u64::try_from(piece.len()).unwrap_or(0);
        self.deliver(now, peer, Parcel::Data(peer, piece));
        Flow::Continue
    }

    /// The link is broken: ended with a word if the other side can be told, else closed.
    fn fail(&mut self, now: Instant, id: LinkId, error: LinkError) -> Flow {
        match error {
            LinkError::Header(_) | LinkError::Control(_) => self.end(now, id, CloseCode::Protocol),
            LinkError::Unauthentic | LinkError::Exhausted => self.drop_conn(now, id, Why::Garbage),
        }
        Flow::Gone
    }
}
