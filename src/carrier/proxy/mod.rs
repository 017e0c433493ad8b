//! What stands between a client and its relay where no straight way leads out: a proxy that is asked for a tunnel.
//!
//! ```text
//! ask ─▶ output ─▶ proxy ─▶ handle_bytes ─▶ Step::Waits
//!                                     ├──▶ Step::Open: what it has not taken is the carrier's
//!                                     ├──▶ Step::Anew: another connection to the proxy, and the same machine
//!                                     └──▶ Step::Refused: the proxy's own word
//! ```
//! The name of a relay is the proxy's to look up: it goes out as it was written. Nothing is held but one head or one reply, and a
//! password goes out only if the proxy has asked for one, in the better of the ways that it offers.

mod connect;
mod login;
mod plain;
mod socks5;

use connect::Connect;
pub(crate) use plain::{PlainLogin, plain_login};
use socks5::Socks5;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of a user's name, and of a password, at most: what RFC 1929 has room for.
pub(crate) const LOGIN_MAX: usize = 255;

/// Characters of what a proxy says to people, at most.
const REASON_MAX: usize = 100;

/// Who asks at a proxy. Nothing prints it.
pub(crate) struct Login {
    user: String,
    password: Zeroizing<String>,
}

impl Login {
    /// None if a proxy could not be told: a name that is empty or has a colon, anything longer than [`LOGIN_MAX`], control
    /// characters.
    pub(crate) fn new(user: String, password: Zeroizing<String>) -> Option<Login> {
        let is_good = |text: &str| text.len() <= LOGIN_MAX && !text.chars().any(char::is_control);
        let is_name = !user.is_empty() && !user.contains(':');
        (is_name && is_good(&user) && is_good(&password)).then_some(Login { user, password })
    }
}

/// Where a tunnel leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Destination {
    /// As it stands in a request: an address of IPv6 in brackets.
    fn authority(&self) -> String {
        let Destination { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// What there is to say, and then an answer.
    Waits,
    /// The tunnel stands.
    Open,
    /// The proxy will hear the rest on another connection.
    Anew,
    /// There is no tunnel.
    Refused(Refusal),
}

/// Why there is no tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// What answered is no proxy of this kind.
    NotProxy,
    /// It said this, with the status of HTTP and what stood behind it.
    Status(u16, String),
    /// It said this, with the reply code of SOCKS (RFC 1928, 6).
    Reply(u8),
    /// It answered with a page where a tunnel should begin.
    Page,
    /// It closed the connection without an answer.
    Closed,
    /// It wants to know who asks.
    LoginWanted,
    /// It does not take who asks.
    LoginRefused,
    /// It finds the answer to its question who asks too old, again and again.
    LoginStale,
    /// It wants to know who asks in ways that are not known here, by their names.
    LoginUnknown(String),
}

impl Refusal {
    /// Whether a person has to change something before the proxy could say anything else.
    pub(crate) fn lasts(&self) -> bool {
        matches!(self, Refusal::LoginWanted | Refusal::LoginRefused | Refusal::LoginUnknown(_))
    }
}

/// One tunnel, in the making.
pub(crate) struct Proxy(Kind);

enum Kind {
    Connect(Connect),
    Socks5(Socks5),
}

impl Proxy {
    /// By CONNECT of HTTP/1.1 (RFC 9110, 9.3.6).
    pub(crate) fn connect(to: &Destination, login: Option<Arc<Login>>) -> Proxy {
        Proxy(Kind::Connect(Connect::new(to, login)))
    }

    /// By SOCKS version 5 (RFC 1928).
    pub(crate) fn socks5(to: &Destination, login: Option<Arc<Login>>) -> Proxy {
        Proxy(Kind::Socks5(Socks5::new(to, login)))
    }

    /// What is to be written next.
    pub(crate) fn output(&self) -> &[u8] {
        match &self.0 {
            Kind::Connect(connect) => connect.output.left(),
            Kind::Socks5(socks) => socks.output.left(),
        }
    }

    /// So much of that was.
    pub(crate) fn handle_written(&mut self, count: usize) {
        match &mut self.0 {
            Kind::Connect(connect) => connect.output.handle_written(count),
            Kind::Socks5(socks) => socks.output.handle_written(count),
        }
    }

    /// Bytes came; how many were the proxy's. Once the tunnel stands none are.
    pub(crate) fn handle_bytes(&mut self, input: &[u8]) -> usize {
        match &mut self.0 {
            Kind::Connect(connect) => connect.handle_bytes(input),
            Kind::Socks5(socks) => socks.handle_bytes(input),
        }
    }

    /// The proxy has closed the connection.
    pub(crate) fn handle_end(&mut self) {
        match &mut self.0 {
            Kind::Connect(connect) => connect.handle_end(),
            Kind::Socks5(socks) => socks.handle_end(),
        }
    }

    /// What comes next.
    pub(crate) fn step(&self) -> &Step {
        match &self.0 {
            Kind::Connect(connect) => &connect.step,
            Kind::Socks5(socks) => &socks.step,
        }
    }

    /// There is another connection to the proxy, as [`Step::Anew`] asked for.
    pub(crate) fn begin_anew(&mut self) {
        if let Kind::Connect(connect) = &mut self.0 {
            connect.begin_anew();
        }
    }
}

/// What is to be said, which may have a password in it.
#[derive(Default)]
struct Output {
    bytes: Zeroizing<Vec<u8>>,
    written: usize,
}

impl Output {
    /// This, and nothing of what was left.
    fn say(&mut self, bytes: Vec<u8>) {
        *self = Output { bytes: Zeroizing::new(bytes), written: 0 };
    }

    fn left(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn handle_written(&mut self, count: usize) {
        self.written += count.min(self.left().len());
    }
}

/// Fuzz entries: any bytes from a proxy, in one piece and in others. The first byte says whether there is a login, and how the
/// pieces are cut.
#[cfg(feature = "fuzzing")]
pub fn fuzz_connect(data: &[u8]) {
    fuzz(data, Proxy::connect);
}

/// See [`fuzz_connect`].
#[cfg(feature = "fuzzing")]
pub fn fuzz_socks5(data: &[u8]) {
    fuzz(data, Proxy::socks5);
}

#[cfg(feature = "fuzzing")]
fn fuzz(data: &[u8], ask: fn(&Destination, Option<Arc<Login>>) -> Proxy) {
    let Some((first, data)) = data.split_first() else { return };
    let to = Destination { host: "relay.example.com".to_owned(), port: 4433 };
    let feed = |step: usize| {
        let login = Login::new("user".to_owned(), Zeroizing::new("open sesame".to_owned()));
        let mut proxy = ask(&to, login.filter(|_| first & 1 == 1).map(Arc::new));
        let (mut used, mut connections) = (0, 1);
        loop {
            match proxy.step() {
                Step::Waits if used < data.len() => {
                    let piece = &data[used..data.len().min(used + step)];
                    let said = proxy.output().len();
                    proxy.handle_written(said);
                    let taken = proxy.handle_bytes(piece);
                    assert!(taken == piece.len() || *proxy.step() != Step::Waits, "it waits, and has not taken all");
                    used += taken;
                }
                Step::Waits => proxy.handle_end(),
                Step::Anew => {
                    connections += 1;
                    proxy.begin_anew();
                }
                Step::Open => return (Some(used), connections, Step::Open),
                Step::Refused(why) => return (None, connections, Step::Refused(why.clone())),
            }
            assert!(connections < 8, "it asks for ever");
        }
    };
    let whole = feed(data.len().max(1));
    assert_eq!(feed(usize::from(*first >> 1).max(1)), whole);
    assert!(*first & 1 == 1 || whole.1 == 1, "without a login there is nothing to say anew");
}
