//! The carrier's life: dialled, shaken hands with, up, gone; and what follows from each.

use super::sibling::SIBLING;
use super::{Down, Event, Failure, Node, Phase, Wait};
use crate::link::{Admitted, Dial, Frame, HandshakeFailure, Heartbeat, Link, LinkError, Side};
use crate::wire::limits::HANDSHAKE_DEADLINE;
use crate::wire::{CloseCode, Control, Name};
use std::time::{Duration, Instant};

/// A link that was silent for the dead time after a pause is lost just behind it.
const PAUSE_MARGIN: Duration = Duration::from_secs(1);

pub enum Carrier {
    /// None; dial when the time has come.
    Idle { dial_at: Instant },
    /// Asked for; whoever drives the node is at it.
    Dialling { give_up_at: Instant },
    /// Connected; waiting for message 2.
    Shaking { dial: Option<Box<Dial>>, give_up_at: Instant },
    /// Frames.
    Up { link: Box<Link>, heartbeat: Heartbeat, welcomed: bool },
}

impl Node {
    /// A carrier is wanted now: the place of the relay in the list. Answer with [`Node::handle_connected`] or
    /// [`Node::handle_down`].
    pub fn poll_dial(&mut self, now: Instant) -> Option<usize> {
        let Carrier::Idle { dial_at } = self.carrier else { return None };
        if now < dial_at || self.fatal {
            return None;
        }
        self.carrier = Carrier::Dialling { give_up_at: now + HANDSHAKE_DEADLINE };
        Some(self.relay)
    }

    /// Whether the driver should hold a carrier: false tells it to drop the one it has.
    pub fn wants_carrier(&self) -> bool {
        !matches!(self.carrier, Carrier::Idle { .. })
    }

    /// The carrier that was asked for is connected.
    pub fn handle_connected(&mut self, now: Instant) {
        let relay = self.config.relays[self.relay];
        self.out.clear();
        match Dial::new(&self.config.identity, relay) {
            Ok((dial, hello)) => {
                self.out.bytes.extend(hello);
                self.carrier = Carrier::Shaking { dial: Some(Box::new(dial)), give_up_at: now + HANDSHAKE_DEADLINE };
            }
            Err(_) => self.handle_down(now, Down::Damaged),
        }
    }

    /// The carrier is gone, or could not be had.
    pub fn handle_down(&mut self, now: Instant, why: Down) {
        if let Carrier::Idle { .. } = self.carrier {
            return;
        }
        let unproven = matches!((&self.carrier, why), (Carrier::Shaking { .. }, Down::Closed));
        let why = if unproven { Down::Unproven } else { why };
        let was_up = matches!(self.carrier, Carrier::Up { .. });
        let paused = self.paused_until.take().is_some_and(|until| was_up && now < until);
        let why = if paused && matches!(why, Down::Closed | Down::Silent) { Down::Paused } else { why };
        // A relay that only ever took the connection has not shown that it is of use: keep backing off.
        if matches!(self.carrier, Carrier::Up { welcomed: true, .. }) {
            self.backoff.reset();
        }
        self.events.push_back(Event::RelayDown { relay: self.relay, why });
        self.last_down = why;
        self.out.clear();
        self.lose_circuits(now);
        let refused = matches!(why, Down::Said(CloseCode::Refused) | Down::Impostor);
        self.refusals += usize::from(refused);
        self.tried += 1;
        self.relay = (self.relay + 1) % self.config.relays.len();
        self.carrier = Carrier::Idle { dial_at: now + self.backoff.next() };
        if self.refusals >= self.config.relays.len() {
            let failure = match why {
                Down::Said(code) => Failure::RefusedByRelay(code),
                other => Failure::NoRelay(other),
            };
            self.fail_all(failure);
        } else if self.config.wait == Wait::No && !self.met && self.tried >= self.config.relays.len() {
            self.fail_all(Failure::NoRelay(why));
        }
    }

    /// Whoever drives us was stopped for a while, and nobody answered for us. Silence counts from now on; and whoever has given
    /// us up meanwhile was right.
    pub fn handle_pause(&mut self, now: Instant) {
        self.paused_until = Some(now + self.config.times.dead_time + PAUSE_MARGIN);
        if let Carrier::Up { heartbeat, .. } = &mut self.carrier {
            heartbeat.handle_pause(now);
        }
        for entry in self.entries.values_mut() {
            if let Phase::Up { session, .. } = &mut entry.phase {
                session.handle_pause(now);
            }
        }
    }

    /// Why no relay is there, as far as is known.
    pub(super) fn lack(&self) -> Down {
        if let Carrier::Shaking { .. } = self.carrier { Down::Mute } else { self.last_down }
    }

    pub(super) fn carrier_deadline(&self) -> Option<Instant> {
        match &self.carrier {
            Carrier::Idle { .. } if self.fatal => None,
            Carrier::Idle { dial_at } => Some(*dial_at),
            Carrier::Dialling { give_up_at } | Carrier::Shaking { give_up_at, .. } => Some(*give_up_at),
            Carrier::Up { heartbeat, .. } => Some(heartbeat.deadline()),
        }
    }

    pub(super) fn handle_carrier_timeout(&mut self, now: Instant) {
        let why = match &mut self.carrier {
            Carrier::Idle { .. } => return,
            Carrier::Dialling { give_up_at } if now >= *give_up_at => Down::Unreachable,
            Carrier::Shaking { give_up_at, .. } if now >= *give_up_at => Down::Mute,
            Carrier::Up { heartbeat, .. } if heartbeat.is_dead(now) => Down::Silent,
            Carrier::Up { heartbeat, link, .. } => {
                if heartbeat.take_ping(now) && link.ping(0, &mut self.out.bytes).is_err() {
                    Down::Damaged
                } else {
                    return;
                }
            }
            _ => return,
        };
        self.handle_down(now, why);
    }

    /// Takes bytes of the carrier from the front of `input`. Yields how many; the rest, always less than one control
    /// frame, comes again with more behind it.
    pub fn handle_bytes(&mut self, now: Instant, input: &[u8]) -> usize {
        let mut at = 0;
        if let Carrier::Shaking { .. } = self.carrier {
            at = self.shake(now, input);
        }
        if let Carrier::Up { heartbeat, .. } = &mut self.carrier {
            heartbeat.handle_received(now);
        }
        while let Carrier::Up { link, .. } = &mut self.carrier {
            let from = at;
            match link.advance(&input[at..]) {
                Ok((0, Frame::Nothing)) => return at,
                Ok((used, frame)) => {
                    at += used;
                    if let Err(why) = self.handle_frame(now, frame, &input[from..]) {
                        self.handle_down(now, why);
                    }
                }
                Err(error) => self.handle_down(now, Self::down_by(error)),
            }
        }
        // The carrier is not up (any more): nothing of the input has a meaning, except before the handshake's end.
        if matches!(self.carrier, Carrier::Shaking { .. }) { at } else { input.len() }
    }

    fn down_by(_: LinkError) -> Down {
        Down::Damaged
    }

    fn shake(&mut self, now: Instant, input: &[u8]) -> usize {
        let Carrier::Shaking { dial, .. } = &mut self.carrier else { return 0 };
        let Some(machine) = dial.take() else { return 0 };
        match machine.handle_bytes(input, &mut self.out.bytes) {
            Ok(Err(unfinished)) => {
                *dial = Some(Box::new(unfinished));
                0
            }
            Ok(Ok(Admitted { card, .. })) if self.clock.has_passed(&card) => {
                self.handle_down(now, Down::Impostor);
                0
            }
            Ok(Ok(Admitted { link, used, .. })) => {
                let heartbeat = Heartbeat::new(now, Side::Client, self.config.times.dead_time);
                self.carrier = Carrier::Up { link: Box::new(link), heartbeat, welcomed: false };
                self.attach(now);
                used
            }
            Err(HandshakeFailure::Noise(_)) => {
                self.handle_down(now, Down::Impostor);
                0
            }
            Err(_) => {
                self.handle_down(now, Down::Damaged);
                0
            }
        }
    }

    /// The link is up: everything we want from the relay goes out behind message 3, in the same flight.
    fn attach(&mut self, now: Instant) {
        if self.findable {
            for app in self.apps.clone() {
                self.send_listen_app(app);
            }
        }
        // After them: whoever waits for one of them is not to hear first that we are here without it.
        if self.listens_to_presence() {
            self.send_presence();
        }
        if !self.apps.is_empty() {
            self.siblings.forget_answers();
            self.send_listen(Name::Session(SIBLING));
        }
        for key in self.keys() {
            if let Some(Phase::Up { session, .. }) = self.entries.get(&key).map(|entry| &entry.phase) {
                if session.role() == crate::session::Role::Responder {
                    let name = Name::Session(session.rendezvous());
                    self.send_listen(name);
                }
            }
        }
        self.place_calls(now);
        self.refresh_busy(now);
    }

    pub(super) fn send_listen(&mut self, name: Name) {
        self.send_control(&Control::Listen { name });
    }

    pub(super) fn send_unlisten(&mut self, name: Name) {
        self.send_control(&Control::Unlisten { name });
    }

    /// Queues a control message, if a link is up to carry it. State that outlives a link is sent again by `attach`.
    pub(super) fn send_control(&mut self, message: &Control) {
        if let Carrier::Up { link, .. } = &mut self.carrier {
            // It can fail by caps that our own messages keep, and by a key used up after 2^64 messages.
            let sent = link.control(message, &mut self.out.bytes);
            debug_assert!(sent.is_ok());
        }
    }

    pub(super) fn welcome(&mut self) {
        if let Carrier::Up { welcomed, .. } = &mut self.carrier {
            *welcomed = true;
            self.refusals = 0;
            self.events.push_back(Event::RelayUp { relay: self.relay });
        }
    }

    /// A link with circuits, or with hopes of one, must notice its death soon.
    pub(super) fn refresh_busy(&mut self, now: Instant) {
        let busy = !self.circuits.is_empty() || !self.entries.is_empty();
        if let Carrier::Up { heartbeat, .. } = &mut self.carrier {
            heartbeat.set_busy(now, busy);
        }
    }
}
