//! A client of a relay, one link by hand, without a session on top.

// Each benchmark uses a part of it.
#![allow(dead_code)]

use crate::common::{Anyhow, RELAY_SEED, identity};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use vp::identity::{Identity, PeerId};
use vp::link::{Dial, Frame, Link, credit_left};
use vp::wire::limits::{CIRCUIT_WINDOW_START, CLIENT_WINDOW, DATA_BODY_MAX, SEALED_HEADER_BYTES};
use vp::wire::{Control, Header, Kind, Name};

/// Bytes of a small body.
const SMALL_BYTES: u32 = 64;
/// As much as is read at once, and the start of the next frame.
const INPUT_BYTES: usize = DATA_BODY_MAX + 16 * 1024;
/// Waits until something has come.
pub const WAIT: RecvFlags = RecvFlags::empty();
/// Does not wait.
pub const NOW: RecvFlags = RecvFlags::DONTWAIT;

/// A link that is up.
struct Attached {
    link: Link,
    peer: PeerId,
    /// What has been read behind the handshake.
    input: Vec<u8>,
}

/// A connection from this address.
pub fn connect(address: SocketAddr, source: Ipv4Addr) -> Anyhow<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if source != Ipv4Addr::LOCALHOST {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect(&address.into())?;
    Ok(TcpStream::from(socket))
}

/// Attaches the peer with this number over a connection.
fn attach(stream: &mut TcpStream, number: usize) -> Anyhow<Attached> {
    let identity = identity(number);
    stream.set_nodelay(true)?;
    let (mut dial, first) = Dial::new(&identity, Identity::from_seed(&RELAY_SEED).id())?;
    stream.write_all(&first)?;
    let (mut input, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err("closed in the handshake".into());
        }
        input.extend_from_slice(&chunk[..count]);
        let mut out = Vec::new();
        match dial.handle_bytes(&input, &mut out)? {
            Err(more) => dial = more,
            Ok(admitted) => {
                stream.write_all(&out)?;
                let input = input.split_off(admitted.used);
                return Ok(Attached { link: admitted.link, peer: identity.id(), input });
            }
        }
    }
}

/// A client that waits for what it wants. Of its circuits it sends on one.
pub struct Client {
    /// Its connection.
    pub stream: TcpStream,
    /// Its end of the link.
    pub link: Link,
    /// Whose it is.
    pub peer: PeerId,
    input: Input,
    /// The circuit that it sends on; 0 before it has one.
    pub circuit: u32,
    /// The number for its next call.
    pub next_circuit: u32,
    credit: u32,
    sent: u32,
    received: u32,
    granted: u32,
}

/// What has been read and not used is `bytes[start..end]`.
struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Client {
    /// A link of the peer with this number.
    pub fn attach(address: SocketAddr, number: usize) -> Anyhow<Client> {
        Client::attach_from(address, Ipv4Addr::LOCALHOST, number)
    }

    /// The same, from this address.
    pub fn attach_from(address: SocketAddr, source: Ipv4Addr, number: usize) -> Anyhow<Client> {
        let mut stream = connect(address, source)?;
        let Attached { link, peer, input } = attach(&mut stream, number)?;
        let input = Input { start: 0, end: input.len(), bytes: input };
        let (credit, granted) = (CIRCUIT_WINDOW_START, CIRCUIT_WINDOW_START);
        Ok(Client { stream, link, peer, input, circuit: 0, next_circuit: 2, credit, sent: 0, received: 0, granted })
    }

    /// Two clients with a circuit between them, of the peers with this number and the next.
    pub fn pair(address: SocketAddr, number: usize) -> Anyhow<(Client, Client)> {
        let (mut caller, mut callee) = (Client::attach(address, number)?, Client::attach(address, number + 1)?);
        callee.listen(&name(0))?;
        caller.call(&mut callee, &name(0))?;
        Ok((caller, callee))
    }

    /// Gives back the memory of its input: many clients have to fit into one process.
    pub fn shrink(&mut self) {
        self.input = Input { bytes: Vec::new(), start: 0, end: 0 };
    }

    /// Says something.
    pub fn say(&mut self, message: &Control) -> Anyhow<()> {
        let mut out = Vec::new();
        self.link.control(message, &mut out)?;
        Ok(self.stream.write_all(&out)?)
    }

    /// The next frame; None if nothing has come, and with [`WAIT`] if nothing comes in the connection's time.
    pub fn next(&mut self, flags: RecvFlags) -> Anyhow<Option<Frame>> {
        loop {
            let Input { bytes, start, end } = &mut self.input;
            let (used, frame) = self.link.advance(&bytes[*start..*end])?;
            *start += used;
            match frame {
                Frame::Nothing if used > 0 => continue,
                Frame::Nothing => {}
                Frame::Credit { circuit, credit } if circuit == self.circuit => {
                    self.credit = credit;
                    return Ok(Some(frame));
                }
                Frame::Data { bytes: ref body, .. } => {
                    self.received = self.received.wrapping_add(body.len() as u32);
                    return Ok(Some(frame));
                }
                Frame::Control(Control::Bye { code }) => return Err(format!("the relay says BYE {code}").into()),
                Frame::Reset { circuit, code } if circuit == self.circuit => return Err(format!("reset {code}").into()),
                frame => return Ok(Some(frame)),
            }
            bytes.copy_within(*start..*end, 0);
            (*start, *end) = (0, *end - *start);
            bytes.resize(INPUT_BYTES, 0);
            match recv(&self.stream, &mut bytes[*end..], flags) {
                Ok((_, 0)) => return Err("closed".into()),
                Ok((_, count)) => *end += count,
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes what the connection takes now; how much.
    pub fn write_some(&mut self, bytes: &[u8]) -> Anyhow<usize> {
        match send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn await_control(&mut self) -> Anyhow<Control> {
        loop {
            if let Some(Frame::Control(message)) = self.next(WAIT)?
                && !matches!(message, Control::Welcome { .. })
            {
                return Ok(message);
            }
        }
    }

    /// LISTEN, and waits for the answer.
    pub fn listen(&mut self, name: &Name) -> Anyhow<()> {
        self.say(&Control::Listen { name: name.clone() })?;
        self.await_control().map(drop)
    }

    /// Calls a client that listens. Both send on that circuit from now on.
    pub fn call(&mut self, callee: &mut Client, name: &Name) -> Anyhow<()> {
        let circuit = self.next_circuit;
        self.next_circuit += 2;
        self.say(&Control::Connect { circuit, to: callee.peer, name: name.clone(), wait_ms: 0, early: vec![] })?;
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

    /// How much it may send, bytes.
    pub fn may_send(&self) -> u32 {
        credit_left(self.credit, self.sent)
    }

    /// DATA.
    pub fn data(&mut self, bytes: u32, out: &mut Vec<u8>) -> Anyhow<()> {
        let at = out.len();
        out.resize(at + SEALED_HEADER_BYTES + bytes as usize, 7);
        let header = Header { kind: Kind::Data, circuit: self.circuit, length: bytes, credit: self.granted };
        self.link.seal_header(header, &mut out[at..at + SEALED_HEADER_BYTES])?;
        self.sent = self.sent.wrapping_add(bytes);
        Ok(())
    }

    /// CREDIT, if it is time for that.
    pub fn grant(&mut self, out: &mut Vec<u8>) -> Anyhow<()> {
        if self.circuit != 0 && credit_left(self.granted, self.received) < CLIENT_WINDOW / 2 {
            self.granted = self.received.wrapping_add(CLIENT_WINDOW);
            self.repeat_grant(out)?;
        }
        Ok(())
    }

    /// CREDIT that says nothing new.
    pub fn repeat_grant(&mut self, out: &mut Vec<u8>) -> Anyhow<()> {
        Ok(self.link.bare(Kind::Credit, self.circuit, self.granted, out)?)
    }

    /// 64 bytes there and back.
    pub fn round_trip(&mut self) -> Anyhow<()> {
        let mut out = Vec::new();
        let until = self.received.wrapping_add(SMALL_BYTES);
        self.data(SMALL_BYTES, &mut out)?;
        self.stream.write_all(&out)?;
        while self.received != until {
            self.next(WAIT)?;
        }
        out.clear();
        self.grant(&mut out)?;
        Ok(self.stream.write_all(&out)?)
    }

    /// Sends back what comes.
    pub fn echo(&mut self) -> Anyhow<()> {
        loop {
            if let Some(Frame::Data { bytes, .. }) = self.next(WAIT)? {
                let mut out = Vec::new();
                self.grant(&mut out)?;
                self.data(bytes.len() as u32, &mut out)?;
                self.stream.write_all(&out)?;
            }
        }
    }

    /// Sends as fast as it may, until that is over.
    pub fn send_until(&mut self, over: &AtomicBool) -> Anyhow<()> {
        while !over.load(Ordering::Relaxed) {
            self.send_frame(DATA_BODY_MAX as u32)?;
            while self.next(NOW)?.is_some() {}
        }
        Ok(())
    }

    /// Sends so many bytes, and waits for the byte with which whoever receives them answers.
    pub fn send(&mut self, bytes: u64) -> Anyhow<()> {
        let mut left = bytes;
        while left > 0 {
            left -= u64::from(self.send_frame(u32::try_from(left).unwrap_or(u32::MAX))?);
            while self.received == 0 && self.next(NOW)?.is_some() {}
        }
        // It may have come before the last credit was looked for.
        while self.received == 0 {
            self.next(WAIT)?;
        }
        Ok(())
    }

    /// Sends one frame, of so many bytes at most; how many.
    fn send_frame(&mut self, most: u32) -> Anyhow<u32> {
        while self.may_send() == 0 {
            self.next(WAIT)?;
        }
        let length = self.may_send().min(DATA_BODY_MAX as u32).min(most);
        let mut out = Vec::with_capacity(SEALED_HEADER_BYTES + length as usize);
        self.data(length, &mut out)?;
        self.stream.write_all(&out)?;
        Ok(length)
    }

    /// Takes so many bytes, and answers them with one.
    pub fn receive(&mut self, bytes: u64) -> Anyhow<()> {
        let (mut left, mut out) = (bytes, Vec::new());
        while left > 0 {
            let Some(Frame::Data { bytes, .. }) = self.next(WAIT)? else { continue };
            left -= bytes.len() as u64;
            out.clear();
            self.grant(&mut out)?;
            self.stream.write_all(&out)?;
        }
        out.clear();
        self.data(1, &mut out)?;
        Ok(self.stream.write_all(&out)?)
    }

    /// Takes what comes and counts it.
    pub fn take(&mut self, taken: &AtomicU64) -> Anyhow<()> {
        loop {
            if let Some(Frame::Data { bytes, .. }) = self.next(WAIT)? {
                taken.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                let mut out = Vec::new();
                self.grant(&mut out)?;
                self.stream.write_all(&out)?;
            }
        }
    }

    /// Takes whatever comes, to the end.
    pub fn swallow(&mut self) -> Anyhow<()> {
        self.stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        loop {
            let mut out = Vec::new();
            for _ in 0..1000 {
                if self.next(WAIT)?.is_none() {
                    break;
                }
                self.grant(&mut out)?;
            }
            self.link.ping(1, &mut out)?;
            self.stream.write_all(&out)?;
        }
    }
}

/// A name to listen to; each number has its own.
pub fn name(number: usize) -> Name {
    Name::App(format!("bench{number}").parse().expect("a name"))
}
