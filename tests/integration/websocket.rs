//! Links by WebSocket: what each tool does, whatever happens to the way, and whoever else comes to a relay's port.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use crate::harness::data::nasty_tree;
use crate::harness::ports::{Mapping, Target, ask, connect, expect_end};
use crate::harness::programs::need;
use crate::harness::sites::tell;
use crate::harness::{DEADLINE, Input, Random, Relay, Tool, World, assert_same_tree, eventually, exit};
use crate::impair::Shape;

/// What a relay that has nothing else says of it may take, bytes.
const SHORT: usize = 256;

/// The ready line's address for links by WebSocket.
fn by_websocket(relay: &Relay<'_>) -> String {
    let address = format!("ws://{}@{}", relay.world().id("relay"), relay.socket());
    relay.process().wait_line(&format!("listening {address}"));
    address
}

#[test]
fn ready_lines_name_both_carriers_of_one_port_and_each_meets_the_other() {
    let world = World::new();
    let relay = world.relay();
    let ws = by_websocket(&relay);
    assert!(relay.address.starts_with("tcp://"));
    let ways = [(&*ws, &*relay.address), (&*relay.address, &*ws), (&*ws, &*format!("{ws}/any/path?at=all"))];
    for (seed, (east, west)) in (1..).zip(ways) {
        let (east, west) = (world.party("east", east), world.party("west", west));
        let input = |seed| Input::Random { seed, bytes: 5_000_000 };
        let listen = west.waiting(west.attach().args(["--listen", "pipe"]).input(input(10 + seed)));
        let dial = east.attach().arg("west:pipe").input(input(seed)).run();
        dial.expect(exit::DONE).expect_silence().expect_random(10 + seed, 5_000_000);
        listen.wait().expect(exit::DONE).expect_random(seed, 5_000_000);
    }
}

#[test]
fn whoever_reads_the_first_ready_line_alone_has_a_relay_that_goes_on() {
    let world = World::new();
    let lines = "mkfifo ready; \"$0\" \"$@\" >ready & read -r _ address <ready; kill -0 $! && echo \"$address\"; kill $!; wait $!";
    let relay = Tool::new("sh", &world.path("")).args(["-c", lines]).arg(crate::harness::binary("vp-relay"));
    let done = relay.args(["--listen", "127.0.0.1:0", "--open", "--key"]).arg(world.key("relay")).run();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.starts_with("tcp://vp1") && !done.stderr.contains("cannot write"), "{done}");
}

#[test]
fn trees_and_ports_go_by_websocket_as_by_tcp() {
    let world = World::new();
    let relay = world.relay();
    let ws = by_websocket(&relay);
    let (east, west) = (world.party("east", &ws), world.party("west", &ws));
    nasty_tree(&world.dir("tree"));
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox"]));
    east.send().args(["tree", "west:drop"]).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    assert_same_tree(&world.path("tree"), &world.path("inbox/tree"));

    let target = Target::echo();
    let mapping = Mapping::over(&relay, target.at, [&ws, &ws]);
    let streams: Vec<TcpStream> = (0..20).map(|_| connect(mapping.at)).collect();
    for (seed, stream) in (0..).zip(&streams) {
        let words = Random::bytes(seed, 50_000);
        ask(stream, &words);
        stream.shutdown(Shutdown::Write).expect("half-closed");
        expect_end(stream, b"");
    }
}

#[test]
fn one_byte_at_a_time_by_websocket_changes_nothing() {
    let world = World::new();
    let relay = world.relay();
    by_websocket(&relay);
    let slices = || Shape { slice: NonZeroUsize::new(1), ..Shape::default() };
    let ((_a, to_a), (_b, to_b)) = (relay.behind(slices()), relay.behind(slices()));
    let [to_a, to_b] = [to_a, to_b].map(|to| to.replace("tcp://", "ws://"));
    let (east, west) = (world.party("east", &to_a), world.party("west", &to_b));
    let input = |seed| Input::Random { seed, bytes: 30_000 };
    let listen = west.waiting(west.attach().args(["--listen", "bytes"]).input(input(2)));
    east.attach().arg("west:bytes").input(input(1)).run().expect(exit::DONE).expect_random(2, 30_000);
    listen.wait().expect(exit::DONE).expect_random(1, 30_000);
}

#[test]
fn a_session_by_websocket_outlives_its_relay_and_cuts_of_the_way() {
    let world = World::new();
    let mut relay = world.relay();
    by_websocket(&relay);
    let (proxy, through) = relay.behind(Shape { queue_bytes: 64 << 10, ..Shape::default() });
    let through = through.replace("tcp://", "ws://");
    tell(&proxy, "rate 8M");
    let bytes = 24 << 20;
    let west = world.party("west", &through);
    let listen = west.waiting(west.attach().args(["--listen", "x"]).within(2 * DEADLINE));
    let east = world.party("east", &through).attach().arg("west:x").within(2 * DEADLINE);
    let dial = east.input(Input::Random { seed: 1, bytes }).spawn();
    let carried = |proxy: &crate::impair::Impair| proxy.count().delivered[0];
    eventually("bytes flow", || carried(&proxy) > 4 << 20);
    tell(&proxy, "reset");
    eventually("bytes flow again", || carried(&proxy) > 8 << 20);
    relay.kill();
    relay.restart();
    dial.wait().expect(exit::DONE);
    listen.wait().expect(exit::DONE).expect_random(1, bytes);
}

/// What a relay says to a stranger, until it closes.
pub fn told(relay: &Relay<'_>, words: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(relay.socket()).expect("the relay's port");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    // It may close before it has read all.
    let _ = stream.write_all(words);
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        said.extend_from_slice(&buffer[..count]);
    }
    said
}

/// The head of a request for a WebSocket that is good, with this for the end of its head.
pub fn request(end: &str) -> Vec<u8> {
    let text = "GET /vp HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    format!("{text}{end}").into_bytes()
}

#[test]
fn whoever_asks_for_something_else_finds_a_web_server_that_has_nothing() {
    let world = World::new();
    let relay = world.relay();
    let other = request("Sec-WebSocket-Protocol: chat\r\n\r\n");
    let page = request("Sec-WebSocket-Protocol: vp.1\r\nOrigin: https://evil.example\r\n\r\n");
    for words in [&b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n"[..], b"GET / HTTP/1.0\r\n\r\n", &other, &page] {
        let said = String::from_utf8(told(&relay, words)).expect("text");
        assert!(said.starts_with("HTTP/1.1 404 Not Found\r\n") && said.len() < SHORT, "{said}");
    }
    for words in [
        &b"GET / HTTP/1.1\nHost: relay\n\n"[..],
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[&b"GET /"[..], &[b'a'; 5000], b" HTTP/1.1\r\n\r\n"].concat(),
    ] {
        let said = String::from_utf8(told(&relay, words)).expect("text");
        assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n") && said.len() < SHORT, "{said}");
    }
    assert_eq!(told(&relay, b"SSH-2.0-OpenSSH_9.2\r\n"), b"", "that is none");
    let curl = Tool::new(need("curl", "curl"), &world.path("")).args(["-s", "-o", "page", "-w", "%{http_code}"]);
    curl.arg(format!("http://{}/index.html", relay.socket())).run().expect(0).expect_output(b"404");
}

#[test]
fn a_strange_websocket_is_closed_with_the_code_that_says_why() {
    let world = World::new();
    let relay = world.relay();
    let ours = request("Sec-WebSocket-Protocol: vp.1\r\n\r\n");
    let mask = [0; 4];
    for (frame, code) in [
        (&[&[0x81, 0x82][..], &mask, b"hi"].concat(), 1003_u16),
        (&[&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0][..], &mask].concat(), 1009),
        (&[0x82, 2, b'v', b'p'].to_vec(), 1002),
        (&[&[0x88, 0x82][..], &mask, &1001_u16.to_be_bytes()].concat(), 1001),
    ] {
        let said = told(&relay, &[&ours[..], frame].concat());
        let head = said.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        assert!(said.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&said));
        assert_eq!(said[head..], [&[0x88, 2][..], &code.to_be_bytes()].concat(), "{code}");
    }
    // A ping is answered. What is no link ends it without a word, as it does on plain TCP.
    let ping = [&[0x89, 0x83][..], &mask, b"abc", &[0x82, 0x84], &mask, b"nope"].concat();
    let said = told(&relay, &[&ours[..], &ping].concat());
    assert!(said.ends_with(&[&[0x8a, 3][..], b"abc"].concat()), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn a_websocket_that_says_nothing_is_closed_in_the_time_of_any_handshake() {
    let world = World::new();
    let relay = world.relay();
    let started = std::time::Instant::now();
    let said = told(&relay, &request("Sec-WebSocket-Protocol: vp.1\r\n\r\n"));
    assert!(said.starts_with(b"HTTP/1.1 101 "));
    assert_eq!(told(&relay, b"GET / HT"), b"", "a head that never ends is not answered");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn who_answers_otherwise_than_a_relay_is_said_with_what_was_answered() {
    let world = World::new();
    let answering = |answer: &'static [u8]| {
        Target::serving(move |mut stream| {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
        })
    };
    for (answer, words) in [
        (&b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"[..], "HTTP status 403"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Sign in</html>", "HTTP status 200"),
        (b"HTTP/1.1 403 Forbidden\n\n", "HTTP status 403"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "HTTP status 302"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "something else than what carries a link"),
        (b"", "closed the connection"),
    ] {
        let server = answering(answer);
        let relay = format!("ws://{}@{}/vp", world.id("relay"), server.at);
        let done = world.party("east", &relay).attach().args(["west:x", "--timeout", "0s"]).run();
        let done = done.expect(exit::NO_RELAY).expect_error("");
        assert!(done.stderr.contains(words), "{words:?} is not said\n{done}");
    }
}

#[test]
fn a_reset_in_place_of_the_answer_is_said_of_a_relay_that_was_reached() {
    let world = World::new();
    let server = Target::serving(|mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    });
    let relay = format!("ws://{}@{}/vp", world.id("relay"), server.at);
    let done = world.party("east", &relay).attach().args(["west:x", "--timeout", "0s"]).run();
    let done = done.expect(exit::NO_RELAY).expect_error("closed the connection");
    assert!(!done.stderr.contains("could not be reached"), "{done}");
}

#[test]
fn a_path_that_would_go_by_tcp_is_refused() {
    let world = World::new();
    let relay = format!("{}@127.0.0.1:4433/vp", world.id("relay"));
    let done = world.party("east", &relay).attach().arg("west:x").run();
    assert!(done.stderr.contains("has a path, for which ws:// has to stand before the id"), "{done}");
}

/// A client that others have written: Python's `websockets`, where it is installed.
#[test]
fn a_websocket_of_others_opens_and_pings_and_closes() {
    let world = World::new();
    let relay = world.relay();
    let script = "import asyncio, sys, websockets\n\
                  async def main():\n \
                  async with websockets.connect(sys.argv[1], subprotocols=['vp.1']) as end:\n  \
                  assert end.subprotocol == 'vp.1'\n  \
                  await asyncio.wait_for(await end.ping(b'x' * 125), 20)\n \
                  print(end.close_code)\n\
                  asyncio.run(main())\n";
    // Debian's package is for Debian's own, and another may stand before it in PATH.
    let debian = "/usr/bin/python3";
    let program = if Path::new(debian).exists() { debian } else { "python3" };
    let python = || Tool::new(program, &world.path("")).arg("-c");
    if python().arg("import websockets").run().code() != Some(0) {
        return crate::harness::skip("python3-websockets");
    }
    let done = python().arg(script).arg(format!("ws://{}/vp", relay.socket())).run();
    done.expect(0).expect_output(b"1000\n");
}
