//! Many sessions of one admitted peer, each of which begins to send and says no more; and a client that does with sessions what
//! a test says, by the library's own node.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vp::identity::Identity;
use vp::identity::PeerId;
use vp::names::AppName;
use vp::node::{Callers, Config, Event, Key, Kind, Node, Wait};
use vp::session::{Event as SessionEvent, Times};

use super::{DEADLINE, Relay};

/// HELLO of a transfer of one file, by section 8 of PROTOCOL.md.
const HELLO: [u8; 26] = [1, 21, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0];

/// A node and its connection to the relay.
pub struct Client {
    pub node: Node,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// Connects. These may call it.
    pub fn new(relay: &Relay<'_>, identity: Identity, kind: Kind, callers: Callers) -> Client {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let times = Times { dead_time: 10 * second, resume_timeout: 600 * second, lane_life: 3600 * second };
        let mut node = Node::new(
            now,
            Config {
                identity,
                kind,
                relays: vec![relay.world().id("relay").parse().expect("an id")],
                callers,
                wait: Wait::Forever,
                times,
                callers_max: 64,
                exclusive: false,
                seed: 1,
            },
        );
        let stream = TcpStream::connect(relay.socket()).expect("the relay's port");
        assert_eq!(node.poll_dial(now), Some(0));
        node.handle_connected(now);
        Client { node, stream, input: Vec::new() }
    }

    /// Says what there is to say, and hears for a moment. Yields the time and what has happened.
    pub fn turn(&mut self) -> (Instant, Vec<Event>) {
        let now = Instant::now();
        self.node.handle_timeout(now);
        self.stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
        loop {
            let output = self.node.poll_output(now);
            if output.is_empty() {
                break;
            }
            let count = output.len();
            self.stream.write_all(output).expect("the relay takes it");
            self.node.handle_written(now, count);
        }
        self.stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(count) => self.input.extend_from_slice(&buffer[..count]),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
        }
        let used = self.node.handle_bytes(now, &self.input);
        self.input.drain(..used);
        (now, std::iter::from_fn(|| self.node.poll_event()).collect())
    }
}

/// See the module's text.
pub struct Crowd {
    client: Client,
    keys: Vec<Key>,
    up: usize,
    /// How many sessions the receiver works for.
    pub served: usize,
}

impl Crowd {
    /// Calls a receiver so often.
    pub fn call(relay: &Relay<'_>, identity: Identity, to: (PeerId, &str), count: usize) -> Crowd {
        Crowd::by(Client::new(relay, identity, Kind::Transfer, Callers::Nobody), to, count)
    }

    /// Has this client call so often.
    pub fn by(mut client: Client, to: (PeerId, &str), count: usize) -> Crowd {
        let app: AppName = to.1.parse().expect("a name");
        for _ in 0..count {
            client.node.call(Instant::now(), to.0, app.clone());
        }
        Crowd { client, keys: Vec::new(), up: 0, served: 0 }
    }

    /// Goes on until so many sessions are served, or as long as this without one more.
    pub fn drive(&mut self, wanted: usize, patience: Duration) {
        let mut progress = Instant::now();
        while self.served < wanted && progress.elapsed() < patience {
            let before = (self.up, self.served);
            self.turn();
            if (self.up, self.served) != before {
                progress = Instant::now();
            }
        }
    }

    /// Goes on, and only keeps its link alive, until it is told to stop.
    pub fn idle(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.turn();
        }
    }

    fn turn(&mut self) {
        let (now, events) = self.client.turn();
        for event in events {
            if let Event::Up { key, app, .. } = event {
                self.up += 1;
                self.keys.push(key);
                let session = self.client.node.session(key).expect("it is up");
                let stream = session.open_stream(now, app.as_str()).expect("a stream");
                assert_eq!(session.stream_mut(stream).write(&HELLO), HELLO.len());
            }
        }
        for key in &self.keys {
            while let Some(event) = self.client.node.session(*key).and_then(|session| session.poll_event()) {
                self.served += usize::from(matches!(event, SessionEvent::StreamAccepted { .. }));
            }
        }
    }
}
