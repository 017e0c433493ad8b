//! Two sessions joined in memory, and what a fuzzer does to them.
//!
//! [`fuzz_session_ops`] plays two honest ends over lanes that are cut, joined and delayed at will: nobody may accuse the
//! other, what is read must be what was written, and when the faults stop everything must arrive. [`fuzz_session_peer`]
//! puts a hostile peer with genuine keys at the other end: whatever it sends may end the session and nothing else.

use super::{Config, Event, Parcel, Role, Session, SessionError, Times};
use crate::lane::JoinSecret;
use crate::noise::{JoinInitiator, JoinResponder, Opener, Sealer, Suite};
use crate::wire::limits::RECORD_PLAINTEXT_MAX;
use crate::wire::{CloseCode, Features};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(super) const EXPORT: [u8; 32] = [7; 32];
pub(super) const TIMES: Times = Times {
    dead_time: Duration::from_secs(10),
    resume_timeout: Duration::from_secs(1 << 30),
    lane_life: super::LANE_LIFE,
};
/// Operations of one run: enough for every path, short enough to shrink.
const OPS_MAX: usize = 400;
/// Streams of one end in a run.
const STREAMS: usize = 6;
/// Rounds of the quiet end of a run: each moves all bytes both ways.
const ROUNDS_MAX: usize = 2000;

pub(super) type Keys = (Sealer, Opener);

/// What an end of a session is made of.
pub(super) fn config(role: Role, keys: Keys) -> Config<'static> {
    Config { role, export: &EXPORT, keys, features: Features::ours(), times: TIMES }
}

/// A channel between two ends, as a finished handshake leaves it.
pub(super) fn channel() -> (Keys, Keys) {
    let (initiator, first) = JoinInitiator::start(Suite::AesGcm, &EXPORT, b"", b"").expect("short arguments");
    let (_, ready) = JoinResponder::accept(Suite::AesGcm, &EXPORT, b"", &first).expect("own message");
    let (second, sealer, opener) = ready.reply(b"").expect("short arguments");
    let (_, ours, theirs) = initiator.finish(&second).expect("own message");
    ((ours, theirs), (sealer, opener))
}

/// The byte at `offset` of what the end `from` writes to a stream.
fn content(from: usize, id: u32, offset: u64) -> u8 {
    let mixed = offset.wrapping_mul(31).wrapping_add(u64::from(id) * 7 + offset / 251);
    mixed.to_le_bytes()[0] ^ if from == 0 { 0x55 } else { 0 }
}

/// What one end did with one stream, and what it saw of it.
#[derive(Default)]
struct Flow {
    written: u64,
    read: u64,
    unconsumed: usize,
    finished: bool,
    /// Reset, stopped or refused by either end: nothing is promised any more.
    spoiled: bool,
}

struct End {
    session: Session,
    flows: BTreeMap<u32, Flow>,
}

/// A circuit: what each end sent and the other has not received yet.
#[derive(Default)]
struct Pipe {
    under_way: [Vec<u8>; 2],
}

struct Pair {
    now: Instant,
    ends: [End; 2],
    pipes: BTreeMap<u32, Pipe>,
    closed: bool,
}

impl Pair {
    fn new() -> Pair {
        let now = Instant::now();
        let (ours, theirs) = channel();
        let end = |role, keys| End { session: Session::new(now, config(role, keys)), flows: BTreeMap::new() };
        let ends = [end(Role::Initiator, ours), end(Role::Responder, theirs)];
        let mut pair = Pair { now, ends, pipes: BTreeMap::from([(0, Pipe::default())]), closed: false };
        // The initiator says nothing before it has heard the responder.
        pair.send(1, 1 << 10);
        pair.deliver(1, usize::MAX);
        pair
    }

    /// The `nth` stream that an end knows, if it knows any.
    fn stream(&self, side: usize, nth: u8) -> Option<u32> {
        let flows = &self.ends[side].flows;
        flows.keys().nth(usize::from(nth) % flows.len().max(1)).copied()
    }

    /// Does something, and sees to both ends as a node would: whatever has more to send must have said so.
    fn step(&mut self, op: u8, amount: u8) {
        self.act(op, amount);
        for end in &mut self.ends {
            if end.session.has_changed() {
                end.session.clear_changed();
            }
        }
    }

    fn act(&mut self, op: u8, amount: u8) {
        let (side, what) = (usize::from(op & 1), op >> 1 & 15);
        let count = usize::from(amount) * usize::from(amount);
        let Some(id) = self.stream(side, op >> 5) else { return self.open(side) };
        match what {
            0 => self.open(side),
            1 | 2 => self.write(side, id, count),
            3 => self.finish(side, id),
            4 if amount < 16 => self.spoil(side, id, amount),
            4 if amount >= 128 => self.ends[side].session.send_unknown(amount, &vec![amount; count & 0x3ff]),
            5 => self.read(side, id, count),
            6 | 7 => self.send(side, count),
            8 | 9 => self.deliver(side, count),
            10 => self.cut(amount),
            11 | 12 => self.join(amount),
            13 => self.pass(Duration::from_millis(u64::from(amount) * 20)),
            14 if amount < 8 => self.close(side, amount),
            _ => self.answer(side, amount),
        }
    }

    fn open(&mut self, side: usize) {
        let end = &mut self.ends[side];
        if end.flows.len() < STREAMS
            && let Some(id) = end.session.open_stream(self.now, "drop")
        {
            end.flows.insert(id, Flow::default());
        }
    }

    fn write(&mut self, side: usize, id: u32, count: usize) {
        let Some(flow) = self.ends[side].flows.get_mut(&id) else { return };
        let bytes: Vec<u8> = (flow.written..).take(count).map(|offset| content(side, id, offset)).collect();
        let mut stream = self.ends[side].session.stream_mut(id);
        let done = if count & 8 == 0 {
            stream.write(&bytes)
        } else {
            let mut parcel = Parcel::default();
            parcel.push(&bytes);
            stream.write_parcel(&mut parcel)
        };
        if let Some(flow) = self.ends[side].flows.get_mut(&id) {
            flow.written += u64::try_from(done).unwrap_or(0);
        }
    }

    fn finish(&mut self, side: usize, id: u32) {
        self.ends[side].session.stream_mut(id).finish();
        if let Some(flow) = self.ends[side].flows.get_mut(&id) {
            flow.finished = true;
        }
    }

    fn spoil(&mut self, side: usize, id: u32, amount: u8) {
        match amount % 3 {
            0 => self.ends[side].session.stream_mut(id).reset(CloseCode::Cancelled),
            1 => self.ends[side].session.stream_mut(id).stop(CloseCode::Done),
            _ => self.ends[side].session.stream_mut(id).release(),
        }
        if amount % 3 < 2 {
            self.spoil_both(id);
        }
    }

    fn spoil_both(&mut self, id: u32) {
        for end in &mut self.ends {
            end.flows.entry(id).or_default().spoiled = true;
        }
    }

    /// Reads up to `count` bytes, checks them, and consumes all but the last few.
    fn read(&mut self, side: usize, id: u32, count: usize) {
        let End { session, flows } = &mut self.ends[side];
        let Some(flow) = flows.get_mut(&id) else { return };
        let shown = session.stream(id).readable();
        let shown = &shown[..shown.len().min(count)];
        for (offset, byte) in (flow.read..).zip(shown) {
            assert_eq!(*byte, content(1 - side, id, offset), "stream {id} at {offset}");
        }
        let length = shown.len();
        let whole = length > 0 && length == session.stream(id).readable().len();
        if whole && count & 8 != 0 {
            let parcel = session.stream_mut(id).take_parcel().expect("bytes are there");
            assert_eq!(parcel.len(), length);
            session.stream_mut(id).give_back(parcel);
        } else {
            session.stream_mut(id).read(length);
        }
        flow.read += u64::try_from(length).unwrap_or(0);
        flow.unconsumed += length;
        let now = flow.unconsumed - flow.unconsumed.min(count & 7);
        session.stream_mut(id).consume(self.now, now);
        flow.unconsumed -= now;
    }

    fn send(&mut self, side: usize, budget: usize) {
        for (lane, pipe) in &mut self.pipes {
            self.ends[side].session.poll_output(self.now, *lane, &mut pipe.under_way[side], budget);
        }
        self.bury();
    }

    /// The other end receives the first `count` bytes of each pipe.
    fn deliver(&mut self, side: usize, count: usize) {
        let lanes: Vec<u32> = self.pipes.keys().copied().collect();
        for lane in lanes {
            let Some(pipe) = self.pipes.get_mut(&lane) else { continue };
            let count = pipe.under_way[side].len().min(count);
            let bytes: Vec<u8> = pipe.under_way[side].drain(..count).collect();
            let result = self.ends[1 - side].session.handle_bytes(self.now, lane, &bytes);
            self.check(result);
            self.bury();
        }
        self.note_events(1 - side);
    }

    fn check(&self, result: Result<(), SessionError>) {
        if let Err(error) = result {
            panic!("an honest end was accused: {error:?}");
        }
    }

    /// Lanes that died inside a session take their circuits with them.
    fn bury(&mut self) {
        for side in 0..2 {
            while let Some(lane) = self.ends[side].session.poll_dead_lane() {
                self.drop_pipe(lane);
            }
        }
    }

    fn drop_pipe(&mut self, lane: u32) {
        self.pipes.remove(&lane);
        for end in &mut self.ends {
            end.session.drop_lane(self.now, lane);
        }
    }

    fn cut(&mut self, amount: u8) {
        let lane = self.pipes.keys().nth(usize::from(amount) % self.pipes.len().max(1)).copied();
        if let Some(lane) = lane {
            self.drop_pipe(lane);
        }
    }

    /// A join that may be lost on the way there, or on the way back.
    fn join(&mut self, amount: u8) {
        let [initiator, responder] = &mut self.ends;
        let Ok((pending, first)) = initiator.session.start_join(Suite::AesGcm) else { return };
        if amount & 7 == 1 {
            return;
        }
        let Ok(answer) = responder.session.answer_join(self.now, Suite::AesGcm, &first) else { return };
        self.pipes.insert(answer.lane, Pipe::default());
        if amount & 7 == 2 {
            self.drop_pipe(answer.lane);
        } else if self.ends[0].session.finish_join(self.now, pending, &answer.message).is_err() {
            panic!("an honest answer was refused");
        }
        self.bury();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for side in 0..2 {
            let result = self.ends[side].session.handle_timeout(self.now);
            self.check(result);
        }
        self.bury();
    }

    fn close(&mut self, side: usize, amount: u8) {
        self.closed = true;
        let code = if amount == 0 { CloseCode::Done } else { CloseCode::Failed };
        self.ends[side].session.close(code);
    }

    fn note_events(&mut self, side: usize) {
        while let Some(event) = self.ends[side].session.poll_event() {
            if let Event::StreamOpened { id, service } = event {
                assert_eq!(service, b"drop");
                self.ends[side].flows.entry(id).or_default();
            }
        }
    }

    /// Answers a stream of the peer; one in sixteen is refused.
    fn answer(&mut self, side: usize, amount: u8) {
        let theirs = |id: &&u32| usize::try_from(**id % 2) != Ok(side);
        let Some(&id) = self.ends[side].flows.keys().filter(theirs).nth(usize::from(amount & 3)) else { return };
        if amount >> 4 == 0 {
            self.ends[side].session.stream_mut(id).refuse(CloseCode::Refused);
            self.spoil_both(id);
        } else {
            self.ends[side].session.stream_mut(id).accept();
        }
    }

    /// The faults stop: a lane comes and stays, everything is read. All that was promised must be there.
    fn settle(&mut self) {
        self.join(0);
        for side in 0..2 {
            for id in self.ends[side].flows.keys().copied().collect::<Vec<_>>() {
                self.finish(side, id);
            }
        }
        for _ in 0..ROUNDS_MAX {
            for side in 0..2 {
                self.send(side, 1 << 20);
                self.deliver(side, usize::MAX);
                for id in self.ends[side].flows.keys().copied().collect::<Vec<_>>() {
                    self.finish(side, id);
                    self.read(side, id, 1 << 20);
                }
            }
            if self.is_settled() {
                return;
            }
            self.pass(Duration::from_millis(30));
        }
        panic!("the session never settled");
    }

    fn is_settled(&self) -> bool {
        (0..2).all(|side| {
            let (here, there) = (&self.ends[side], &self.ends[1 - side]);
            here.flows.iter().filter(|(_, flow)| !flow.spoiled).all(|(id, flow)| {
                let arrived =
                    there.flows.get(id).is_some_and(|other| other.read == flow.written && other.unconsumed == 0);
                arrived && here.session.stream(*id).send_half() == super::Half::Done
            })
        })
    }
}

/// Fuzz entry: pairs of bytes are operations and their amounts; see the module's text.
pub fn fuzz_session_ops(data: &[u8]) {
    let mut pair = Pair::new();
    for op in data.chunks_exact(2).take(OPS_MAX) {
        pair.step(op[0], op[1]);
        if pair.closed {
            return;
        }
    }
    pair.settle();
}

/// Fuzz entry: each piece of `data`, one length byte ahead, is the plaintext of a record from a peer that knows the keys;
/// a length of 255 lets the session speak, time pass and a lane join.
pub fn fuzz_session_peer(data: &[u8]) {
    let now = Instant::now();
    let ((mut sealer, _), keys) = channel();
    let mut session = Session::new(now, config(Role::Responder, keys));
    let own = session.open_stream(now, "drop");
    let (mut rest, mut step, mut out) = (data, 0, Vec::new());
    while let Some((length, tail)) = rest.split_first() {
        step += 1;
        let now = now + Duration::from_millis(step);
        if *length == 255 {
            rest = tail;
            speak(&mut session, now, own, &mut out);
            continue;
        }
        let (plain, tail) = tail.split_at(tail.len().min(usize::from(*length)));
        rest = tail;
        if plain.is_empty() || plain.len() > RECORD_PLAINTEXT_MAX {
            continue;
        }
        let mut wire = u16::try_from(plain.len() + 16).unwrap_or(0).to_be_bytes().to_vec();
        if sealer.seal_into(plain, &mut wire).is_err() || session.handle_bytes(now, 0, &wire).is_err() {
            break;
        }
    }
    speak(&mut session, now, own, &mut out);
}

/// What an application and its driver do after input: take events, read, consume, write, send.
fn speak(session: &mut Session, now: Instant, own: Option<u32>, out: &mut Vec<u8>) {
    while let Some(event) = session.poll_event() {
        match event {
            Event::StreamOpened { id, .. } if id % 8 == 6 => session.stream_mut(id).refuse(CloseCode::Refused),
            Event::StreamOpened { id, .. } => session.stream_mut(id).accept(),
            _ => {}
        }
    }
    for id in (0..8).chain(own) {
        let count = session.stream(id).readable().len();
        session.stream_mut(id).read(count);
        session.stream_mut(id).consume(now, count);
        session.stream_mut(id).write(b"answer");
    }
    let _ = session.handle_timeout(now);
    out.clear();
    session.poll_output(now, 0, out, 1 << 16);
}

/// Fuzz entry: foreign bytes as what a lane brings, and as both payloads of a join that is otherwise genuine.
pub fn fuzz_session_join(data: &[u8]) {
    let now = Instant::now();
    let (_, keys) = channel();
    let mut session = Session::new(now, config(Role::Responder, keys));
    let _ = session.handle_bytes(now, 0, data);
    let secret = JoinSecret::derive(&EXPORT);
    let payload = &data[..data.len().min(1024)];
    let made = JoinInitiator::start(Suite::AesGcm, secret.join_psk(), &secret.rendezvous(), payload);
    if let Ok((_, message)) = made
        && let Ok(answer) = session.answer_join(now, Suite::AesGcm, &message)
    {
        assert!(answer.lane > 0 && !session.is_confirmed(answer.lane));
        assert!(session.answer_join(now, Suite::AesGcm, &message).is_err(), "a replay joins nothing");
    }
}

#[cfg(test)]
#[path = "tests/session.rs"]
mod tests;
