//! Who asks at a proxy of HTTP: what it asks for (RFC 9110, 11), and the answer, Basic (RFC 7617) or Digest (RFC 7616).

use super::Login;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

/// Bytes of a nonce of ours, before it is text.
pub(super) const NONCE_BYTES: usize = 16;

/// One way to say who asks, as a proxy offers it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    scheme: String,
    parameters: Vec<(String, Vec<u8>)>,
}

impl Challenge {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
    }

    /// Whether the answer before was good, and only its nonce too old.
    pub(super) fn is_stale(&self) -> bool {
        self.get("stale").is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
    }
}

/// What is asked for in the value of a field.
pub(super) fn challenges(value: &[u8]) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = Rest(value);
    loop {
        rest.skip(|byte| byte == b',' || is_blank(byte));
        let word = rest.take(is_token);
        if word.is_empty() {
            // What is no list of challenges ends here: none of what follows could be told from what is none.
            return found;
        }
        let name = String::from_utf8_lossy(word).into_owned();
        if !rest.begins_value() {
            found.push(Challenge { scheme: name, parameters: Vec::new() });
            rest.skip_token68();
            continue;
        }
        match (rest.value(), found.last_mut()) {
            (Some(value), Some(challenge)) if rest.is_at_end_of_word() => challenge.parameters.push((name, value)),
            _ => return found,
        }
    }
}

/// A value that is being read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, is_part: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !is_part(*byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, is_part: impl Fn(u8) -> bool) {
        self.take(is_part);
    }

    fn is_at_end_of_word(&self) -> bool {
        self.0.first().is_none_or(|byte| *byte == b',' || is_blank(*byte))
    }

    /// Whether what was taken is the name of a parameter. Its value is next then.
    fn begins_value(&mut self) -> bool {
        self.skip(is_blank);
        let behind = self.0.strip_prefix(b"=");
        self.0 = behind.unwrap_or(self.0);
        behind.is_some()
    }

    /// The value of a parameter; None if it never ends.
    fn value(&mut self) -> Option<Vec<u8>> {
        self.skip(is_blank);
        if self.0.first() == Some(&b'"') { self.quoted() } else { Some(self.take(is_token).to_vec()) }
    }

    /// Passes over what the ways that are not known here put behind their name (RFC 9110, 11.2).
    fn skip_token68(&mut self) {
        let mut ahead = Rest(self.0);
        ahead.skip(|byte| is_token(byte) || byte == b'/');
        ahead.skip(|byte| byte == b'=');
        ahead.skip(is_blank);
        if ahead.0.first().is_none_or(|byte| *byte == b',') {
            *self = ahead;
        }
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        let mut bytes = self.0.iter().enumerate().skip(1);
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(value);
                }
                b'\\' => value.push(*bytes.next()?.1),
                other => value.push(*other),
            }
        }
        None
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// How to say who asks, the better one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Basic,
    Md5,
    Sha256,
}

/// A way that is offered and known.
#[derive(Clone, Copy)]
pub(super) struct Choice<'a> {
    pub way: Way,
    pub challenge: &'a Challenge,
}

/// The best of the ways that are offered and known.
pub(super) fn best(offered: &[Challenge]) -> Option<Choice<'_>> {
    let ways = offered.iter().filter_map(|challenge| Some(Choice { way: way(challenge)?, challenge }));
    // Of equals the first: a proxy names first what it likes best.
    ways.rev().max_by_key(|choice| choice.way)
}

fn way(challenge: &Challenge) -> Option<Way> {
    if challenge.scheme.eq_ignore_ascii_case("basic") {
        return Some(Way::Basic);
    }
    let is_good = challenge.scheme.eq_ignore_ascii_case("digest")
        && challenge.get("realm").is_some()
        && challenge.get("nonce").is_some()
        && challenge.get("qop").is_none_or(has_auth);
    if !is_good {
        return None;
    }
    let algorithm = challenge.get("algorithm").unwrap_or(b"MD5").to_ascii_uppercase();
    match &algorithm[..] {
        b"MD5" | b"MD5-SESS" => Some(Way::Md5),
        b"SHA-256" | b"SHA-256-SESS" => Some(Way::Sha256),
        _ => None,
    }
}

fn has_auth(qop: &[u8]) -> bool {
    qop.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(b"auth"))
}

/// The names of the ways that are offered, for a person.
pub(super) fn names(offered: &[Challenge]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for challenge in offered {
        if !names.contains(&&*challenge.scheme) {
            names.push(&challenge.scheme);
        }
    }
    names.join(", ")
}

/// Credentials for a request for this: the value of a field, in which a password may be. Each is asked for with a nonce of its own.
pub(super) fn credentials(choice: Choice<'_>, login: &Login, target: &str, nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
    let (Choice { way, challenge }, Login { user, password }) = (choice, login);
    if way == Way::Basic {
        let whole = Zeroizing::new(format!("{user}:{}", **password));
        let whole = Zeroizing::new(BASE64.encode(whole.as_bytes()));
        return format!("Basic {}", *whole).into_bytes();
    }
    let hash = |parts: &[&[u8]]| {
        let whole = Zeroizing::new(parts.join(&b':'));
        hex(&if way == Way::Sha256 { digest(&SHA256, &whole).as_ref().to_vec() } else { Md5::digest(&whole).to_vec() })
    };
    let get = |name: &str| challenge.get(name).unwrap_or_default();
    let (realm, theirs, ours) = (get("realm"), get("nonce"), hex(&nonce));
    let mut secret = hash(&[user.as_bytes(), realm, password.as_bytes()]);
    if get("algorithm").to_ascii_uppercase().ends_with(b"-SESS") {
        secret = hash(&[secret.as_bytes(), theirs, ours.as_bytes()]);
    }
    let asked = hash(&[b"CONNECT", target.as_bytes()]);
    let (secret, asked) = (secret.as_bytes(), asked.as_bytes());
    let has_qop = challenge.get("qop").is_some();
    let response = match has_qop {
        true => hash(&[secret, theirs, COUNT.as_bytes(), ours.as_bytes(), b"auth", asked]),
        // As in RFC 2069, which some still speak.
        false => hash(&[secret, theirs, asked]),
    };
    let mut value = b"Digest username=".to_vec();
    quote(&mut value, user.as_bytes());
    for (name, text) in [("realm", realm), ("nonce", theirs), ("uri", target.as_bytes())] {
        value.extend(format!(", {name}=").bytes());
        quote(&mut value, text);
    }
    value.extend(format!(", response=\"{response}\"").bytes());
    if let Some(algorithm) = challenge.get("algorithm") {
        value.extend(b", algorithm=");
        value.extend(algorithm);
    }
    if has_qop {
        value.extend(format!(", qop=auth, nc={COUNT}, cnonce=\"{ours}\"").bytes());
    }
    if let Some(opaque) = challenge.get("opaque") {
        value.extend(b", opaque=");
        quote(&mut value, opaque);
    }
    value
}

/// Which request with a nonce of theirs it is: each connection gets one of its own.
const COUNT: &str = "00000001";

fn quote(value: &mut Vec<u8>, text: &[u8]) {
    value.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            value.push(b'\\');
        }
        value.push(*byte);
    }
    value.push(b'"');
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "tests/login.rs"]
mod tests;
