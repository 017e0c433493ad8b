//! One link to one relay: dialled, shaken hands with, up, gone; its circuits and its output. Of sessions it knows nothing but
//! where their bytes come from.

use super::Down;
use super::backoff::Backoff;
use super::circuits::{Circuit, CircuitId, Circuits, UplinkId, Use};
use super::entry::LinkState;
use super::handshakes::Handshakes;
use super::output::Output;
use super::sessions::Sessions;
use crate::identity::PeerId;
use crate::link::{Admitted, Dial, Frame, HandshakeFailure, Heartbeat, Link, Side};
#[cfg(feature = "canaries")]
use crate::wire::Features;
use crate::wire::limits::{DATA_BODY_MAX, HANDSHAKE_DEADLINE, SEALED_HEADER_BYTES};
use crate::wire::{CloseCode, Control, Header, Kind, Name};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A link that was silent for the dead time after a pause is lost just behind it.
const PAUSE_MARGIN: Duration = Duration::from_secs(1);
/// Output is filled up to here: one whole DATA frame more may follow.
const OUTPUT_TARGET: usize = DATA_BODY_MAX;

enum State {
    /// No carrier; dial when the time has come.
    Idle { dial_at: Instant },
    /// Asked for; whoever drives the node is at it. `awaited`: what is still to come, as what it would lack without.
    Dialling { give_up_at: Instant, awaited: Down },
    /// Connected; waiting for message 2.
    Shaking { dial: Option<Box<Dial>>, give_up_at: Instant },
    /// Frames.
    Up { link: Box<Link>, heartbeat: Heartbeat, welcomed: Option<Instant> },
}

/// A CONNECT.
pub(super) struct Request {
    pub to: PeerId,
    pub name: Name,
    pub wait_ms: u32,
    pub early: Vec<u8>,
}

/// What bytes came to before frames do.
pub(super) struct Received {
    /// How many of them were taken.
    pub used: usize,
    /// The link is up.
    pub is_new: bool,
}

/// A link that is gone.
pub(super) struct Gone {
    /// Which relay it was.
    pub relay: usize,
    /// Why.
    pub why: Down,
    /// What it carried.
    pub circuits: BTreeMap<u32, Circuit>,
}

/// A link that lasted so long was of use, whatever became of it.
const USEFUL_AFTER: Duration = Duration::from_millis(200);
/// The same of one that the relay ended with a word: it is up and means it.
const SAID_USEFUL_AFTER: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Uplink {
    id: UplinkId,
    /// By id, in order of preference.
    relays: Vec<PeerId>,
    dead_time: Duration,
    state: State,
    backoff: Backoff,
    /// The one that is dialled, or dialled next.
    relay: usize,
    /// Relays in a row that will not have us.
    refusals: usize,
    /// Links that came to their end.
    tried: usize,
    last_down: Down,
    /// What is lost before then is lost because we were stopped.
    paused_until: Option<Instant>,
    out: Output,
    pub circuits: Circuits,
}

impl Uplink {
    pub(super) fn new(now: Instant, relays: Vec<PeerId>, dead_time: Duration, seed: u64) -> Uplink {
        Uplink {
            id: UplinkId::FIRST,
            relays,
            dead_time,
            state: State::Idle { dial_at: now },
            backoff: Backoff::new(seed),
            relay: 0,
            refusals: 0,
            tried: 0,
            last_down: Down::Unreachable,
            paused_until: None,
            out: Output::default(),
            circuits: Circuits::default(),
        }
    }

    /// The network is back: dial now, whatever the back-off says.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.backoff.reset();
        if let State::Idle { dial_at } = &mut self.state {
            *dial_at = now;
        }
    }

    /// Which relay is to be dialled now, if one is.
    pub(super) fn poll_dial(&mut self, now: Instant) -> Option<usize> {
        let State::Idle { dial_at } = self.state else { return None };
        if now < dial_at {
            return None;
        }
        self.state = State::Dialling { give_up_at: now + HANDSHAKE_DEADLINE, awaited: Down::Unresolved };
        Some(self.relay)
    }

    /// Whether there is no carrier, nor one under way.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle { .. })
    }

    /// Whether the handshake has yet to come to its end.
    pub(super) fn is_shaking(&self) -> bool {
        matches!(self.state, State::Shaking { .. })
    }

    pub(super) fn is_attached(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// What both ends of the link can do, while it is up.
    #[cfg(feature = "canaries")]
    pub(super) fn features(&self) -> Option<&Features> {
        match &self.state {
            State::Up { link, .. } => Some(link.features()),
            _ => None,
        }
    }

    /// What this link can do for sessions.
    pub(super) fn state(&self) -> LinkState {
        match self.state {
            State::Up { .. } if self.out.is_empty() => LinkState::Drained,
            State::Up { .. } => LinkState::Busy,
            _ => LinkState::Down,
        }
    }

    /// Why no relay is there, as far as is known. That one failed says more than that another has not answered yet, unless
    /// that one has taken the connection.
    pub(super) fn lack(&self) -> Down {
        match self.state {
            State::Shaking { .. } => Down::Mute,
            State::Up { .. } => Down::Undecided,
            State::Dialling { awaited, .. } if self.tried == 0 => awaited,
            State::Dialling { .. } | State::Idle { .. } => self.last_down,
        }
    }

    /// Whether a relay has taken us in.
    pub(super) fn is_welcome(&self) -> bool {
        matches!(self.state, State::Up { welcomed: Some(_), .. })
    }

    /// Whether each relay has been tried.
    pub(super) fn has_tried_all(&self) -> bool {
        self.tried >= self.relays.len()
    }

    /// Whether no relay will have us.
    pub(super) fn is_refused_by_all(&self) -> bool {
        self.refusals >= self.relays.len()
    }

    /// The addresses of the relay are known, and one of them has to answer now.
    pub(super) fn handle_resolved(&mut self) {
        self.handle_on_the_way(Down::Unanswered);
    }

    /// One of them has answered, and has to say what it is now.
    pub(super) fn handle_reached(&mut self) {
        self.handle_on_the_way(Down::Mute);
    }

    /// Something has to answer now, of which this is lacked if it does not.
    pub(super) fn handle_on_the_way(&mut self, lacks: Down) {
        if let State::Dialling { awaited, .. } = &mut self.state {
            *awaited = lacks;
        }
    }

    /// The carrier that was asked for is there.
    pub(super) fn handle_connected(&mut self, now: Instant, us: &Handshakes) -> Result<(), Down> {
        self.out.clear();
        let (dial, hello) =
            Dial::naming(us.features().clone(), us.identity(), self.relays[self.relay]).map_err(|_| Down::Damaged)?;
        self.out.bytes.extend(hello);
        self.state = State::Shaking { dial: Some(Box::new(dial)), give_up_at: now + HANDSHAKE_DEADLINE };
        Ok(())
    }

    /// The carrier is gone, or could not be had. Nothing if there was none to lose.
    pub(super) fn handle_down(&mut self, now: Instant, why: Down) -> Option<Gone> {
        let (was_up, welcomed) = match self.state {
            State::Idle { .. } => return None,
            State::Up { welcomed, .. } => (true, welcomed),
            State::Dialling { .. } | State::Shaking { .. } => (false, None),
        };
        let is_unproven = matches!((&self.state, why), (State::Shaking { .. }, Down::Closed));
        let why = if is_unproven { Down::Unproven } else { why };
        let is_paused = self.paused_until.take().is_some_and(|until| was_up && now < until);
        let why = if is_paused && matches!(why, Down::Closed | Down::Silent) { Down::Paused } else { why };
        if welcomed.is_some_and(|since| was_of_use(now.saturating_duration_since(since), why)) {
            self.backoff.reset();
        }
        let relay = self.relay;
        self.last_down = why;
        self.refusals += usize::from(matches!(why, Down::Said(CloseCode::Refused) | Down::Impostor | Down::ProxyLogin));
        self.tried += 1;
        self.relay = (relay + 1) % self.relays.len();
        self.state = State::Idle { dial_at: now + self.backoff.next() };
        self.out.clear();
        Some(Gone { relay, why, circuits: self.circuits.take_all() })
    }

    /// Whoever drives us was stopped for a while, and nobody answered for us. Silence counts from now on; and whoever has given
    /// us up meanwhile was right.
    pub(super) fn handle_pause(&mut self, now: Instant) {
        self.paused_until = Some(now + self.dead_time + PAUSE_MARGIN);
        if let State::Up { heartbeat, .. } = &mut self.state {
            heartbeat.handle_pause(now);
        }
    }

    /// When [`Uplink::handle_timeout`] or [`Uplink::poll_dial`] has something to do.
    pub(super) fn next_timeout(&self) -> Instant {
        match &self.state {
            State::Idle { dial_at } => *dial_at,
            State::Dialling { give_up_at, .. } | State::Shaking { give_up_at, .. } => *give_up_at,
            State::Up { heartbeat, .. } => heartbeat.deadline(),
        }
    }

    /// Time has passed. An error is why the carrier is of no more use.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Down> {
        match &mut self.state {
            State::Dialling { give_up_at, awaited } if now >= *give_up_at => Err(*awaited),
            State::Shaking { give_up_at, .. } if now >= *give_up_at => Err(Down::Mute),
            State::Up { heartbeat, .. } if heartbeat.is_dead(now) => Err(Down::Silent),
            State::Up { heartbeat, link, .. } => match heartbeat.take_ping(now) {
                true => link.ping(0, &mut self.out.bytes).map_err(|_| Down::Damaged),
                false => Ok(()),
            },
            State::Idle { .. } | State::Dialling { .. } | State::Shaking { .. } => Ok(()),
        }
    }

    /// Bytes came: what the handshake takes of them.
    pub(super) fn handle_received(&mut self, now: Instant, input: &[u8], us: &Handshakes) -> Result<Received, Down> {
        let mut received = Received { used: 0, is_new: false };
        if let State::Shaking { dial, .. } = &mut self.state
            && let Some(machine) = dial.take()
        {
            match machine.handle_bytes(input, &mut self.out.bytes) {
                Ok(Err(unfinished)) => *dial = Some(Box::new(unfinished)),
                Ok(Ok(Admitted { card, .. })) if us.has_passed(&card) => return Err(Down::Impostor),
                Ok(Ok(Admitted { link, used, .. })) => {
                    let heartbeat = Heartbeat::new(now, Side::Client, self.dead_time);
                    self.state = State::Up { link: Box::new(link), heartbeat, welcomed: None };
                    received = Received { used, is_new: true };
                }
                Err(HandshakeFailure::Noise(_)) => return Err(Down::Impostor),
                Err(HandshakeFailure::NotVp | HandshakeFailure::Version(_)) => return Err(Down::NotRelay),
            }
        }
        if let State::Up { heartbeat, .. } = &mut self.state {
            heartbeat.handle_received(now);
        }
        Ok(received)
    }

    /// The frame at the front of `input` and its length; nothing if it is not whole, or the link is not up.
    pub(super) fn next_frame(&mut self, input: &[u8]) -> Result<Option<(usize, Frame)>, Down> {
        let State::Up { link, .. } = &mut self.state else { return Ok(None) };
        match link.advance(input) {
            Ok((0, Frame::Nothing)) => Ok(None),
            Ok(taken) => Ok(Some(taken)),
            Err(_) => Err(Down::Damaged),
        }
    }

    /// The relay has taken us in. Yields which one it is.
    pub(super) fn handle_welcome(&mut self, now: Instant) -> Option<usize> {
        let State::Up { welcomed, .. } = &mut self.state else { return None };
        *welcomed = Some(now);
        self.refusals = 0;
        Some(self.relay)
    }

    /// A link with circuits, or with hopes of one, must notice its death soon.
    pub(super) fn set_busy(&mut self, now: Instant, hopes: bool) {
        let busy = hopes || !self.circuits.is_empty();
        if let State::Up { heartbeat, .. } = &mut self.state {
            heartbeat.set_busy(now, busy);
        }
    }

    /// Queues a control message, if the link is up. State that outlives a link is sent again with the next.
    pub(super) fn send(&mut self, message: &Control) {
        if let State::Up { link, .. } = &mut self.state {
            // It can fail by caps that our own messages keep, and by a key used up after 2^64 messages.
            let sent = link.control(message, &mut self.out.bytes);
            debug_assert!(sent.is_ok());
        }
    }

    pub(super) fn listen(&mut self, name: Name) {
        self.send(&Control::Listen { name });
    }

    pub(super) fn unlisten(&mut self, name: Name) {
        self.send(&Control::Unlisten { name });
    }

    /// The circuit of this number, as sessions know it.
    pub(super) fn circuit(&self, number: u32) -> CircuitId {
        CircuitId { uplink: self.id, number }
    }

    /// Asks for a circuit. Yields its number.
    pub(super) fn connect(&mut self, request: Request, circuit: Circuit) -> u32 {
        let id = self.circuits.take_id();
        let Request { to, name, wait_ms, early } = request;
        self.send(&Control::Connect { circuit: id, to, name, wait_ms, early });
        self.circuits.insert(id, circuit);
        id
    }

    pub(super) fn send_credit(&mut self, circuit: u32, credit: u32) {
        if let State::Up { link, .. } = &mut self.state {
            let sent = link.bare(Kind::Credit, circuit, credit, &mut self.out.bytes);
            debug_assert!(sent.is_ok());
        }
    }

    /// Lets the other side send as much as a circuit may hold, if the circuit is there.
    pub(super) fn open_credit(&mut self, id: u32) {
        if let Some(grant) = self.circuits.get_mut(id).map(Circuit::open_credit) {
            self.send_credit(id, grant);
        }
    }

    pub(super) fn send_reset(&mut self, circuit: u32, code: CloseCode) {
        if let State::Up { link, .. } = &mut self.state {
            let sent = link.reset(circuit, code.to_wire(), &mut self.out.bytes);
            debug_assert!(sent.is_ok());
        }
    }

    pub(super) fn send_pong(&mut self, token: u32) -> Result<(), Down> {
        match &mut self.state {
            State::Up { link, .. } => link.pong(token, &mut self.out.bytes).map_err(|_| Down::Damaged),
            _ => Ok(()),
        }
    }

    /// Ends a circuit.
    pub(super) fn reset(&mut self, id: u32, code: CloseCode) {
        self.circuits.remove(id);
        self.send_reset(id, code);
    }

    /// Output is wanted: fills up from the sessions if none is left.
    pub(super) fn fill(&mut self, now: Instant, sessions: &mut Sessions) -> Result<(), Down> {
        if !self.is_attached() {
            return Ok(());
        }
        for id in self.circuits.in_turn() {
            self.fill_from(now, id, sessions)?;
            if self.out.bytes.len() >= OUTPUT_TARGET {
                self.circuits.stop_at(id);
                return Ok(());
            }
        }
        self.circuits.stop_behind_all();
        Ok(())
    }

    /// One DATA frame of a circuit's lane, if it has something and may send it: the header's place first, the records
    /// sealed behind it, the header sealed when their length is known.
    fn fill_from(&mut self, now: Instant, id: u32, sessions: &mut Sessions) -> Result<(), Down> {
        let Uplink { state: State::Up { link, .. }, circuits, out: Output { bytes: out, .. }, .. } = self else {
            return Ok(());
        };
        let Some(circuit) = circuits.get_mut(id) else { return Ok(()) };
        let budget = circuit.sendable().min(DATA_BODY_MAX);
        let Use::Lane { lane, prelude } = &mut circuit.used_for else {
            circuits.rest(id);
            return Ok(());
        };
        let Some(session) = sessions.session_for_output(circuit.key).filter(|_| budget >= prelude.len()) else {
            circuits.rest(id);
            return Ok(());
        };
        let header_at = out.len();
        out.resize(header_at + SEALED_HEADER_BYTES, 0);
        let body_at = out.len();
        out.append(prelude);
        session.poll_output(now, *lane, out, budget - (out.len() - body_at));
        let body = out.len() - body_at;
        if body == 0 {
            out.truncate(header_at);
            circuits.rest(id);
            return Ok(());
        }
        let length = u32::try_from(body).map_err(|_| Down::Damaged)?;
        circuit.send(length);
        let header = Header { kind: Kind::Data, circuit: id, length, credit: circuit.granted() };
        link.seal_header(header, &mut out[header_at..body_at]).map_err(|_| Down::Damaged)
    }

    /// What the carrier should take next.
    pub(super) fn output(&self) -> &[u8] {
        self.out.pending()
    }

    /// The carrier took `count` bytes of the output, or none although some were pending. Yields whether all is written.
    pub(super) fn handle_written(&mut self, now: Instant, count: usize) -> bool {
        self.out.written(count);
        let pending = !self.out.is_empty();
        if let State::Up { heartbeat, .. } = &mut self.state {
            heartbeat.handle_written(now, count > 0, pending);
        }
        !pending
    }
}

/// Whether a link that was welcome for so long, and ended so, was of use. A relay that only ever takes the carrier, or ends
/// each link soon after its welcome, has not shown that it is: keep backing off.
fn was_of_use(lasted: Duration, why: Down) -> bool {
    match why {
        // It would end the next one as well: what is too much for it is asked for again with each link.
        Down::Said(CloseCode::Limit) => false,
        Down::Said(_) => lasted >= SAID_USEFUL_AFTER,
        _ => lasted >= USEFUL_AFTER,
    }
}

#[cfg(test)]
#[path = "tests/uplink.rs"]
mod tests;
