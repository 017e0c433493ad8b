//! Floods of frames of a WebSocket: what a carrier says itself costs its link's peer as much as what the link says.

use crate::client::{NOW, connect};
use crate::common::{Anyhow, RELAY_SEED, identity};
use crate::kinds::{BATCH_BYTES, Flood, HOSTILE, HOSTILE_ADDRESS};
use rustix::io::Errno;
use rustix::net::{SendFlags, recv, send};
use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use vp::carrier::{Carrier, Target};
use vp::identity::Identity;
use vp::link::{Dial, Link};

/// FIN, and what is in a frame.
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;
/// The bit that says that a mask follows. Ours hides nothing.
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0; 4];

/// A link by WebSocket, that floods.
pub struct Carried {
    stream: TcpStream,
    link: Link,
    /// What it says, and how much of that is said.
    out: Vec<u8>,
    at: usize,
}

/// So many links of one peer, ready to flood.
pub fn crowd(address: SocketAddr, links: usize) -> Anyhow<Vec<Carried>> {
    (0..links).map(|_| Carried::attach(address)).collect()
}

/// Floods over all these links, for ever.
pub fn flood(kind: Flood, mut links: Vec<Carried>) -> Anyhow<()> {
    loop {
        let mut moved = false;
        for link in &mut links {
            link.discard()?;
            moved |= link.say(kind)?;
        }
        if !moved {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Carried {
    fn attach(address: SocketAddr) -> Anyhow<Carried> {
        let mut stream = connect(address, HOSTILE_ADDRESS)?;
        let mut carrier = Carrier::websocket(&Target { host: "relay", port: 80, path: "", usual_port: 80 });
        let mut chunk = [0; 4096];
        while !carrier.is_open() {
            stream.write_all(&wrapped(&mut carrier, &[]))?;
            let count = stream.read(&mut chunk)?;
            if count == 0 {
                return Err("closed before it was a WebSocket".into());
            }
            carrier.handle_wire(&mut chunk[..count]);
        }
        let (mut dial, first) = Dial::new(&identity(HOSTILE), Identity::from_seed(&RELAY_SEED).id())?;
        stream.write_all(&wrapped(&mut carrier, &first))?;
        let mut input = Vec::new();
        loop {
            let count = stream.read(&mut chunk)?;
            if count == 0 {
                return Err("closed in the handshake".into());
            }
            let count = carrier.handle_wire(&mut chunk[..count]);
            input.extend_from_slice(&chunk[..count]);
            let mut out = Vec::new();
            match dial.handle_bytes(&input, &mut out)? {
                Err(more) => dial = more,
                Ok(admitted) => {
                    stream.write_all(&wrapped(&mut carrier, &out))?;
                    return Ok(Carried { stream, link: admitted.link, out: Vec::new(), at: 0 });
                }
            }
        }
    }

    /// Whatever comes is nothing to it.
    fn discard(&mut self) -> Anyhow<()> {
        loop {
            match recv(&self.stream, &mut [0; 16 * 1024], NOW) {
                Ok((_, 0)) => return Err("closed".into()),
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says more of this kind, as much as its connection takes; whether that was anything.
    fn say(&mut self, kind: Flood) -> Anyhow<bool> {
        if self.at == self.out.len() {
            self.out.clear();
            self.at = 0;
            while self.out.len() < BATCH_BYTES {
                self.add(kind)?;
            }
        }
        match send(&self.stream, &self.out[self.at..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => {
                self.at += count;
                Ok(count > 0)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn add(&mut self, kind: Flood) -> Anyhow<()> {
        let mut frame = |opcode, content: &[u8]| {
            self.out.extend([opcode, MASKED | content.len() as u8]);
            self.out.extend(MASK);
            self.out.extend(content);
        };
        match kind {
            Flood::CarrierPing => frame(PING, &[]),
            Flood::CarrierByte => {
                let mut out = Vec::new();
                self.link.ping(1, &mut out)?;
                out.chunks(1).for_each(|byte| frame(BINARY, byte));
            }
            _ => frame(BINARY, &[]),
        }
        Ok(())
    }
}

/// What goes out on this carrier of what a link says.
fn wrapped(carrier: &mut Carrier, mut link: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let shown = [IoSlice::new(link)];
        // Without any of the link it shows what it has to say itself.
        let shown = if link.is_empty() { &[] } else { &shown[..] };
        let mut wire = [IoSlice::new(&[]); 8];
        let used = carrier.wrap(shown, &mut wire);
        if used == 0 {
            return out;
        }
        let frames: Vec<u8> = wire[..used].iter().flat_map(|slice| slice.to_vec()).collect();
        link = &link[carrier.handle_written(frames.len())..];
        out.extend(frames);
    }
}
