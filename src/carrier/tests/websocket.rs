//! Frames, whole and in pieces, at both ends; and what ends a WebSocket.

use super::*;
use crate::carrier::testkit::{read as hear, write};
use proptest::prelude::*;

/// "Hello" of RFC 6455, 5.7, in a binary message.
const HELLO: [u8; 7] = [0x82, 5, b'H', b'e', b'l', b'l', b'o'];
const MASKED_HELLO: [u8; 11] = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];

fn server() -> WebSocket {
    WebSocket { state: State::Open, visitor: None, inward: Inward::masked(), outward: Outward::new(None) }
}

fn client() -> WebSocket {
    let keys = Keys::Given([0x37, 0xfa, 0x21, 0x3d]);
    WebSocket { state: State::Open, visitor: None, inward: Inward::plain(), outward: Outward::new(Some(keys)) }
}

/// A frame of a client.
fn masked(first: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match content.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    let key = [1, 2, 3, 4];
    frame.extend(key);
    frame.extend(content.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[test]
fn a_handshake_opens_both_ends_however_it_is_cut() {
    for step in [1, 7, 4096] {
        let target = Target { host: "relay.example", port: 8080, path: "/vp", usual_port: 80 };
        let mut client = WebSocket::dial_with(&target, *b"the sample nonce", Keys::System);
        let mut server = WebSocket::answer(Box::default());
        assert!(client.has_own() && !client.is_open() && !server.has_own());
        let request = write(&mut client, b"", step);
        assert_eq!(hear(&mut server, &request, step), b"");
        assert!(server.is_open() && server.has_own());
        let answer = write(&mut server, b"", step);
        let there = [answer, HELLO.to_vec()].concat();
        assert_eq!(hear(&mut client, &there, step), b"Hello", "what comes right behind the answer is not lost");
        assert!(client.is_open() && client.end().is_none());
        let words = write(&mut client, b"back", step);
        assert_eq!(hear(&mut server, &words, step), b"back");
    }
}

#[test]
fn what_a_server_says_before_its_answer_is_skipped() {
    for step in [1, 4096] {
        let mut client = WebSocket::dial_with(
            &Target { host: "a", port: 80, path: "", usual_port: 80 },
            *b"the sample nonce",
            Keys::System,
        );
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        let answer = http::answer("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(hear(&mut client, &[&hints[..], &answer, &HELLO].concat(), step), b"Hello");
        assert!(client.is_open());
    }
    let mut client = WebSocket::dial(&Target { host: "a", port: 80, path: "", usual_port: 80 });
    hear(&mut client, &b"HTTP/1.1 102 Processing\r\n\r\n".repeat(SKIPPED_MAX + 1), 4096);
    assert_eq!(client.end(), Some(End::NotTaken(Some(102))), "nobody waits for ever");
}

#[test]
fn nothing_of_a_link_goes_out_before_the_handshake_is_done() {
    let mut client = WebSocket::dial(&Target { host: "a", port: 80, path: "", usual_port: 80 });
    let shown = [IoSlice::new(b"link")];
    let mut wire = [IoSlice::new(&[]); 2];
    assert_eq!(client.wrap(&shown, &mut wire), 1);
    let request = wire[0].to_vec();
    assert!(request.starts_with(b"GET / ") && request.ends_with(b"\r\n\r\n"));
    assert_eq!(client.handle_written(request.len()), 0);
}

#[test]
fn who_asks_for_something_else_is_told_and_nothing_more_is_heard() {
    for (request, status) in [("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404"), ("GET /\n\n", "400")] {
        let mut server = WebSocket::answer(Box::default());
        assert_eq!(hear(&mut server, request.as_bytes(), 5), b"");
        assert_eq!(server.end(), Some(End::NotFound));
        let said = String::from_utf8(write(&mut server, b"", 9)).unwrap();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert_eq!(hear(&mut server, &masked(0x82, b"x"), 5), b"");
        server.close();
        assert!(!server.has_own(), "that is no WebSocket, which could be closed");
    }
}

#[test]
fn what_is_no_request_is_not_answered() {
    for words in ["SSH-2.0-OpenSSH\r\n", "A\r\n\r\n", "AB\n", "GET\0", "G(T / HTTP/1.1\r\n\r\n", "AAAAAAAAAAAAAAAAAA"] {
        for step in [1, 100] {
            let mut server = WebSocket::answer(Box::default());
            assert_eq!(hear(&mut server, words.as_bytes(), step), b"");
            assert_eq!((server.end(), server.has_own()), (Some(End::NotFound), false), "{words:?}");
        }
    }
}

#[test]
fn an_answer_that_opens_none_is_an_end_with_its_status() {
    let long = [&b"HTTP/1.1 302 Found\r\nSet-Cookie: "[..], &[b'x'; 5000], b"\r\n\r\n"].concat();
    let nothing: [(&[u8], Option<u16>); 12] = [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", Some(404)),
        (b"HTTP/1.1 403 Forbidden\n\n", Some(403)),
        (b"HTTP/1.0 403\n\n", Some(403)),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n", Some(404)),
        (&long, Some(302)),
        (b"HTTP/1.1 101 Switching Protocols\n\n", None),
        (b"HTTP/1.1 4030 Forbidden\n\n", None),
        (b"HTTP/1.1 40\n\n", None),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", None),
        (b"SSH-2.0-OpenSSH\r\n", None),
        (b"\0\0\0\0", None),
        (b"HTTP!", None),
    ];
    for (answer, status) in nothing {
        let mut client = WebSocket::dial(&Target { host: "a", port: 80, path: "", usual_port: 80 });
        assert_eq!(hear(&mut client, answer, 3), b"");
        assert_eq!(client.end(), Some(End::NotTaken(status)));
    }
}

#[test]
fn the_frames_of_the_standard_are_read_and_written_as_there() {
    assert_eq!(hear(&mut client(), &HELLO, 100), b"Hello");
    assert_eq!(hear(&mut server(), &MASKED_HELLO, 1), b"Hello");
    assert_eq!(write(&mut server(), b"Hello", 100), HELLO);
    assert_eq!(write(&mut client(), b"Hello", 3), MASKED_HELLO);
    // Its ping, and the answer; its fragments, with a ping between, as binary ones.
    let mut end = server();
    let ping = [0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(hear(&mut end, &ping, 4), b"");
    assert_eq!(write(&mut end, b"", 1), [0x8a, 5, b'H', b'e', b'l', b'l', b'o']);
    let fragments = [&[0x02, 3][..], b"Hel", &[0x89, 0], &[0x00, 0], &[0x80, 2], b"lo"].concat();
    assert_eq!(hear(&mut client(), &fragments, 1), b"Hello");
    for (length, head) in [(256, &[0x82, 126, 1, 0][..]), (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0])] {
        let content = vec![7; length];
        let wire = [head, &content].concat();
        assert_eq!(write(&mut server(), &content, usize::MAX), wire);
        assert_eq!(hear(&mut client(), &wire, 1000), content);
    }
}

#[test]
fn only_the_last_ping_is_answered_and_never_within_a_message() {
    let mut end = server();
    let shown = [IoSlice::new(b"one message")];
    let mut wire = [IoSlice::new(&[]); 2];
    assert_eq!(end.wrap(&shown, &mut wire), 2);
    assert_eq!(end.handle_written(5), 3, "its head is none of the link's");
    assert_eq!(hear(&mut end, &[masked(0x89, b"a"), masked(0x89, b"b")].concat(), 100), b"");
    assert!(!end.has_own(), "not before what has begun is whole");
    assert_eq!(write(&mut end, b" message", 100), [&b" message"[..], &[0x8a, 1, b'b']].concat());
}

#[test]
fn what_breaks_the_rules_ends_it_with_the_code_that_says_why() {
    let large = [&[0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1][..], &[0; 4]].concat();
    let mut fragments = masked(0x02, &vec![0; MESSAGE_MAX]);
    fragments.extend(masked(0x80, b"x"));
    let cases = [
        (CloseStatus::Protocol, HELLO.to_vec()),
        (CloseStatus::Protocol, vec![0xc2, 0x80, 0, 0, 0, 0]),
        (CloseStatus::Protocol, masked(0x83, b"x")),
        (CloseStatus::Protocol, masked(0x8b, b"x")),
        (CloseStatus::Protocol, masked(0x80, b"x")),
        (CloseStatus::Protocol, [masked(0x02, b"a"), masked(0x82, b"b")].concat()),
        (CloseStatus::Protocol, masked(0x09, b"a fragment")),
        (CloseStatus::Protocol, masked(0x89, &[0; 126])),
        (CloseStatus::Protocol, vec![0x82, 0xfe, 0, 125, 0, 0, 0, 0]),
        (CloseStatus::Protocol, vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]),
        (CloseStatus::Protocol, vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (CloseStatus::Protocol, masked(0x88, &[3])),
        (CloseStatus::Protocol, masked(0x88, &1005_u16.to_be_bytes())),
        (CloseStatus::Protocol, masked(0x88, &999_u16.to_be_bytes())),
        (CloseStatus::NotText, masked(0x88, &[3, 0xe8, 0xff])),
        (CloseStatus::Unsupported, masked(0x81, b"text")),
        (CloseStatus::TooLarge, large),
        (CloseStatus::TooLarge, fragments),
    ];
    for (status, bytes) in cases {
        for step in [1, 5000] {
            let mut end = server();
            let good = masked(0x82, b"before");
            let heard = hear(&mut end, &[&good[..], &bytes, &good].concat(), step);
            assert!(heard.starts_with(b"before") && !heard.ends_with(b"before") || heard == b"before", "{bytes:?}");
            assert_eq!(end.end(), Some(End::Broken(status)), "{:?}", &bytes[..bytes.len().min(20)]);
            let code = status.number().to_be_bytes();
            assert_eq!(write(&mut end, b"", 100), [&[0x88, 2][..], &code].concat());
        }
    }
    let mut end = client();
    assert_eq!(hear(&mut end, &MASKED_HELLO, 100), b"");
    assert_eq!(end.end(), Some(End::Broken(CloseStatus::Protocol)), "a server hides nothing");
}

#[test]
fn a_close_is_answered_by_its_code_and_nothing_follows() {
    for content in [&[][..], &[3, 0xe9], b"\x03\xe8done", &[0x0f, 0xa0]] {
        let mut end = server();
        let closing = [masked(0x82, b"last"), masked(0x88, content), masked(0x82, b"x")].concat();
        assert_eq!(hear(&mut end, &closing, 1), b"last");
        assert_eq!(end.end(), Some(End::Closed));
        let code = &content[..content.len().min(2)];
        let said = [&[0x88, u8::try_from(code.len()).unwrap()][..], code].concat();
        let shown = [IoSlice::new(b"more")];
        let mut wire = [IoSlice::new(&[]); 2];
        assert_eq!(end.wrap(&shown, &mut wire), 1);
        assert_eq!(wire[0].to_vec(), said);
    }
    // Whoever begins says so once, behind what has begun.
    let mut end = client();
    end.close();
    end.close();
    assert_eq!(write(&mut end, b"", 2).len(), 8);
    assert!(!end.has_own());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_a_link_says_arrives_however_it_is_cut_and_is_counted_when_it_is_gone(
        sizes in proptest::collection::vec(prop_oneof![1usize..300, 60_000usize..70_000], 1..6),
        most in prop_oneof![Just(1_usize), 1usize..100_000],
        step in prop_oneof![Just(1_usize), 1usize..100_000],
        pings in any::<bool>(),
    ) {
        for (mut from, mut to) in [(client(), server()), (server(), client())] {
            let (mut sent, mut heard) = (Vec::new(), Vec::new());
            for (nth, size) in sizes.iter().enumerate() {
                let words: Vec<u8> = (0..*size).map(|at| (at * 7 + nth).to_le_bytes()[0]).collect();
                if pings {
                    from.outward.answer(vec![1; nth]);
                }
                // A byte at a time through the kernel takes its time: of long words more.
                let most = if *size > 1000 { most.max(2_000) } else { most };
                let wire = write(&mut from, &words, most);
                heard.extend(hear(&mut to, &wire, step));
                sent.extend(words);
            }
            prop_assert!(heard == sent);
            prop_assert_eq!((from.end(), to.end()), (None, None));
        }
    }

    #[test]
    fn any_bytes_at_an_end_are_read_the_same_however_they_are_cut(
        which in any::<u8>(),
        step in any::<u8>(),
        data in proptest::collection::vec(prop_oneof![Just(0x82_u8), Just(0x02), Just(0x80), Just(0x89), Just(0), any::<u8>()], 0..300),
    ) {
        fuzz(&[&[which, step][..], &data].concat());
    }
}
