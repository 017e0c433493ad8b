//! Clients of a relay, one link by hand, without a session on top.

use crate::common::{Anyhow, Attached, attach};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use vp::identity::PeerId;
use vp::link::{Frame, Link, credit_left};
use vp::wire::limits::{CIRCUIT_WINDOW_START, CLIENT_WINDOW, DATA_BODY_MAX, SEALED_HEADER_BYTES};
use vp::wire::{Control, Header, Kind, Name};

/// Bytes of a body of a flood of small ones.
const SMALL_BYTES: u32 = 64;
/// What waits on a link for a relay that does not run, bytes.
const BACKLOG_BYTES: usize = 192 * 1024;
/// What a flooder says at a time to each link, bytes.
const BATCH_BYTES: usize = 32 * 1024;

/// What floods are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// PING.
    Ping,
    /// LISTEN and UNLISTEN of a name.
    Listen,
    /// CONNECT to nobody, and RESET.
    Connect,
    /// Small DATA to another link.
    Data,
}

impl Flood {
    /// All kinds.
    pub const ALL: [Flood; 4] = [Flood::Ping, Flood::Listen, Flood::Connect, Flood::Data];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Flood::Ping => "ping",
            Flood::Listen => "listen",
            Flood::Connect => "connect",
            Flood::Data => "data",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Flood> {
        Flood::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How many of it show what one costs.
    pub fn count(self) -> u32 {
        match self {
            Flood::Ping => 3_000_000,
            Flood::Listen | Flood::Data => 300_000,
            Flood::Connect => 50_000,
        }
    }
}

/// A client that waits for what it wants.
pub struct Client {
    /// Its connection.
    pub stream: TcpStream,
    link: Link,
    peer: PeerId,
    /// What has been read and not used is `input[start..end]`.
    input: Vec<u8>,
    start: usize,
    end: usize,
    circuit: u32,
    next_circuit: u32,
    credit: u32,
    sent: u32,
    received: u32,
    granted: u32,
}

impl Client {
    /// A link of the peer with this number, from an address that goes with it.
    pub fn attach(address: SocketAddr, number: usize) -> Anyhow<Client> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let source = Ipv4Addr::new(127, 0, 0, if number < 10 { 1 } else { (number % 200) as u8 + 1 });
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&address.into())?;
        let mut stream = TcpStream::from(socket);
        let Attached { link, peer, input } = attach(&mut stream, number)?;
        let (start, end, circuit, next_circuit) = (0, input.len(), 0, 2);
        let (credit, granted, sent, received) = (CIRCUIT_WINDOW_START, CIRCUIT_WINDOW_START, 0, 0);
        Ok(Client { stream, link, peer, input, start, end, circuit, next_circuit, credit, sent, received, granted })
    }

    /// Two clients with a circuit between them, of the peers with this number and the next.
    pub fn pair(address: SocketAddr, number: usize) -> Anyhow<(Client, Client)> {
        let (mut caller, mut callee) = (Client::attach(address, number)?, Client::attach(address, number + 1)?);
        callee.listen()?;
        caller.call(&mut callee)?;
        Ok((caller, callee))
    }

    fn say(&mut self, message: &Control) -> Anyhow<()> {
        let mut out = Vec::new();
        self.link.control(message, &mut out)?;
        Ok(self.stream.write_all(&out)?)
    }

    /// The next frame; None if the connection has none now and does not wait.
    fn next(&mut self) -> Anyhow<Option<Frame>> {
        loop {
            let (used, frame) = self.link.advance(&self.input[self.start..self.end])?;
            self.start += used;
            match frame {
                Frame::Nothing if used > 0 => continue,
                Frame::Nothing => {}
                Frame::Credit { circuit, credit } if circuit == self.circuit => {
                    self.credit = credit;
                    return Ok(Some(frame));
                }
                Frame::Data { ref bytes, .. } => {
                    self.received = self.received.wrapping_add(bytes.len() as u32);
                    return Ok(Some(frame));
                }
                Frame::Control(Control::Bye { code }) => return Err(format!("the relay says BYE {code}").into()),
                Frame::Reset { circuit, code } if circuit == self.circuit => return Err(format!("reset {code}").into()),
                frame => return Ok(Some(frame)),
            }
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            self.input.resize(DATA_BODY_MAX + 16 * 1024, 0);
            match self.stream.read(&mut self.input[self.end..]) {
                Ok(0) => return Err("closed".into()),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn await_control(&mut self) -> Anyhow<Control> {
        loop {
            if let Some(Frame::Control(message)) = self.next()?
                && !matches!(message, Control::Welcome { .. })
            {
                return Ok(message);
            }
        }
    }

    /// LISTEN, and waits for the answer.
    pub fn listen(&mut self) -> Anyhow<()> {
        self.say(&Control::Listen { name: name() })?;
        self.await_control().map(drop)
    }

    /// Calls a client that listens.
    pub fn call(&mut self, callee: &mut Client) -> Anyhow<()> {
        let circuit = self.next_circuit;
        self.next_circuit += 2;
        self.say(&Control::Connect { circuit, to: callee.peer, name: name(), wait_ms: 0, early: vec![] })?;
        let Control::Incoming { circuit: theirs, .. } = callee.await_control()? else { return Err("no call".into()) };
        callee.say(&Control::Accept { circuit: theirs, early: vec![] })?;
        (callee.circuit, self.circuit) = (theirs, circuit);
        let Control::Opened { .. } = self.await_control()? else { return Err("not opened".into()) };
        Ok(())
    }

    /// Ends the circuit that it called for.
    pub fn hang_up(&mut self, callee: &mut Client) -> Anyhow<()> {
        let mut out = Vec::new();
        self.link.reset(self.circuit, 8, &mut out)?;
        (callee.circuit, self.circuit) = (0, 0);
        Ok(self.stream.write_all(&out)?)
    }

    fn data(&mut self, bytes: u32, out: &mut Vec<u8>) -> Anyhow<()> {
        let at = out.len();
        out.resize(at + SEALED_HEADER_BYTES + bytes as usize, 7);
        let header = Header { kind: Kind::Data, circuit: self.circuit, length: bytes, credit: self.granted };
        self.link.seal_header(header, &mut out[at..at + SEALED_HEADER_BYTES])?;
        self.sent = self.sent.wrapping_add(bytes);
        Ok(())
    }

    fn grant(&mut self, out: &mut Vec<u8>) -> Anyhow<()> {
        if self.circuit != 0 && credit_left(self.granted, self.received) < CLIENT_WINDOW / 2 {
            self.granted = self.received.wrapping_add(CLIENT_WINDOW);
            self.link.bare(Kind::Credit, self.circuit, self.granted, out)?;
        }
        Ok(())
    }

    /// 64 bytes there and back.
    pub fn round_trip(&mut self) -> Anyhow<()> {
        let mut out = Vec::new();
        let until = self.received.wrapping_add(SMALL_BYTES);
        self.data(SMALL_BYTES, &mut out)?;
        self.stream.write_all(&out)?;
        while self.received != until {
            self.next()?;
        }
        out.clear();
        self.grant(&mut out)?;
        Ok(self.stream.write_all(&out)?)
    }

    /// Sends back what comes.
    pub fn echo(&mut self) -> Anyhow<()> {
        loop {
            if let Some(Frame::Data { bytes, .. }) = self.next()? {
                let mut out = Vec::new();
                self.grant(&mut out)?;
                self.data(bytes.len() as u32, &mut out)?;
                self.stream.write_all(&out)?;
            }
        }
    }

    /// Sends as fast as it may, until that is over.
    pub fn send_until(&mut self, over: &AtomicBool) -> Anyhow<()> {
        let mut out = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let left = credit_left(self.credit, self.sent).min(DATA_BODY_MAX as u32);
            if left == 0 {
                self.next()?;
                continue;
            }
            out.clear();
            self.data(left, &mut out)?;
            self.stream.write_all(&out)?;
            self.hear()?;
        }
        Ok(())
    }

    /// Takes what comes and counts it.
    pub fn take(&mut self, taken: &AtomicU64) -> Anyhow<()> {
        loop {
            if let Some(Frame::Data { bytes, .. }) = self.next()? {
                taken.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                let mut out = Vec::new();
                self.grant(&mut out)?;
                self.stream.write_all(&out)?;
            }
        }
    }

    /// Hears what there is, without waiting.
    fn hear(&mut self) -> Anyhow<()> {
        self.stream.set_nonblocking(true)?;
        while self.next()?.is_some() {}
        Ok(self.stream.set_nonblocking(false)?)
    }

    /// Takes whatever comes, to the end.
    pub fn swallow(&mut self) -> Anyhow<()> {
        self.stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        loop {
            let mut out = Vec::new();
            for _ in 0..1000 {
                if self.next()?.is_none() {
                    break;
                }
                self.grant(&mut out)?;
            }
            self.link.ping(1, &mut out)?;
            self.stream.write_all(&out)?;
        }
    }

    /// So many LISTEN, as bytes that are not sent.
    pub fn listens(&mut self, count: u32) -> Anyhow<Vec<u8>> {
        let mut out = Vec::new();
        (0..count).try_for_each(|_| self.link.control(&Control::Listen { name: name() }, &mut out))?;
        Ok(out)
    }

    /// One more of this kind; false if there is no credit for it now.
    fn add(&mut self, kind: Flood, out: &mut Vec<u8>) -> Anyhow<bool> {
        match kind {
            Flood::Ping => self.link.ping(1, out)?,
            Flood::Listen => {
                self.link.control(&Control::Listen { name: name() }, out)?;
                self.link.control(&Control::Unlisten { name: name() }, out)?;
            }
            Flood::Connect => self.add_call(PeerId::from_bytes([77; 32]), name(), out)?,
            Flood::Data if credit_left(self.credit, self.sent) < SMALL_BYTES => return Ok(false),
            Flood::Data => self.data(SMALL_BYTES, out)?,
        }
        Ok(true)
    }

    /// CONNECT, and RESET.
    fn add_call(&mut self, to: PeerId, name: Name, out: &mut Vec<u8>) -> Anyhow<()> {
        let circuit = self.next_circuit;
        self.next_circuit += 2;
        self.link.control(&Control::Connect { circuit, to, name, wait_ms: 0, early: vec![] }, out)?;
        Ok(self.link.reset(circuit, 8, out)?)
    }

    /// Says what waits for a relay that does not run, and a PING behind it. What the connection does not take now.
    pub fn begin(&mut self, kind: Flood) -> Anyhow<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < BACKLOG_BYTES && self.add(kind, &mut out)? {}
        self.link.ping(9, &mut out)?;
        self.stream.set_nonblocking(true)?;
        while !out.is_empty() {
            match self.stream.write(&out) {
                Ok(count) => drop(out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.stream.set_nonblocking(false)?;
        Ok(out)
    }

    /// Says the rest of that, and waits for the answer to the PING.
    pub fn end(&mut self, pending: &[u8]) -> Anyhow<()> {
        self.stream.write_all(pending)?;
        while self.next()? != Some(Frame::Pong(9)) {}
        Ok(())
    }

    /// Says so many of this kind, hears the answers, and waits until the relay has dealt with all.
    pub fn say_all(&mut self, kind: Flood, count: u32) -> Anyhow<()> {
        let (mut out, mut said) = (Vec::new(), 0);
        while said < count {
            out.clear();
            while said < count && out.len() < BATCH_BYTES && self.add(kind, &mut out)? {
                said += 1;
            }
            if out.is_empty() {
                self.next()?;
                continue;
            }
            // Who is silent for long is taken for dead.
            self.link.ping(1, &mut out)?;
            let mut at = 0;
            self.stream.set_nonblocking(true)?;
            while at < out.len() {
                match self.stream.write(&out[at..]) {
                    Ok(count) => at += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_micros(100));
                    }
                    Err(error) => return Err(error.into()),
                }
                while self.next()?.is_some() {}
            }
            self.stream.set_nonblocking(false)?;
        }
        out.clear();
        self.link.ping(9, &mut out)?;
        self.stream.write_all(&out)?;
        while self.next()? != Some(Frame::Pong(9)) {}
        Ok(())
    }
}

/// So many links of one peer, ready to flood.
pub fn crowd(kind: Flood, address: SocketAddr, links: usize) -> Anyhow<Vec<Client>> {
    let clients: Result<Vec<_>, _> = (0..links).map(|_| Client::attach(address, 1000)).collect();
    let mut clients = clients?;
    if kind == Flood::Data {
        // In pairs, so that what is sent has somewhere to go.
        for pair in clients.chunks_exact_mut(2) {
            let [one, two] = pair else { continue };
            one.listen()?;
            two.call(one)?;
        }
    }
    Ok(clients)
}

/// Floods over all these links, for ever.
pub fn flood(kind: Flood, mut clients: Vec<Client>) -> Anyhow<()> {
    let mut pending: Vec<(Vec<u8>, usize)> = clients.iter().map(|_| (Vec::new(), 0)).collect();
    for client in &clients {
        client.stream.set_nonblocking(true)?;
    }
    loop {
        let mut moved = false;
        for (client, (out, at)) in clients.iter_mut().zip(&mut pending) {
            while client.next()?.is_some() {
                moved = true;
            }
            if *at == out.len() {
                out.clear();
                *at = 0;
                client.grant(out)?;
                while out.len() < BATCH_BYTES && client.add(kind, out)? {}
            }
            match client.stream.write(&out[*at..]) {
                Ok(count) => {
                    moved |= count > 0;
                    *at += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !moved {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

fn name() -> Name {
    Name::App("bench".parse().expect("a name"))
}
