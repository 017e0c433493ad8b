//! Conversations with proxies of HTTP, in one piece and byte by byte.

use super::super::{Proxy, fuzz_connect};
use super::*;
use proptest::prelude::*;
use zeroize::Zeroizing;

fn to() -> Destination {
    Destination { host: "relay.example".to_owned(), port: 4433 }
}

fn login() -> Option<Arc<Login>> {
    Login::new("user".to_owned(), Zeroizing::new("pass".to_owned())).map(Arc::new)
}

/// What was said on each connection, and what came of it, where the proxy says each of these in turn: a break stands for the end of
/// a connection. `step` is the length of pieces.
fn talk(login: Option<Arc<Login>>, answers: &[&str], step: usize) -> (Vec<String>, Step, usize) {
    let mut proxy = Proxy::connect(&to(), login);
    let (mut said, mut left) = (Vec::new(), 0);
    for answer in answers {
        if *proxy.step() == Step::Anew {
            proxy.begin_anew();
        }
        let words = proxy.output().to_vec();
        // In two writes.
        proxy.handle_written(1.min(words.len()));
        assert_eq!(proxy.output(), &words[1.min(words.len())..]);
        proxy.handle_written(words.len().saturating_sub(1));
        assert!(proxy.output().is_empty());
        if !words.is_empty() {
            said.push(String::from_utf8(words).expect("text"));
        }
        if answer.is_empty() {
            proxy.handle_end();
            continue;
        }
        let mut used = 0;
        for piece in answer.as_bytes().chunks(step) {
            used += proxy.handle_bytes(piece);
        }
        left = answer.len() - used;
    }
    if !proxy.output().is_empty() {
        said.push(String::from_utf8(proxy.output().to_vec()).expect("text"));
    }
    (said, proxy.step().clone(), left)
}

/// The same whatever the pieces.
fn heard(login: Option<Arc<Login>>, answers: &[&str]) -> (Vec<String>, Step) {
    let whole = talk(login.clone(), answers, usize::MAX);
    let slowly = talk(login, answers, 1);
    assert_eq!((slowly.0.len(), &slowly.1), (whole.0.len(), &whole.1), "{answers:?}");
    (whole.0, whole.1)
}

fn refused(login: Option<Arc<Login>>, answers: &[&str]) -> Refusal {
    match heard(login, answers).1 {
        Step::Refused(why) => why,
        other => panic!("{other:?} of {answers:?}"),
    }
}

const WANTED: &str = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"a\"\r\n";

#[test]
fn a_tunnel_is_asked_for_by_name_and_what_follows_the_answer_is_left() {
    let (said, step) = heard(None, &["HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n"]);
    assert_eq!(said, ["CONNECT relay.example:4433 HTTP/1.1\r\nHost: relay.example:4433\r\n\r\n"]);
    assert_eq!(step, Step::Open);
    let early = ["HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 Fine\r\nContent-Length: 7\r\n\r\nsurplus"];
    assert_eq!(talk(None, &early, usize::MAX).2, "surplus".len(), "a length means nothing there");
    assert_eq!(talk(None, &early, 1).2, "surplus".len());
    let address = Destination { host: "2001:db8::1".to_owned(), port: 443 };
    assert!(Proxy::connect(&address, None).output().starts_with(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"));
}

#[test]
fn a_refusal_is_the_word_of_the_proxy() {
    assert_eq!(refused(None, &["HTTP/1.1 403 Forbidden\r\n\r\n<html>"]), Refusal::Status(403, "Forbidden".to_owned()));
    assert_eq!(refused(None, &["HTTP/1.1 302\r\nLocation: a\r\n\r\n"]), Refusal::Status(302, String::new()));
    assert_eq!(refused(None, &["HTTP/1.1 503 No\nX: y\n\n"]), Refusal::Status(503, String::new()));
    assert_eq!(refused(None, &["HTTP/1.1 200 Fine\nX: y\n\n"]), Refusal::NotProxy, "that is no head");
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n";
    assert_eq!(refused(None, &[&format!("{page}Content-Length: 20\r\n\r\n<html>")]), Refusal::Page);
    assert_eq!(refused(None, &[&format!("{page}Transfer-Encoding: chunked\r\n\r\n6\r\n")]), Refusal::Page);
    assert_eq!(heard(None, &[&format!("{page}\r\n")]).1, Step::Open);
    for other in
        ["SSH-2.0-OpenSSH_9.2\r\n", "\x05\x00", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n folded\r\n\r\n"]
    {
        assert_eq!(refused(None, &[other]), Refusal::NotProxy, "{other}");
    }
    assert_eq!(refused(None, &[""]), Refusal::Closed);
    assert_eq!(refused(None, &["HTTP/1.1 200", ""]), Refusal::Closed);
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(http::HEAD_MAX));
    assert_eq!(refused(None, &[&long]), Refusal::NotProxy);
    assert_eq!(refused(None, &[&"HTTP/1.1 100 Continue\r\n\r\n".repeat(SKIPPED_MAX + 1)]), Refusal::NotProxy);
}

#[test]
fn who_asks_is_said_only_when_that_is_wanted_and_on_the_same_connection_if_it_goes_on() {
    let fine = "HTTP/1.1 200 Fine\r\n\r\n";
    let kept = format!("{WANTED}Content-Length: 6\r\n\r\n<html>");
    for answers in [
        vec![&*kept, fine],
        // Its end is not known, or it ends, or is too long to be worth it.
        vec![&*format!("{WANTED}\r\n"), fine],
        vec![&*format!("{WANTED}Content-Length: 6\r\nConnection: close\r\n\r\n<html>"), fine],
        vec![&*format!("{WANTED}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), fine],
        vec![&*format!("{WANTED}Content-Length: 65537\r\n\r\n"), fine],
        vec![&*format!("{WANTED}Content-Length: 60\r\n\r\n<html>"), "", fine],
        // It was to go on, and the proxy has closed it.
        vec![&*kept, "", fine],
    ] {
        let (said, step) = heard(login(), &answers);
        assert_eq!(step, Step::Open, "{answers:?}");
        assert!(!said[0].contains("Authorization"), "{said:?}");
        let last = said.last().expect("words");
        assert!(last.ends_with("\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"), "{said:?}");
    }
    assert_eq!(refused(None, &[&kept]), Refusal::LoginWanted);
    assert_eq!(refused(login(), &[&kept, &kept]), Refusal::LoginRefused);
    assert_eq!(refused(login(), &[&kept, "", ""]), Refusal::Closed);
    let other = "HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n";
    assert_eq!(refused(login(), &[other]), Refusal::LoginUnknown("Negotiate, NTLM".to_owned()));
    let many = format!("HTTP/1.1 407 No\r\nProxy-Authenticate: {}\r\n\r\n", "Unknown-Way a=b, Other c=d, ".repeat(99));
    assert!(matches!(refused(login(), &[&many]), Refusal::LoginUnknown(names) if names.len() <= REASON_MAX));
    assert!(refused(login(), &[other]).lasts() && !Refusal::Closed.lasts());
}

#[test]
fn a_nonce_that_is_too_old_is_answered_anew_so_often_and_a_proxy_that_asks_for_ever_is_left() {
    let digest = |stale: &str| {
        let digest = format!("Digest realm=\"a\", nonce=\"n\", qop=\"auth\", stale={stale}");
        format!(
            "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=b\r\nProxy-Authenticate: {digest}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let (first, stale) = (digest("false"), digest("true"));
    let (said, step) = heard(login(), &[&first, &stale, "HTTP/1.1 200 OK\r\n\r\n"]);
    assert_eq!((said.len(), step), (3, Step::Open));
    assert!(said[1..].iter().all(|words| words.contains("Proxy-Authorization: Digest username=\"user\"")));
    assert_ne!(said[1], said[2], "each has a nonce of its own");
    assert_eq!(
        refused(login(), &[&first, &first]),
        Refusal::LoginRefused,
        "and the password never goes out after that"
    );
    let for_ever: Vec<&str> = std::iter::once(&*first).chain(std::iter::repeat_n(&*stale, STALE_MAX + 1)).collect();
    assert_eq!(refused(login(), &for_ever), Refusal::LoginStale);
    assert!(!Refusal::LoginStale.lasts(), "whom it takes at another time");
}

proptest! {
    #[test]
    fn no_bytes_hold_more_than_a_head_nor_go_on_for_ever(
        first in any::<u8>(),
        text in "(HTTP/1\\.[01] (100|200|407|403) x|\r\n|Proxy-Authenticate: (Basic|Digest) (realm|nonce|stale)=(a|true)(, )?|Content-Length: [0-9]{1,6}|[ -~]){0,24}",
    ) {
        fuzz_connect(&[&[first], text.as_bytes()].concat());
    }

    #[test]
    fn no_bytes_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_connect(&data);
    }
}
