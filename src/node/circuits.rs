//! Circuits of the present link: which lane each carries, its credit, and how frames find their way to sessions and back.

use super::uplink::Carrier;
use super::{Down, Event, Key, Node, Phase, Step};
use crate::link::{Frame, credit_left};
use crate::names::AppName;
use crate::noise::{ExpectFinal, ExpectReply};
use crate::session::{PendingJoin, Role};
use crate::wire::limits::{CIRCUIT_WINDOW_START, CLIENT_WINDOW, DATA_BODY_MAX, SEALED_HEADER_BYTES};
use crate::wire::{CloseCode, Header, Kind};
use std::time::Instant;

/// Output is filled up to here: one whole DATA frame more may follow.
const OUTPUT_TARGET: usize = DATA_BODY_MAX;

/// What a circuit is used for.
pub enum Use {
    /// A call; waits for OPENED.
    Calling(Box<ExpectReply>),
    /// A call taken; waits for message 3.
    Answering { expect: Option<Box<ExpectFinal>>, gathered: Vec<u8> },
    /// A further lane; waits for OPENED.
    Joining(Box<PendingJoin>),
    /// Asks whether the peer is there; waits for OPENED.
    Asking(Box<ExpectReply>),
    /// Asks whether another process of our key receives the application; waits for OPENED.
    Claiming { app: AppName, reply: Box<ExpectReply> },
    /// A lane. The prelude goes out ahead of its records.
    Lane { lane: u32, prelude: Vec<u8> },
}

/// One circuit. Counts are absolute and wrap at 2^32.
pub struct Circuit {
    pub key: Key,
    pub used_for: Use,
    sent: u32,
    credit: u32,
    received: u32,
    granted: u32,
}

impl Circuit {
    pub fn new(key: Key, used_for: Use) -> Circuit {
        Circuit { key, used_for, sent: 0, credit: CIRCUIT_WINDOW_START, received: 0, granted: CIRCUIT_WINDOW_START }
    }

    /// Whether this end made the call and waits for the answer.
    pub fn awaits_opened(&self) -> bool {
        matches!(self.used_for, Use::Calling(_) | Use::Joining(_) | Use::Asking(_) | Use::Claiming { .. })
    }

    /// The application about which others of our key are asked.
    pub fn claimed(&self) -> Option<AppName> {
        match &self.used_for {
            Use::Claiming { app, .. } => Some(app.clone()),
            _ => None,
        }
    }

    /// The window a node grants: all of it at once, because lane bytes are taken on receipt and sessions bound memory.
    pub fn open_credit(&mut self) -> u32 {
        self.granted = self.received.wrapping_add(CLIENT_WINDOW);
        self.granted
    }

    fn take_credit(&mut self, credit: u32) {
        if credit_left(credit, self.credit) > 0 {
            self.credit = credit;
        }
    }

    /// Counts received bytes. Yields credit worth telling; an error if the relay sent more than it may.
    fn receive(&mut self, count: u32) -> Result<Option<u32>, ()> {
        if count > credit_left(self.granted, self.received) {
            return Err(());
        }
        self.received = self.received.wrapping_add(count);
        let worth = credit_left(self.granted, self.received) < CLIENT_WINDOW / 2;
        Ok(worth.then(|| self.open_credit()))
    }
}

impl Node {
    pub(super) fn handle_frame(&mut self, now: Instant, frame: Frame, input: &[u8]) -> Result<(), Down> {
        match frame {
            Frame::Data { circuit, bytes, credit } => return self.handle_data(now, (circuit, credit), &input[bytes]),
            Frame::Control(message) => self.handle_control(now, message),
            Frame::Credit { circuit, credit } => {
                if let Some(circuit) = self.circuits.get_mut(&circuit) {
                    circuit.take_credit(credit);
                }
            }
            // Lanes end by RESET or with their link; a FIN from the relay says that no more comes, which is as good.
            Frame::Fin { circuit } => self.lose_circuit(now, circuit, CloseCode::PeerGone),
            Frame::Reset { circuit, code } => self.lose_circuit(now, circuit, CloseCode::from_wire(code)),
            Frame::Ping(token) => {
                if let Carrier::Up { link, .. } = &mut self.carrier {
                    link.pong(token, &mut self.out.bytes).map_err(|_| Down::Damaged)?;
                }
            }
            Frame::Pong(_) | Frame::Nothing => {}
        }
        Ok(())
    }

    fn handle_data(&mut self, now: Instant, head: (u32, u32), bytes: &[u8]) -> Result<(), Down> {
        let (id, credit) = head;
        let Some(circuit) = self.circuits.get_mut(&id) else { return Ok(()) };
        circuit.take_credit(credit);
        let count = u32::try_from(bytes.len()).map_err(|_| Down::Damaged)?;
        let grant = circuit.receive(count).map_err(|()| Down::Damaged)?;
        match circuit.used_for {
            Use::Lane { .. } => self.handle_lane_bytes(now, id, bytes),
            Use::Answering { .. } => self.handle_final(now, id, bytes),
            Use::Calling(_) | Use::Joining(_) | Use::Asking(_) | Use::Claiming { .. } => return Err(Down::Damaged),
        }
        if let Some(grant) = grant {
            self.send_credit(id, grant);
        }
        Ok(())
    }

    pub(super) fn handle_lane_bytes(&mut self, now: Instant, id: u32, bytes: &[u8]) {
        let Some(Circuit { key, used_for: Use::Lane { lane, .. }, .. }) = self.circuits.get(&id) else { return };
        let (key, lane) = (*key, *lane);
        let confirmed = self.session(key).map(|session| {
            // An error stays in the session, for the tool to find.
            let _ = session.handle_bytes(now, lane, bytes);
            session.is_confirmed(lane)
        });
        if confirmed == Some(true) {
            self.adopt_lane(key, id);
        }
        self.announce(key);
        self.drive_session(now, key);
    }

    /// A joined lane has shown that it is real: it is the session's circuit now.
    fn adopt_lane(&mut self, key: Key, id: u32) {
        if let Some(Phase::Up { circuit, announced, .. }) = self.entries.get_mut(&key).map(|entry| &mut entry.phase) {
            if *circuit != Some(id) {
                *circuit = Some(id);
                if *announced {
                    self.events.push_back(Event::Resumed { key });
                }
            }
        }
    }

    pub(super) fn send_credit(&mut self, circuit: u32, credit: u32) {
        if let Carrier::Up { link, .. } = &mut self.carrier {
            let sent = link.bare(Kind::Credit, circuit, credit, &mut self.out.bytes);
            debug_assert!(sent.is_ok());
        }
    }

    pub(super) fn send_reset(&mut self, circuit: u32, code: CloseCode) {
        if let Carrier::Up { link, .. } = &mut self.carrier {
            let sent = link.reset(circuit, code.to_wire(), &mut self.out.bytes);
            debug_assert!(sent.is_ok());
        }
    }

    pub(super) fn reset_circuits_of(&mut self, key: Key, code: CloseCode) {
        let ids: Vec<u32> = self.circuits.iter().filter(|(_, c)| c.key == key).map(|(id, _)| *id).collect();
        for id in ids {
            self.circuits.remove(&id);
            self.send_reset(id, code);
        }
    }

    /// The carrier is gone and every circuit with it.
    pub(super) fn lose_circuits(&mut self, now: Instant) {
        for (id, circuit) in std::mem::take(&mut self.circuits) {
            self.circuit_lost(now, id, circuit);
        }
    }

    fn lose_circuit(&mut self, now: Instant, id: u32, code: CloseCode) {
        let Some(circuit) = self.circuits.remove(&id) else { return };
        self.note(id, Step::Ended(code));
        if let Some(app) = circuit.claimed() {
            return self.hold(now, &app);
        }
        let key = circuit.key;
        // A refusal by the callee's program: calling again would hear it again.
        let refused = code == CloseCode::Refused && matches!(circuit.used_for, Use::Lane { lane: 0, .. });
        if let (CloseCode::Done, Use::Lane { .. }, Some(session)) = (code, &circuit.used_for, self.session(key)) {
            session.handle_forgotten();
        }
        self.circuit_lost(now, id, circuit);
        if refused {
            self.fail(now, key, super::Failure::RefusedByPeer(code));
        }
        self.place_calls(now);
        self.refresh_busy(now);
    }

    fn circuit_lost(&mut self, now: Instant, id: u32, circuit: Circuit) {
        let key = circuit.key;
        if let Use::Asking(_) = circuit.used_for {
            return self.handle_no_presence(now, key);
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        match &mut entry.phase {
            Phase::Calling { .. } => self.call_again(now, key),
            Phase::Answering => self.abandon(now, key),
            Phase::Up { session, announced: false, .. } if session.role() == Role::Initiator => {
                self.call_again(now, key);
            }
            Phase::Up { session, circuit: current, announced, .. } => {
                if let Use::Lane { lane, .. } = circuit.used_for {
                    session.drop_lane(now, lane);
                }
                if *current == Some(id) {
                    *current = None;
                    if *announced && matches!(circuit.used_for, Use::Lane { .. }) {
                        self.events.push_back(Event::Lost { key });
                    }
                }
            }
        }
    }

    /// Brings a session's own decisions to its circuits.
    pub(super) fn drive_session(&mut self, now: Instant, key: Key) {
        let Some(session) = self.session(key) else { return };
        // An error stays in the session, for the tool to find.
        let _ = session.handle_timeout(now);
        let dead: Vec<u32> = std::iter::from_fn(|| session.poll_dead_lane()).collect();
        for lane in dead {
            let found = self.circuits.iter().find(|(_, circuit)| {
                circuit.key == key && matches!(circuit.used_for, Use::Lane { lane: l, .. } if l == lane)
            });
            if let Some(id) = found.map(|(id, _)| *id) {
                self.send_reset(id, CloseCode::PeerGone);
                self.lose_circuit(now, id, CloseCode::PeerGone);
            }
        }
        if let Some(Phase::Up { circuit: None, rejoin_at: Some(at), .. }) = self.entries.get(&key).map(|e| &e.phase) {
            if *at <= now {
                self.place_calls(now);
            }
        }
        self.drop_if_stillborn(now, key);
        self.settle(now, key);
    }

    /// A session that failed before the tool knew of it is nobody's business.
    fn drop_if_stillborn(&mut self, now: Instant, key: Key) {
        let Some(Phase::Up { session, announced: false, .. }) = self.entries.get(&key).map(|e| &e.phase) else {
            return;
        };
        if session.failure().is_some() {
            self.abandon(now, key);
        }
    }

    /// Bytes for the carrier: what is pending, after filling up from the sessions if little was.
    pub fn poll_output(&mut self, now: Instant) -> &[u8] {
        if self.out.is_empty() {
            self.fill_output(now);
        }
        self.out.pending()
    }

    fn fill_output(&mut self, now: Instant) {
        if !self.is_attached() {
            return;
        }
        let ids: Vec<u32> =
            self.circuits.range(self.turn + 1..).chain(self.circuits.range(..=self.turn)).map(|(id, _)| *id).collect();
        for id in ids {
            self.turn = id;
            if let Err(why) = self.fill_from(now, id) {
                self.handle_down(now, why);
                return;
            }
            if self.out.bytes.len() >= OUTPUT_TARGET {
                break;
            }
        }
    }

    /// One DATA frame of a circuit's lane, if it has something and may send it: the header's place first, the records
    /// sealed behind it, the header sealed when their length is known.
    fn fill_from(&mut self, now: Instant, id: u32) -> Result<(), Down> {
        let Some(circuit) = self.circuits.get_mut(&id) else { return Ok(()) };
        let Use::Lane { lane, prelude } = &mut circuit.used_for else { return Ok(()) };
        let Carrier::Up { link, .. } = &mut self.carrier else { return Ok(()) };
        let Some(Phase::Up { session, .. }) = self.entries.get_mut(&circuit.key).map(|entry| &mut entry.phase) else {
            return Ok(());
        };
        let credit = usize::try_from(credit_left(circuit.credit, circuit.sent)).unwrap_or(0);
        let budget = credit.min(DATA_BODY_MAX);
        if budget < prelude.len() {
            return Ok(());
        }
        let out = &mut self.out.bytes;
        let header_at = out.len();
        out.resize(header_at + SEALED_HEADER_BYTES, 0);
        let body_at = out.len();
        out.append(prelude);
        session.poll_output(now, *lane, out, budget - (out.len() - body_at));
        let body = out.len() - body_at;
        if body == 0 {
            out.truncate(header_at);
            return Ok(());
        }
        let length = u32::try_from(body).map_err(|_| Down::Damaged)?;
        circuit.sent = circuit.sent.wrapping_add(length);
        let header = Header { kind: Kind::Data, circuit: id, length, credit: circuit.granted };
        link.seal_header(header, &mut out[header_at..body_at]).map_err(|_| Down::Damaged)
    }

    /// The carrier took `count` bytes of the output, or none although some were pending.
    pub fn handle_written(&mut self, now: Instant, count: usize) {
        self.out.written(count);
        let pending = !self.out.is_empty();
        if let Carrier::Up { heartbeat, .. } = &mut self.carrier {
            heartbeat.handle_written(now, count > 0, pending);
        }
        if !pending {
            for key in self.keys() {
                self.settle(now, key);
            }
        }
    }
}
