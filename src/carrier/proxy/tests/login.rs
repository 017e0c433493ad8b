//! What proxies ask for, well written and otherwise, and the answers of the standards.

use super::*;
use proptest::prelude::*;

fn login(user: &str, password: &str) -> Login {
    Login::new(user.to_owned(), Zeroizing::new(password.to_owned())).expect("a good login")
}

fn found(value: &str) -> Vec<(String, Vec<(String, String)>)> {
    let text = |(name, value): &(String, Vec<u8>)| (name.clone(), String::from_utf8(value.clone()).expect("text"));
    let whole = |challenge: &Challenge| (challenge.scheme.clone(), challenge.parameters.iter().map(text).collect());
    challenges(value.as_bytes()).iter().map(whole).collect()
}

fn parameter(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn a_field_has_several_challenges_and_each_its_own_parameters() {
    let two = found(r#"Digest realm="a, \"b\"", qop = auth ,nonce=n, Basic realm="c=d""#);
    let digest = vec![parameter("realm", "a, \"b\""), parameter("qop", "auth"), parameter("nonce", "n")];
    assert_eq!(two, [("Digest".to_owned(), digest), ("Basic".to_owned(), vec![parameter("realm", "c=d")])]);
    let strange = found("Negotiate, NTLM TlRM/U1A=, Kerberos YII==,, Basic realm=x");
    let names: Vec<_> = strange.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["Negotiate", "NTLM", "Kerberos", "Basic"]);
    for none in ["", ",", "realm=x", "=", "\"Basic\"", "/"] {
        assert_eq!(found(none), [], "{none}");
    }
    assert_eq!(found("Basic realm=\"open").len(), 1, "what never ends is left out");
}

#[test]
fn the_best_way_that_is_known_is_taken_and_of_equals_the_first() {
    let best = |value: &str| {
        let offered = challenges(value.as_bytes());
        best(&offered).map(|Choice { way, challenge }| {
            (way, String::from_utf8_lossy(challenge.get("realm").unwrap()).into_owned())
        })
    };
    let is = |way, realm: &str| Some((way, realm.to_owned()));
    let md5 = "Digest realm=m, nonce=n, qop=\"auth,auth-int\"";
    let sha = "Digest realm=s, nonce=n, qop=auth, algorithm=SHA-256";
    assert_eq!(best(&format!("Basic realm=b, {md5}, {sha}")), is(Way::Sha256, "s"));
    assert_eq!(best(&format!("{md5}, Basic realm=b")), is(Way::Md5, "m"));
    assert_eq!(best("NTLM, Basic realm=b, Basic realm=c"), is(Way::Basic, "b"));
    for unknown in [
        "Negotiate, NTLM",
        "Digest realm=x, nonce=n, qop=auth-int",
        "Digest realm=x, nonce=n, algorithm=SHA-512-256",
        "Digest realm=x",
        "Digest nonce=n",
    ] {
        assert_eq!(best(unknown), None, "{unknown}");
        assert_eq!(best(&format!("{unknown}, Basic realm=b")), is(Way::Basic, "b"), "{unknown}");
    }
    assert_eq!(names(&challenges(b"Negotiate, NTLM, NTLM")), "Negotiate, NTLM");
}

#[test]
fn answers_are_those_of_the_standards() {
    let (basic, of_basic) = (challenges(b"Basic realm=x"), login("Aladdin", "open sesame"));
    let said = credentials(Choice { way: Way::Basic, challenge: &basic[0] }, &of_basic, "a:1", [0; NONCE_BYTES]);
    assert_eq!(said, b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "RFC 7617, 2");
}

/// The value of a parameter of an answer.
fn told(answer: &[u8], name: &str) -> Option<String> {
    let challenge = challenges(answer).pop().expect("one");
    challenge.get(name).map(|value| String::from_utf8(value.to_vec()).expect("text"))
}

/// What Python's `hashlib` makes of the same, by RFC 7616, 3.4.1.
#[test]
fn digests_are_what_another_program_makes_of_the_same() {
    let ours = hex(&[0xab; NONCE_BYTES]);
    for (parameters, response) in [
        ("qop=\"auth\"", "39fdabc954a763d64c31e1881950d712"),
        ("", "775146475b449e068cb8374afa027958"),
        ("qop=\"auth-int, auth\", algorithm=MD5-sess", "400118c735ae04b2c8d44acb9248fc28"),
        ("qop=auth, algorithm=SHA-256", "ff04062523f3e1ce57d167d51401f5ddd95a5985bb16533e2a8e85bad3957558"),
        ("qop=auth, algorithm=sha-256-SESS", "7bda216e6a61a981f298aa667129c2965a56cc8122893a861ea2f1b79a37ea4a"),
    ] {
        let value = format!("Digest realm=\"the \\\"proxy\\\"\", nonce=\"n+/=\", opaque=\"o\", {parameters}");
        let offered = challenges(value.as_bytes());
        let best = best(&offered).expect("known");
        let said = credentials(best, &login("us\\er", "pass word"), "relay.example:4433", [0xab; NONCE_BYTES]);
        assert_eq!(told(&said, "response").as_deref(), Some(response), "{parameters}");
        for (name, value) in [("username", "us\\er"), ("realm", "the \"proxy\""), ("nonce", "n+/="), ("opaque", "o")] {
            assert_eq!(told(&said, name).as_deref(), Some(value), "{parameters}");
        }
        assert_eq!(told(&said, "uri").as_deref(), Some("relay.example:4433"));
        let has_qop = parameters.contains("qop");
        assert_eq!(told(&said, "cnonce"), has_qop.then(|| ours.clone()));
        assert_eq!(told(&said, "nc"), has_qop.then(|| COUNT.to_owned()));
        assert!(!String::from_utf8(said).unwrap().contains("pass"));
    }
}

proptest! {
    #[test]
    fn whatever_is_offered_is_answered_in_one_line_or_not_at_all(value in "((Basic|Digest|NTLM) ?|[a-z]{1,6}=|\"|[ -~]){0,12}") {
        let offered = challenges(value.as_bytes());
        if let Some(best) = best(&offered) {
            let said = credentials(best, &login("u", "p"), "a:1", [1; NONCE_BYTES]);
            prop_assert!(!said.contains(&b'\n') && !said.contains(&b'\r'));
            prop_assert_eq!(challenges(&said).len(), 1);
        }
    }
}
