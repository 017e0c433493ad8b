//! Clients that are admitted at the relay and obey nobody. They speak the protocol by the library's own machines, one link by
//! hand: what a frame says, and when, is the test's.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use vp::identity::{Identity, PeerId};
use vp::link::{Admitted, Dial, Frame, Link};
use vp::names::AppName;
use vp::noise::{ExpectReply, Initiator, Purpose, Suite, Terms};
use vp::store::keyfile;
use vp::wire::{CloseCode, Control, Header, Kind, Name};

use super::{DEADLINE, Relay, World};

/// Bytes of a sealed header, by section 4.2 of PROTOCOL.md.
const SEALED_HEADER_BYTES: usize = 32;
/// The first early byte of a call, by section 6.2.
const FIRST_LANE: u8 = 1;

/// The identity of a party of this world.
pub fn identity(world: &World, name: &str) -> Identity {
    keyfile::load(&world.key(name)).expect("a key file")
}

/// A link of an admitted client.
pub struct Raw {
    pub stream: TcpStream,
    link: Link,
    identity: Identity,
    input: Vec<u8>,
    used: usize,
    /// What is said and not written yet.
    output: Vec<u8>,
    /// What the kernel has taken so far, since the link is up, bytes.
    pub written_bytes: u64,
    next_circuit: u32,
}

/// What came in, with its bytes.
#[derive(Debug)]
pub enum Heard {
    Frame(Frame),
    Data {
        circuit: u32,
        bytes: Vec<u8>,
    },
    /// The relay closed the connection.
    Closed,
    /// Nothing within the time given.
    Nothing,
}

impl Raw {
    /// Attaches as a party of the relay's world, and has said nothing yet.
    pub fn attach(relay: &Relay<'_>, name: &str) -> Raw {
        Raw::attach_as(relay, identity(relay.world(), name))
    }

    /// Attaches by this key.
    pub fn attach_as(relay: &Relay<'_>, identity: Identity) -> Raw {
        Raw::attach_from(relay, identity, Ipv4Addr::LOCALHOST)
    }

    /// Attaches by this key, and from an address of its own in 127/8.
    pub fn attach_from(relay: &Relay<'_>, identity: Identity, source: Ipv4Addr) -> Raw {
        let to = relay.relay_id();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("an address");
        socket.connect_timeout(&relay.socket().into(), DEADLINE).expect("the relay's port");
        let mut stream = TcpStream::from(socket);
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let (mut dial, first) = Dial::new(&identity, to).expect("a handshake");
        stream.write_all(&first).expect("message 1");
        let (mut input, mut output) = (Vec::new(), Vec::new());
        let Admitted { link, used, .. } = loop {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).expect("message 2");
            assert!(count > 0, "the relay closed the connection");
            input.extend_from_slice(&buffer[..count]);
            match dial.handle_bytes(&input, &mut output).expect("message 2") {
                Ok(admitted) => break admitted,
                Err(more) => dial = more,
            }
        };
        let mut raw = Raw { stream, link, identity, input, used, output, written_bytes: 0, next_circuit: 2 };
        raw.write();
        raw
    }

    /// Its id.
    pub fn id(&self) -> PeerId {
        self.identity.id()
    }

    /// Writes all that was said. Panics if the relay has not taken it by the deadline.
    pub fn write(&mut self) {
        self.stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
        self.stream.write_all(&self.output).expect("the relay takes it");
        self.written_bytes += self.output.len() as u64;
        self.output.clear();
    }

    /// Writes what the connection takes within this time. True if that was all.
    pub fn write_within(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while !self.output.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.stream.set_write_timeout(Some(left)).expect("a socket");
            match self.stream.write(&self.output) {
                Ok(count) => {
                    self.output.drain(..count);
                    self.written_bytes += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Bytes that are said and not written yet.
    pub fn pending_bytes(&self) -> usize {
        self.output.len()
    }

    /// Says a control message; [`Raw::write`] sends it.
    pub fn say(&mut self, message: &Control) {
        self.link.control(message, &mut self.output).expect("a message that can be said");
    }

    /// LISTEN of an application.
    pub fn listen(&mut self, app: &str) {
        self.say(&Control::Listen { name: app_name(app) });
    }

    /// CONNECT by the next number of this link, which it yields.
    pub fn connect(&mut self, to: PeerId, name: Name, wait_ms: u32, early: Vec<u8>) -> u32 {
        let circuit = self.next_circuit;
        self.next_circuit += 2;
        self.say(&Control::Connect { circuit, to, name, wait_ms, early });
        circuit
    }

    /// CONNECT to an application with a genuine first message of a session. Yields what would finish the handshake, too.
    pub fn call(&mut self, to: PeerId, app: &str, wait_ms: u32) -> (u32, ExpectReply) {
        let suite = Suite::preferred();
        let terms = Terms { suite, purpose: Purpose::Session, context: app.as_bytes(), caps: &[] };
        let begun = Initiator::start(&terms, &self.identity, to);
        let (reply, first) = begun.expect("a handshake");
        let early = [&[FIRST_LANE, suite.number()][..], &first].concat();
        (self.connect(to, app_name(app), wait_ms, early), reply)
    }

    /// A PING.
    pub fn ping(&mut self, token: u32) {
        self.link.ping(token, &mut self.output).expect("a ping");
    }

    /// RESET of a circuit.
    pub fn reset(&mut self, circuit: u32, code: u16) {
        self.link.reset(circuit, code, &mut self.output).expect("a reset");
    }

    /// FIN or CREDIT of a circuit.
    pub fn bare(&mut self, kind: Kind, circuit: u32, credit: u32) {
        self.link.bare(kind, circuit, credit, &mut self.output).expect("a frame");
    }

    /// DATA of a circuit.
    pub fn data(&mut self, circuit: u32, credit: u32, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("a short body");
        let at = self.output.len();
        self.output.resize(at + SEALED_HEADER_BYTES, 0);
        let header = Header { kind: Kind::Data, circuit, length, credit };
        self.link.seal_header(header, &mut self.output[at..]).expect("a header");
        self.output.extend_from_slice(body);
    }

    /// Takes so many bytes off the connection, and no more.
    pub fn hear_bytes(&mut self, count: usize) {
        let at = self.input.len();
        self.input.resize(at + count, 0);
        self.stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        self.stream.read_exact(&mut self.input[at..]).expect("the relay has said something");
    }

    /// What comes next, within this time.
    pub fn hear(&mut self, limit: Duration) -> Heard {
        let until = Instant::now() + limit;
        loop {
            let (used, frame) = self.link.advance(&self.input[self.used..]).expect("the relay keeps to the protocol");
            if used > 0 {
                let at = self.used;
                self.used += used;
                match frame {
                    Frame::Nothing => continue,
                    Frame::Data { circuit, bytes: Range { start, end }, .. } => {
                        return Heard::Data { circuit, bytes: self.input[at + start..at + end].to_vec() };
                    }
                    frame => return Heard::Frame(frame),
                }
            }
            self.input.drain(..std::mem::take(&mut self.used));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Heard::Nothing;
            }
            self.stream.set_read_timeout(Some(left)).expect("a socket");
            let mut buffer = [0; 65_536];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Heard::Closed,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Heard::Closed,
                Err(_) => {}
            }
        }
    }

    /// Hears until a frame is what the test wants, and yields it. Panics at the deadline.
    pub fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(&Heard) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        loop {
            let heard = self.hear(until.saturating_duration_since(Instant::now()));
            if let Some(found) = wanted(&heard) {
                return found;
            }
            assert!(!matches!(heard, Heard::Closed | Heard::Nothing), "{heard:?} instead of {what}");
        }
    }

    /// The same, while it shows the relay again and again that it is there.
    pub fn wait_awake<T>(&mut self, what: &str, mut wanted: impl FnMut(&Heard) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        let mut ping_at = Instant::now();
        loop {
            if Instant::now() >= ping_at {
                ping_at += Duration::from_secs(1);
                self.ping(0xa11f);
                self.write();
            }
            let heard = self.hear(ping_at.saturating_duration_since(Instant::now()));
            if let Some(found) = wanted(&heard) {
                return found;
            }
            assert!(!matches!(heard, Heard::Closed) && Instant::now() < until, "{heard:?} instead of {what}");
        }
    }

    /// Waits for the last word of the relay on a call, other than that it waits: its code, or none if it is open.
    pub fn outcome(&mut self, circuit: u32) -> Option<CloseCode> {
        self.wait_awake("the outcome of a call", |heard| match heard {
            Heard::Frame(Frame::Control(Control::Opened { circuit: opened, .. })) if *opened == circuit => Some(None),
            Heard::Frame(Frame::Control(Control::Status { circuit: ended, code })) if *ended == circuit => {
                let code = CloseCode::from_wire(*code);
                (code != CloseCode::Waiting).then_some(Some(code))
            }
            _ => None,
        })
    }

    /// Waits until the relay has read all that was written before: it answers in order.
    pub fn settle(&mut self) {
        self.ping(0x5e77);
        self.write();
        self.wait("the answer to a ping", |heard| matches!(heard, Heard::Frame(Frame::Pong(0x5e77))).then_some(()));
    }
}

/// Bytes of a link that the relay has not read, as the kernel counts them: still on this side, or at the relay's. It is exact
/// while nobody moves.
pub fn unread_bytes(relay: &Relay<'_>, raw: &Raw) -> u64 {
    let (client, server) = (raw.stream.local_addr().expect("an address"), relay.socket());
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("the kernel's table");
    let port = |word: &str| word.split_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    let queues = |word: &str| {
        let (sent, received) = word.split_once(':')?;
        Some([sent, received].map(|bytes| u64::from_str_radix(bytes, 16).expect("a number")))
    };
    let unread = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let ends = [port(words.next()?)?, port(words.next()?)?];
        let [unsent, unread] = queues(words.nth(1)?)?;
        let is_client = ends == [client.port(), server.port()];
        let is_server = ends == [server.port(), client.port()];
        is_client.then_some(unsent).or(is_server.then_some(unread))
    });
    unread.sum()
}

/// A name on the wire.
pub fn app_name(app: &str) -> Name {
    Name::App(app.parse::<AppName>().expect("a name"))
}
