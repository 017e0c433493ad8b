//! `limit send|relay|receive`: what this machine allows at best for a sealed stream through a relay. The same three
//! processes as `vp-send | vp-relay | vp-recv`, the same sizes on the wire and the same ciphers, and nothing else: no
//! handshake, no credit, no event loop, no second stream. `benches/run.sh` holds the tools against it.
//!
//! ```text
//! send ─ seal records, seal header ─▶ relay ─ open header, seal header, forward body ─▶ receive ─ open records
//! ```
//!
//! Listeners print `listening ADDR`. Keys are constants: nothing secret passes here.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use clap::{Parser, Subcommand};
use vp::wire::limits::{
    DATA_BODY_MAX, RECORD_PLAINTEXT_MAX, RECORD_PREFIX_BYTES, RECORD_WIRE_MAX, SEALED_HEADER_BYTES, TAG_BYTES,
};

/// A frame as large as frames get: header, then whole records.
const FRAME_BYTES: usize = SEALED_HEADER_BYTES + DATA_BODY_MAX;
const HEADER_KEY: [u8; 32] = [9; 32];
const RECORD_KEY: [u8; 32] = [7; 32];

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Seal BYTES bytes, rounded down to whole frames, and send them to ADDR.
    Send { to: SocketAddr, bytes: u64 },
    /// Accept one connection and forward it to ADDR.
    Relay { to: SocketAddr },
    /// Accept one connection and open what comes.
    Receive,
}

fn main() -> ExitCode {
    let done = match Options::parse().role {
        Role::Send { to, bytes } => send(to, bytes / (DATA_BODY_MAX as u64)),
        Role::Relay { to } => relay(to),
        Role::Receive => receive(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is closed too.
            let _ = writeln!(io::stderr(), "limit: error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn Error>>;

fn send(to: SocketAddr, frames: u64) -> Done {
    let mut to = TcpStream::connect(to)?;
    let (mut header, mut record) = (Channel::new(&HEADER_KEY)?, Channel::new(&RECORD_KEY)?);
    let source = vec![5; RECORD_PLAINTEXT_MAX];
    let mut frame = vec![0; FRAME_BYTES];
    for _ in 0..frames {
        header.seal(&mut frame[..SEALED_HEADER_BYTES])?;
        for wire in frame[SEALED_HEADER_BYTES..].chunks_mut(RECORD_WIRE_MAX) {
            let sealed = &mut wire[RECORD_PREFIX_BYTES..];
            // The tools read their input into a buffer of their own; so does this.
            sealed[..RECORD_PLAINTEXT_MAX].copy_from_slice(&source);
            record.seal(sealed)?;
        }
        to.write_all(&frame)?;
    }
    Ok(())
}

fn relay(to: SocketAddr) -> Done {
    let mut from = accept()?;
    let mut to = TcpStream::connect(to)?;
    let (mut inward, mut outward) = (Channel::new(&HEADER_KEY)?, Channel::new(&HEADER_KEY)?);
    let mut frame = vec![0; FRAME_BYTES];
    while next_frame(&mut from, &mut frame)? {
        inward.open(&mut frame[..SEALED_HEADER_BYTES])?;
        outward.seal(&mut frame[..SEALED_HEADER_BYTES])?;
        to.write_all(&frame)?;
    }
    Ok(())
}

fn receive() -> Done {
    let mut from = accept()?;
    let (mut header, mut record) = (Channel::new(&HEADER_KEY)?, Channel::new(&RECORD_KEY)?);
    let mut frame = vec![0; FRAME_BYTES];
    while next_frame(&mut from, &mut frame)? {
        header.open(&mut frame[..SEALED_HEADER_BYTES])?;
        for wire in frame[SEALED_HEADER_BYTES..].chunks_mut(RECORD_WIRE_MAX) {
            record.open(&mut wire[RECORD_PREFIX_BYTES..])?;
        }
    }
    Ok(())
}

fn accept() -> io::Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut out = io::stdout().lock();
    writeln!(out, "listening {}", listener.local_addr()?)?;
    out.flush()?;
    Ok(listener.accept()?.0)
}

/// Fills `frame`; false at an end between frames.
fn next_frame(from: &mut TcpStream, frame: &mut [u8]) -> io::Result<bool> {
    let first = from.read(frame)?;
    if first == 0 {
        return Ok(false);
    }
    from.read_exact(&mut frame[first..])?;
    Ok(true)
}

/// One direction under one key, nonces counted as Noise counts them.
struct Channel {
    key: LessSafeKey,
    count: u64,
}

impl Channel {
    fn new(key: &[u8; 32]) -> Result<Channel, Box<dyn Error>> {
        Ok(Channel { key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?), count: 0 })
    }

    fn nonce(&mut self) -> Nonce {
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&self.count.to_be_bytes());
        self.count += 1;
        Nonce::assume_unique_for_key(bytes)
    }

    /// Seals all but the last `TAG_BYTES` of `buffer`, which become the tag.
    fn seal(&mut self, buffer: &mut [u8]) -> Done {
        let nonce = self.nonce();
        let (plain, place) = buffer.split_at_mut(buffer.len() - TAG_BYTES);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), plain)?;
        place.copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn open(&mut self, buffer: &mut [u8]) -> Done {
        let nonce = self.nonce();
        self.key.open_in_place(nonce, Aad::empty(), buffer)?;
        Ok(())
    }
}
