//! Conversations with proxies of SOCKS, in one piece and byte by byte.

use super::super::{Proxy, fuzz_socks5};
use super::*;
use proptest::prelude::*;
use zeroize::Zeroizing;

fn login() -> Option<Arc<Login>> {
    Login::new("user".to_owned(), Zeroizing::new("pass".to_owned())).map(Arc::new)
}

/// What was said in turn, what came of it, and how many bytes were left.
fn talk(host: &str, login: Option<Arc<Login>>, answers: &[&[u8]]) -> (Vec<Vec<u8>>, Step, usize) {
    let mut found = Vec::new();
    for step in [usize::MAX, 1] {
        let to = Destination { host: host.to_owned(), port: 0x1151 };
        let mut proxy = Proxy::socks5(&to, login.clone());
        let (mut said, mut left) = (vec![proxy.output().to_vec()], 0);
        for answer in answers {
            proxy.handle_written(proxy.output().len());
            let used: usize = answer.chunks(step).map(|piece| proxy.handle_bytes(piece)).sum();
            left = answer.len() - used;
            if !proxy.output().is_empty() {
                said.push(proxy.output().to_vec());
            }
            if answer.is_empty() {
                proxy.handle_end();
            }
        }
        found.push((said, proxy.step().clone(), left));
    }
    assert_eq!(found[0], found[1], "{answers:?}");
    found.remove(0)
}

const FINE: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 0x10, 0x92];

#[test]
fn a_name_is_asked_for_as_a_name_and_an_address_as_an_address() {
    let name = [&[5, 1, 0, 3, 13][..], b"relay.example", &[0x11, 0x51]].concat();
    let v6 = [&[5, 1, 0, 4][..], &[0; 15], &[1, 0x11, 0x51]].concat();
    for (host, request) in
        [("relay.example", name), ("10.0.0.1", vec![5, 1, 0, 1, 10, 0, 0, 1, 0x11, 0x51]), ("::1", v6)]
    {
        let (said, step, left) = talk(host, None, &[&[5, 0], FINE]);
        assert_eq!((&said[..], step, left), (&[vec![5, 1, 0], request][..], Step::Open, 0));
    }
}

#[test]
fn every_address_in_a_reply_has_its_own_length_and_what_follows_is_left() {
    let named = [&[5, 0, 0, 3, 4][..], b"host", &[0, 80]].concat();
    let nameless = [5, 0, 0, 3, 0, 0, 80];
    let v6 = [&[5, 0, 0, 4][..], &[7; 16], &[0, 80]].concat();
    for reply in [FINE, &named, &nameless, &v6] {
        let surplus = [reply, b"more"].concat();
        assert_eq!(talk("a", None, &[&[5, 0], &surplus]).1, Step::Open, "{reply:?}");
        assert_eq!(talk("a", None, &[&[5, 0], &surplus]).2, 4, "{reply:?}");
        assert_eq!(talk("a", None, &[&[5, 0], &reply[..reply.len() - 1]]).1, Step::Waits, "{reply:?}");
    }
}

#[test]
fn who_asks_is_said_if_that_is_wanted() {
    let (said, step, _) = talk("a", login(), &[&[5, 2], &[1, 0], FINE]);
    assert_eq!(step, Step::Open);
    assert_eq!(said[0], [5, 2, 0, 2]);
    assert_eq!(said[1], [&[1, 4][..], b"user", &[4], b"pass"].concat());
    assert_eq!(talk("a", login(), &[&[5, 0], FINE]).1, Step::Open, "it may not care");
}

#[test]
fn a_refusal_is_the_word_of_the_proxy() {
    let refused = |login, answers: &[&[u8]]| match talk("a", login, answers).1 {
        Step::Refused(why) => why,
        other => panic!("{other:?} of {answers:?}"),
    };
    for code in 1..=255 {
        assert_eq!(refused(None, &[&[5, 0], &[5, code]]), Refusal::Reply(code));
    }
    assert_eq!(refused(None, &[&[5, 0xff]]), Refusal::LoginWanted);
    assert_eq!(refused(login(), &[&[5, 0xff]]), Refusal::LoginUnknown(String::new()));
    assert_eq!(refused(login(), &[&[5, 2], &[1, 1]]), Refusal::LoginRefused);
    for other in [&b"HTTP/1.1 400 Bad\r\n"[..], &[4, 0], &[5, 1], &[5, 2]] {
        assert_eq!(refused(None, &[other]), Refusal::NotProxy, "{other:?}");
    }
    assert_eq!(refused(None, &[&[5, 0], &[5, 0, 0, 2]]), Refusal::NotProxy, "such addresses there are not");
    assert_eq!(refused(login(), &[&[5, 2], &[5, 0]]), Refusal::NotProxy);
    for so_far in [&[][..], &[&[5][..]], &[&[5, 0], &[5, 0, 0]]] {
        let answers: Vec<&[u8]> = so_far.iter().copied().chain([&[][..]]).collect();
        assert_eq!(refused(None, &answers), Refusal::Closed);
    }
}

#[test]
fn what_no_proxy_could_be_told_is_no_login() {
    let login = |user: &str, password: &str| Login::new(user.to_owned(), Zeroizing::new(password.to_owned()));
    assert!(login("u", "").is_some() && login(&"u".repeat(255), "p").is_some());
    for (user, password) in [("", "p"), ("a:b", "p"), ("u\n", "p"), ("u", "p\r\n"), (&*"u".repeat(256), "p")] {
        assert!(login(user, password).is_none(), "{user}");
    }
    assert!(login("u", &"p".repeat(256)).is_none());
}

proptest! {
    #[test]
    fn no_bytes_panic_nor_are_held(first in any::<u8>(), mut data in proptest::collection::vec(0_u8..6, 0..40), tail in any::<[u8; 20]>()) {
        data.insert(0, first);
        data.extend(tail);
        fuzz_socks5(&data);
    }
}
