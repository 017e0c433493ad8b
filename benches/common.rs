//! What the benchmarks of a relay have in common: a relay in a process of its own, and the keys of its clients.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;
use vp::identity::Identity;
use vp::names::Fronts;
use vp::relay::Limits;
use vp::server::{Allow, Certificate, Logging, Relay, RelayOptions};

/// What goes wrong.
pub type Anyhow<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Of the relay.
pub const RELAY_SEED: [u8; 32] = [255; 32];

/// Every client's key is made of its number.
pub fn identity(number: usize) -> Identity {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Identity::from_seed(&seed)
}

/// A process that prints where it listens, and ends when its standard input does: when this is dropped.
pub struct Server {
    /// The process.
    pub child: Child,
    stdin: Option<ChildStdin>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// By this command.
    pub fn start(command: &mut Command) -> Anyhow<Server> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let (mut line, mut byte) = (String::new(), [0]);
        let mut stdout = child.stdout.take().ok_or("no output")?;
        while stdout.read(&mut byte)? == 1 && byte[0] != b'\n' {
            line.push(char::from(byte[0]));
        }
        Ok(Server { child, stdin, address: line.parse()? })
    }

    /// Processor time so far.
    pub fn cpu_seconds(&self) -> Anyhow<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        // utime and stime, in ticks of 10 ms.
        Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
    }

    /// `VmRSS:`, now, or `VmHWM:`, the most so far.
    pub fn memory_kib(&self, which: &str) -> Anyhow<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(which)).ok_or("the server has ended")?;
        Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

/// Says where this process listens.
pub fn announce(address: SocketAddr) -> Anyhow<()> {
    println!("{address}");
    Ok(io::stdout().flush()?)
}

/// Serves as a relay until standard input ends.
pub fn serve(workers: usize, memory_mib: usize) -> Anyhow<()> {
    let options = RelayOptions {
        identity: Identity::from_seed(&RELAY_SEED),
        listen: vec!["127.0.0.1:0".parse()?],
        listeners: Vec::new(),
        fronts: Fronts::default(),
        allow: Allow::Anyone,
        certificate: Certificate::Own,
        limits: Limits::default(),
        memory_bytes: memory_mib << 20,
        workers: NonZeroUsize::new(workers),
        drain: Duration::ZERO,
        signals: false,
        log: Logging { details: false, write: Box::new(|_| {}) },
    };
    let relay = Relay::bind(options).map_err(|error| format!("{error:?}"))?;
    announce(relay.addresses()[0].rsplit('@').next().ok_or("no address")?.parse()?)?;
    let handle = relay.handle();
    std::thread::spawn(move || {
        let _ = io::stdin().read(&mut [0]);
        handle.stop();
    });
    relay.run().map_err(|error| format!("{error:?}"))?;
    Ok(())
}
