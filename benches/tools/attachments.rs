//! `attachments --relay RELAY --key FILE --count N`: N attachments to a relay from one process, each a link of its own that
//! listens for one application and then does nothing but answer heartbeats.
//!
//! Prints `attached N` when all of them are registered, ends with its standard input. The relay must allow one peer so
//! many links.

use std::error::Error;
use std::io::{self, Read as _, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use vp::names::{AppName, RelayAddress};
use vp::net::endpoint::Endpoint;
use vp::net::options::Purpose;
use vp::net::reactor::{Flow, Host, Reactor, Ready};
use vp::net::slots::{Slot, Slots};
use vp::net::socket::Socket;
use vp::net::{Read, Written};
use vp::node::{Callers, Config, Event, Kind, Node, Wait};
use vp::session::Times;
use vp::store::keyfile;

/// One attachment comes up within this time or the run fails.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often every link is looked at: heartbeats of an idle link are many seconds apart. Processes of one key ask each other
/// whether they receive the same, and thousands that answered as soon as they could would do nothing else.
const ROUND: Duration = Duration::from_millis(500);
/// So many come up between two looks at all: a slow machine must not lose the first ones while the last ones come up.
const COMING_UP: usize = 1000;
/// Events taken in one turn.
const EVENTS: usize = 1024;

#[derive(Parser)]
struct Options {
    /// The relay, as its ready line gives it.
    #[arg(long, value_parser = relay_address)]
    relay: RelayAddress,
    /// The key that all attachments share.
    #[arg(long)]
    key: PathBuf,
    /// How many.
    #[arg(long, default_value_t = 10_000)]
    count: usize,
}

fn relay_address(text: &str) -> Result<RelayAddress, String> {
    text.parse().map_err(|error| format!("no address: {error:?}"))
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

type Done<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn run(options: &Options) -> Done {
    let address = (&*options.relay.host, options.relay.port).to_socket_addrs()?.next().ok_or("no address")?;
    let mut reactor = Reactor::new(EVENTS)?;
    Ok(reactor.run(&mut Crowd {
        options,
        address,
        attachments: Slots::default(),
        opening: None,
        opened: 0,
        look_at: Instant::now(),
        over: Arc::default(),
    })?)
}

/// All attachments, in one loop.
struct Crowd<'a> {
    options: &'a Options,
    address: SocketAddr,
    attachments: Slots<Attachment>,
    /// The one that comes up, and when that has taken too long.
    opening: Option<(Slot, Instant)>,
    /// So many are up.
    opened: usize,
    /// When everybody is looked at again.
    look_at: Instant,
    over: Arc<AtomicBool>,
}

impl Host for Crowd<'_> {
    fn handle_ready(&mut self, _: &Reactor, _: Instant, ready: Ready) {
        if let Some(attachment) = self.attachments.get_mut(Slot::of(ready.token)) {
            attachment.socket.handle_ready(ready);
        }
    }

    // Heartbeats are let go out in rounds.
    fn handle_timeout(&mut self, _: Instant) {}

    fn turn(&mut self, reactor: &mut Reactor, now: Instant) -> io::Result<Flow> {
        if self.over.load(Ordering::Acquire) {
            return Ok(Flow::Over);
        }
        if self.opened < self.options.count {
            return self.come_up(reactor, now).map_err(io::Error::other);
        }
        if self.look_at <= now {
            self.round(now).map_err(io::Error::other)?;
            self.look_at = now + ROUND;
        }
        Ok(Flow::Idle)
    }

    fn next_timeout(&self) -> Option<Instant> {
        Some(self.opening.map_or(self.look_at, |(_, give_up_at)| give_up_at))
    }
}

impl Crowd<'_> {
    /// Brings one after the other up, until the relay has registered its application.
    fn come_up(&mut self, reactor: &Reactor, now: Instant) -> Done<Flow> {
        let Some((slot, give_up_at)) = self.opening else {
            let mut socket = Socket::connect(&Endpoint::Tcp(self.address), Purpose::Link)?;
            socket.register(reactor.registry(), self.attachments.next_slot().token())?;
            let slot = self.attachments.insert(Attachment::new(self.options, socket, self.opened)?);
            self.opening = Some((slot, now + DEADLINE));
            return Ok(Flow::Busy);
        };
        let Some(attachment) = self.attachments.get_mut(slot) else { return Err("it has gone".into()) };
        while attachment.turn(now)? {}
        if !attachment.is_listening()? {
            if give_up_at <= now {
                return Err(format!("attachment {} did not come up", self.opened).into());
            }
            return Ok(Flow::Idle);
        }
        (self.opening, self.opened) = (None, self.opened + 1);
        if self.opened.is_multiple_of(COMING_UP) {
            self.round(now)?;
        }
        if self.opened == self.options.count {
            self.tell(reactor)?;
        }
        Ok(Flow::Busy)
    }

    /// Tells that all are up, and lets standard input end them.
    fn tell(&self, reactor: &Reactor) -> Done {
        writeln!(io::stdout(), "attached {}", self.opened)?;
        io::stdout().flush()?;
        let (over, waker) = (Arc::clone(&self.over), Arc::clone(reactor.waker()));
        std::thread::spawn(move || {
            // Whatever it is, it is the end.
            let _ = io::stdin().read_to_end(&mut Vec::new());
            over.store(true, Ordering::Release);
            let _ = waker.wake();
        });
        Ok(())
    }

    /// Serves everybody once.
    fn round(&mut self, now: Instant) -> Done {
        for slot in self.attachments.keys() {
            if let Some(attachment) = self.attachments.get_mut(slot) {
                attachment.turn(now)?;
            }
        }
        Ok(())
    }
}

struct Attachment {
    node: Node,
    socket: Socket,
    is_connected: bool,
    input: Vec<u8>,
}

impl Attachment {
    fn new(options: &Options, socket: Socket, n: usize) -> Done<Attachment> {
        let now = Instant::now();
        let config = Config {
            identity: keyfile::load(&options.key).map_err(|error| format!("no key: {error:?}"))?,
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
        node.listen(format!("idle{n}").parse::<AppName>().expect("a name"));
        node.poll_dial(now).ok_or("the node does not want to dial")?;
        Ok(Attachment { node, socket, is_connected: false, input: Vec::new() })
    }

    fn is_listening(&mut self) -> Done<bool> {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Listening { .. } => {
                    // What a handshake needs is given back: thousands of them wait.
                    self.input.shrink_to_fit();
                    return Ok(true);
                }
                Event::RelayDown { why, .. } => return Err(format!("the relay went: {why:?}").into()),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Lets time pass, writes what is due, reads once and writes what comes of that. True if something came.
    fn turn(&mut self, now: Instant) -> Done<bool> {
        if !self.is_connected {
            self.is_connected = self.socket.is_connected()?;
            if !self.is_connected {
                return Ok(false);
            }
            self.node.handle_connected(now);
        }
        if self.node.next_timeout().is_some_and(|at| at <= now) {
            self.node.handle_timeout(now);
        }
        self.flush(now)?;
        let came = self.fill(now)?;
        self.flush(now)?;
        Ok(came)
    }

    fn flush(&mut self, now: Instant) -> Done {
        while self.socket.is_writable() {
            let output = self.node.poll_output(now);
            if output.is_empty() {
                break;
            }
            let count = match self.socket.try_write(output)? {
                Written::Bytes(count) => count,
                Written::Later => 0,
                Written::Gone => return Err("the relay closed a link".into()),
            };
            self.node.handle_written(now, count);
        }
        Ok(())
    }

    /// True if something came.
    fn fill(&mut self, now: Instant) -> Done<bool> {
        if !self.socket.is_readable() {
            return Ok(false);
        }
        let mut buffer = [0; 4096];
        match self.socket.try_read(&mut buffer)? {
            Read::Bytes(count) => self.input.extend_from_slice(&buffer[..count]),
            Read::Later => return Ok(false),
            Read::End => return Err("the relay closed a link".into()),
        }
        let used = self.node.handle_bytes(now, &self.input);
        self.input.drain(..used);
        Ok(true)
    }
}
