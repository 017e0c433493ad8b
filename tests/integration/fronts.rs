//! A relay behind the web servers and load balancers that others wrote: what goes through them, and whose address counts.
//!
//! A program that is missing fails its test with the package that brings it; nothing is skipped.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::harness::ports::{Target, patient};
use crate::harness::programs::{need, reserve};
use crate::harness::sites::tell;
use crate::harness::{DEADLINE, Input, Relay, Running, Signal, Tool, World, eventually, exit, within};
use crate::impair::{Impair, ReservedPort, Shape};
use crate::websocket::{request, told};

/// A relay that believes this machine's first address, whatever it says, and takes one path.
fn relay<'w>(world: &'w World, further: &[&str]) -> Relay<'w> {
    Relay::start(world, &[&["-v", "--path", "/vp", "--trusted-proxy", "127.0.0.1"][..], further].concat())
}

/// Lines of the relay's log that tell of a connection from here, and through where if that is told.
fn came(relay: &Relay<'_>, from: &str) -> usize {
    let wanted = format!(": connection from {from}");
    relay.process().error_text().lines().filter(|line| line.ends_with(&wanted)).count()
}

/// Waits for one.
pub fn expect_from(relay: &Relay<'_>, from: &str) {
    let wanted = format!(": connection from {from}");
    relay.process().wait_error_line_like(&wanted, |line| line.ends_with(&wanted));
}

/// An nginx of one test, with buffers on and ten seconds for whoever is idle.
struct Nginx<'w> {
    world: &'w World,
    place: ReservedPort,
    /// Where it does as it does by itself: it asks by HTTP/1.0, on a connection for each request.
    bare: ReservedPort,
    running: Option<Running>,
}

impl<'w> Nginx<'w> {
    fn start(world: &'w World, relay: &Relay<'_>) -> Nginx<'w> {
        let (place, bare) = (reserve(), reserve());
        world.dir("nginx");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {}/{name};\n", world.path("nginx").display()));
        let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
        let config = format!(
            "{user} daemon off; worker_processes 1; worker_shutdown_timeout 1s; pid {pid}; error_log stderr warn;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n access_log off;\n {temporary}\n server {{\n  listen {at};\n  location / {{\n   proxy_pass http://{to};\n   \
             proxy_http_version 1.1;\n   proxy_buffering on;\n   proxy_set_header Host $host;\n   \
             proxy_set_header Upgrade $http_upgrade;\n   proxy_set_header Connection upgrade;\n   \
             proxy_set_header X-Forwarded-For $remote_addr;\n   proxy_set_header Forwarded \"\";\n   \
             proxy_read_timeout 10s;\n   proxy_send_timeout 10s;\n  }}\n }}\n \
             server {{\n  listen {bare};\n  location / {{\n   proxy_pass http://{to};\n   \
             proxy_set_header X-Forwarded-For $remote_addr;\n  }}\n }}\n}}\n",
            pid = world.path("nginx/pid").display(),
            temporary = temporary.concat(),
            at = place.address,
            bare = bare.address,
            to = relay.socket(),
        );
        world.write("nginx.conf", &config);
        let mut nginx = Nginx { world, place, bare, running: None };
        nginx.restart();
        nginx
    }

    fn restart(&mut self) {
        let tool = Tool::new(need("nginx", "nginx-light"), &self.world.path(""));
        let tool = tool.args(["-e", "stderr", "-c"]).arg(self.world.path("nginx.conf")).within(10 * DEADLINE);
        self.running = Some(tool.spawn());
        listens(self.place.address);
    }

    /// It takes on a configuration again: its worker gives way to another.
    fn reload(&self) {
        self.running.as_ref().expect("it is up").signal(Signal::HUP);
    }

    fn kill(&mut self) {
        drop(self.running.take());
    }
}

/// A haproxy of one test: at one port it takes requests, and at the others connections, of which it tells by either version.
struct Haproxy<'w> {
    world: &'w World,
    places: [ReservedPort; 3],
    running: Vec<Running>,
}

impl<'w> Haproxy<'w> {
    fn start(world: &'w World, relay: &Relay<'_>) -> Haproxy<'w> {
        let places = [reserve(), reserve(), reserve()];
        let [web, line, binary] = [0, 1, 2].map(|at: usize| places[at].address);
        let to = relay.socket();
        let config = format!(
            "global\n maxconn 256\n hard-stop-after 1s\n\
             defaults\n timeout connect 10s\n timeout client 10s\n timeout server 10s\n timeout tunnel 10s\n\
             listen web\n mode http\n bind {web}\n http-request del-header Forwarded\n \
             http-request set-header X-Forwarded-For %[src]\n server relay {to}\n\
             listen line\n mode tcp\n bind {line}\n server relay {to} send-proxy\n\
             listen binary\n mode tcp\n bind {binary}\n server relay {to} send-proxy-v2\n",
        );
        world.write("haproxy.cfg", &config);
        let mut haproxy = Haproxy { world, places, running: Vec::new() };
        haproxy.restart();
        haproxy
    }

    fn restart(&mut self) {
        let tool = Tool::new(need("haproxy", "haproxy"), &self.world.path("")).args(["-db", "-f"]);
        let tool = tool.arg(self.world.path("haproxy.cfg")).within(10 * DEADLINE);
        let old: Vec<String> = self.running.iter().map(|running| running.pid().to_string()).collect();
        let tool = if old.is_empty() { tool } else { tool.arg("-sf").args(old) };
        self.running.push(tool.spawn());
        self.places.iter().for_each(|place| listens(place.address));
    }

    fn kill(&mut self) {
        self.running.clear();
    }

    fn at(&self, which: usize) -> SocketAddr {
        self.places[which].address
    }
}

/// Waits until somebody listens here.
fn listens(at: SocketAddr) {
    eventually("a front listens", || TcpStream::connect(at).is_ok());
}

/// A connection to here, from an address of this machine.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of this machine");
    socket.connect(&to.into()).expect("somebody listens");
    patient(socket.into())
}

/// Carries what comes to it on from an address of this machine.
pub fn passing(from: [u8; 4], to: SocketAddr) -> Target {
    Target::serving(move |here| {
        let there = connect_from(from, to);
        // Either may be idle for as long as it likes.
        [&here, &there].into_iter().for_each(|stream| stream.set_read_timeout(None).expect("a socket"));
        let copy = |mut from: TcpStream, mut to: TcpStream| {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        };
        let back = (there.try_clone().expect("a socket"), here.try_clone().expect("a socket"));
        let back = std::thread::spawn(move || copy(back.0, back.1));
        copy(here, there);
        let _ = back.join();
    })
}

/// A RELAY argument that leads here.
fn by(scheme: &str, world: &World, at: SocketAddr, path: &str) -> String {
    format!("{scheme}://{}@{at}{path}", world.id("relay"))
}

#[test]
fn a_stream_goes_through_every_front_byte_by_byte_and_each_names_its_client() {
    let world = World::new();
    let relay = relay(&world, &["--allow", "peers"]);
    relay.process().wait_line(&format!("listening ws://{}@{}/vp", world.id("relay"), relay.socket()));
    let nginx = Nginx::start(&world, &relay);
    let haproxy = Haproxy::start(&world, &relay);
    let ways = [
        ("ws", nginx.place.address, "/vp"),
        ("http", nginx.place.address, "/vp"),
        ("http", nginx.bare.address, "/vp"),
        ("ws", haproxy.at(0), "/vp?at=all"),
        ("http", haproxy.at(0), "/vp?at=all"),
        ("http", haproxy.at(2), "/vp"),
        ("tcp", haproxy.at(1), ""),
        ("ws", haproxy.at(1), "/vp"),
        ("tcp", haproxy.at(2), ""),
        ("ws", haproxy.at(2), "/vp"),
        // A header is ahead of TLS, too.
        ("tls", haproxy.at(1), ""),
        ("wss", haproxy.at(1), "/vp"),
        ("tls", haproxy.at(2), ""),
        ("wss", haproxy.at(2), "/vp"),
    ];
    let any = ["--outer-tls", "any"];
    for (seed, (scheme, at, path)) in (1_u8..).zip(ways) {
        let froms = [[127, 0, 1, seed], [127, 0, 2, seed]];
        let [to_east, to_west] = froms.map(|from| passing(from, at));
        let east = world.party("east", &by(scheme, &world, to_east.at, path));
        let west = world.party("west", &by(scheme, &world, to_west.at, path));
        let input = |seed| Input::Random { seed, bytes: 3_000_000 };
        let seed = u64::from(seed);
        let listen = west.waiting(west.attach().args(["--listen", "pipe"]).args(any).input(input(100 + seed)));
        let dial = east.attach().arg("west:pipe").args(any).input(input(seed)).run();
        dial.expect(exit::DONE).expect_random(100 + seed, 3_000_000);
        listen.wait().expect(exit::DONE).expect_random(seed, 3_000_000);
        for from in froms {
            expect_from(&relay, &format!("{} through 127.0.0.1", Ipv4Addr::from(from)));
        }
    }
    let told = relay.process().error_text();
    assert!(!told.lines().any(|line| line.ends_with(" attached")) && told.contains(": attached vp1"), "{told}");
}

/// A stream through a front that is reloaded, and then killed and started again.
fn outlives(world: &World, at: SocketAddr, mut reload: impl FnMut(), mut kill: impl FnMut()) {
    let shape = Shape { queue_bytes: 64 << 10, ..Shape::default() };
    let slow = Impair::start((Ipv4Addr::LOCALHOST, 0).into(), at, shape).expect("a proxy");
    tell(&slow, "rate 6M");
    let bytes = 20 << 20;
    let west = world.party("west", &by("ws", world, at, "/vp"));
    let listen = west.waiting(west.attach().args(["--listen", "x"]).within(2 * DEADLINE));
    let east = world.party("east", &by("ws", world, slow.address(), "/vp")).attach().arg("west:x").within(2 * DEADLINE);
    let dial = east.input(Input::Random { seed: 1, bytes }).spawn();
    let carried = || slow.count().delivered[0];
    eventually("bytes flow", || carried() > 3 << 20);
    reload();
    eventually("bytes flow again", || carried() > 9 << 20);
    kill();
    dial.wait().expect(exit::DONE);
    listen.wait().expect(exit::DONE).expect_random(1, bytes);
}

#[test]
fn a_session_outlives_an_nginx_that_is_reloaded_and_killed() {
    let world = World::new();
    let relay = relay(&world, &["--allow", "peers"]);
    let nginx = std::cell::RefCell::new(Nginx::start(&world, &relay));
    let at = nginx.borrow().place.address;
    outlives(
        &world,
        at,
        || nginx.borrow().reload(),
        || {
            nginx.borrow_mut().kill();
            nginx.borrow_mut().restart();
        },
    );
}

#[test]
fn a_session_outlives_a_haproxy_that_is_reloaded_and_killed() {
    let world = World::new();
    let relay = relay(&world, &["--allow", "peers"]);
    let haproxy = std::cell::RefCell::new(Haproxy::start(&world, &relay));
    let at = haproxy.borrow().at(0);
    outlives(
        &world,
        at,
        || haproxy.borrow_mut().restart(),
        || {
            haproxy.borrow_mut().kill();
            haproxy.borrow_mut().restart();
        },
    );
}

#[test]
fn a_session_that_idles_for_longer_than_a_front_allows_keeps_its_connection() {
    let world = World::new();
    let relay = relay(&world, &["--allow", "peers"]);
    let nginx = Nginx::start(&world, &relay);
    let through = by("ws", &world, nginx.place.address, "/vp");
    let (east, west) = (world.party("east", &through), world.party("west", &through));
    let listen = west.waiting(west.attach().args(["--listen", "x"]));
    let mut dial = east.attach().arg("west:x").input(Input::Held).spawn();
    dial.write(b"before ");
    listen.wait_output(b"before ");
    let begun = came(&relay, "127.0.0.1");
    // Nothing is to be seen meanwhile.
    within(Duration::from_secs(13), || false);
    dial.write(b"after");
    listen.wait_output(b"before after");
    assert_eq!(came(&relay, "127.0.0.1"), begun, "nobody had to connect again");
    dial.close_input();
    dial.wait().expect(exit::DONE);
    listen.wait().expect(exit::DONE);
}

#[test]
fn what_bounds_an_address_bounds_each_client_behind_a_front_and_not_the_front() {
    let world = World::new();
    let relay = relay(&world, &["--open", "--max-links", "16", "--max-links-per-peer", "1"]);
    let haproxy = Haproxy::start(&world, &relay);
    let [near, far] = [[127, 0, 1, 1], [127, 0, 1, 2]].map(|from| passing(from, haproxy.at(0)));
    let party = |name: &str, at: SocketAddr| world.party(name, &by("ws", &world, at, "/vp"));
    let west = party("west", far.at);
    let listen = west.waiting(west.attach().args(["--listen", "x"]).input(Input::Held));
    // Another key has no room at that address, and all that it needs at another.
    let crowded = party("stranger", far.at).attach().args(["west:x", "--timeout", "2s"]).run();
    assert_ne!(crowded.code(), Some(exit::DONE), "{crowded}");
    let turned_away = format!("turned away {}", world.id("stranger"));
    relay.process().wait_error_line_like(&turned_away, |line| line.contains(&turned_away));
    let dial = party("east", near.at).attach().arg("west:x").input(Input::Bytes(b"there".to_vec())).spawn();
    listen.wait_output(b"there");
    drop((dial, listen));
}

#[test]
fn whoever_is_not_trusted_says_in_vain_where_he_is() {
    let world = World::new();
    let relay = relay(&world, &["--allow", "peers"]);
    let good = |lines: &str| request(&format!("{lines}Sec-WebSocket-Protocol: vp.1\r\n\r\n"));
    let say = |from: [u8; 4], to: SocketAddr, words: &[u8]| {
        let mut stream = connect_from(from, to);
        stream.write_all(words).expect("it listens");
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !said.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
            said.extend(byte);
        }
        String::from_utf8_lossy(&said).into_owned()
    };
    let forged = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
    // A stranger, to the relay itself: the fields are passed over, and a header is none.
    assert!(say([127, 0, 3, 1], relay.socket(), &good(forged)).starts_with("HTTP/1.1 101 "));
    expect_from(&relay, "127.0.3.1");
    for header in [
        &b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x06\x06\x06\x06\x7f\0\0\x01\0\x01\0\x02",
    ] {
        let said = say([127, 0, 3, 2], relay.socket(), header);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{said}");
    }
    expect_from(&relay, "127.0.3.2");
    // A client, through fronts that take away what he says.
    let nginx = Nginx::start(&world, &relay);
    let haproxy = Haproxy::start(&world, &relay);
    for (host, at) in [(3, nginx.place.address), (4, haproxy.at(0)), (5, haproxy.at(1)), (6, haproxy.at(2))] {
        let said = say([127, 0, 3, host], at, &good(forged));
        assert!(said.starts_with("HTTP/1.1 101 "), "{at}: {said}");
        expect_from(&relay, &format!("127.0.3.{host} through 127.0.0.1"));
    }
    // Whose request is refused is named as well.
    for (host, at) in [(8, nginx.place.address), (9, haproxy.at(0)), (10, haproxy.at(1)), (11, haproxy.at(2))] {
        let said = say([127, 0, 3, host], at, b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(said.starts_with("HTTP/1.1 404 "), "{at}: {said}");
        expect_from(&relay, &format!("127.0.3.{host} through 127.0.0.1"));
    }
    // And what only one of both fields names is not believed where the front has named another in the other.
    let both = good("X-Forwarded-For: 127.0.3.7\r\nForwarded: for=6.6.6.6\r\n");
    assert!(say([127, 0, 0, 1], relay.socket(), &both).starts_with("HTTP/1.1 101 "));
    expect_from(&relay, "127.0.0.1");
    assert!(!relay.process().error_text().contains("6.6.6.6"));
}

#[test]
fn only_the_path_that_was_given_leads_to_the_relay() {
    let world = World::new();
    let relay = relay(&world, &["--allow", "peers"]);
    let good = |path: &str| {
        let text = String::from_utf8(request("Sec-WebSocket-Protocol: vp.1\r\n\r\n")).expect("text");
        text.replacen("/vp", path, 1).into_bytes()
    };
    for path in ["/", "/vp/", "/VP", "/vpn", "/%76p", "/other?/vp"] {
        let said = String::from_utf8(told(&relay, &good(path))).expect("text");
        assert!(said.starts_with("HTTP/1.1 404 "), "{path}: {said}");
    }
    let other = by("ws", &world, relay.socket(), "/other");
    let done = world.party("east", &other).attach().args(["west:x", "--timeout", "0s"]).run();
    assert!(done.expect(exit::NO_RELAY).stderr.contains("HTTP status 404"));
}

#[test]
fn a_path_or_a_network_that_is_none_is_said_in_one_line() {
    let world = World::new();
    for (words, said) in [
        (["--path", "vp"], "a path begins with /"),
        (["--path", "/vp?x"], "a path has no query"),
        (["--path", "/v p"], "characters that a path cannot have"),
        (["--trusted-proxy", "nginx"], "it is no address, nor a network"),
        (["--trusted-proxy", "10.0.0.0/33"], "no number of bits"),
        (["--trusted-proxy", "10.0.0.1/8"], "write 10.0.0.0/8"),
    ] {
        let done = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open"]).args(words).run();
        let done = done.expect(exit::USAGE);
        let first = done.stderr.lines().next().unwrap_or_default();
        assert!(first.contains(said) && first.contains(words[0]), "{words:?}\n{done}");
    }
}

/// What is told of requests that two servers may read in different ways, by lists that others keep of those.
#[test]
fn a_request_that_might_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read() {
    let world = World::new();
    let relay = relay(&world, &["--allow", "peers"]);
    let head = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
    let behind = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n";
    let bad: Vec<Vec<u8>> = [
        // Lines that end otherwise, or not.
        &b"GET / HTTP/1.1\nHost: a\n\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\rHost: a\r\r",
        // Lines that are folded, empty at the start, or begin with a blank.
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        // Hosts.
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        // Names and versions.
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\x0b: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        // Targets.
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET vp HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    .into_iter()
    .map(<[u8]>::to_vec)
    .chain(
        // Bodies, whose end might be in doubt.
        [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "Transfer-Encoding: chunked\r\n",
            "transfer-encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding:\x0bchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            "Content-Length: 4\r\nContent-Length: 4\r\n",
            "Content-Length: 4, 4\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x4\r\n",
            "Content-Length: 4 4\r\n",
            "Content-Length:\r\n",
            "Content-Length : 4\r\n",
        ]
        .map(head),
    )
    .chain([head(&"X: a\r\n".repeat(49)), head(&format!("X: {}\r\n", "a".repeat(4096)))])
    .collect();
    let not_ours = [
        head("Content-Length: 4\r\n"),
        head("Transfer_Encoding: chunked\r\n"),
        head("Expect: 100-continue\r\n"),
        head("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"),
        b"POST /vp HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n".to_vec(),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        // An extension of a chunk, and whatever else a body may be, is never reached.
        [head(""), b"5;x=\r\nhello\r\n0\r\n\r\n".to_vec()].concat(),
    ];
    let cases =
        bad.iter().map(|words| (words, "400 Bad Request")).chain(not_ours.iter().map(|words| (words, "404 Not Found")));
    for (words, status) in cases {
        let said = String::from_utf8(told(&relay, &[&words[..], behind].concat())).expect("text");
        let shown = String::from_utf8_lossy(words);
        assert!(said.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{shown:?}: {said:?}");
        assert!(
            said.contains("\r\nConnection: close\r\n") && said.matches("HTTP/").count() == 1,
            "{shown:?}: {said:?}"
        );
    }
    // What is no request at all hears nothing.
    for words in [
        &b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b" GET / HTTP/1.1\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(told(&relay, words), b"", "{:?}", String::from_utf8_lossy(words));
    }
}
