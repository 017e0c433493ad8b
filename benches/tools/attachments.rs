//! `attachments --relay RELAY --key FILE --count N`: N attachments to a relay from one process, each a link of its own that
//! listens for one application and then does nothing but answer heartbeats.
//!
//! Prints `attached N` when all of them are registered, ends with its standard input. The relay must allow one peer so
//! many links.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use vp::names::{AppName, RelayAddress};
use vp::node::{Callers, Config, Event, Kind, Node, Wait};
use vp::session::Times;
use vp::store::keyfile;

/// One attachment comes up within this time or the run fails.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often every link is looked at: heartbeats of an idle link are many seconds apart.
const ROUND: Duration = Duration::from_millis(500);

#[derive(Parser)]
struct Options {
    /// The relay, as its ready line gives it.
    #[arg(long)]
    relay: RelayAddress,
    /// The key that all attachments share.
    #[arg(long)]
    key: PathBuf,
    /// How many.
    #[arg(long, default_value_t = 10_000)]
    count: usize,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is closed too.
            let _ = writeln!(io::stderr(), "attachments: error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Done<T = ()> = Result<T, Box<dyn Error>>;

fn run(options: &Options) -> Done {
    let address = (&*options.relay.host, options.relay.port).to_socket_addrs()?.next().ok_or("no address")?;
    let mut attachments = Vec::with_capacity(options.count);
    for n in 0..options.count {
        attachments.push(Attachment::open(options, address, n)?);
        // A slow machine must not lose the first ones while the last ones come up.
        if n % 1000 == 999 {
            attachments.iter_mut().try_for_each(Attachment::turn)?;
        }
    }
    writeln!(io::stdout(), "attached {}", attachments.len())?;
    io::stdout().flush()?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let keeper = scope.spawn(|| -> Result<(), String> {
            while !over.load(Ordering::Acquire) {
                attachments.iter_mut().try_for_each(Attachment::turn).map_err(|error| error.to_string())?;
                std::thread::park_timeout(ROUND);
            }
            Ok(())
        });
        let read = io::stdin().read_to_end(&mut Vec::new());
        over.store(true, Ordering::Release);
        keeper.thread().unpark();
        keeper.join().map_err(|_| "the keeper ended")??;
        Ok(read.map(drop)?)
    })
}

struct Attachment {
    node: Node,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Attachment {
    /// Dials, shakes hands and waits until the relay has registered the application.
    fn open(options: &Options, address: SocketAddr, n: usize) -> Done<Attachment> {
        let now = Instant::now();
        let config = Config {
            identity: keyfile::load(&options.key)?,
            kind: Kind::Pipe,
            relays: vec![options.relay.id],
            callers: Callers::Nobody,
            wait: Wait::Forever,
            times: Times { dead_time: DEADLINE, resume_timeout: DEADLINE, lane_life: vp::session::LANE_LIFE },
            callers_max: 1,
            exclusive: false,
            seed: n as u64,
        };
        let mut node = Node::new(now, config);
        node.listen(format!("idle{n}").parse::<AppName>()?);
        node.poll_dial(now).ok_or("the node does not want to dial")?;
        let stream = TcpStream::connect(address)?;
        node.handle_connected(now);
        stream.set_nodelay(true)?;
        // While it comes up, reads block for a moment each; afterwards not at all.
        stream.set_read_timeout(Some(Duration::from_millis(10)))?;
        let mut attachment = Attachment { node, stream, input: Vec::new() };
        while !attachment.is_listening()? {
            if now.elapsed() > DEADLINE {
                return Err(format!("attachment {n} did not come up").into());
            }
            attachment.turn()?;
        }
        attachment.stream.set_nonblocking(true)?;
        attachment.input = Vec::new();
        Ok(attachment)
    }

    fn is_listening(&mut self) -> Done<bool> {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Listening { .. } => return Ok(true),
                Event::RelayDown { why, .. } => return Err(format!("the relay went: {why:?}").into()),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Writes what is due, reads what came, lets time pass.
    fn turn(&mut self) -> Done {
        let now = Instant::now();
        self.node.handle_timeout(now);
        loop {
            let output = self.node.poll_output(now);
            if output.is_empty() {
                break;
            }
            let bytes = self.stream.write(output)?;
            self.node.handle_written(now, bytes);
        }
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the relay closed a link".into()),
            Ok(bytes) => self.input.extend_from_slice(&buffer[..bytes]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let used = self.node.handle_bytes(Instant::now(), &self.input);
        self.input.drain(..used);
        Ok(())
    }
}
