//! Links by TLS: what each tool does, whatever happens to the way, which certificates are believed, and who else comes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use rcgen::{CertificateParams, DnType, KeyPair};

use crate::fronts::{expect_from, passing};
use crate::harness::ports::Target;
use crate::harness::programs::{need, reserve};
use crate::harness::sites::tell;
use crate::harness::{DEADLINE, Done, Input, Relay, Running, Signal, Tool, World, eventually, exit};
use crate::impair::{ReservedPort, Shape};
use std::num::NonZeroUsize;

/// Files of a certificate that vouches for itself, and of its key.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

impl Pair {
    /// For this host, made by `signer`, changed.
    fn with(world: &World, name: &str, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a host");
        params.distinguished_name.push(DnType::CommonName, format!("Authority {name}"));
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let pair = Pair {
            certificate: world.write(&format!("{name}.pem"), &pem("CERTIFICATE", certificate.der())),
            key: world.write(&format!("{name}.key"), &pem("PRIVATE KEY", &key.serialize_der())),
        };
        set_mode(&pair.key, 0o600);
        pair
    }

    pub(crate) fn new(world: &World, name: &str) -> Pair {
        Pair::with(world, name, "127.0.0.1", |_| {})
    }

    fn args(&self) -> [&str; 4] {
        ["--tls-cert", text(&self.certificate), "--tls-key", text(&self.key)]
    }

    fn relay<'w>(&self, world: &'w World) -> Relay<'w> {
        Relay::start(world, &[&["--open"][..], &self.args()].concat())
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// The ready line's address with this scheme.
fn by(relay: &Relay<'_>, scheme: &str) -> String {
    let address = format!("{scheme}://{}@{}", relay.world().id("relay"), relay.socket());
    relay.process().wait_line(&format!("listening {address}"));
    address
}

#[test]
fn one_port_takes_all_carriers_and_each_meets_the_others() {
    let world = World::new();
    let pair = Pair::new(&world, "one");
    let relay = pair.relay(&world);
    let (tls, wss) = (by(&relay, "tls"), by(&relay, "wss"));
    let ca = text(&pair.certificate);
    for (seed, [east, west]) in (1..).zip([[&tls, &wss], [&wss, &relay.address], [&relay.address, &tls]]) {
        let (east, west) = (world.party("east", east), world.party("west", west));
        let input = |seed| Input::Random { seed, bytes: 5_000_000 };
        let listen = west.waiting(west.attach().args(["--listen", "pipe", "--ca", ca]).input(input(10 + seed)));
        let dial = east.attach().args(["west:pipe", "--ca", ca]).input(input(seed)).run();
        dial.expect(exit::DONE).expect_silence().expect_random(10 + seed, 5_000_000);
        listen.wait().expect(exit::DONE).expect_random(seed, 5_000_000);
    }
}

#[test]
fn a_relay_without_a_certificate_has_one_that_any_takes() {
    let world = World::new();
    let relay = world.relay();
    let tls = relay.address.replace("tcp://", "tls://");
    let west = world.party("west", &tls);
    let any = ["--outer-tls", "any"];
    let listen = west.waiting(west.attach().args(["--listen", "x"]).args(any).input(Input::Null));
    let east = world.party("east", &tls).attach().arg("west:x").args(any);
    east.input(Input::Random { seed: 1, bytes: 100_000 }).run().expect(exit::DONE).expect_silence();
    listen.wait().expect(exit::DONE).expect_random(1, 100_000);
}

#[test]
fn one_byte_at_a_time_by_tls_changes_nothing() {
    let world = World::new();
    let relay = world.relay();
    let slices = || Shape { slice: NonZeroUsize::new(1), ..Shape::default() };
    let ((_a, to_a), (_b, to_b)) = (relay.behind(slices()), relay.behind(slices()));
    let (east, west) = (to_a.replace("tcp://", "tls://"), to_b.replace("tcp://", "wss://"));
    let (east, west) = (world.party("east", &east), world.party("west", &west));
    let input = |seed| Input::Random { seed, bytes: 30_000 };
    let any = ["--outer-tls", "any"];
    let listen = west.waiting(west.attach().args(["--listen", "bytes"]).args(any).input(input(2)));
    let dial = east.attach().arg("west:bytes").args(any).input(input(1)).run();
    dial.expect(exit::DONE).expect_random(2, 30_000);
    listen.wait().expect(exit::DONE).expect_random(1, 30_000);
}

#[test]
fn a_session_by_tls_outlives_its_relay_and_cuts_of_the_way() {
    for scheme in ["tls://", "wss://"] {
        let world = World::new();
        let mut relay = world.relay();
        let (proxy, through) = relay.behind(Shape { queue_bytes: 64 << 10, ..Shape::default() });
        let through = through.replace("tcp://", scheme);
        tell(&proxy, "rate 8M");
        let (bytes, any) = (24 << 20, ["--outer-tls", "any"]);
        let west = world.party("west", &through);
        let listen = west.waiting(west.attach().args(["--listen", "x"]).args(any).within(2 * DEADLINE));
        let east = world.party("east", &through).attach().arg("west:x").args(any).within(2 * DEADLINE);
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
}

/// What a client says that cannot use the relay at this address.
fn refused(world: &World, relay: &str, args: &[&str]) -> Done {
    let done = world.party("east", relay).attach().args(["west:x", "--timeout", "0s"]).args(args).run();
    done.expect(exit::NO_RELAY)
}

#[test]
fn a_certificate_that_is_not_believed_is_said_with_who_signed_it() {
    let world = World::new();
    let early = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(2100, 1, 1);
    let late = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let of_others = Pair::with(&world, "others", "other.example", |_| {});
    let (early, late) =
        (Pair::with(&world, "early", "127.0.0.1", early), Pair::with(&world, "late", "127.0.0.1", late));
    let good = Pair::new(&world, "good");
    let take_any = "; --outer-tls any takes every certificate";
    for (pair, ca, words, advice) in [
        (
            &of_others,
            &of_others,
            "it is for other hosts, such as other.example (signed by Authority others)",
            "name the relay in its address as its certificate does",
        ),
        (
            &early,
            &early,
            "it is not valid yet, by this machine's clock (signed by Authority early)",
            "set this machine's clock if it is wrong",
        ),
        (
            &late,
            &late,
            "it has expired, by this machine's clock (signed by Authority late)",
            "set this machine's clock if it is wrong; else the relay's operator has to renew it",
        ),
        (
            &good,
            &of_others,
            "it vouches for itself (signed by Authority good)",
            "--ca FILE trusts it, with a copy of it in FILE",
        ),
    ] {
        let relay = pair.relay(&world);
        let (tls, wss) = (by(&relay, "tls"), by(&relay, "wss"));
        for address in [tls, wss] {
            let done = refused(&world, &address, &["--ca", text(&ca.certificate)]);
            assert!(done.stderr.contains(words), "{words:?} is not said\n{done}");
            assert!(done.stderr.contains(&format!("hint: {advice}")) && done.stderr.contains(take_any), "{done}");
        }
    }
    // What the system trusts is where everybody looks for it.
    let relay = good.relay(&world);
    let file = |pair: &Pair| {
        let tool = world.party("east", &by(&relay, "tls")).attach().args(["west:x", "--timeout", "0s"]);
        tool.env("SSL_CERT_FILE", &pair.certificate).run()
    };
    file(&good).expect(exit::PEER_ABSENT);
    file(&of_others).expect(exit::NO_RELAY);
}

#[test]
fn what_answers_otherwise_than_by_tls_is_said() {
    let world = World::new();
    for (answer, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "answered with something else than TLS"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "ended TLS with alert 40 (handshake failure)"),
        (b"\x15\x03\x03\x00\x02\x02\x70", "ended TLS with alert 112 (unrecognized name)"),
        (b"", "closed the connection"),
    ] {
        let server = Target::serving(move |mut stream| {
            let mut hello = [0; 4096];
            let _ = stream.read(&mut hello);
            let _ = stream.write_all(answer);
        });
        let done = refused(&world, &format!("tls://{}@{}", world.id("relay"), server.at), &["--outer-tls", "any"]);
        assert!(done.stderr.contains(words), "{words:?} is not said\n{done}");
    }
}

#[test]
fn options_that_cannot_be_are_refused_in_one_line() {
    let world = World::new();
    let (one, other) = (Pair::new(&world, "one"), Pair::new(&world, "other"));
    let none = world.write("none.pem", "nothing\n");
    let bad = world.write("bad.pem", &pem("CERTIFICATE", b"no certificate"));
    let broken = world.write("broken.key", &pem("PRIVATE KEY", b"no key"));
    let missing = world.path("missing.pem");
    let locked = world.write("locked.key", &pem("ENCRYPTED PRIVATE KEY", b"whatever"));
    let contents = |path: &Path| std::fs::read_to_string(path).expect("a file");
    let order = world.write("order.pem", &format!("{}{}", contents(&other.certificate), contents(&one.certificate)));
    let long = world.write("long.pem", &contents(&one.certificate).repeat(200));
    for (certificate, key, words) in [
        (&missing, &one.key, "missing.pem: No such file"),
        (&one.certificate, &missing, "missing.pem: No such file"),
        (&none, &one.key, "none.pem: no certificate in it"),
        (&bad, &one.key, "bad.pem: a certificate in it is damaged"),
        (&one.certificate, &none, "none.pem: no private key in it"),
        (&one.certificate, &broken, "broken.key: the private key in it is damaged"),
        (&one.certificate, &locked, "locked.key: the private key in it is locked with a password"),
        (&one.certificate, &other.key, "other.key: the private key in it belongs to another certificate"),
        (&order, &one.key, "order.pem: the relay's own certificate is not the first in it"),
        (&long, &one.key, "long.pem: the certificates in it are more than any client takes"),
    ] {
        let relay = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open", "--key"]).arg(world.key("relay"));
        let done = relay.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key).run();
        done.expect(exit::CONFIG).expect_error(words);
    }
    let relay = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open"]);
    relay.arg("--tls-cert").arg(&one.certificate).run().expect(exit::USAGE).expect_error("--tls-key");
    let relay = format!("tls://{}@127.0.0.1:1", world.id("relay"));
    for (file, words) in [(&missing, "missing.pem: No such file"), (&none, "none.pem: no certificate in it")] {
        let done = world.party("east", &relay).attach().args(["west:x", "--ca"]).arg(file).run();
        done.expect(exit::CONFIG).expect_error(words);
    }
    let both = world.party("east", &relay).attach().args(["west:x", "--outer-tls", "any", "--ca"]);
    both.arg(&one.certificate).run().expect(exit::USAGE).expect_error("--ca and --outer-tls any exclude each other");
}

#[test]
fn a_certificate_as_openssl_makes_it_is_believed_by_whoever_has_a_copy() {
    let world = World::new();
    let pair = Pair { certificate: world.path("made.pem"), key: world.path("made.key") };
    let make = Tool::new(need("openssl", "openssl"), &world.path("")).args(["req", "-x509", "-nodes", "-days", "30"]);
    let make = make.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=made"]);
    let make = make.args(["-addext", "subjectAltName=IP:127.0.0.1", "-out", "made.pem", "-keyout", "made.key"]);
    make.run().expect(0);
    let relay = pair.relay(&world);
    let tls = by(&relay, "tls");
    let tool = || world.party("east", &tls).attach().args(["west:x", "--timeout", "0s"]);
    tool().arg("--ca").arg(&pair.certificate).run().expect(exit::PEER_ABSENT);
    tool().env("SSL_CERT_FILE", &pair.certificate).run().expect(exit::PEER_ABSENT);
    refused(&world, &tls, &["--ca", text(&Pair::new(&world, "other").certificate)]);
}

#[test]
fn a_variable_that_names_no_certificates_is_named_and_relays_without_tls_are_used_all_the_same() {
    let world = World::new();
    let pair = Pair::new(&world, "pair");
    let relay = pair.relay(&world);
    let tls = by(&relay, "tls");
    let tool = || world.party("east", &tls).attach().args(["west:x", "--timeout", "0s"]);
    let empty = world.write("empty.pem", "");
    let binary = world.write("binary.der", "\u{1}\u{2}");
    let (missing, directory) = (world.path("missing.pem"), world.dir("none"));
    for (name, path, words) in [
        ("SSL_CERT_FILE", &missing, "missing.pem: No such file"),
        ("SSL_CERT_FILE", &empty, "empty.pem: no certificate in it"),
        ("SSL_CERT_FILE", &binary, "binary.der: no certificate in it"),
        ("SSL_CERT_FILE", &directory, "none: Is a directory"),
        ("SSL_CERT_DIR", &missing, "missing.pem: No such file"),
        ("SSL_CERT_DIR", &directory, "none: no certificate in it"),
    ] {
        let done = tool().env(name, path).run().expect(exit::CONFIG).expect_error(words);
        assert!(done.stderr.contains(&format!("error: {name}: ")), "{done}");
        let done = tool().args(["--relay", &relay.address]).env(name, path).run().expect(exit::PEER_ABSENT);
        assert!(done.stderr.contains(&format!("warning: relays by TLS are left out: {name}: ")), "{done}");
    }
    // One that is empty says nothing, and one of two is enough.
    let done = tool().env("SSL_CERT_FILE", "").env("SSL_CERT_DIR", "").run();
    assert!(!done.expect_one_of(&[exit::NO_RELAY, exit::CONFIG]).stderr.contains("SSL_CERT"));
    let both = tool().env("SSL_CERT_FILE", &pair.certificate).env("SSL_CERT_DIR", &missing);
    both.run().expect(exit::PEER_ABSENT);
}

/// A pipe that nobody writes to.
fn pipe(world: &World, name: &str) -> PathBuf {
    let path = world.path(name);
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    path
}

#[test]
fn a_certificate_that_says_nothing_is_waited_for_for_a_while_and_said() {
    let world = World::new();
    let pair = Pair::new(&world, "pair");
    let silent = pipe(&world, "silent");
    let relay = |certificate: &Path, key: &Path| {
        let tool = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open", "--key"]).arg(world.key("relay"));
        tool.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key)
    };
    let client = || world.party("east", &format!("tls://{}@127.0.0.1:1", world.id("relay"))).attach().arg("west:x");
    let tools = [
        relay(&silent, &pair.key),
        relay(&pair.certificate, &silent),
        client().arg("--ca").arg(&silent),
        client().env("SSL_CERT_FILE", &silent),
    ];
    for running in tools.map(Tool::spawn) {
        running.wait().expect(exit::CONFIG).expect_error("silent: no file, and nothing has come out of it");
    }
}

#[test]
fn who_is_gone_from_the_list_is_out_whatever_becomes_of_the_certificate() {
    let world = World::new();
    let pair = Pair::new(&world, "pair");
    world.write("allow", &format!("west {}\n", world.id("west")));
    let relay = Relay::start(&world, &[&["--allow", "allow"][..], &pair.args()].concat());
    let west = world.party("west", &relay.address);
    let listen = west.waiting(west.attach().args(["--listen", "x", "--keep", "--exec", "cat"]));
    std::fs::remove_file(&pair.certificate).expect("it is there");
    pipe(&world, "pair.pem");
    relay.process().signal(Signal::HUP);
    // It waits for the certificate, now or soon; and is asked again.
    world.write("allow", &format!("east {}\n", world.id("east")));
    relay.process().signal(Signal::HUP);
    let done = listen.wait().expect(exit::CONFIG);
    assert!(done.stderr.contains("does not admit"), "{done}");
    relay.process().wait_error_line_like("the certificate is told of", |line| {
        line.contains("the old certificate stays in force: ") && line.contains("pair.pem: no file, and nothing")
    });
}

#[test]
fn an_operator_is_told_of_a_certificate_that_ends_and_of_a_key_that_others_read() {
    let world = World::new();
    let late = Pair::with(&world, "late", "127.0.0.1", |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    set_mode(&late.key, 0o644);
    let relay = late.relay(&world);
    let told =
        ["late.pem: this certificate has expired, by this machine's clock: it counted until 2001-01-01T00:00:00Z"];
    let told = told.into_iter().chain(["late.key: others may read or write this private key (mode 0644)"]);
    let wait = |words: &str| relay.process().wait_error_line_like(words, |line| line.contains(words));
    told.for_each(|words| drop(wait(words)));
    wait("hint: chmod g-w,o-rwx ");
    let next = Pair::with(&world, "next", "127.0.0.1", |params| params.not_before = rcgen::date_time_ymd(2100, 1, 1));
    std::fs::copy(&next.key, &late.key).expect("a copy");
    std::fs::copy(&next.certificate, &late.certificate).expect("a copy");
    relay.process().signal(Signal::HUP);
    wait(
        "late.pem: this certificate is not valid yet, by this machine's clock: it counts from 2100-01-01T00:00:00Z on",
    );
}

#[test]
fn a_certificate_that_was_renewed_is_shown_without_a_signal() {
    let world = World::new();
    let (pair, next) = (Pair::new(&world, "pair"), Pair::new(&world, "next"));
    let relay = Relay::start(&world, &[&["--open", "-v"][..], &pair.args()].concat());
    let shown = |times| {
        let text = relay.process().error_text();
        text.matches("pair.pem: this certificate is shown now; it counts until ").count() == times
    };
    eventually("the first is told of", || shown(1));
    // As certbot does: others under the same names.
    for (from, to) in [(&next.certificate, &pair.certificate), (&next.key, &pair.key)] {
        std::fs::rename(from, to).expect("in one directory");
    }
    eventually("the next is told of", || shown(2));
    let tool = world.party("east", &by(&relay, "tls")).attach().args(["west:x", "--timeout", "0s"]);
    tool.arg("--ca").arg(&pair.certificate).run().expect(exit::PEER_ABSENT);
}

#[test]
fn a_new_certificate_is_read_on_a_signal_and_a_bad_one_leaves_the_old() {
    let world = World::new();
    let (pair, next) = (Pair::new(&world, "pair"), Pair::new(&world, "next"));
    let old = world.path("old.pem");
    std::fs::copy(&pair.certificate, &old).expect("a copy");
    let relay = pair.relay(&world);
    let tls = by(&relay, "tls");
    let believes = |ca: &Path| {
        let tool = world.party("east", &tls).attach().args(["west:x", "--timeout", "0s", "--ca", text(ca)]);
        tool.run().expect_one_of(&[exit::NO_RELAY, exit::PEER_ABSENT]).code() == Some(exit::PEER_ABSENT)
    };
    assert!(believes(&old));
    std::fs::copy(&next.certificate, &pair.certificate).expect("a copy");
    relay.process().signal(Signal::HUP);
    relay.process().wait_error_line("vp-relay: error: the old certificate stays in force: ");
    assert!(believes(&old) && !believes(&next.certificate), "its key is another one");
    std::fs::copy(&next.key, &pair.key).expect("a copy");
    relay.process().signal(Signal::HUP);
    eventually("the new one is shown", || believes(&next.certificate));
    assert!(!believes(&old));
}

#[test]
fn strangers_find_a_web_server_that_has_nothing_within_tls_too() {
    let world = World::new();
    let relay = world.relay();
    let at = relay.socket().to_string();
    let curl = Tool::new(need("curl", "curl"), &world.path("")).args(["-sk", "-o", "page", "-w", "%{http_code}"]);
    curl.arg(format!("https://{at}/index.html")).run().expect(0).expect_output(b"404");
    for version in ["-tls1_2", "-tls1_3"] {
        let openssl =
            Tool::new(need("openssl", "openssl"), &world.path("")).args(["s_client", "-connect", &at, version]);
        let openssl = openssl.args(["-alpn", "http/1.1", "-ign_eof"]);
        let done = openssl.input(Input::Bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec())).run();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(said.contains("HTTP/1.1 404 Not Found") && said.contains("ALPN protocol: http/1.1"), "{done}\n{said}");
    }
    // What begins like TLS and is none is closed.
    let mut stream = TcpStream::connect(relay.socket()).expect("the relay's port");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.write_all(b"\x16\x03\x01\x00\x05hello, what is it").expect("written");
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert_eq!(said, b"");
}

/// A stunnel of one test with this service, which listens here.
pub(crate) fn stunnel(world: &World, name: &str, service: &str) -> (ReservedPort, Running) {
    let place = reserve();
    let config =
        format!("foreground = yes\npid =\nsyslog = no\ndebug = 4\n[{name}]\naccept = {}\n{service}\n", place.address);
    let config = world.write(&format!("stunnel-{name}.conf"), &config);
    let stunnel = Tool::new(need("stunnel4", "stunnel4"), &world.path("")).arg(config).within(10 * DEADLINE).spawn();
    eventually("stunnel listens", || TcpStream::connect(place.address).is_ok());
    (place, stunnel)
}

#[test]
fn stunnel_takes_tls_away_in_front_of_a_relay_and_brings_it_for_a_client() {
    let world = World::new();
    let pair = Pair::new(&world, "one");
    let trusted = ["--trusted-proxy", "127.0.0.1", "-v"];
    let relay = Relay::start(&world, &[&["--open"][..], &trusted, &pair.args()].concat());
    let ca = text(&pair.certificate);
    let (to, key) = (relay.socket(), text(&pair.key));
    let (front, _front) =
        stunnel(&world, "front", &format!("connect = {to}\ncert = {ca}\nkey = {key}\nprotocol = proxy"));
    let client = format!("client = yes\nconnect = {to}\nCAfile = {ca}\nverifyChain = yes\ncheckIP = 127.0.0.1");
    let (client, _client) = stunnel(&world, "client", &client);
    let by = |scheme: &str, at: SocketAddr| format!("{scheme}://{}@{at}", world.id("relay"));
    let from = passing([127, 0, 4, 1], front.address);
    let ways = [("tls", from.at), ("wss", from.at), ("tcp", client.address), ("ws", client.address)];
    for (seed, (scheme, at)) in (1..).zip(ways) {
        let (east, west) = (world.party("east", &by(scheme, at)), relay.party("west"));
        let input = |seed| Input::Random { seed, bytes: 3_000_000 };
        let listen = west.waiting(west.attach().args(["--listen", "pipe"]).input(input(10 + seed)));
        let dial = east.attach().args(["west:pipe", "--ca", ca]).input(input(seed)).run();
        dial.expect(exit::DONE).expect_silence().expect_random(10 + seed, 3_000_000);
        listen.wait().expect(exit::DONE).expect_random(seed, 3_000_000);
    }
    expect_from(&relay, "127.0.4.1 through 127.0.0.1");
    // Nobody serves TLS within TLS.
    let east = world.party("east", &by("tls", client.address)).attach().args(["west:x", "--timeout", "0s", "--ca", ca]);
    east.run().expect(exit::NO_RELAY);
}
