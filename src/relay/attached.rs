//! One client's attachment: its link, its circuits, and what waits to go out to it.

use super::channel::Channel;
use super::circuit::standstill::State;
use super::circuit::table::{Circuit, Circuits, Input, Misused, Received};
use super::circuit::window::Growth;
use super::fair::account::{Account, Owner};
use super::fair::reading::Known;
use super::greeting::Authenticated;
use super::intake::{Held, Intake};
use super::items::{Item, Message};
use super::memory::block::Piece;
use super::memory::charge::Charge;
use super::outgoing::Outgoing;
use super::output::Output;
use super::pace::{MayRead, Pace};
use super::rate::{Metered, Rate};
use super::router::Admitted;
use super::router::admission::{Newcomer, Source};
use super::router::why_circuit_closed::CloseReason;
use super::timers::Armed;
use super::{ConnId, EndId, LinkId};
use crate::identity::PeerId;
use crate::link::{Heartbeat, LinkError, Side};
use crate::wire::limits::{DATA_BODY_MAX, SEALED_HEADER_BYTES};
use crate::wire::{CloseCode, Control, Header, Kind};
use std::time::Instant;

/// Bytes of one circuit before the next has its turn.
const QUANTUM_BYTES: usize = 64 * 1024;

/// A link that was authenticated, at its worker.
pub(super) struct Attachment {
    /// Its id.
    pub id: LinkId,
    /// The connection that carries it.
    pub conn: ConnId,
    /// Whose it is.
    pub peer: PeerId,
    /// Where it comes from, if that is counted.
    pub source: Option<Source>,
    pub channel: Channel,
    /// When it is dead.
    pub heartbeat: Heartbeat,
    /// Its circuits.
    pub circuits: Circuits,
    /// What goes out on it.
    pub outgoing: Outgoing,
    pace: Pace,
    /// What it has said and nobody has dealt with.
    pub intake: Intake,
    ending: Option<Ending>,
    /// What its worker's lists have of it.
    pub listed: Listed,
}

/// What the lists of a worker have of a link.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// It is among those with output.
    pub writable: bool,
    /// Where it stands among those with input.
    pub input: Known,
    /// Its timer.
    pub armed: Armed,
}

#[derive(Clone, Copy, Debug)]
struct Ending {
    code: CloseCode,
    said: bool,
    by: Instant,
}

impl Attachment {
    /// A fresh link; `owed` is what the handshake has not sent yet.
    pub(super) fn new(now: Instant, newcomer: Newcomer, authenticated: Authenticated, owed: Output) -> Attachment {
        Attachment {
            id: newcomer.link(),
            conn: newcomer.conn,
            peer: authenticated.peer,
            source: None,
            channel: Channel::new(*authenticated.link),
            heartbeat: Heartbeat::standard(now, Side::Relay),
            circuits: Circuits::default(),
            outgoing: Outgoing::new(owed),
            pace: Pace::default(),
            intake: Intake::new(now),
            ending: None,
            listed: Listed::default(),
        }
    }

    /// Welcomes the client, of which so many bytes were read before it was known.
    pub(super) fn admit(&mut self, now: Instant, admitted: Admitted, received: usize) {
        self.source = admitted.source;
        self.circuits.late.keep(admitted.rate.is_some());
        self.pace.set_rate(now, Metered::new(admitted.rate));
        self.handle_read(now, received);
        self.outgoing.say(Control::Welcome { circuits: admitted.circuits });
    }

    /// Who has a share of the relay's memory with it.
    pub(super) fn owner(&self) -> Owner {
        Owner::of_peer(self.peer, self.source)
    }

    /// On whose account it is read and written.
    pub(super) fn account(&self) -> Account {
        Account::of_peer(self.peer, self.source)
    }

    /// Holds the link to another rate. What its circuits may send because it was granted before is not paid for: at a low
    /// rate it would hold back all credit until long after the lanes are taken for dead. There is no more of it than there
    /// was.
    pub(super) fn set_rate(&mut self, now: Instant, rate: Option<Rate>) {
        let mut granted = 0;
        for end in self.circuits.ends_mut().filter(|_| rate.is_some()) {
            granted += u64::from(end.inward.restart());
        }
        self.circuits.late.keep(rate.is_some());
        self.pace.set_rate(now, Metered::new(rate).after(granted));
    }

    // Input.

    /// Counts bytes of a circuit that came in. None if there is no such circuit.
    pub(super) fn receive(&mut self, now: Instant, input: Input) -> Option<Result<Received, Misused>> {
        let mut with = if self.pace.is_bounded() { self.circuits.peer_of(input.circuit) } else { None };
        let begun = self.channel.take_begun();
        let received = self.circuits.receive(now, input);
        let bidden = match received {
            Some(Ok(_)) => input.bytes,
            Some(Err(_)) => 0,
            // Of no use any more, but it was asked for.
            None => match self.circuits.vain.receive(input.circuit, input.bytes) {
                Some(sent) => {
                    with = Some(sent.from);
                    sent.bytes
                }
                None => {
                    let late = self.circuits.late.take(input.circuit, input.bytes);
                    with = late.with;
                    self.pace.note_late(with, late.bytes);
                    late.bytes
                }
            },
        };
        // Others can have it send records of 23 bytes: a header is no more its own doing than what comes with it.
        let header = if bidden > 0 { SEALED_HEADER_BYTES.min(2 * begun) } else { 0 };
        self.pace.note_bidden(with, bidden + header);
        received
    }

    /// So many of the bytes that came in say what became of a call that it was offered. How many it pays for all the same.
    pub(super) fn note_reply(&mut self, bytes: usize) -> usize {
        self.pace.note_reply(bytes)
    }

    /// It takes a call that it was offered, and opens the circuit by so many bytes that it pays for.
    pub(super) fn open_taken(&mut self, now: Instant, circuit: u32, far: EndId, paid_bytes: usize) {
        self.circuits.open(now, circuit, far);
        let with = self.circuits.peer_of(circuit);
        self.pace.note_bidden(with, paid_bytes);
    }

    /// Whether it may be read: not while it hears too little of what is for it, a circuit is full, other workers have much to do
    /// for it, or its peer is over its rate.
    pub(super) fn may_read(&self) -> MayRead {
        let unheard = self.outgoing.is_backlogged() || self.outgoing.has_many_answers() || self.intake.has_held();
        let paid = self.pace.reads_from();
        match paid {
            _ if self.is_ending() => MayRead::Never,
            _ if self.intake.is_ahead() => MayRead::Later,
            // What was read before waits for nothing else.
            paid if self.may_use_held() => paid.map_or(MayRead::Now, MayRead::From),
            _ if unheard || self.circuits.full().is_some() => MayRead::Later,
            paid => paid.map_or(MayRead::Now, MayRead::From),
        }
    }

    /// Whether its peer is so far over its rate that nothing of what it brings may be used.
    pub(super) fn is_over_rate(&self, now: Instant) -> bool {
        self.pace.reads_from().is_some_and(|paid| now < paid)
    }

    /// How much may be read at once, bytes.
    pub(super) fn read_most(&self) -> usize {
        self.pace.read_most()
    }

    /// Keeps input for later. It is charged, and counts as what the client does not take.
    pub(super) fn hold(&mut self, input: impl Iterator<Item = Piece>) {
        self.intake.hold(input, self.outgoing.has_many_answers());
    }

    /// Whether held input may be used as soon as the rate allows it: if the client took too few answers, once all of them are
    /// in order for the kernel.
    pub(super) fn may_use_held(&self) -> bool {
        self.intake.may_use_held(self.outgoing.answers())
    }

    /// Takes the input that was held.
    pub(super) fn take_held(&mut self) -> Held {
        self.intake.take_held()
    }

    /// So many bytes of it were read.
    pub(super) fn handle_read(&mut self, now: Instant, bytes: usize) {
        self.pace.receive(now, bytes);
        if bytes > 0 {
            self.heartbeat.handle_received(now);
        }
        self.intake.handle_read(now);
    }

    /// So many were read that are its carrier's own: they are paid for, and show nothing of whoever is at its other end.
    pub(super) fn handle_overhead(&mut self, now: Instant, bytes: usize) {
        self.pace.receive(now, bytes);
    }

    /// Input waits and is not read: the client is not silent. A circuit for which the others of this link have waited long
    /// enough.
    pub(super) fn handle_unread(&mut self, now: Instant) -> Option<u32> {
        self.heartbeat.handle_received(now);
        let full = self.circuits.full();
        let state = match full {
            None => State::Moves,
            Some(_) if self.circuits.len() == 1 => State::StandsAlone,
            Some(_) => State::Stands,
        };
        self.intake.handle_unread(now, state);
        full.filter(|_| self.intake.standstill.is_used_up())
    }

    // The circuits' own ends.

    /// Bytes for the client. Dropped if the circuit is gone.
    pub(super) fn push(&mut self, now: Instant, circuit: u32, piece: Piece) {
        let idle_bytes = self.outgoing.output.idle_bytes();
        if let Some(end) = self.circuits.end(circuit) {
            end.outward.push(now, piece, idle_bytes);
            self.circuits.enter_round(circuit);
        }
    }

    /// The other side sends no more on a circuit.
    pub(super) fn finish(&mut self, circuit: u32) {
        if let Some(end) = self.circuits.end(circuit) {
            end.outward.finish();
            self.circuits.enter_round(circuit);
        }
    }

    /// Credit from the client.
    pub(super) fn raise_credit(&mut self, circuit: u32, credit: u32) {
        if let Some(end) = self.circuits.end(circuit) {
            end.outward.raise_credit(credit);
            self.circuits.enter_round(circuit);
        }
    }

    /// The kernel took bytes of a circuit that came from this client.
    pub(super) fn free(&mut self, now: Instant, circuit: u32, bytes: u32, growth: Growth) {
        let growth = match growth {
            // A large window would only let the peer get far ahead of its rate.
            _ if self.pace.is_bounded() => Growth::Stopped,
            Growth::Allowed if !self.intake.standstill.may_be_risked(now, self.circuits.len() == 1) => Growth::Covered,
            growth => growth,
        };
        let Some(end) = self.circuits.end(circuit) else { return };
        end.inward.free(now, bytes, growth);
        if end.inward.is_due() {
            self.queue_credit(now, circuit);
        }
    }

    fn queue_credit(&mut self, now: Instant, circuit: u32) {
        let Some(end) = self.circuits.end(circuit) else { return };
        let with = end.with;
        if !std::mem::replace(&mut end.credit_queued, true) {
            if self.pace.allows(now, with) {
                self.outgoing.grant(circuit);
            } else {
                self.pace.hold_back(now, with, circuit);
            }
        }
    }

    /// A call that was offered is void. The client learns that if it has learnt of the call.
    pub(super) fn withdraw(&mut self, circuit: u32, code: CloseCode) {
        let Some(Circuit::Offered(from)) = self.circuits.get(circuit) else { return };
        let from = **from;
        self.circuits.forget(circuit, None);
        if !self.outgoing.take_back(circuit) {
            self.outgoing.reset(circuit, code);
            if self.pace.is_bounded() {
                self.circuits.vain.add(circuit, from);
            }
        }
    }

    /// Forgets a circuit and tells the client; its other end if it was open. Why it ended: None if that did.
    pub(super) fn reset(&mut self, circuit: u32, code: CloseCode, why: Option<CloseReason>) -> Option<EndId> {
        self.circuits.get(circuit)?;
        let far = self.circuits.forget(circuit, why);
        self.outgoing.reset(circuit, code);
        far
    }

    /// The other end of a circuit is gone. After an orderly end, or the end of its link, what it had sent before still goes
    /// out, as far as there is credit: it may hold the last words of a session. Otherwise it is discarded.
    pub(super) fn lose(&mut self, circuit: u32, code: CloseCode) {
        let orderly = matches!(code, CloseCode::Done | CloseCode::PeerGone);
        let waits = orderly && self.circuits.end(circuit).is_some_and(|end| end.outward.reset_behind(code));
        if !waits {
            self.reset(circuit, code, None);
        }
    }

    // Its end, and what time does.

    /// Ends the link: with BYE after what is queued now, and by `by` in any case.
    pub(super) fn end(&mut self, code: CloseCode, by: Instant) {
        self.ending.get_or_insert(Ending { code, said: false, by });
        self.intake.take_held();
    }

    /// Whether the link is ending. Nothing is read from it any more.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// The code that it ends with, if it is ending.
    pub(super) fn ending_code(&self) -> Option<CloseCode> {
        self.ending.map(|ending| ending.code)
    }

    fn has_said_bye(&self) -> bool {
        self.ending.is_some_and(|ending| ending.said)
    }

    /// Whether BYE has been said and everything is with the kernel.
    pub(super) fn has_ended(&self) -> bool {
        self.has_said_bye() && self.outgoing.output.is_empty()
    }

    /// When to look at it: it may be dead, or its rate may allow more.
    pub(super) fn next_timeout(&self) -> Instant {
        let end = self.ending.map(|ending| ending.by);
        [self.pace.next_timeout(), end].into_iter().flatten().fold(self.heartbeat.deadline(), Instant::min)
    }

    /// Whether it is dead, or has not ended in time.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        self.heartbeat.is_dead(now) || self.ending.is_some_and(|ending| now >= ending.by)
    }

    /// Follows up what has changed: grants what was held back, and tells the heartbeat what it has to know of the circuits.
    pub(super) fn settle(&mut self, now: Instant) {
        for circuit in self.circuits.ease() {
            self.queue_credit(now, circuit);
        }
        if self.intake.standstill.stands() && self.circuits.full().is_none() {
            // Whether or not there is anything to read.
            self.intake.standstill.set(now, State::Moves);
        }
        for circuit in self.pace.take_allowed(now) {
            self.outgoing.grant(circuit);
        }
        let busy = !self.circuits.is_empty();
        self.heartbeat.set_busy(now, busy);
        if !busy {
            // A parked link keeps no memory for queues.
            self.outgoing.shrink();
            self.circuits.shrink();
        }
    }

    /// The memory that it keeps, bytes: for what is in order, messages, input that is held, and what waits in circuits.
    pub(super) fn kept_bytes(&self) -> usize {
        let waiting: usize = self.circuits.ends().map(|(_, end)| end.outward.kept_bytes()).sum();
        self.outgoing.kept_bytes() + self.intake.kept_bytes() + waiting
    }

    // Output.

    /// The kernel took `count` bytes of that, 0 if it would have blocked; `freed` is told of the bodies among them.
    pub(super) fn handle_written(&mut self, now: Instant, count: usize, freed: impl FnMut(u32, usize)) {
        if self.is_ending() && count > 0 {
            // It is not read any more: that it takes something shows that it lives.
            self.heartbeat.handle_received(now);
        }
        self.outgoing.handle_written(now, count, freed);
        self.heartbeat.handle_written(now, count > 0, self.has_output());
        self.rest();
    }

    /// Where there is nothing more to read or to write at once, its keys are at rest.
    pub(super) fn rest(&mut self) {
        if !self.intake.has_held() && !self.has_output() {
            self.channel.rest();
        }
    }

    /// Whether anything waits to go out.
    pub(super) fn has_output(&self) -> bool {
        let queued = self.outgoing.has_items() || self.circuits.has_turns() || self.is_ending();
        !self.outgoing.output.is_empty() || (queued && !self.has_said_bye())
    }

    /// Puts in order what may go out, up to what one write takes: control first, then the circuits in turn, BYE last.
    pub(super) fn fill(&mut self, now: Instant) -> Result<(), LinkError> {
        while self.outgoing.output.has_room() && !self.has_said_bye() {
            if let Some(token) = self.outgoing.take_pong() {
                self.header(Header::bare(Kind::Pong, 0, token))?;
            } else if let Some(item) = self.outgoing.take_item() {
                self.seal_item(now, item)?;
            } else if let Some(circuit) = self.circuits.take_turn() {
                self.seal_data(now, circuit)?;
            } else {
                self.seal_bye()?;
                break;
            }
        }
        self.outgoing.handle_filled(now);
        Ok(())
    }

    fn header(&mut self, header: Header) -> Result<(), LinkError> {
        let sealed = self.channel.header(header)?;
        self.outgoing.output.header(sealed);
        Ok(())
    }

    fn seal_item(&mut self, now: Instant, item: Item) -> Result<(), LinkError> {
        match item {
            Item::Control(message) => {
                let Message { control, charge } = *message;
                if let Control::Incoming { early, .. } = &control {
                    self.pace.handle_call(early.len());
                }
                self.seal_control(&control, charge)
            }
            Item::Status { circuit, code } => {
                self.seal_control(&Control::Status { circuit, code: code.to_wire() }, None)
            }
            Item::Credit(circuit) => {
                let Some(end) = self.circuits.end(circuit) else { return Ok(()) };
                end.credit_queued = false;
                let credit = end.inward.announce(now);
                self.header(Header::bare(Kind::Credit, circuit, credit))
            }
            Item::Reset { circuit, code } => self.header(Header::bare(Kind::Reset, circuit, u32::from(code.to_wire()))),
        }
    }

    fn seal_control(&mut self, message: &Control, charge: Option<Charge>) -> Result<(), LinkError> {
        let sealed = self.channel.control(message)?;
        self.outgoing.output.sealed(sealed, charge);
        Ok(())
    }

    /// One DATA frame of a circuit, of all its pieces that fit; then its FIN, or its place at the end of the round.
    fn seal_data(&mut self, now: Instant, circuit: u32) -> Result<(), LinkError> {
        let most = if self.circuits.has_turns() { QUANTUM_BYTES } else { DATA_BODY_MAX };
        let paced = self.pace.is_bounded();
        let Some(end) = self.circuits.end(circuit) else { return Ok(()) };
        end.in_round = false;
        let bytes = end.outward.sendable().min(most);
        if bytes > 0 {
            let credit = if paced { end.inward.announced() } else { end.inward.announce(now) };
            // At most DATA_BODY_MAX.
            let length = u32::try_from(bytes).unwrap_or(u32::MAX);
            let output = &mut self.outgoing.output;
            output.header(self.channel.header(Header { kind: Kind::Data, circuit, length, credit })?);
            end.outward.take(now, bytes, |piece| output.body(circuit, piece));
        }
        if let Some(code) = end.outward.next_reset() {
            self.circuits.forget(circuit, None);
            return self.header(Header::bare(Kind::Reset, circuit, u32::from(code.to_wire())));
        }
        if end.outward.take_fin() {
            let done = end.is_done();
            self.header(Header::bare(Kind::Fin, circuit, 0))?;
            if done {
                self.circuits.forget(circuit, Some(CloseReason::Finished));
            }
        }
        self.circuits.enter_round(circuit);
        Ok(())
    }

    fn seal_bye(&mut self) -> Result<(), LinkError> {
        let Some(ending) = self.ending.as_mut() else { return Ok(()) };
        ending.said = true;
        let message = Control::Bye { code: ending.code.to_wire() };
        self.seal_control(&message, None)
    }
}
