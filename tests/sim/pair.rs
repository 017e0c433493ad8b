//! Two sessions and the pipes between them, in one thread.

use crate::random::Random;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};
use vp::identity::Identity;
use vp::lane::PendingJoin;
use vp::noise::{Initiator, Opener, Purpose, Responder, Sealer, Suite, Terms};
use vp::session::canary::Canary;
use vp::session::{Config, Event, Parcel, Role, Session, Times};
use vp::wire::{CloseCode, Features};

/// What a run is made of: all of it follows from the seed, but for the canary.
pub struct Plan {
    pub seed: u64,
    pub streams: usize,
    pub bytes_max: usize,
    pub cut_one_in: usize,
    pub stall_one_in: usize,
    pub piece_max: usize,
    pub steps: usize,
    pub lane_life: Duration,
    /// Applications hand over and take whole buffers where they can.
    pub in_parcels: bool,
    /// One step in so many an end says something that the other does not know; never if 0.
    pub unknown_one_in: usize,
    pub canary: Option<Canary>,
}

impl Plan {
    pub fn of_seed(seed: u64) -> Plan {
        let mut random = Random::new(seed);
        Plan {
            seed,
            streams: 1 + random.below(4),
            bytes_max: [0, 10, 3_000, 70_000, 400_000][random.below(5)],
            cut_one_in: [15, 60, 300, 5_000][random.below(4)],
            stall_one_in: [30, 200, 5_000][random.below(3)],
            piece_max: [1, 7, 1_000, 66_000, 1 << 20][random.below(5)],
            steps: 300 + random.below(900),
            lane_life: [Duration::from_millis(200), Duration::from_secs(3_600)][random.below(2)],
            in_parcels: false,
            unknown_one_in: [0, 3, 20, 100][usize::try_from(seed % 4).expect("below 4")],
            canary: None,
        }
    }
}

/// What a good run tells.
pub struct Told {
    pub lanes: u64,
    pub digest: u64,
}

/// How a run went wrong.
pub struct Fate(String);

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub fn fate<T>(text: impl Into<String>) -> Result<T, Fate> {
    Err(Fate(text.into()))
}

/// One direction of one stream, as its two applications see it.
struct Flow {
    data: Vec<u8>,
    written: usize,
    finished: bool,
    got: usize,
    consumed: usize,
}

pub struct Side {
    pub session: Session,
    /// Bytes under way to this side, by lane.
    pub pipes: BTreeMap<u32, VecDeque<u8>>,
    stalled: bool,
}

pub struct World {
    pub random: Random,
    /// For what later versions say, so that it leaves the rest of a history as it is.
    later: Random,
    pub plan_piece_max: usize,
    in_parcels: bool,
    pub now: Instant,
    pub sides: [Side; 2],
    flows: BTreeMap<(usize, u32), Flow>,
    joining: Option<(PendingJoin, Vec<u8>)>,
    pub lanes: u64,
    digest: u64,
}

fn handshake(random: &mut Random) -> ((Sealer, Opener), (Sealer, Opener), [u8; 32]) {
    let seed = |random: &mut Random| {
        let mut seed = [0; 32];
        seed.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.next().to_le_bytes()));
        Identity::from_seed(&seed)
    };
    let (east, west) = (seed(random), seed(random));
    let suite = if random.one_in(2) { Suite::AesGcm } else { Suite::ChaChaPoly };
    let terms = Terms { suite, purpose: Purpose::Session, context: b"sim", caps: &[] };
    let (reply, first) = Initiator::start(&terms, &east, west.id()).unwrap();
    let (last, second) = Responder::accept(&terms, &west, &first).unwrap();
    let (third, initiator) = reply.finish(&second, &[]).unwrap();
    let responder = last.finish(&third).unwrap();
    let export = *initiator.export;
    ((initiator.sealer, initiator.opener), (responder.sealer, responder.opener), export)
}

impl World {
    pub fn new(plan: &Plan) -> World {
        let mut random = Random::new(plan.seed);
        let now = Instant::now();
        let (east, west, export) = handshake(&mut random);
        let times = Times {
            dead_time: Duration::from_secs(9),
            resume_timeout: Duration::from_secs(3_600),
            lane_life: plan.lane_life,
        };
        let mut sides = [(Role::Initiator, east), (Role::Responder, west)].map(|(role, keys)| Side {
            session: Session::new(now, Config { role, export: &export, keys, features: Features::ours(), times }),
            pipes: BTreeMap::from([(0, VecDeque::new())]),
            stalled: false,
        });
        if let Some(canary) = plan.canary {
            sides.iter_mut().for_each(|side| side.session.plant(canary));
        }
        let mut world = World {
            random,
            later: Random::new(!plan.seed),
            plan_piece_max: plan.piece_max,
            in_parcels: plan.in_parcels,
            now,
            sides,
            flows: BTreeMap::new(),
            joining: None,
            lanes: 0,
            digest: 0,
        };
        for _ in 0..plan.streams {
            let side = world.random.below(2);
            let id = world.sides[side].session.open_stream(now, "sim").expect("few streams");
            for end in 0..2 {
                let length = world.random.below(plan.bytes_max + 1);
                let data = (0..length).map(|_| world.random.byte()).collect();
                let flow = Flow { data, written: 0, finished: false, got: 0, consumed: 0 };
                world.flows.insert((end, id), flow);
            }
        }
        world
    }

    /// The application at `side` writes some of what it still has.
    fn write(&mut self, side: usize, id: u32, most: usize) {
        let session = &mut self.sides[side].session;
        let Some(flow) = self.flows.get_mut(&(side, id)).filter(|_| session.has_stream(id)) else { return };
        let end = (flow.written + most).min(flow.data.len());
        let next = &flow.data[flow.written..end];
        let mut parcel = Parcel::default();
        let length = if self.in_parcels && most % 2 == 1 { parcel.push(next) } else { 0 };
        let count = session.stream_mut(id).write_parcel(&mut parcel);
        let rest = if count == length { session.stream_mut(id).write(&next[count..]) } else { 0 };
        flow.written += count + rest;
        if flow.written == flow.data.len() && !flow.finished {
            flow.finished = true;
            session.stream_mut(id).finish();
        }
    }

    /// The application at `side` takes some of what the other wrote, and checks it.
    fn read(&mut self, side: usize, id: u32, most: usize) -> Result<(), Fate> {
        let session = &mut self.sides[side].session;
        let Some(flow) = self.flows.get_mut(&(1 - side, id)) else { return Ok(()) };
        let bytes = session.stream(id).readable();
        let count = bytes.len().min(most);
        if flow.data.get(flow.got..flow.got + count) != Some(&bytes[..count]) {
            return fate(format!("stream {id} at side {side}: other bytes than were written, from {}", flow.got));
        }
        flow.got += count;
        let whole = self.in_parcels && count > 0 && count == bytes.len();
        if whole {
            let parcel = session.stream_mut(id).take_parcel().expect("bytes are there");
            assert_eq!(parcel.len(), count);
            session.stream_mut(id).give_back(parcel);
        } else {
            session.stream_mut(id).read(count);
        }
        if self.random.one_in(2) {
            self.consume(side, id);
        }
        Ok(())
    }

    fn consume(&mut self, side: usize, id: u32) {
        if let Some(flow) = self.flows.get_mut(&(1 - side, id)) {
            let count = flow.got - flow.consumed;
            flow.consumed = flow.got;
            self.sides[side].session.stream_mut(id).consume(self.now, count);
        }
    }

    /// What a session says of its peer must be true.
    fn check(&mut self) -> Result<(), Fate> {
        for side in 0..2 {
            if let Some(error) = self.sides[side].session.failure() {
                return fate(format!("side {side} failed: {error:?}"));
            }
            for ((from, id), flow) in &self.flows {
                let told = self.sides[side].session.stream(*id).consumed_by_peer();
                if *from == side && told > flow.consumed as u64 {
                    return fate(format!("side {side} was told {told} of stream {id}, true is {}", flow.consumed));
                }
            }
        }
        Ok(())
    }

    /// Moves output of `side` into the pipes, bytes of the pipes to the other side.
    pub fn transmit(&mut self, side: usize, budget: usize) -> Result<(), Fate> {
        let lanes: Vec<u32> = self.sides[1 - side].pipes.keys().copied().collect();
        for lane in lanes {
            let mut out = Vec::new();
            self.sides[side].session.poll_output(self.now, lane, &mut out, budget);
            self.digest = out.iter().fold(self.digest, |sum, _| sum.rotate_left(5) ^ 1) ^ out.len() as u64;
            if let Some(pipe) = self.sides[1 - side].pipes.get_mut(&lane) {
                pipe.extend(out);
            }
            if self.sides[1 - side].stalled {
                continue;
            }
            let most = self.random.skewed(self.plan_piece_max.max(1));
            let many = if self.plan_piece_max < 100 { 40 } else { 1 };
            for _ in 0..many {
                let Some(pipe) = self.sides[1 - side].pipes.get_mut(&lane) else { break };
                let piece: Vec<u8> = pipe.drain(..most.min(pipe.len())).collect();
                if !piece.is_empty() {
                    let taken = self.sides[1 - side].session.handle_bytes(self.now, lane, &piece);
                    taken.or_else(|error| fate(format!("{error:?}")))?;
                }
            }
        }
        self.bury();
        Ok(())
    }

    /// Lanes that a session gave up lose their pipes at both ends, as a circuit does.
    fn bury(&mut self) {
        for side in 0..2 {
            while let Some(lane) = self.sides[side].session.poll_dead_lane() {
                self.cut(lane);
            }
        }
    }

    pub fn cut(&mut self, lane: u32) {
        for side in &mut self.sides {
            side.pipes.remove(&lane);
            side.session.drop_lane(self.now, lane);
        }
    }

    /// One step of joining: asked, or answered. Either may be lost on the way.
    pub fn join(&mut self, lossy: bool) {
        let lost = lossy && self.random.one_in(4);
        match self.joining.take() {
            None => {
                let suite = if self.random.one_in(2) { Suite::AesGcm } else { Suite::ChaChaPoly };
                let (pending, message) = self.sides[0].session.start_join(suite).expect("a join starts");
                self.joining = (!lost).then_some((pending, [&[suite.number()], &message[..]].concat()));
            }
            Some((pending, message)) => {
                let suite = Suite::try_from(message[0]).expect("ours");
                let Ok(answer) = self.sides[1].session.answer_join(self.now, suite, &message[1..]) else { return };
                if lost {
                    return;
                }
                if let Ok(lane) = self.sides[0].session.finish_join(self.now, pending, &answer.message) {
                    self.lanes += 1;
                    self.sides.iter_mut().for_each(|side| {
                        side.pipes.insert(lane, VecDeque::new());
                    });
                }
            }
        }
        self.bury();
    }

    fn events(&mut self) {
        for side in 0..2 {
            while let Some(event) = self.sides[side].session.poll_event() {
                if let Event::StreamOpened { id, .. } = event {
                    self.sides[side].session.stream_mut(id).accept();
                }
            }
        }
    }

    pub fn advance(&mut self, time: Duration) -> Result<(), Fate> {
        self.now += time;
        for side in 0..2 {
            let due = self.sides[side].session.next_timeout().is_some_and(|at| at <= self.now);
            if due {
                self.sides[side].session.handle_timeout(self.now).or_else(|error| fate(format!("{error:?}")))?;
            }
        }
        self.bury();
        Ok(())
    }

    fn ids(&self) -> Vec<u32> {
        self.flows.keys().filter(|(side, _)| *side == 0).map(|(_, id)| *id).collect()
    }

    /// One end says something of a later version, which is to change nothing.
    fn say_unknown(&mut self) {
        let number = 0x80 | self.later.byte();
        let length = self.later.skewed(4_000) - 1;
        let bytes: Vec<u8> = (0..length).map(|_| self.later.byte()).collect();
        self.sides[self.later.below(2)].session.send_unknown(number, &bytes);
    }

    fn step(&mut self, plan: &Plan) -> Result<(), Fate> {
        if plan.unknown_one_in > 0 && self.later.one_in(plan.unknown_one_in) {
            self.say_unknown();
        }
        let side = self.random.below(2);
        let ids = self.ids();
        let id = ids[self.random.below(ids.len())];
        let most = self.random.skewed(100_000);
        match self.random.below(8) {
            0 | 1 => self.write(side, id, most),
            2 | 3 => self.read(side, id, most)?,
            4 => self.consume(side, id),
            5 => {
                let micros = self.random.skewed(30_000) as u64;
                self.advance(Duration::from_micros(micros))?;
            }
            _ => {
                let budget = 70_000 + self.random.below(200_000);
                self.transmit(side, budget)?;
            }
        }
        if self.random.one_in(plan.stall_one_in) {
            let side = self.random.below(2);
            self.sides[side].stalled ^= true;
        }
        let lanes: Vec<u32> = self.sides[0].pipes.keys().copied().collect();
        if !lanes.is_empty() && self.random.one_in(plan.cut_one_in) {
            let lane = lanes[self.random.below(lanes.len())];
            self.cut(lane);
        }
        let worn = self.sides[0].session.wants_fresh_lane() && self.random.one_in(4);
        if lanes.is_empty() || self.joining.is_some() || worn || self.random.one_in(400) {
            self.join(true);
        }
        self.events();
        self.check()
    }

    /// No more faults: everything must come to its end soon.
    fn finish(&mut self) -> Result<(), Fate> {
        self.sides.iter_mut().for_each(|side| side.stalled = false);
        self.plan_piece_max = 1 << 20;
        for _ in 0..4_000 {
            if !self.sides[0].session.has_lane() {
                self.join(false);
            }
            for side in 0..2 {
                for id in self.ids() {
                    self.write(side, id, usize::MAX / 2);
                    self.read(side, id, usize::MAX / 2)?;
                    self.consume(side, id);
                }
                self.transmit(side, 262_144)?;
            }
            self.events();
            self.check()?;
            let done = self.flows.iter().all(|((side, id), flow)| {
                let told = self.sides[*side].session.stream(*id).consumed_by_peer();
                let half = self.sides[1 - side].session.stream(*id).recv_half();
                flow.got == flow.data.len() && told == flow.data.len() as u64 && half == vp::session::Half::Done
            });
            if done {
                return self.close();
            }
            self.advance(Duration::from_millis(20))?;
        }
        let mut left = String::new();
        for ((side, id), flow) in &self.flows {
            let told = self.sides[*side].session.stream(*id).consumed_by_peer();
            let half = self.sides[1 - side].session.stream(*id).recv_half();
            let (got, all) = (flow.got, flow.data.len());
            left += &format!(" [stream {id} from {side}: got {got} of {all}, told {told}, {half:?}]");
        }
        fate(format!("after the faults stopped, not all came to an end:{left}"))
    }

    fn close(&mut self) -> Result<(), Fate> {
        self.sides[0].session.close(CloseCode::Done);
        self.sides[1].session.close(CloseCode::Done);
        for _ in 0..200 {
            for side in 0..2 {
                self.transmit(side, 262_144)?;
            }
            if !self.sides[0].session.has_lane() {
                self.join(false);
            }
            if self.sides.iter().all(|side| side.session.is_over()) {
                return Ok(());
            }
            self.advance(Duration::from_millis(20))?;
        }
        fate("the close was never settled")
    }
}

pub fn run(plan: &Plan) -> Result<Told, Fate> {
    let mut world = World::new(plan);
    for _ in 0..plan.steps {
        world.step(plan)?;
    }
    world.finish()?;
    Ok(Told { lanes: world.lanes, digest: world.digest })
}
