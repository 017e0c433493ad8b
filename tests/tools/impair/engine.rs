//! The loop: one thread, every socket of the proxy, the standing faults and those still to come.
//!
//! It turns readiness into bytes for [`Flow`]s and due bytes into writes. Edge-triggered readiness is kept as flags on
//! each socket and cleared by `WouldBlock` alone, so that a fault may ignore a socket and find it ready later.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;
use vp::cli::units::Rate;

use super::flow::{Due, Flow};
use super::{Command, Fault, Meters, Order, ReservedPort, Shape, drain};

pub const WAKE: Token = Token(usize::MAX);
const LISTEN: Token = Token(usize::MAX - 1);
/// One read at most, bytes.
const READ_BYTES: usize = 128 << 10;
/// Reads and writes one connection may do before the others have their turn.
const TURN: usize = 32;
/// After an accept that failed for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One end of a connection: index 0 the client, 1 the target, so that `side[way]` is the source of that way.
struct Side {
    socket: TcpStream,
    readable: bool,
    writable: bool,
}

struct Conn {
    side: [Side; 2],
    flow: [Flow; 2],
    /// The source of this way has ended.
    read_end: [bool; 2],
    /// The sink of this way has been told so.
    write_end: [bool; 2],
    /// A black hole has swallowed something of this way: what follows would be nonsense and is swallowed too.
    lost: [bool; 2],
}

/// Faults that stand until healed.
#[derive(Default)]
struct Standing {
    stalled: [bool; 2],
    dropped: [bool; 2],
    half_open: bool,
}

impl Standing {
    fn swallows_connections(&self) -> bool {
        self.half_open || self.dropped == [true, true]
    }
}

struct Trigger {
    way: usize,
    byte: u64,
    fault: Fault,
}

/// How a turn of one connection, or one step of it, ended.
#[derive(Clone, Copy)]
enum TurnEnd {
    /// Something moved; there may be more.
    Moved,
    /// Nothing can move before an event, or this time.
    Waits(Option<Instant>),
    /// The connection is over, for this reason.
    Over(Ending),
    /// A one-shot fault is due.
    Fault(Fault),
}

#[derive(Clone, Copy)]
enum Ending {
    Orderly,
    Reset,
}

pub struct Engine {
    poll: Poll,
    place: ReservedPort,
    listener: Option<TcpListener>,
    acceptable: bool,
    target: SocketAddr,
    next_id: usize,
    conns: BTreeMap<usize, Conn>,
    /// Accepted while nothing passes; they go on when healed.
    parked: Vec<TcpStream>,
    path: Path,
    inbox: Receiver<Order>,
}

/// What every connection shares.
struct Path {
    shape: Shape,
    standing: Standing,
    triggers: Vec<Trigger>,
    meters: Arc<Meters>,
    scratch: Vec<u8>,
}

impl Engine {
    pub fn new(
        poll: Poll,
        place: ReservedPort,
        target: SocketAddr,
        shape: Shape,
        inbox: Receiver<Order>,
        meters: Arc<Meters>,
    ) -> io::Result<Engine> {
        let path =
            Path { shape, standing: Standing::default(), triggers: Vec::new(), meters, scratch: vec![0; READ_BYTES] };
        let mut engine = Engine {
            poll,
            place,
            listener: None,
            acceptable: false,
            target,
            next_id: 0,
            conns: BTreeMap::new(),
            parked: Vec::new(),
            path,
            inbox,
        };
        engine.listen()?;
        Ok(engine)
    }

    /// Runs until the handle is dropped.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut wake_at = None;
        loop {
            let wait = wake_at.map(|at: Instant| at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => self.note(&events),
            }
            let Ok(orders) = drain(&self.inbox) else {
                return Ok(());
            };
            for (command, done) in orders {
                self.obey(command)?;
                // Whoever stopped waiting for the answer does not need it.
                let _ = done.send(());
            }
            wake_at = earliest(self.accept(), self.turn_all()?);
        }
    }

    fn note(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                WAKE => {}
                LISTEN => self.acceptable = true,
                Token(token) => {
                    let Some(conn) = self.conns.get_mut(&(token / 2)) else {
                        continue;
                    };
                    let side = &mut conn.side[token % 2];
                    side.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                    side.writable |= event.is_writable() || event.is_error();
                }
            }
        }
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Now(fault) => return self.strike(fault),
            Command::At { way, byte, fault } => {
                self.path.triggers.push(Trigger { way: way as usize, byte, fault });
            }
            Command::Heal => return self.heal(),
            Command::Delay(delay) => self.path.shape.delay = delay,
            Command::Jitter(jitter) => self.path.shape.jitter = jitter,
            Command::Rate(rate) => self.path.shape.rate = rate.map(|Rate(rate)| rate),
            Command::Slice(slice) => self.path.shape.slice = slice,
            Command::Queue(bytes) => self.path.shape.queue_bytes = bytes,
        }
        Ok(())
    }

    fn strike(&mut self, fault: Fault) -> io::Result<()> {
        match fault {
            Fault::Cut => self.end_all(Ending::Orderly),
            Fault::Reset => self.end_all(Ending::Reset),
            Fault::Stall(ways) => ways.each().for_each(|way| self.path.standing.stalled[way] = true),
            Fault::Drop(ways) => ways.each().for_each(|way| self.path.standing.dropped[way] = true),
            Fault::HalfOpen => self.path.standing.half_open = true,
            Fault::Refuse => {
                self.listener = None;
                self.acceptable = false;
            }
            Fault::Flip(way, _) => self.path.triggers.push(Trigger { way: way as usize, byte: 0, fault }),
        }
        Ok(())
    }

    fn heal(&mut self) -> io::Result<()> {
        self.path.standing = Standing::default();
        self.path.triggers.clear();
        for client in std::mem::take(&mut self.parked) {
            self.join(client);
        }
        if self.listener.is_none() { self.listen() } else { Ok(()) }
    }

    fn listen(&mut self) -> io::Result<()> {
        let mut listener = TcpListener::from_std(self.place.listen()?);
        self.poll.registry().register(&mut listener, LISTEN, Interest::READABLE)?;
        self.listener = Some(listener);
        Ok(())
    }

    fn end_all(&mut self, ending: Ending) {
        for (_, conn) in std::mem::take(&mut self.conns) {
            self.path.end(&conn, ending);
        }
        for client in std::mem::take(&mut self.parked) {
            close(&client, ending);
        }
    }

    /// Accepts what waits. Returns when to try again after a failure.
    fn accept(&mut self) -> Option<Instant> {
        while let (true, Some(listener)) = (self.acceptable, &self.listener) {
            match listener.accept() {
                Ok((client, _)) => {
                    self.path.meters.accepted.fetch_add(1, Ordering::AcqRel);
                    match self.path.standing.swallows_connections() {
                        true => self.parked.push(client),
                        false => self.join(client),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.acceptable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(Instant::now() + ACCEPT_PAUSE),
            }
        }
        None
    }

    /// Joins a client to the target. A target that refuses at once resets the client; later, the first write does.
    fn join(&mut self, mut client: TcpStream) {
        let id = self.next_id;
        self.next_id += 1;
        let mut connect = || -> io::Result<TcpStream> {
            let mut target = TcpStream::connect(self.target)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut client, Token(2 * id), both)?;
            self.poll.registry().register(&mut target, Token(2 * id + 1), both)?;
            // Slices must leave as they are written.
            client.set_nodelay(true)?;
            target.set_nodelay(true)?;
            Ok(target)
        };
        let Ok(target) = connect() else {
            return close(&client, Ending::Reset);
        };
        let now = Instant::now();
        let seed = id as u64;
        let side = |socket| Side { socket, readable: false, writable: false };
        let conn = Conn {
            side: [side(client), side(target)],
            flow: [Flow::new(now, 2 * seed), Flow::new(now, 2 * seed + 1)],
            read_end: [false; 2],
            write_end: [false; 2],
            lost: [false; 2],
        };
        self.path.meters.live.fetch_add(1, Ordering::AcqRel);
        self.conns.insert(id, conn);
    }

    /// Gives every connection its turn. Returns when the next one is due.
    fn turn_all(&mut self) -> io::Result<Option<Instant>> {
        let mut next = None;
        let mut ids: Vec<usize> = self.conns.keys().copied().collect();
        while let Some(id) = ids.pop() {
            let Some(conn) = self.conns.get_mut(&id) else {
                continue;
            };
            match self.path.turn(conn) {
                TurnEnd::Moved => next = Some(Instant::now()),
                TurnEnd::Waits(at) => next = earliest(next, at),
                TurnEnd::Over(ending) => self.end(id, ending),
                TurnEnd::Fault(fault) => {
                    match fault {
                        Fault::Reset => self.end(id, Ending::Reset),
                        fault => self.strike(fault)?,
                    }
                    ids.push(id);
                }
            }
        }
        Ok(next)
    }

    fn end(&mut self, id: usize, ending: Ending) {
        if let Some(conn) = self.conns.remove(&id) {
            self.path.end(&conn, ending);
        }
    }
}

impl Path {
    fn turn(&mut self, conn: &mut Conn) -> TurnEnd {
        for _ in 0..TURN {
            match (self.step(conn, 0), self.step(conn, 1)) {
                (TurnEnd::Waits(up), TurnEnd::Waits(down)) => return TurnEnd::Waits(earliest(up, down)),
                (TurnEnd::Moved | TurnEnd::Waits(_), TurnEnd::Moved | TurnEnd::Waits(_)) => {}
                (over @ (TurnEnd::Over(_) | TurnEnd::Fault(_)), _) | (_, over) => return over,
            }
        }
        TurnEnd::Moved
    }

    /// Reads once and writes once in one direction.
    fn step(&mut self, conn: &mut Conn, way: usize) -> TurnEnd {
        if self.standing.half_open {
            return TurnEnd::Waits(None);
        }
        if self.standing.dropped[way] && !conn.lost[way] {
            conn.flow[way].lose();
            conn.lost[way] = true;
        }
        let read = self.read(conn, way);
        match (read, self.write(conn, way)) {
            (TurnEnd::Over(ending), _) => TurnEnd::Over(ending),
            (_, ended @ (TurnEnd::Over(_) | TurnEnd::Fault(_))) => ended,
            (TurnEnd::Moved, _) => TurnEnd::Moved,
            (_, write) => write,
        }
    }

    fn read(&mut self, conn: &mut Conn, way: usize) -> TurnEnd {
        let room = match conn.lost[way] {
            true => READ_BYTES,
            false => conn.flow[way].room(&self.shape).min(READ_BYTES),
        };
        let source = &mut conn.side[way];
        if !source.readable || conn.read_end[way] || room == 0 {
            return TurnEnd::Waits(None);
        }
        match source.socket.read(&mut self.scratch[..room]) {
            Ok(0) => {
                conn.read_end[way] = true;
                match conn.lost[way] {
                    true if conn.read_end == [true, true] => return TurnEnd::Over(Ending::Orderly),
                    true => {}
                    false => conn.flow[way].end(Instant::now()),
                }
            }
            Ok(bytes) => {
                self.meters.arrived[way].fetch_add(bytes as u64, Ordering::AcqRel);
                if !conn.lost[way] {
                    conn.flow[way].push(Instant::now(), self.scratch[..bytes].to_vec());
                }
            }
            Err(error) => return waits(&error, &mut source.readable),
        }
        TurnEnd::Moved
    }

    fn write(&mut self, conn: &mut Conn, way: usize) -> TurnEnd {
        let sink = &mut conn.side[1 - way];
        if self.standing.stalled[way] || conn.lost[way] || conn.write_end[way] || !sink.writable {
            return TurnEnd::Waits(None);
        }
        let bytes = match conn.flow[way].due(Instant::now(), &self.shape) {
            Due::Nothing => return TurnEnd::Waits(None),
            Due::At(at) => return TurnEnd::Waits(Some(at)),
            Due::End => {
                conn.flow[way].lose();
                conn.write_end[way] = true;
                if sink.socket.shutdown(Shutdown::Write).is_err() {
                    return TurnEnd::Over(Ending::Reset);
                }
                let both = conn.write_end == [true, true];
                return if both { TurnEnd::Over(Ending::Orderly) } else { TurnEnd::Moved };
            }
            Due::Bytes(bytes) => bytes,
        };
        let delivered = self.meters.delivered[way].load(Ordering::Acquire);
        if let Some(fault) = take_due(&mut self.triggers, way, delivered) {
            match fault {
                Fault::Flip(_, bit) => bytes[0] ^= 1 << bit,
                fault => return TurnEnd::Fault(fault),
            }
        }
        let before_next = self.triggers.iter().filter(|t| t.way == way && t.byte > delivered);
        let most = before_next.map(|t| t.byte - delivered).min().unwrap_or(u64::MAX);
        let most = bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        match sink.socket.write(&bytes[..most]) {
            Ok(bytes) => {
                conn.flow[way].taken(bytes);
                let delivered = delivered + bytes as u64;
                self.meters.delivered[way].store(delivered, Ordering::Release);
                let now_due = self
                    .triggers
                    .iter()
                    .position(|t| t.way == way && t.byte <= delivered && !matches!(t.fault, Fault::Flip(..)));
                now_due.map_or(TurnEnd::Moved, |at| TurnEnd::Fault(self.triggers.remove(at).fault))
            }
            Err(error) => waits(&error, &mut sink.writable),
        }
    }

    fn end(&self, conn: &Conn, ending: Ending) {
        conn.side.iter().for_each(|side| close(&side.socket, ending));
        self.meters.live.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes the first fault that is due before the next byte.
fn take_due(triggers: &mut Vec<Trigger>, way: usize, delivered: u64) -> Option<Fault> {
    let at = triggers.iter().position(|t| t.way == way && t.byte <= delivered)?;
    Some(triggers.remove(at).fault)
}

/// An error that is none clears the readiness it contradicts; any other ends the connection as the far end saw it end.
fn waits(error: &io::Error, ready: &mut bool) -> TurnEnd {
    match error.kind() {
        ErrorKind::WouldBlock => {
            *ready = false;
            TurnEnd::Waits(None)
        }
        ErrorKind::Interrupted => TurnEnd::Moved,
        _ => TurnEnd::Over(Ending::Reset),
    }
}

/// Says how it ends; the descriptor is closed when its owner is dropped. Errors mean that the far end was faster.
fn close(socket: &TcpStream, ending: Ending) {
    let _ = match ending {
        Ending::Orderly => socket.shutdown(Shutdown::Write),
        Ending::Reset => SockRef::from(socket).set_linger(Some(Duration::ZERO)),
    };
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
