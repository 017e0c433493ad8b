//! What comes on single connections of a link by requests: repeats, another order, what is too much, and what is none.

use super::tests::{Way, World, numbered, written};
use super::*;
use crate::carrier::{End, Visitor};
use proptest::prelude::*;

/// A relay that has its first request, of a client that has said who it is.
fn begun() -> (RelayEnd<u8, Way>, String) {
    let (mut relay, id) = begun_by_stranger();
    relay.welcome();
    (relay, id)
}

/// The same of one that has not.
fn begun_by_stranger() -> (RelayEnd<u8, Way>, String) {
    let id = "000102030405060708090a0b0c0d0e0f".to_owned();
    let line = asked(0, &head("GET", &id, "d.0", None));
    let asked = *line.carrier.asked().expect("a request");
    let mut relay = RelayEnd::new(line, asked.carrier);
    let said = answer(&mut relay, 0, &[]);
    assert!(said.starts_with(b"HTTP/1.1 200 OK\r\n") && said.ends_with(b"\0\0\r\n"), "{said:?}");
    (relay, id)
}

fn head(method: &str, id: &str, what: &str, length: Option<usize>) -> Vec<u8> {
    let length = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
    format!("{method} /vp?vp1={id}.{what} HTTP/1.1\r\nHost: relay\r\n{length}\r\n").into_bytes()
}

fn post(id: &str, number: u64, content: &[u8]) -> Vec<u8> {
    [head("POST", id, &format!("u.{number}"), Some(content.len())), content.to_vec()].concat()
}

/// A connection on which this has come.
fn asked(key: u8, words: &[u8]) -> Line<u8, Way> {
    let mut carrier = Carrier::undecided(Visitor::default());
    assert_eq!(carrier.handle_wire(&mut words.to_vec()), 0);
    Line { key, socket: Way::default(), carrier }
}

/// All that a relay says on a connection, where its link shows this.
fn answer(relay: &mut RelayEnd<u8, Way>, key: u8, link: &[u8]) -> Vec<u8> {
    let (mut all, mut link) = (Vec::new(), link);
    loop {
        let Some(line) = relay.line_mut(key) else { return all };
        let (out, count) = written(&mut line.carrier, link, usize::MAX);
        if count == 0 {
            return all;
        }
        all.extend(out);
        link = &link[relay.handle_written(key, count)..];
    }
}

fn held(relay: &mut RelayEnd<u8, Way>) -> Vec<u8> {
    let (mut all, mut room) = (Vec::new(), vec![0; 1 << 20]);
    while let Some(key) = relay.held() {
        let count = relay.take_held(key, &mut room);
        all.extend(&room[..count]);
    }
    all
}

#[test]
fn requests_that_come_twice_or_in_another_order_are_passed_on_once_and_in_theirs() {
    let (mut relay, id) = begun();
    assert!(relay.join(asked(1, &post(&id, 1, b"second"))).is_none());
    assert_eq!(held(&mut relay), b"", "it is not its turn");
    assert!(!relay.may_read(1));
    // A piece of the first, and the whole of it again on another connection.
    let first = post(&id, 0, b"first");
    assert!(relay.join(asked(2, &first[..first.len() - 3])).is_none());
    assert_eq!(held(&mut relay), b"fi");
    assert!(relay.join(asked(3, &first)).is_none());
    assert_eq!(held(&mut relay), b"rstsecond");
    let mut rest = first[first.len() - 3..].to_vec();
    assert_eq!(relay.handle_wire(2, &mut rest), 0, "it is known");
    for key in 1..4 {
        assert!(answer(&mut relay, key, &[]).starts_with(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"), "{key}");
    }
    // What came long ago, once more; and what is too far ahead.
    assert!(relay.join(asked(4, &first)).is_none());
    assert_eq!(held(&mut relay), b"");
    assert!(answer(&mut relay, 4, &[]).starts_with(b"HTTP/1.1 200 "));
    assert_eq!(relay.handle_wire(4, &mut post(&id, 7, b"beyond")), 0);
    assert!(answer(&mut relay, 4, &[]).starts_with(b"HTTP/1.1 404 "));
    assert_eq!(relay.take_leaver().map(|line| line.key), Some(4));
    assert_eq!(relay.end(), None);
}

#[test]
fn an_answer_that_has_carried_something_is_not_asked_for_again() {
    let (mut relay, id) = begun();
    // Nothing is lost by this: nobody has heard the first.
    assert!(relay.join(asked(1, &head("GET", &id, "d.0", None))).is_none());
    assert_eq!(relay.answering(), Some(1));
    assert!(answer(&mut relay, 1, b"carried").ends_with(b"7\r\ncarried\r\n"));
    assert!(relay.join(asked(2, &head("GET", &id, "d.0", None))).is_none());
    assert!(answer(&mut relay, 2, &[]).starts_with(b"HTTP/1.1 404 "));
    assert_eq!((relay.answering(), relay.end()), (Some(1), None));
    relay.handle_end(1);
    assert_eq!(relay.end(), Some(End::Closed), "what was on its way is lost");
}

#[test]
fn the_next_answer_begins_behind_the_whole_of_the_one_before() {
    let (mut relay, id) = begun();
    // A chunk has begun.
    let line = relay.line_mut(0).expect("it is there");
    let (out, _) = written(&mut line.carrier, b"promised", usize::MAX);
    assert!(out.ends_with(b"8\r\npromised\r\n"));
    assert_eq!(relay.handle_written(0, 5), 2);
    assert!(relay.join(asked(1, &head("GET", &id, "p.1", None))).is_none());
    assert_eq!(relay.answering(), Some(0));
    assert_eq!(answer(&mut relay, 0, b"omised, and more"), b"omised\r\n0\r\n\r\n");
    assert_eq!(relay.answering(), Some(1));
    let said = answer(&mut relay, 1, b", and more");
    let text = String::from_utf8_lossy(&said).into_owned();
    assert!(text.contains("Content-Length: 10\r\n") && text.ends_with("\r\n\r\n, and more"), "{text}");
    // Whole: what follows waits for the next.
    assert_eq!(answer(&mut relay, 1, b"later"), b"");
    assert_eq!(relay.answering(), None);
    assert!(relay.join(asked(2, &head("GET", &id, "p.2", None))).is_none());
    assert!(answer(&mut relay, 2, b"later").ends_with(b"\r\n\r\nlater"));
}

#[test]
fn an_empty_post_ends_the_link_behind_all_that_came_before() {
    let (mut relay, id) = begun();
    assert!(relay.join(asked(1, &post(&id, 1, b""))).is_none());
    assert_eq!(relay.end(), None);
    assert!(relay.join(asked(2, &post(&id, 0, b"last words"))).is_none());
    assert_eq!(held(&mut relay), b"last words");
    assert_eq!(relay.end(), Some(End::Closed));
    let mut world = World::new(50);
    world.exchange(b"words", b"words");
    world.client.close();
    world.client_speaks(&mut Vec::new());
    for _ in 0..100 {
        world.client_speaks(&mut Vec::new());
        world.relay_hears();
        world.relay_speaks(&mut Vec::new());
        world.client_hears();
    }
    assert!(world.client.is_heard());
    assert_eq!(world.relay.and_then(|relay| relay.end()), Some(End::Closed));
}

#[test]
fn a_connection_that_others_use_too_brings_their_requests_and_takes_nothing_along() {
    let (mut relay, id) = begun();
    assert!(relay.join(asked(1, &post(&id, 0, b"ours"))).is_none());
    assert_eq!(held(&mut relay), b"ours");
    answer(&mut relay, 1, &[]);
    let other = "ff".repeat(16);
    assert_eq!(relay.handle_wire(1, &mut post(&other, 0, b"theirs")), 0);
    let leaver = relay.take_leaver().expect("it is another's");
    assert_eq!(leaver.carrier.asked().map(|asked| asked.carrier.text()), Some(other));
    assert!(relay.take_leaver().is_none() && relay.end().is_none());
}

#[test]
fn one_link_has_so_many_connections_and_those_that_wait_for_nothing_give_way() {
    let (mut relay, id) = begun();
    let silent = |number: u64, length: usize| head("POST", &id, &format!("u.{number}"), Some(length));
    // The second request for an answer waits, as a chunk of the first has begun; and each POST comes twice.
    let line = relay.line_mut(0).expect("it is there");
    written(&mut line.carrier, b"promised", usize::MAX);
    relay.handle_written(0, 5);
    assert!(relay.join(asked(1, &head("GET", &id, "d.1", None))).is_none());
    for (key, number) in [(2, 1), (3, 1), (4, 0), (5, 0)] {
        assert!(relay.join(asked(key, &silent(number, 3))).is_none());
    }
    assert!(relay.join(asked(6, &head("GET", &id, "d.2", None))).is_some(), "there are enough");
    // The same once more takes the place of one of the same, whatever length it says.
    assert!(relay.join(asked(7, &silent(1, 9))).is_none() && relay.take_dropped() == [2]);
    let begun = [silent(0, 3), b"n".to_vec()].concat();
    assert!(relay.join(asked(8, &begun)).is_none() && relay.take_dropped() == [4]);
    assert_eq!(held(&mut relay), b"n");
    assert!(
        relay.join(asked(9, &silent(0, 3))).is_none() && relay.take_dropped() == [5],
        "not that which brings something"
    );
    let mut rest = b"ow".to_vec();
    assert_eq!(relay.handle_wire(8, &mut rest), 2);
    answer(&mut relay, 8, &[]);
    // What nobody needs gives way: first what repeats, then what is idle.
    assert!(relay.join(asked(10, &silent(2, 3))).is_none() && relay.take_dropped() == [9]);
    assert!(relay.join(asked(11, &silent(2, 3))).is_none() && relay.take_dropped() == [8]);
}

#[test]
fn whoever_repeats_what_has_come_takes_no_place_that_the_client_needs() {
    let (mut relay, id) = begun();
    let silent = |number: u64| head("POST", &id, &format!("u.{number}"), Some(262_144));
    for number in 0..5 {
        let key = u8::try_from(number % 2).unwrap() + 1;
        let words = post(&id, number, b"said");
        if relay.line_mut(key).is_some() {
            assert_eq!(relay.handle_wire(key, &mut words.clone()), 0);
        } else {
            assert!(relay.join(asked(key, &words)).is_none());
        }
        assert_eq!(held(&mut relay), b"said");
        answer(&mut relay, key, &[]);
    }
    // What the client can wait for no more is not there, and what it can takes no more than what is left.
    for key in 10..16 {
        assert!(relay.join(asked(key, &silent(0))).is_none());
        assert!(answer(&mut relay, key, &[]).starts_with(b"HTTP/1.1 404 "), "{key}");
        assert_eq!(relay.take_leaver().map(|line| line.key), Some(key));
    }
    for (key, number) in (20..40).zip([3, 4].into_iter().cycle()) {
        // On every other the whole comes, and it stays.
        let words = if key % 3 == 0 { post(&id, number, b"said") } else { silent(number) };
        let _ = relay.join(asked(key, &words));
        assert_eq!(held(&mut relay), b"");
        (0..=key).for_each(|key| drop(answer(&mut relay, key, &[])));
    }
    assert!(relay.lines().count() <= 6);
    // The connections that the client had are there, and so is room for others.
    assert!(relay.may_read(1) && relay.may_read(2), "they may be in use again");
    assert_eq!(relay.handle_wire(1, &mut post(&id, 6, b"second")), 0);
    assert!(relay.join(asked(50, &post(&id, 5, b"first "))).is_none());
    assert_eq!(held(&mut relay), b"first second");
    assert!(relay.join(asked(51, &head("GET", &id, "d.1", None))).is_none());
    answer(&mut relay, 0, &[]);
    assert_eq!(relay.answering(), Some(51));
    assert_eq!(relay.end(), None);
}

#[test]
fn little_is_kept_for_whoever_has_not_said_who_it_is() {
    let kept = |relay: &RelayEnd<u8, Way>| relay.lines().map(|line| line.carrier.content_held()).sum::<usize>();
    let (mut relay, id) = begun_by_stranger();
    // As much comes at once within TLS.
    let record = vec![b'x'; 16_000];
    for key in 1..6 {
        assert!(relay.join(asked(key, &post(&id, 1, &record))).is_none());
        assert!(answer(&mut relay, key, &[]).starts_with(b"HTTP/1.1 404 "));
        assert_eq!(relay.take_leaver().map(|line| line.key), Some(key));
        assert_eq!(kept(&relay), 0);
    }
    let message = vec![b'm'; 1500];
    for key in 6..9 {
        assert!(relay.join(asked(key, &post(&id, 1, &message))).is_none());
        assert!(kept(&relay) <= 4096);
    }
    assert_eq!(relay.take_dropped(), [6]);
    assert!(relay.join(asked(9, &head("GET", &id, "p.1", None))).is_none() && relay.lines().count() <= 4);
    answer(&mut relay, 0, &[]);
    // What has its turn is not kept, however much it is: a client may say all that it has with its last words of the handshake.
    assert!(relay.join(asked(10, &post(&id, 0, &record))).is_none());
    assert_eq!(held(&mut relay), [record, message].concat());
    assert_eq!((kept(&relay), relay.end()), (0, None));
}

#[test]
fn what_is_kept_of_all_connections_has_a_bound_that_two_posts_and_repeats_keep() {
    let (mut relay, id) = begun();
    let record = |number: u64| post(&id, number, &vec![b'x'; 20 * 1024]);
    for (key, number) in [(1, 1), (2, 0), (3, 1)] {
        assert!(relay.join(asked(key, &record(number))).is_none());
        assert!(answer(&mut relay, key, &[]).is_empty(), "{key} waits");
    }
    for key in 4..20 {
        let _ = relay.join(asked(key, &record(u64::from(key % 2))));
        while relay.take_leaver().is_some() {}
        assert!(relay.lines().map(|line| line.carrier.content_held()).sum::<usize>() <= 80 * 1024, "{key}");
    }
    // What is known is not kept at all.
    held(&mut relay);
    (0..20).for_each(|key| drop(answer(&mut relay, key, &[])));
    assert!(relay.join(asked(20, &record(1))).is_none());
    assert!(answer(&mut relay, 20, &[]).starts_with(b"HTTP/1.1 200 ") && relay.held().is_none());
}

#[test]
fn repeats_behind_each_other_on_one_connection_are_answered_one_after_the_other() {
    let (mut relay, id) = begun();
    for (key, number) in [(1, 0), (2, 1), (3, 2)] {
        assert!(relay.join(asked(key, &post(&id, number, b"said"))).is_none());
        assert_eq!(held(&mut relay), b"said");
    }
    let behind =
        [post(&id, 1, b""), post(&id, 1, b""), post(&id, 2, b"said"), post(&id, 2, b"said"), post(&id, 3, b"new")];
    assert!(relay.join(asked(4, &behind.concat())).is_none());
    assert_eq!(held(&mut relay), b"new");
    let said = String::from_utf8(answer(&mut relay, 4, &[])).expect("text");
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 5, "{said}");
    // One that waits is followed by others as well.
    let behind = [post(&id, 5, b"last"), post(&id, 4, b"then"), post(&id, 9, b"beyond")].concat();
    assert!(relay.join(asked(5, &behind)).is_none());
    assert!(relay.join(asked(6, &post(&id, 4, b"then"))).is_none());
    assert_eq!(held(&mut relay), b"thenlast");
    let said = String::from_utf8(answer(&mut relay, 5, &[])).expect("text");
    assert!(said.matches("HTTP/1.1 200 OK").count() == 2 && said.contains("HTTP/1.1 404 "), "{said}");
}

#[test]
fn nothing_is_kept_behind_a_request_for_an_answer() {
    let id = "000102030405060708090a0b0c0d0e0f";
    for what in ["d.0", "p.1"] {
        let line = asked(0, &[head("GET", id, what, None), vec![b'x'; 16_000]].concat());
        assert_eq!((line.carrier.content_held(), line.carrier.end()), (0, Some(End::NotFound)), "{what}");
    }
}

#[test]
fn requests_are_read_strictly() {
    let id = "000102030405060708090a0b0c0d0e0f";
    let is_ours = |words: &[u8]| asked(0, words).carrier.asked().is_some();
    assert!(is_ours(&head("GET", id, "d.0", None)) && is_ours(&head("GET", id, "p.18446744073709551615", None)));
    assert!(is_ours(&head("POST", id, "u.3", Some(262_144))));
    for (method, id, what, length) in [
        ("POST", id, "d.0", Some(1)),
        ("GET", id, "u.0", None),
        ("GET", id, "d.0", Some(0)),
        ("POST", id, "u.0", None),
        ("POST", id, "u.0", Some(262_145)),
        ("GET", id, "d.00", None),
        ("GET", id, "d.+1", None),
        ("GET", id, "d.18446744073709551616", None),
        ("GET", id, "d.", None),
        ("GET", id, "d.0.0", None),
        ("GET", id, "x.0", None),
        ("GET", "000102030405060708090a0b0c0d0e0", "d.0", None),
        ("GET", "000102030405060708090A0B0C0D0E0F", "d.0", None),
        ("PUT", id, "u.0", Some(1)),
    ] {
        let words = head(method, id, what, length);
        assert!(!is_ours(&words), "{}", String::from_utf8_lossy(&words));
    }
    let good = String::from_utf8(head("GET", id, "d.0", None)).unwrap();
    for (from, to) in [
        ("HTTP/1.1", "HTTP/2.0"),
        ("/vp?vp1", "/vp?xvp1"),
        ("Host", "Origin: http://a\r\nHost"),
        ("Host", "Transfer-Encoding: chunked\r\nHost"),
        ("\r\nHost", "\nHost"),
        ("Host: relay\r\n", ""),
    ] {
        assert!(!is_ours(good.replace(from, to).as_bytes()), "{to:?}");
    }
    assert!(is_ours(good.replace("/vp?", "/vp?a=b&").as_bytes()));
}

/// A client whose first request this answers; how it ends.
fn answered(words: &[u8]) -> Option<End> {
    let mut world = World::new(1 << 20);
    world.client_speaks(&mut Vec::new());
    for piece in words.chunks(7) {
        world.client.handle_wire(world.now, 0, &mut piece.to_vec());
    }
    world.client.end()
}

#[test]
fn a_client_takes_no_answer_for_one_of_a_relay_that_is_none() {
    for status in [400, 403, 404, 407, 500, 502] {
        let words = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(answered(words.as_bytes()), Some(End::NotTaken(Some(status))));
    }
    assert_eq!(answered(b"SSH-2.0-OpenSSH\r\n\r\n"), Some(End::NotTaken(None)));
    for broken in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        assert!(matches!(answered(broken), Some(End::Broken(_))), "{broken:?}");
    }
    assert_eq!(
        answered(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Some(End::NotTaken(Some(200)))
    );
}

#[test]
fn whatever_ends_an_answer_or_a_post_out_of_order_ends_the_link() {
    let mut world = World::new(1 << 20);
    world.exchange(b"up", b"down");
    assert!(world.client.handle_end(0));
    assert_eq!(world.client.end(), Some(End::Closed));
    let mut world = World::new(1 << 20);
    world.exchange(b"up", b"down");
    world.client_speaks(&mut b"more".to_vec());
    assert!(world.client.handle_end(1), "nobody knows whether it has come");
    // One on which nothing is asked ends when it likes.
    let mut world = World::new(1 << 20);
    world.exchange(b"up", b"down");
    for _ in 0..3 {
        world.relay_hears();
        world.relay_speaks(&mut Vec::new());
        world.client_hears();
    }
    assert!(!world.client.handle_end(1));
    assert_eq!(world.client.end(), None);
    world.exchange(b"up", b"down");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_any_repeats_passes_on_every_byte_once(
        order in proptest::collection::vec((0_u64..6, 1_usize..40), 1..60),
    ) {
        let (mut relay, id) = begun();
        let content = |number: u64| numbered(20 + usize::try_from(number).unwrap(), 3);
        let (mut passed, mut key) = (Vec::new(), 0);
        let all = order.into_iter().chain((0..6).map(|number| (number, usize::MAX)));
        for (number, count) in all {
            key += 1;
            let words = post(&id, number, &content(number));
            let begin = words.len() - content(number).len();
            let cut = words.len().min(begin.saturating_add(count));
            if relay.join(asked(key, &words[..cut])).is_none() {
                passed.extend(held(&mut relay));
                (0..=key).for_each(|key| drop(answer(&mut relay, key, &[])));
            }
            while relay.take_leaver().is_some() {}
            if cut < words.len() {
                relay.handle_end(key);
            }
        }
        let wanted: Vec<u8> = (0..6).flat_map(content).collect();
        prop_assert!(wanted.starts_with(&passed));
        prop_assert_eq!(relay.end(), None);
        prop_assert_eq!(passed.len(), wanted.len());
    }
}

/// The head of a request on a connection that ends with the answer.
fn last(method: &str, id: &str, what: &str, length: Option<usize>, is_old: bool) -> Vec<u8> {
    let head = String::from_utf8(head(method, id, what, length)).unwrap();
    let head =
        if is_old { head.replace("HTTP/1.1", "HTTP/1.0") } else { head.replace("Host", "Connection: close\r\nHost") };
    head.into_bytes()
}

#[test]
fn whoever_wants_a_connection_for_each_request_has_the_whole_of_each_answer_and_then_its_end() {
    for is_old in [false, true] {
        let (mut relay, id) = begun();
        // What is brought, and behind it something that nobody reads.
        let brought = [last("POST", &id, "u.0", Some(4), is_old), b"saidGET / HTTP/1.1\r\n\r\n".to_vec()].concat();
        assert!(relay.join(asked(1, &brought)).is_none());
        assert_eq!(held(&mut relay), b"said");
        assert!(!relay.has_leaver(), "the answer is to go out");
        let said = String::from_utf8(answer(&mut relay, 1, &[])).unwrap();
        assert!(said.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n"), "{said}");
        assert!(said.ends_with("\r\n\r\n"));
        assert_eq!(relay.take_leaver().map(|line| line.key), Some(1));
        // An answer that goes on until another has been asked for.
        assert!(relay.join(asked(2, &last("GET", &id, "d.1", None, is_old))).is_none());
        assert_eq!(answer(&mut relay, 0, &[]), b"0\r\n\r\n");
        let said = answer(&mut relay, 2, b"heard");
        let text = String::from_utf8_lossy(&said).into_owned();
        assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
        assert_eq!(text.contains("chunked"), !is_old, "{text}");
        let behind = if is_old { &b"\0\0\0\0heard"[..] } else { b"\0\0\r\n5\r\nheard\r\n" };
        assert!(said.ends_with(behind), "{text}");
        assert!(relay.join(asked(3, &last("GET", &id, "p.2", None, is_old))).is_none());
        assert_eq!(answer(&mut relay, 2, &[]), if is_old { &b""[..] } else { b"0\r\n\r\n" });
        assert_eq!((relay.answering(), relay.take_leaver().map(|line| line.key)), (Some(3), Some(2)));
        let said = String::from_utf8(answer(&mut relay, 3, b"whole")).unwrap();
        assert!(
            said.contains("Content-Length: 5\r\nConnection: close\r\n") && said.ends_with("\r\n\r\nwhole"),
            "{said}"
        );
        assert_eq!((relay.answering(), relay.take_leaver().map(|line| line.key)), (None, Some(3)));
        assert_eq!(relay.end(), None);
    }
}
