//! Requests that are taken, those that are not, and heads that are none.

use super::*;
use proptest::prelude::*;

/// The request of RFC 6455, 1.2, for our subprotocol.
const GOOD: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, vp.1\r\n\
                    Sec-WebSocket-Version: 13\r\n\r\n";
/// Its answer in that text.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What becomes of bytes at a relay's port: what is read of a whole head, and what is no head.
fn read(text: &str) -> Result<String, Refusal> {
    let mut head = Head::default();
    match head.handle_bytes(text.as_bytes()) {
        Err(Malformed) => Err(Refusal::Malformed),
        Ok((used, is_whole)) => {
            assert!(is_whole && used <= text.len(), "{text:?} is no whole head");
            read_request(head.bytes(), &mut Visitor::default())
        }
    }
}

#[test]
fn the_request_of_the_standard_is_taken_and_answered_as_there() {
    let key = read(GOOD).expect("a good request");
    assert_eq!(accept(&key), ACCEPT);
    assert_eq!(read_answer(&answer(&key), &key), Ok(()));
    let other = answer("AAAAAAAAAAAAAAAAAAAAAA==");
    assert_eq!(read_answer(&other, &key), Err(Unanswered::Malformed), "an answer to another key");
}

#[test]
fn what_is_written_in_another_way_and_means_the_same_is_taken() {
    for (what, instead) in [
        ("Upgrade: websocket", "upgrade:WebSocket "),
        ("Connection: Upgrade", "Connection: keep-alive, upgrade"),
        ("Sec-WebSocket-Protocol: chat, vp.1", "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: vp.1 ,b"),
        ("/chat", "/"),
        ("/chat", "/vp?x=%20"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"),
    ] {
        assert!(read(&GOOD.replace(what, instead)).is_ok(), "{instead}");
    }
}

#[test]
fn another_request_is_not_found() {
    for (what, instead) in [
        ("GET /", "POST /"),
        ("GET /", "OPTIONS /"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket"),
        ("Upgrade: websocket\r\n", ""),
        ("Connection: Upgrade", "Connection: close"),
        ("Version: 13", "Version: 8"),
        ("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13"),
        ("vp.1", "vp.2"),
        ("Sec-WebSocket-Protocol: chat, vp.1\r\n", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZR=="),
        ("dGhlIHNhbXBsZSBub25jZQ==", ""),
        ("\r\n\r\n", "\r\nOrigin: https://evil.example\r\n\r\n"),
        ("\r\n\r\n", "\r\norigin: null\r\n\r\n"),
        ("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let text = GOOD.replace(what, instead);
        assert_ne!(text, GOOD);
        assert_eq!(read(&text), Err(Refusal::NotFound { head_only: false }), "{instead:?}");
    }
    assert_eq!(read("GET / HTTP/1.0\r\n\r\n"), Err(Refusal::NotFound { head_only: false }));
    assert_eq!(read("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Refusal::NotFound { head_only: true }));
}

#[test]
fn what_two_servers_might_read_differently_is_malformed() {
    let long = format!("X: {}\r\n\r\n", "x".repeat(HEAD_MAX));
    let many = "X: y\r\n".repeat(FIELDS_MAX) + "\r\n";
    for (what, instead) in [
        // Lines.
        ("\r\nUpgrade", "\nUpgrade"),
        ("\r\nUpgrade", "\rUpgrade"),
        ("\r\n\r\n", "\n\n"),
        ("GET", "\r\nGET"),
        ("GET", " GET"),
        ("Upgrade: websocket", "Upgrade:\r\n websocket"),
        ("Upgrade: websocket", "Upgrade: web\r\n\tsocket"),
        ("\r\nHost", "\r\n Host"),
        // Characters.
        ("/chat", "/ch\0at"),
        ("websocket", "web\0socket"),
        ("websocket", "web\u{1}socket"),
        ("/chat", "/cha\u{7f}t"),
        ("/chat", "/chät"),
        // The request line.
        ("/chat", "http://server.example.com/chat"),
        ("/chat", "*"),
        ("/chat", "chat"),
        ("GET /chat", "GET  /chat"),
        ("HTTP/1.1", "HTTP/2.0"),
        ("HTTP/1.1", "HTTP/1.1 x"),
        (" HTTP/1.1", ""),
        ("GET", "G(T"),
        // Fields.
        ("Host:", "Host :"),
        ("Host: server.example.com", "Host: a\r\nHost: b"),
        ("Host: server.example.com", "Host: a\r\nHost: a"),
        ("Host: server.example.com\r\n", ""),
        ("Host: server.example.com", "Host:"),
        ("Host: server.example.com", "Host"),
        ("Host:", "Ho st:"),
        // Where a body would end.
        ("\r\n\r\n", "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\n"),
        ("\r\n\r\n", "\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        ("\r\n\r\n", "\r\ntransfer-encoding: identity\r\n\r\n"),
        ("\r\n\r\n", "\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        ("\r\n\r\n", "\r\nContent-Length: 5, 5\r\n\r\n"),
        ("\r\n\r\n", "\r\nContent-Length: +5\r\n\r\n"),
        ("\r\n\r\n", "\r\nContent-Length: -5\r\n\r\n"),
        ("\r\n\r\n", "\r\nContent-Length: 0x5\r\n\r\n"),
        ("\r\n\r\n", "\r\nContent-Length:\r\n\r\n"),
        // Size.
        ("\r\n\r\n", &format!("\r\n{long}")),
        ("\r\n\r\n", &format!("\r\n{many}")),
    ] {
        let text = GOOD.replacen(what, instead, 1);
        assert_ne!(text, GOOD);
        assert_eq!(read(&text), Err(Refusal::Malformed), "{instead:?}");
        // The same with a request that is not ours.
        let other = text.replace("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 12");
        assert_eq!(read(&other), Err(Refusal::Malformed), "{instead:?}");
    }
}

#[test]
fn what_is_refused_is_told_in_a_few_words_that_any_web_server_has() {
    for (refusal, start) in [
        (Refusal::Malformed, "HTTP/1.1 400 Bad Request\r\n"),
        (Refusal::NotFound { head_only: false }, "HTTP/1.1 404 Not Found\r\n"),
        (Refusal::NotFound { head_only: true }, "HTTP/1.1 404 Not Found\r\n"),
    ] {
        let text = String::from_utf8(refusal.answer()).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(text.len() < 256 && text.starts_with(start) && head.ends_with("Connection: close"), "{text}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let has_body = !matches!(refusal, Refusal::NotFound { head_only: true });
        assert_eq!(body.is_empty(), !has_body);
        assert!(!has_body || length == body.len().to_string());
        assert!(read_answer(format!("{head}\r\n\r\n").as_bytes(), "").is_err());
    }
}

#[test]
fn a_request_of_ours_names_the_place_as_a_browser_does() {
    let text = |host, port, path| {
        String::from_utf8(request(&Target { host, port, path, usual_port: 80 }, "KEY")).expect("text")
    };
    let first = |text: &str| text.lines().take(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(first(&text("a.example", 80, "")), ["GET / HTTP/1.1", "Host: a.example"]);
    assert_eq!(first(&text("a.example", 8080, "/vp?a")), ["GET /vp?a HTTP/1.1", "Host: a.example:8080"]);
    assert_eq!(first(&text("::1", 4433, "/")), ["GET / HTTP/1.1", "Host: [::1]:4433"]);
    let key = key(*b"the sample nonce");
    let request =
        request(&Target { host: "a", port: 1, path: &format!("/{}", "p".repeat(1023)), usual_port: 80 }, &key);
    assert!(request.len() < HEAD_MAX);
    assert_eq!(read(std::str::from_utf8(&request).expect("text")), Ok(key));
}

#[test]
fn an_answer_that_says_something_else_opens_nothing() {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let good = String::from_utf8(answer(key)).expect("text");
    let read = |text: &str| read_answer(text.as_bytes(), key);
    for (what, instead) in [
        ("Upgrade: websocket\r\n", ""),
        ("Connection: Upgrade\r\n", ""),
        (ACCEPT, "s3pPLMBiTxaQ9kYGzzhZRbK+xOO="),
        ("vp.1", "chat"),
        ("Sec-WebSocket-Protocol: vp.1\r\n", ""),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        ("HTTP/1.1", "HTTP/9"),
        ("HTTP/1.1 101", "101"),
    ] {
        let text = good.replace(what, instead);
        assert_ne!(text, good);
        assert_eq!(read(&text), Err(Unanswered::Malformed), "{instead}");
    }
    for status in [200, 301, 403, 404, 407, 426, 502] {
        let text = good.replace("101 Switching Protocols", &format!("{status} Whatever"));
        assert_eq!(read(&text), Err(Unanswered::Status(status)));
    }
}

#[test]
fn a_head_of_the_most_bytes_is_taken_and_one_more_is_not() {
    let head = |bytes: usize| [&b"GET / HTTP/1.1\r\n"[..], &[b'X'; HEAD_MAX][..bytes - 20], b"\r\n\r\n"].concat();
    let take = |bytes: &[u8]| Head::default().handle_bytes(bytes);
    assert_eq!(take(&head(HEAD_MAX)), Ok((HEAD_MAX, true)));
    assert_eq!(take(&head(HEAD_MAX + 1)), Err(Malformed));
    // The last byte that has room may be any but the LF of a line's end.
    let line = [&[b'A'; HEAD_MAX - 1][..], b"\r\n"].concat();
    assert_eq!(take(&line[..HEAD_MAX]), Ok((HEAD_MAX, false)));
    assert_eq!(take(&line), Err(Malformed));
    fuzz_http(&line);
}

proptest! {
    #[test]
    fn any_bytes_are_read_the_same_however_they_are_cut(
        start in prop_oneof![Just(""), Just("GET / HTTP/1.1\r\n"), Just(GOOD), Just("HTTP/1.1 101 x\r\n")],
        cut in 0usize..400,
        data in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), any::<u8>()], 0..200),
    ) {
        let start = &start.as_bytes()[..cut.min(start.len())];
        fuzz_http(&[start, &data].concat());
    }
}
