//! What floods are made of, and the clients that flood.

use crate::client::{Client, NOW, WAIT, name};
use crate::common::Anyhow;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use vp::identity::PeerId;
use vp::link::Frame;
use vp::wire::{Control, Name};

/// Bytes of a small body.
const SMALL_BYTES: u32 = 64;
/// What waits on a link for a relay that does not run, bytes.
const BACKLOG_BYTES: usize = 192 * 1024;
/// What a flooder says at a time to each link, bytes.
pub const BATCH_BYTES: usize = 32 * 1024;
/// Calls of a link that are not over, at most.
const CALLS_MAX: u32 = 16;
/// The number of the peer that floods.
pub const HOSTILE: usize = 1001;
/// It has an address of its own.
pub const HOSTILE_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

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
    /// DATA of a byte to a link that is at another worker, if there are several.
    Byte,
    /// CREDIT for one that is.
    Credit,
    /// CONNECT to one that is, which takes the call, and RESET.
    Open,
    /// Frames of a WebSocket with nothing in them.
    CarrierEmpty,
    /// Pings of a WebSocket.
    CarrierPing,
    /// PING in frames of a WebSocket with a byte in each.
    CarrierByte,
}

impl Flood {
    /// All kinds.
    pub const ALL: [Flood; 10] = [
        Flood::Ping,
        Flood::Listen,
        Flood::Connect,
        Flood::Data,
        Flood::Byte,
        Flood::Credit,
        Flood::Open,
        Flood::CarrierEmpty,
        Flood::CarrierPing,
        Flood::CarrierByte,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Flood::Ping => "ping",
            Flood::Listen => "listen",
            Flood::Connect => "connect",
            Flood::Data => "data",
            Flood::Byte => "byte",
            Flood::Credit => "credit",
            Flood::Open => "open",
            Flood::CarrierEmpty => "ws-empty",
            Flood::CarrierPing => "ws-ping",
            Flood::CarrierByte => "ws-byte",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Flood> {
        Flood::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a link can say it without hearing what comes of it. A flood of calls that are taken cannot, and frames of a carrier
    /// are none of a link's.
    pub fn is_one_sided(self) -> bool {
        self != Flood::Open && !self.is_carried()
    }

    /// Whether it is one of frames of a carrier.
    pub fn is_carried(self) -> bool {
        matches!(self, Flood::CarrierEmpty | Flood::CarrierPing | Flood::CarrierByte)
    }

    /// How many of it show what one costs.
    pub fn count(self) -> u32 {
        match self {
            Flood::Ping | Flood::Credit => 3_000_000,
            Flood::Listen | Flood::Data | Flood::Byte => 300_000,
            Flood::Connect | Flood::Open => 50_000,
            Flood::CarrierEmpty | Flood::CarrierPing | Flood::CarrierByte => 0,
        }
    }

    fn body_bytes(self) -> u32 {
        if self == Flood::Byte { 1 } else { SMALL_BYTES }
    }
}

/// A client that floods.
pub struct Flooder {
    /// Its link.
    pub client: Client,
    /// Whom it calls again and again.
    calls: Option<(PeerId, Name)>,
    /// Calls that are not over.
    open: u32,
}

impl From<Client> for Flooder {
    fn from(client: Client) -> Flooder {
        Flooder { client, calls: None, open: 0 }
    }
}

impl Flooder {
    /// So many LISTEN, as bytes that are not sent.
    pub fn listens(&mut self, count: u32) -> Anyhow<Vec<u8>> {
        let mut out = Vec::new();
        (0..count).try_for_each(|_| self.client.link.control(&Control::Listen { name: name(0) }, &mut out))?;
        Ok(out)
    }

    /// One more of this kind; false if it has to hear something first.
    fn add(&mut self, kind: Flood, out: &mut Vec<u8>) -> Anyhow<bool> {
        match kind {
            Flood::Ping => self.client.link.ping(1, out)?,
            Flood::Listen => {
                self.client.link.control(&Control::Listen { name: name(0) }, out)?;
                self.client.link.control(&Control::Unlisten { name: name(0) }, out)?;
            }
            Flood::Connect => {
                let circuit = self.add_call(PeerId::from_bytes([77; 32]), name(0), out)?;
                self.client.link.reset(circuit, 8, out)?;
            }
            Flood::Data | Flood::Byte if self.client.may_send() < kind.body_bytes() => return Ok(false),
            Flood::Data | Flood::Byte => self.client.data(kind.body_bytes(), out)?,
            Flood::Credit => self.client.repeat_grant(out)?,
            Flood::Open => {
                let Some((to, name)) = self.calls.clone().filter(|_| self.open < CALLS_MAX) else { return Ok(false) };
                self.add_call(to, name, out)?;
                self.open += 1;
            }
            Flood::CarrierEmpty | Flood::CarrierPing | Flood::CarrierByte => return Ok(false),
        }
        Ok(true)
    }

    fn add_call(&mut self, to: PeerId, name: Name, out: &mut Vec<u8>) -> Anyhow<u32> {
        let circuit = self.client.next_circuit;
        self.client.next_circuit += 2;
        self.client.link.control(&Control::Connect { circuit, to, name, wait_ms: 0, early: vec![] }, out)?;
        Ok(circuit)
    }

    /// Hears what has come; takes calls, and ends those that were taken. Whether there was anything.
    fn hear(&mut self, out: &mut Vec<u8>) -> Anyhow<bool> {
        let mut has_heard = false;
        while let Some(frame) = self.client.next(NOW)? {
            has_heard = true;
            let Frame::Control(message) = frame else { continue };
            match message {
                Control::Incoming { circuit, .. } => {
                    self.client.link.control(&Control::Accept { circuit, early: vec![] }, out)?;
                }
                Control::Opened { circuit, .. } => {
                    self.open -= 1;
                    self.client.link.reset(circuit, 8, out)?;
                }
                Control::Status { .. } => self.open -= 1,
                _ => {}
            }
        }
        Ok(has_heard)
    }

    /// Says what waits for a relay that does not run, and a PING behind it. What the connection does not take now.
    pub fn begin(&mut self, kind: Flood) -> Anyhow<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < BACKLOG_BYTES && self.add(kind, &mut out)? {}
        self.client.link.ping(9, &mut out)?;
        loop {
            let count = self.client.write_some(&out)?;
            out.drain(..count);
            if count == 0 || out.is_empty() {
                return Ok(out);
            }
        }
    }

    /// Says the rest of that, and waits for the answer to the PING.
    pub fn end(&mut self, pending: &[u8]) -> Anyhow<()> {
        self.client.stream.write_all(pending)?;
        while self.client.next(WAIT)? != Some(Frame::Pong(9)) {}
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
                self.client.next(WAIT)?;
                continue;
            }
            // Who is silent for long is taken for dead.
            self.client.link.ping(1, &mut out)?;
            let mut at = 0;
            while at < out.len() {
                let count = self.client.write_some(&out[at..])?;
                at += count;
                if count == 0 {
                    std::thread::sleep(Duration::from_micros(100));
                }
                while self.client.next(NOW)?.is_some() {}
            }
        }
        out.clear();
        self.client.link.ping(9, &mut out)?;
        self.end(&out)
    }
}

/// So many links of one peer, ready to flood.
pub fn crowd(kind: Flood, address: SocketAddr, links: usize) -> Anyhow<Vec<Flooder>> {
    let attach = |_| Client::attach_from(address, HOSTILE_ADDRESS, HOSTILE).map(Flooder::from);
    let flooders: Result<Vec<_>, _> = (0..links).map(attach).collect();
    let mut flooders = flooders?;
    match kind {
        Flood::Data => {
            // In pairs, so that what is sent has somewhere to go.
            for (n, pair) in flooders.chunks_exact_mut(2).enumerate() {
                let [one, two] = pair else { continue };
                one.client.listen(&name(n))?;
                two.client.call(&mut one.client, &name(n))?;
            }
        }
        Flood::Byte | Flood::Credit | Flood::Open => {
            for (n, four) in flooders.chunks_exact_mut(4).enumerate() {
                let [one, two, three, four] = four else { continue };
                cross([one, two, three, four], n)?;
            }
        }
        _ => {}
    }
    Ok(flooders)
}

/// Circuits between links of different workers, over which links are spread in the order in which they come. Whoever has a
/// circuit at its own worker stays there when it calls elsewhere.
fn cross([one, two, three, four]: [&mut Flooder; 4], n: usize) -> Anyhow<()> {
    let names = [name(2 * n), name(2 * n + 1)];
    one.client.listen(&names[0])?;
    two.client.listen(&names[1])?;
    three.client.call(&mut one.client, &names[0])?;
    four.client.call(&mut two.client, &names[1])?;
    three.client.call(&mut two.client, &names[1])?;
    four.client.call(&mut one.client, &names[0])?;
    three.calls = Some((two.client.peer, names[1].clone()));
    four.calls = Some((one.client.peer, names[0].clone()));
    Ok(())
}

/// Floods over all these links, for ever.
pub fn flood(kind: Flood, mut flooders: Vec<Flooder>) -> Anyhow<()> {
    let mut pending: Vec<(Vec<u8>, usize)> = flooders.iter().map(|_| (Vec::new(), 0)).collect();
    loop {
        let mut moved = false;
        for (flooder, (out, at)) in flooders.iter_mut().zip(&mut pending) {
            if *at == out.len() {
                out.clear();
                *at = 0;
            }
            moved |= flooder.hear(out)?;
            if out.len() < BATCH_BYTES {
                flooder.client.grant(out)?;
                while out.len() < BATCH_BYTES && flooder.add(kind, out)? {}
            }
            let count = flooder.client.write_some(&out[*at..])?;
            moved |= count > 0;
            *at += count;
        }
        if !moved {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
