//! Many streams of many kinds in one session: what is fair between them, and what none may do to another.

use crate::pair::{Fate, Plan, World, fate};
use crate::random::Random;
use std::collections::BTreeMap;
use std::time::Duration;
use vp::session::canary::Canary;
use vp::session::{Event, Half};
use vp::wire::CloseCode;

/// Room for one record and no second one: whatever goes out next goes out alone.
const ONE_RECORD: usize = 66_000;

/// What becomes of one direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Written and read as fast as it goes.
    Bulk,
    /// Little by little: the next piece is written when the last one was read.
    Interactive,
    /// Read by the spoonful.
    Slow,
    /// Read by nobody before all others are done.
    Unread,
    /// Given up by its writer at this offset.
    Reset(u64),
    /// Given up by its reader at this offset.
    Stopped(u64),
}

/// One direction of one stream.
struct Flow {
    kind: Kind,
    length: u64,
    written: u64,
    read: u64,
    over: bool,
}

/// One stream: what each end writes.
struct Stream {
    opener: usize,
    refused: bool,
    flows: [Flow; 2],
}

/// What a good run tells.
#[derive(Debug, Default)]
pub struct Told {
    lanes: u64,
    streams: u64,
    refused: u64,
    reset: u64,
    stopped: u64,
    unread: u64,
    overtaken: u64,
}

impl Told {
    /// Together.
    pub fn add(&mut self, other: &Told) {
        self.lanes += other.lanes;
        self.streams += other.streams;
        self.refused += other.refused;
        self.reset += other.reset;
        self.stopped += other.stopped;
        self.unread += other.unread;
        self.overtaken += other.overtaken;
    }

    /// Whether so many runs have met all that they are for.
    pub fn is_rich(&self, runs: u64) -> bool {
        let kinds = [self.refused, self.reset, self.stopped, self.unread, self.overtaken];
        self.streams > 10 * runs && self.lanes > runs && kinds.into_iter().all(|count| count > runs / 4)
    }
}

/// The bytes that `from` writes to a stream, at `offset`.
fn content(from: usize, id: u32, offset: u64, count: usize) -> Vec<u8> {
    let base = u64::from(id) * 0x9e37 + if from == 0 { 0x55 } else { 0xaa };
    let byte = |at: u64| (base.wrapping_add(at).wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56).to_le_bytes()[0];
    (offset..offset + count as u64).map(byte).collect()
}

struct Crowd {
    world: World,
    streams: BTreeMap<u32, Stream>,
    /// Streams still to be opened.
    left: usize,
    told: Told,
}

impl Crowd {
    fn new(seed: u64, canary: Option<Canary>) -> Crowd {
        let plan = Plan { streams: 0, canary, ..Plan::of_seed(seed) };
        let mut world = World::new(&plan);
        world.plan_piece_max = [1_000, 66_000, 1 << 20][world.random.below(3)];
        let left = 6 + world.random.below(30);
        Crowd { world, streams: BTreeMap::new(), left, told: Told::default() }
    }

    fn kind(random: &mut Random) -> (Kind, u64) {
        let most = [2_000, 60_000, 300_000][random.below(3)];
        let length = random.below(most) as u64;
        let some = random.below(usize::try_from(length).unwrap_or(0) + 1) as u64;
        match random.below(10) {
            0..=2 => (Kind::Bulk, length),
            3 | 4 => (Kind::Interactive, length.min(3_000)),
            5 => (Kind::Slow, length),
            6 | 7 => (Kind::Unread, length + 200_000),
            8 => (Kind::Reset(some), length),
            _ => (Kind::Stopped(some), length),
        }
    }

    fn open(&mut self) {
        let random = &mut self.world.random;
        let opener = random.below(2);
        let refused = random.one_in(6);
        let flows = [0, 1].map(|_| {
            let (kind, length) = Crowd::kind(random);
            Flow { kind, length, written: 0, read: 0, over: false }
        });
        let service = if refused { "no" } else { "yes" };
        let id = self.world.sides[opener].session.open_stream(self.world.now, service).expect("few streams");
        self.streams.insert(id, Stream { opener, refused, flows });
        self.left -= 1;
        self.told.streams += 1;
    }

    fn events(&mut self) -> Result<(), Fate> {
        for side in 0..2 {
            let session = &mut self.world.sides[side].session;
            if let Some(error) = session.failure() {
                return fate(format!("side {side} failed: {error:?}"));
            }
            while let Some(event) = session.poll_event() {
                match event {
                    Event::StreamOpened { id, service } if service == b"no" => {
                        session.stream_mut(id).refuse(CloseCode::Refused);
                    }
                    Event::StreamOpened { id, .. } => session.stream_mut(id).accept(),
                    Event::StreamRefused { id, code } => {
                        let stream = self.streams.get_mut(&id).filter(|stream| stream.refused && stream.opener == side);
                        let Some(stream) = stream else { return fate(format!("stream {id} was refused by nobody")) };
                        if code != CloseCode::Refused.to_wire() {
                            return fate(format!("stream {id} was refused for another reason"));
                        }
                        stream.flows.iter_mut().for_each(|flow| flow.over = true);
                        self.told.refused += 1;
                        session.stream_mut(id).release();
                    }
                    Event::StreamAccepted { id } if self.streams.get(&id).is_some_and(|stream| !stream.refused) => {}
                    other => return fate(format!("side {side}: {other:?}")),
                }
            }
            while session.poll_touched().is_some() {}
        }
        Ok(())
    }

    /// The application at `side` writes to a stream what its kind allows.
    fn write(&mut self, side: usize, id: u32, most: usize) {
        let session = &mut self.world.sides[side].session;
        let Some(stream) = self.streams.get_mut(&id).filter(|_| session.has_stream(id)) else { return };
        let flow = &mut stream.flows[side];
        if flow.over || flow.written == flow.length && session.stream(id).send_half() != Half::Open {
            return;
        }
        let (until, most) = match flow.kind {
            Kind::Reset(at) => (at, most),
            Kind::Interactive if flow.read < flow.written => return,
            Kind::Interactive => (flow.length, most.min(100)),
            _ => (flow.length, most),
        };
        let count = most.min(usize::try_from(until - flow.written).unwrap_or(usize::MAX));
        flow.written += session.stream_mut(id).write(&content(side, id, flow.written, count)) as u64;
        if matches!(flow.kind, Kind::Reset(at) if at == flow.written) {
            session.stream_mut(id).reset(CloseCode::Cancelled);
        } else if flow.written == flow.length {
            session.stream_mut(id).finish();
        }
    }

    /// The application at `side` reads what its kind allows, and looks whether it is over.
    fn read(&mut self, side: usize, id: u32, most: usize) -> Result<(), Fate> {
        let now = self.world.now;
        let session = &mut self.world.sides[side].session;
        let known = |stream: &&mut Stream| !stream.refused && session.has_stream(id);
        let Some(stream) = self.streams.get_mut(&id).filter(known) else { return Ok(()) };
        let flow = &mut stream.flows[1 - side];
        let most = match flow.kind {
            Kind::Unread => 0,
            Kind::Slow => most.min(500),
            Kind::Stopped(at) => most.min(usize::try_from(at - flow.read).unwrap_or(usize::MAX)),
            _ => most,
        };
        let bytes = session.stream(id).readable();
        let count = bytes.len().min(most);
        if bytes[..count] != content(1 - side, id, flow.read, count) {
            return fate(format!("stream {id} at side {side}: other bytes than were written, from {}", flow.read));
        }
        flow.read += count as u64;
        session.stream_mut(id).read(count);
        session.stream_mut(id).consume(now, count);
        if flow.over {
            return Ok(());
        }
        match (session.stream(id).recv_half(), flow.kind) {
            (Half::Done, Kind::Reset(_)) => return fate(format!("stream {id}: a reset was taken for an end")),
            (Half::Done, _) if flow.read == flow.length => flow.over = true,
            (Half::Done, _) => return fate(format!("stream {id} ended at {} of {}", flow.read, flow.length)),
            (Half::Broken(_), Kind::Reset(_)) => {
                flow.over = true;
                self.told.reset += 1;
            }
            (Half::Broken(_), Kind::Stopped(at)) if flow.read == at => {
                flow.over = true;
                self.told.stopped += 1;
            }
            (Half::Broken(_), _) => {
                return fate(format!("stream {id} is broken, and nobody broke it"));
            }
            (Half::Open, Kind::Stopped(at)) if flow.read == at => {
                session.stream_mut(id).stop(CloseCode::Cancelled);
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, cut_one_in: usize) -> Result<(), Fate> {
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        if self.left > 0 && (ids.is_empty() || self.world.random.one_in(6)) {
            self.open();
            return Ok(());
        }
        let (side, id) = (self.world.random.below(2), ids[self.world.random.below(ids.len())]);
        let most = self.world.random.skewed(100_000);
        match self.world.random.below(8) {
            0 | 1 => self.write(side, id, most),
            2 | 3 => self.read(side, id, most)?,
            4 => {
                let micros = self.world.random.skewed(30_000) as u64;
                self.world.advance(Duration::from_micros(micros))?;
            }
            _ => {
                let budget = 70_000 + self.world.random.below(200_000);
                self.world.transmit(side, budget)?;
            }
        }
        let lanes: Vec<u32> = self.world.sides[0].pipes.keys().copied().collect();
        if !lanes.is_empty() && self.world.random.one_in(cut_one_in) {
            let lane = lanes[self.world.random.below(lanes.len())];
            self.world.cut(lane);
        }
        if lanes.is_empty() {
            self.world.join(true);
        }
        self.events()
    }

    /// A round of everything, as fast as it goes.
    fn round(&mut self) -> Result<(), Fate> {
        if !self.world.sides[0].session.has_lane() {
            self.world.join(false);
        }
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for side in 0..2 {
            for id in &ids {
                self.write(side, *id, 1 << 20);
                self.read(side, *id, 1 << 20)?;
            }
            self.world.transmit(side, 262_144)?;
        }
        self.events()?;
        self.world.advance(Duration::from_millis(10))
    }

    fn unfinished(&self) -> String {
        let mut left = String::new();
        for (id, stream) in self.streams.iter().filter(|(_, stream)| !stream.refused) {
            for (side, flow) in stream.flows.iter().enumerate() {
                if !flow.over && flow.kind != Kind::Unread {
                    left += &format!(" [{id} from {side}, {:?}: {} of {}]", flow.kind, flow.read, flow.length);
                }
            }
        }
        left
    }

    /// All that anybody reads must come to its end while some streams are read by nobody.
    fn finish(&mut self) -> Result<(), Fate> {
        self.world.plan_piece_max = 1 << 20;
        while self.left > 0 {
            self.open();
        }
        for _ in 0..3_000 {
            self.round()?;
            if self.unfinished().is_empty() {
                return Ok(());
            }
        }
        fate(format!("streams that are read were stalled:{}", self.unfinished()))
    }

    /// What is brief overtakes what is bulk: it is in the next record that goes out.
    fn overtake(&mut self, from: usize) -> Result<(), Fate> {
        let now = self.world.now;
        let session = &mut self.world.sides[from].session;
        let (bulk, brief) = (session.open_stream(now, "yes"), session.open_stream(now, "yes"));
        let (bulk, brief) = (bulk.expect("few streams"), brief.expect("few streams"));
        let written = session.stream_mut(bulk).write(&content(from, bulk, 0, 200_000));
        session.stream_mut(brief).write(&content(from, brief, 0, 5));
        // Commands go first of all; then one record at a time.
        for _ in 0..40 {
            self.world.transmit(from, ONE_RECORD)?;
            let far = &mut self.world.sides[1 - from].session;
            let (news, data) = (far.stream(brief).readable().len(), far.stream(bulk).readable().len());
            if data > 0 && news == 0 {
                return fate(format!("{data} bytes of bulk went ahead of what is brief"));
            }
            if news > 0 {
                self.told.overtaken += u64::from(data < written);
                break;
            }
        }
        for (id, length) in [(bulk, written), (brief, 5)] {
            self.world.sides[from].session.stream_mut(id).finish();
            let (length, kind) = (length as u64, Kind::Bulk);
            let mut flows = [0, 1].map(|_| Flow { kind, length: 0, written: 0, read: 0, over: false });
            flows[from] = Flow { kind, length, written: length, read: 0, over: false };
            self.streams.insert(id, Stream { opener: from, refused: false, flows });
        }
        self.events()
    }

    /// At last somebody reads the others.
    fn read_the_unread(&mut self) -> Result<(), Fate> {
        for flow in self.streams.values_mut().filter(|stream| !stream.refused).flat_map(|stream| &mut stream.flows) {
            if flow.kind == Kind::Unread {
                flow.kind = Kind::Bulk;
                self.told.unread += 1;
            }
        }
        for _ in 0..3_000 {
            self.round()?;
            if self.unfinished().is_empty() {
                return Ok(());
            }
        }
        fate(format!("streams that were not read at first never end:{}", self.unfinished()))
    }
}

/// Runs one history.
pub fn run(seed: u64, canary: Option<Canary>) -> Result<Told, Fate> {
    let mut crowd = Crowd::new(seed, canary);
    let (steps, cut_one_in) = (500 + crowd.world.random.below(1_500), [40, 200, 1_000][crowd.world.random.below(3)]);
    for _ in 0..steps {
        crowd.step(cut_one_in)?;
    }
    crowd.finish()?;
    for from in 0..2 {
        crowd.overtake(from)?;
    }
    crowd.finish()?;
    crowd.read_the_unread()?;
    crowd.told.lanes = crowd.world.lanes;
    Ok(crowd.told)
}
