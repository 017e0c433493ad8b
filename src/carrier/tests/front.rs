//! Who is believed where a connection comes from: PROXY headers, the fields of a request, and both at once.

use super::*;
use crate::carrier::{Carrier, End};
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What a connection is that has no header, or begins with something else.
const HELLO: &[u8] = b"vp\x01\x01";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

/// What came of a header in pieces of so many bytes: how long it is, and what it says.
fn hear(bytes: &[u8], step: usize) -> Result<Option<(usize, Option<IpAddr>)>, Malformed> {
    let (mut header, mut came) = (ProxyHeader::default(), 0);
    for piece in bytes.chunks(step) {
        match header.handle_bytes(piece)? {
            Heard::More => came += piece.len(),
            Heard::Absent(before) => {
                assert_eq!(before, &bytes[came - before.len()..came]);
                return Ok(None);
            }
            Heard::Over(used, source) => return Ok(Some((came + used, source))),
        }
    }
    panic!("{bytes:?} is not whole")
}

/// A header of version 2.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, rest].concat()
}

fn four(from: [u8; 4]) -> Vec<u8> {
    [&from[..], &[10, 0, 0, 1], &[0x9c, 0x40, 1, 0xbb]].concat()
}

fn six(from: &str) -> Vec<u8> {
    let from: Ipv6Addr = from.parse().unwrap();
    [&from.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[0x9c, 0x40, 1, 0xbb]].concat()
}

#[test]
fn each_header_of_the_text_is_understood_in_pieces_of_any_size() {
    for (header, source) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\n".to_vec(), Some("192.0.2.7")),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n".to_vec(), Some("255.255.255.255")),
        (b"PROXY TCP6 2001:db8::7 ::1 40000 443\r\n".to_vec(), Some("2001:db8::7")),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 40000 443\r\n".to_vec(), Some("192.0.2.7")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
        (binary(0x21, 0x11, &four([192, 0, 2, 7])), Some("192.0.2.7")),
        (binary(0x21, 0x21, &six("2001:db8::7")), Some("2001:db8::7")),
        (binary(0x21, 0x21, &six("::ffff:192.0.2.7")), Some("192.0.2.7")),
        // With more behind the addresses, of which nothing is kept.
        (binary(0x21, 0x11, &[four([192, 0, 2, 7]), b"\xe0\x00\x02id".to_vec()].concat()), Some("192.0.2.7")),
        (binary(0x21, 0x11, &[four([192, 0, 2, 7]), vec![7; REST]].concat()), Some("192.0.2.7")),
        // Of the balancer itself, of nobody's, of Unix sockets, and of datagrams, which a connection has none of.
        (binary(0x20, 0x00, b""), None),
        (binary(0x20, 0x11, &four([192, 0, 2, 7])), None),
        (binary(0x20, 0xff, b"whatever"), None),
        (binary(0x21, 0x00, b"\x04\x00\x01a"), None),
        (binary(0x21, 0x12, &four([192, 0, 2, 7])), None),
        (binary(0x21, 0x31, &[b'/'; 216]), None),
    ] {
        let bytes = [&header[..], b"rest"].concat();
        for step in [1, 2, 7, 13, bytes.len()] {
            let heard = hear(&bytes, step);
            assert_eq!(heard, Ok(Some((header.len(), source.map(ip)))), "{}", String::from_utf8_lossy(&header));
        }
    }
}

/// What may stand behind the addresses.
const REST: usize = 4096 - 12;

#[test]
fn a_header_that_the_text_does_not_allow_is_refused_whole() {
    for line in [
        "PROXY \r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN\r \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 \r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 02\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 nowhere 1 2\r\n",
        "PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP6 fe80::1%1 ::1 1 2\r\n",
        "PROXY TCP4 192.0.2.\u{661} 10.0.0.1 1 2\r\n",
    ] {
        for step in [1, line.len()] {
            assert_eq!(hear(line.as_bytes(), step), Err(Malformed), "{line:?}");
        }
    }
    let long = |bytes: usize| format!("PROXY UNKNOWN{}\r\n", " ".repeat(bytes - 15)).into_bytes();
    assert_eq!(hear(&long(107), 1), Ok(Some((107, None))));
    assert_eq!(hear(&long(108), 1), Err(Malformed));
    for header in [
        binary(0x11, 0x11, &four([192, 0, 2, 7])),
        binary(0x22, 0x11, &four([192, 0, 2, 7])),
        binary(0x21, 0x10, &four([192, 0, 2, 7])),
        binary(0x21, 0x41, &four([192, 0, 2, 7])),
        binary(0x21, 0x11, &four([192, 0, 2, 7])[..11]),
        binary(0x21, 0x21, &six("::1")[..35]),
        binary(0x21, 0x31, &[b'/'; 215]),
        binary(0x20, 0x00, &[0; 4097]),
        b"\r\n\r\n\0\r\nQUIT\r".to_vec(),
        b"\r\nGET / HTTP/1.1\r\n".to_vec(),
    ] {
        for step in [1, header.len()] {
            assert_eq!(hear(&header, step), Err(Malformed), "{header:?}");
        }
    }
}

#[test]
fn whatever_else_begins_a_connection_is_no_header() {
    for bytes in
        [HELLO, b"GET / HTTP/1.1\r\n", b"PUT / HTTP/1.1\r\n", b"PROPFIND / HTTP/1.1\r\n", b"\x16\x03\x01", b"PROXYING"]
    {
        for step in [1, 3, bytes.len()] {
            assert_eq!(hear(bytes, step), Ok(None), "{bytes:?}");
        }
    }
}

fn fronts() -> Arc<Fronts> {
    let trusted = ["127.0.0.0/8", "2001:db8:1::/48"].map(|text| text.parse().unwrap());
    Arc::new(Fronts { trusted: trusted.to_vec(), path: Some("/vp".parse().unwrap()) })
}

/// Who asks, where these lines came from a trusted server.
fn asks(forwarded: &[&str], x_forwarded_for: &[&str]) -> String {
    let bytes = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
    let (forwarded, x_forwarded_for) = (bytes(forwarded), bytes(x_forwarded_for));
    let mut visitor = Visitor::new(fronts(), ip("127.0.0.1"));
    visitor.handle_said(&Said {
        forwarded: forwarded.iter().map(Vec::as_slice).collect(),
        x_forwarded_for: x_forwarded_for.iter().map(Vec::as_slice).collect(),
    });
    visitor.take_source().expect("a front").to_string()
}

#[test]
fn of_a_list_the_right_most_counts_that_no_trusted_server_has() {
    for (lines, source) in [
        (&[][..], "127.0.0.1"),
        (&["192.0.2.7"], "192.0.2.7"),
        (&["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        (&["6.6.6.6", "192.0.2.7"], "192.0.2.7"),
        (&["192.0.2.7,127.0.0.9, 2001:db8:1::5"], "192.0.2.7"),
        (&["127.0.0.3, 127.0.0.2"], "127.0.0.3"),
        (&["192.0.2.7:4711"], "192.0.2.7"),
        (&["[2001:db8::7]:4711"], "2001:db8::7"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["[2001:db8::7]"], "2001:db8::7"),
        (&["::ffff:192.0.2.7"], "192.0.2.7"),
        (&[", 192.0.2.7"], "192.0.2.7"),
        // What is no address hides who is behind it, and who has said it is sure.
        (&["6.6.6.6, unknown"], "127.0.0.1"),
        (&["6.6.6.6,"], "127.0.0.1"),
        (&["6.6.6.6, _hidden, 127.0.0.2"], "127.0.0.2"),
        (&["192.0.2.7:port"], "127.0.0.1"),
        (&["192.0.2.7:"], "127.0.0.1"),
        (&["192.0.2.07"], "127.0.0.1"),
        (&["fe80::1%eth0"], "127.0.0.1"),
        (&["\"192.0.2.7\""], "127.0.0.1"),
        (&["for=192.0.2.7"], "127.0.0.1"),
        (&["6.6.6.6", ""], "127.0.0.1"),
    ] {
        assert_eq!(asks(&[], lines), source, "{lines:?}");
    }
}

#[test]
fn of_forwarded_the_same_counts_in_the_words_of_its_standard() {
    for (lines, source) in [
        (&["for=192.0.2.7"][..], "192.0.2.7"),
        (&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
        (&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
        (&["by=203.0.113.43; FOR=192.0.2.60 ;"], "192.0.2.60"),
        (&["for=192.0.2.43, for=198.51.100.17"], "198.51.100.17"),
        (&["for=192.0.2.43", "for=127.0.0.2;by=\"a,b;for=6.6.6.6\""], "192.0.2.43"),
        (&["for=\"192.0.2.7:_x.y-z\""], "192.0.2.7"),
        (&["for=\"19\\2.0.2.7\""], "192.0.2.7"),
        (&["for=\"[::ffff:192.0.2.7]\""], "192.0.2.7"),
        (&["for=6.6.6.6, for=unknown"], "127.0.0.1"),
        (&["for=6.6.6.6, for=_hidden, for=127.0.0.2"], "127.0.0.2"),
        (&["for=6.6.6.6, proto=http"], "127.0.0.1"),
        (&["for=6.6.6.6, "], "127.0.0.1"),
        (&["for=2001:db8::7"], "127.0.0.1"),
        (&["for=\"2001:db8::7\""], "127.0.0.1"),
        (&["for=192.0.2.7:80"], "127.0.0.1"),
        (&["for=192.0.2.7;for=192.0.2.7"], "127.0.0.1"),
        (&["for = 192.0.2.7"], "127.0.0.1"),
        (&["for="], "127.0.0.1"),
        (&["192.0.2.7"], "127.0.0.1"),
        // A quote that is left open may have swallowed what was added, or have it end in another place.
        (&["for=6.6.6.6;x=\", for=192.0.2.7"], "127.0.0.1"),
        (&["for=6.6.6.6;x=\", for=\"[2001:db8::7]\""], "127.0.0.1"),
        (&["for=6.6.6.6;x=\"\\"], "127.0.0.1"),
        (&["for=\"x", "for=192.0.2.7"], "192.0.2.7"),
    ] {
        assert_eq!(asks(lines, &[]), source, "{lines:?}");
    }
}

#[test]
fn where_both_fields_are_there_they_have_to_agree() {
    assert_eq!(asks(&["for=192.0.2.7"], &["6.6.6.6, 192.0.2.7"]), "192.0.2.7");
    assert_eq!(asks(&["for=6.6.6.6"], &["192.0.2.7"]), "127.0.0.1");
    assert_eq!(asks(&["for=192.0.2.7"], &["6.6.6.6"]), "127.0.0.1");
    assert_eq!(asks(&["nonsense"], &["192.0.2.7"]), "127.0.0.1");
}

/// A request for a link, with these lines in it.
fn request(path: &str, lines: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         {lines}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: vp.1\r\n\r\n"
    )
    .into_bytes()
}

/// What a relay makes of bytes from an address: the link's, where they come from once that is sure, and how it ended.
fn visit(from: &str, bytes: &[u8], step: usize) -> (Vec<u8>, Vec<IpAddr>, Option<End>) {
    let mut carrier = Carrier::undecided(Visitor::new(fronts(), ip(from)));
    let (mut link, mut sources) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        let mut wire = piece.to_vec();
        let count = carrier.handle_wire(&mut wire);
        link.extend_from_slice(&wire[..count]);
        sources.extend(carrier.take_source());
        assert!(
            link.is_empty() || !sources.is_empty() || !from.starts_with("127."),
            "sure before the first byte is used"
        );
    }
    (link, sources, carrier.end())
}

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\n";
const LINE_OF_A_FRONT: &[u8] = b"PROXY TCP4 127.0.0.2 10.0.0.1 40000 443\r\n";

#[test]
fn each_carrier_comes_behind_a_header_and_from_where_that_says() {
    let listed = request("/vp", "X-Forwarded-For: 6.6.6.6, 192.0.2.8\r\n");
    let hello = b"\x82\x84\0\0\0\0vp\x01\x01";
    for (bytes, source) in [
        (HELLO.to_vec(), "127.0.0.1"),
        ([LINE, HELLO].concat(), "192.0.2.7"),
        ([&binary(0x21, 0x21, &six("2001:db8::7")), HELLO].concat(), "2001:db8::7"),
        ([&binary(0x20, 0, b""), HELLO].concat(), "127.0.0.1"),
        ([b"PROXY UNKNOWN\r\n", HELLO].concat(), "127.0.0.1"),
        ([&request("/vp", "")[..], hello].concat(), "127.0.0.1"),
        ([&listed[..], hello].concat(), "192.0.2.8"),
        // Whoever connected to the balancer is no server that is trusted, or is one.
        ([LINE, &listed, hello].concat(), "192.0.2.7"),
        ([LINE_OF_A_FRONT, &listed, hello].concat(), "192.0.2.8"),
    ] {
        for step in [1, 5, bytes.len()] {
            let visit = visit("127.0.0.1", &bytes, step);
            assert_eq!(visit, (HELLO.to_vec(), vec![ip(source)], None), "{}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn whoever_a_header_names_is_known_before_he_says_a_word_unless_he_may_name_another() {
    for (header, source) in [(LINE, Some("192.0.2.7")), (LINE_OF_A_FRONT, None), (b"PROXY UNKNOWN\r\n", None)] {
        for step in [1, header.len()] {
            assert_eq!(visit("127.0.0.1", header, step).1, source.map(ip).into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn whoever_a_header_names_is_known_with_a_part_of_his_request() {
    let (other, request) = (request("/other", ""), request("/vp", "X-Forwarded-For: 192.0.2.8\r\n"));
    for part in [&request[..1], &request[..30], &request[..request.len() - 1]] {
        for (header, source) in [(LINE, Some("192.0.2.7")), (LINE_OF_A_FRONT, None), (b"", None)] {
            let bytes = [header, part].concat();
            for step in [1, bytes.len()] {
                let visit = visit("127.0.0.1", &bytes, step);
                assert_eq!(visit, (vec![], source.map(ip).into_iter().collect(), None), "{part:?}");
            }
        }
    }
    // Where he is known to come from, he still has to ask for the right path.
    for step in [1, LINE.len() + 1, 10_000] {
        let taken = visit("127.0.0.1", &[LINE, &request].concat(), step);
        assert_eq!(taken, (vec![], vec![ip("192.0.2.7")], None));
        let other = [LINE, &other].concat();
        assert_eq!(visit("127.0.0.1", &other, step), (vec![], vec![ip("192.0.2.7")], Some(End::NotFound)));
    }
}

#[test]
fn a_request_that_is_refused_is_whose_it_is() {
    let get = |path: &str, lines: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
    let listed = "X-Forwarded-For: 192.0.2.8\r\n";
    for (bytes, source) in [
        (get("/", listed), "192.0.2.8"),
        (get("/vp", "Forwarded: for=192.0.2.8\r\n"), "192.0.2.8"),
        (request("/other", listed), "192.0.2.8"),
        (get("/vp", "Transfer-Encoding: chunked\r\nX-Forwarded-For: 192.0.2.8\r\n"), "192.0.2.8"),
        ([LINE, &get("/", listed)].concat(), "192.0.2.7"),
        ([LINE, b"GET / HTTP/9\r\n\r\n"].concat(), "192.0.2.7"),
        ([LINE_OF_A_FRONT, &get("/", listed)].concat(), "192.0.2.8"),
        // What is no head says nothing.
        (b"GET / HTTP/9\r\nX-Forwarded-For: 192.0.2.8\r\n\r\n".to_vec(), "127.0.0.1"),
        (b"GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.8\r\n\n".to_vec(), "127.0.0.1"),
        ([LINE_OF_A_FRONT, b"Get\r\n"].concat(), "127.0.0.2"),
    ] {
        for step in [1, 5, bytes.len()] {
            let visit = visit("127.0.0.1", &bytes, step);
            assert_eq!(visit, (vec![], vec![ip(source)], Some(End::NotFound)), "{}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn a_connection_by_which_a_front_asks_again_is_the_front_s_own() {
    let id = "00".repeat(16);
    let ask = format!("GET /vp?vp1={id}.d.0 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.8\r\n\r\n").into_bytes();
    for step in [1, ask.len()] {
        let mut carrier = Carrier::undecided(Visitor::new(fronts(), ip("127.0.0.2")));
        ask.chunks(step).for_each(|piece| assert_eq!(carrier.handle_wire(&mut piece.to_vec()), 0));
        assert!(carrier.asked().is_some());
        assert_eq!(carrier.take_source(), Some(ip("192.0.2.8")));
        assert_eq!(carrier.came_from(), Some(ip("127.0.0.2")));
    }
}

#[test]
fn what_somebody_says_who_is_not_trusted_is_not_believed() {
    let listed = request("/vp", "X-Forwarded-For: 127.0.0.1, 192.0.2.8\r\nForwarded: for=192.0.2.8\r\n");
    let hello = b"\x82\x84\0\0\0\0vp\x01\x01";
    let taken = visit("192.0.2.1", &[&listed[..], hello].concat(), 1);
    assert_eq!(taken, (HELLO.to_vec(), vec![], None));
    // A line is no request, and what begins otherwise no link: its handshake refuses that.
    assert_eq!(visit("192.0.2.1", &[LINE, b"\r\n"].concat(), 1), (vec![], vec![], Some(End::NotFound)));
    let header = binary(0x21, 0x11, &four([192, 0, 2, 7]));
    assert_eq!(visit("192.0.2.1", &header, 1), (header, vec![], None));
}

#[test]
fn what_is_no_header_after_all_is_heard_from_its_first_byte() {
    for step in [1, 3, 100] {
        let (link, sources, end) = visit("127.0.0.1", b"PROPFIND /vp HTTP/1.1\r\nHost: a\r\n\r\n", step);
        assert_eq!((link, sources, end), (vec![], vec![ip("127.0.0.1")], Some(End::NotFound)));
        let (link, sources, end) = visit("127.0.0.1", b"PROXY TCP4 nobody\r\n", step);
        assert_eq!((link, sources, end), (vec![], vec![], Some(End::NotFound)));
    }
}

#[test]
fn a_request_for_another_path_is_not_found() {
    for (path, is_ours) in
        [("/vp", true), ("/vp?x=/other", true), ("/", false), ("/vp/", false), ("/VP", false), ("/%76p", false)]
    {
        let (_, _, end) = visit("192.0.2.1", &request(path, ""), 7);
        assert_eq!(end, (!is_ours).then_some(End::NotFound), "{path}");
    }
}

proptest! {
    #[test]
    fn any_bytes_as_a_header_come_to_the_same_in_one_piece_and_in_others(
        start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
        step in 1..20_usize,
    ) {
        // Long enough that each is decided.
        let bytes = [start, &rest, &[b'x'; 5000][..]].concat();
        prop_assert_eq!(hear(&bytes, step), hear(&bytes, bytes.len()));
    }

    #[test]
    fn what_a_trusted_server_adds_is_the_source_whatever_stands_before_it(before in "[ -~]{0,60}", octets: [u8; 4]) {
        let address = Ipv4Addr::from(octets);
        prop_assume!(!address.is_loopback());
        prop_assert_eq!(asks(&[], &[&format!("{before}, {address}")]), address.to_string());
        prop_assert_eq!(asks(&[], &[&before, &address.to_string()]), address.to_string());
        prop_assert_eq!(asks(&[&before, &format!("for={address}")], &[]), address.to_string());
        // On one line a quote may have swallowed it, and then nobody is believed.
        let on_one_line = asks(&[&format!("{before}, for={address}")], &[]);
        prop_assert!(on_one_line == address.to_string() || on_one_line == "127.0.0.1");
    }
}
