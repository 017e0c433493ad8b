//! `[SCHEME://][USER[:PASSWORD]@]HOST[:PORT]`: a proxy on the way out, and for whom it is none.

use super::relay::{parse_host, parse_port, split_port};
use std::fmt;
use std::net::IpAddr;
use zeroize::Zeroizing;

/// The port where none is written, as curl has it, whatever the scheme.
const USUAL_PORT: u16 = 1080;

/// How a proxy is asked for a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyScheme {
    /// CONNECT of HTTP.
    Http,
    /// SOCKS version 5.
    Socks5,
}

/// Where a proxy is, and who asks there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyAddress {
    /// How it is asked.
    pub scheme: ProxyScheme,
    /// A DNS name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Who asks, if that was written.
    pub user: Option<String>,
}

impl fmt::Display for ProxyAddress {
    /// Without the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            ProxyScheme::Http => "http",
            ProxyScheme::Socks5 => "socks5",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// Why a text is no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyAddressError {
    /// The scheme is none of `http socks5 socks5h`.
    UnknownScheme,
    /// No DNS name, IPv4 address, or IPv6 address in brackets.
    BadHost,
    /// Not a number from 1 to 65535.
    BadPort,
    /// The name before the `@` is empty, or has what no proxy could be told, or a `%` without two hexadecimal digits.
    BadUser,
    /// There is a password, where others could read it.
    Password,
    /// Something stands behind the port.
    TrailingText,
}

impl ProxyAddress {
    /// Reads what others can read, too: without a password.
    ///
    /// # Errors
    /// It is no proxy, or has a password in it.
    pub(crate) fn parse(text: &str) -> Result<ProxyAddress, ProxyAddressError> {
        match ProxyAddress::parse_secret(text)? {
            (address, None) => Ok(address),
            (_, Some(_)) => Err(ProxyAddressError::Password),
        }
    }

    /// Reads what only its owner can read, and the password in it.
    ///
    /// # Errors
    /// It is no proxy.
    pub(crate) fn parse_secret(text: &str) -> Result<(ProxyAddress, Option<Zeroizing<String>>), ProxyAddressError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (parse_scheme(scheme)?, rest),
            None => (ProxyScheme::Http, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        if place.contains(['/', '?', '#']) {
            return Err(ProxyAddressError::TrailingText);
        }
        let (host, port) = split_port(place).map_err(|_| ProxyAddressError::BadHost)?;
        let host = parse_host(host).map_err(|_| ProxyAddressError::BadHost)?;
        let port = port.map_or(Ok(USUAL_PORT), parse_port).map_err(|_| ProxyAddressError::BadPort)?;
        let (user, password) = match login
            .map(|login| login.split_once(':').map_or((login, None), |(user, secret)| (user, Some(secret))))
        {
            None => (None, None),
            Some((user, secret)) => (Some(unescape(user)?.to_string()), secret.map(unescape).transpose()?),
        };
        if user.as_ref().is_some_and(|user| user.is_empty() || user.contains(':')) {
            return Err(ProxyAddressError::BadUser);
        }
        Ok((ProxyAddress { scheme, host, port, user }, password))
    }
}

fn parse_scheme(text: &str) -> Result<ProxyScheme, ProxyAddressError> {
    match &*text.to_ascii_lowercase() {
        "http" => Ok(ProxyScheme::Http),
        // The proxy looks names up, whichever of the two is written.
        "socks5" | "socks5h" => Ok(ProxyScheme::Socks5),
        _ => Err(ProxyAddressError::UnknownScheme),
    }
}

/// A text in which `%` and two digits stand for a byte (RFC 3986, 2.1).
fn unescape(text: &str) -> Result<Zeroizing<String>, ProxyAddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(ProxyAddressError::BadUser) };
        bytes.push(u8::try_from(16 * high + low).map_err(|_| ProxyAddressError::BadUser)?);
    }
    let text = String::from_utf8(bytes).map_err(|_| ProxyAddressError::BadUser)?;
    if text.chars().any(char::is_control) { Err(ProxyAddressError::BadUser) } else { Ok(Zeroizing::new(text)) }
}

/// Whether a list such as `NO_PROXY` has this host, as curl reads it: names with all that ends in them, addresses, networks
/// (`10.0.0.0/8`), separated by commas or blanks; `*` alone is everything.
///
/// Where versions of curl differ, as the newest does: older ones find no address of IPv6 in a network, nor in another spelling, and read
/// a number of bits as far as it is one. A blank still separates, as it does for all but the newest.
pub(crate) fn is_exempt(list: &str, host: &str) -> bool {
    if list == "*" {
        return true;
    }
    let mut entries = list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
    match host.parse::<IpAddr>() {
        Ok(address) => entries.any(|entry| has_address(entry, address)),
        Err(_) => entries.any(|entry| has_name(entry, host)),
    }
}

fn has_name(entry: &str, host: &str) -> bool {
    let entry = entry.strip_prefix('.').unwrap_or(entry);
    let entry = entry.strip_suffix('.').unwrap_or(entry).to_ascii_lowercase();
    let before = host.strip_suffix(&*entry);
    !entry.is_empty() && before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn has_address(entry: &str, address: IpAddr) -> bool {
    let (network, bits) = match entry.split_once('/') {
        None => (entry, 0),
        Some((network, bits)) if !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let Ok(bits) = bits.parse() else { return false };
            (network, bits)
        }
        Some(_) => return false,
    };
    let Ok(network) = network.parse() else { return false };
    // No bits are all of them, as if they had been left out: it is the address alone.
    let is_same = |difference: u128, width: u32| {
        let bits = if bits == 0 { width } else { bits };
        bits <= width && difference >> (width - bits) == 0
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            is_same(u128::from(network.to_bits() ^ address.to_bits()), u32::BITS)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => is_same(network.to_bits() ^ address.to_bits(), u128::BITS),
        _ => false,
    }
}

/// Fuzz entry: any text as a proxy, and as a list of those who need none.
#[cfg(feature = "fuzzing")]
pub fn fuzz_proxy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok((address, _)) = ProxyAddress::parse_secret(text) {
        let printed = ProxyAddress::parse(&address.to_string());
        assert_eq!(printed, Ok(ProxyAddress { user: None, ..address }));
    }
    let is_in = is_exempt(text, "relay.example.com");
    assert_eq!(is_exempt(&text.to_ascii_uppercase(), "relay.example.com"), is_in);
    is_exempt(text, "10.1.2.3");
    is_exempt(text, "2001:db8::1");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (String, Option<String>, Option<String>) {
        let (address, password) = ProxyAddress::parse_secret(text).expect(text);
        (address.to_string(), address.user, password.map(|password| password.to_string()))
    }

    #[test]
    fn all_parts_and_their_defaults() {
        let some = |text: &str| Some(text.to_owned());
        for (text, address, user, password) in [
            ("proxy", "http://proxy:1080", None, None),
            ("http://Proxy.Example:3128/", "http://proxy.example:3128", None, None),
            ("socks5h://10.0.0.1", "socks5://10.0.0.1:1080", None, None),
            ("SOCKS5://[::1]:9", "socks5://[::1]:9", None, None),
            ("http://u@p:1", "http://p:1", some("u"), None),
            ("http://u:@p:1", "http://p:1", some("u"), some("")),
            ("http://do%5cu:p%40%3a:s@p:1", "http://p:1", some("do\\u"), some("p@::s")),
            ("u:p@ss@p:1", "http://p:1", some("u"), some("p@ss")),
        ] {
            assert_eq!(parts(text), (address.to_owned(), user, password), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_has_a_name_and_a_password_is_none_of_others() {
        use ProxyAddressError as E;
        for (text, error) in [
            ("https://p:1", E::UnknownScheme),
            ("socks4://p:1", E::UnknownScheme),
            ("://p", E::UnknownScheme),
            ("", E::BadHost),
            ("http://", E::BadHost),
            ("http://a b:1", E::BadHost),
            ("http://::1:1", E::BadHost),
            ("http://p:0", E::BadPort),
            ("http://p:", E::BadPort),
            ("http://p:1/path", E::TrailingText),
            ("http://@p:1", E::BadUser),
            ("http://%3a@p:1", E::BadUser),
            ("http://a%0ab@p:1", E::BadUser),
            ("http://a%4@p:1", E::BadUser),
            ("http://a%ff@p:1", E::BadUser),
            ("http://u:p@p:1", E::Password),
            ("http://u:@p:1", E::Password),
        ] {
            assert_eq!(ProxyAddress::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_list_has_names_with_what_ends_in_them_addresses_and_networks_as_for_curl() {
        for (list, host, is_in) in [
            // As curl 7.88 was seen to read them.
            ("*", "a.example", true),
            (" * ", "10.0.0.1", false),
            ("*.example", "a.example", false),
            ("b,*", "a.example", false),
            ("*,b", "a.example", false),
            ("example", "a.example", true),
            (".Example.", "a.example", true),
            ("a.example", "a.example", true),
            ("ample", "a.example", false),
            ("b.a.example", "a.example", false),
            ("x, example", "a.example", true),
            ("x example", "a.example", true),
            (".", "a.example", false),
            (",", "a.example", false),
            ("..", "a.example", false),
            ("..example", "a.example", false),
            ("example..", "a.example", false),
            ("localhost", "localhost", true),
            ("localhost", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("0.0.1", "127.0.0.1", false),
            ("127.0.0.0/8", "127.9.9.9", true),
            ("127.0.0.0/8", "128.0.0.1", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/31", "10.0.0.2", false),
            ("10.0.0.0/0", "192.0.2.1", false),
            ("10.0.0.0/0", "10.0.0.0", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/08", "10.0.0.1", true),
            ("10.0.0.1/8", "10.9.9.9", true),
            ("10.0.0.01", "10.0.0.1", false),
            ("010.0.0.1", "10.0.0.1", false),
            ("0x0a.0.0.1", "10.0.0.1", false),
            ("10.0.1", "10.0.0.1", false),
            ("167772161", "10.0.0.1", false),
            (".10.0.0.1", "10.0.0.1", false),
            ("10.0.0.1.", "10.0.0.1", false),
            ("[10.0.0.1]", "10.0.0.1", false),
            ("10.0.0.1:80", "10.0.0.1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", false),
            ("::ffff:10.0.0.0/104", "10.0.0.1", false),
            ("10.0.0.2;10.0.0.1", "10.0.0.1", false),
            ("10.0.0.2\t10.0.0.1", "10.0.0.1", true),
            ("10.0.0.2,,10.0.0.1", "10.0.0.1", true),
            ("10.0.0.2 , 10.0.0.1", "10.0.0.1", true),
            (",10.0.0.1", "10.0.0.1", true),
            (", ,10.0.0.1", "10.0.0.1", true),
            ("10.0.0.2/8", "10.0.0.1", true),
            ("http://a.example", "a.example", false),
            ("a.example:80", "a.example", false),
            ("A.EXAMPLE", "a.example", true),
            ("b.example,a.example", "a.example", true),
            (".a.example", "a.example", true),
            ("10.0.0.0/32", "10.0.0.0", true),
            ("10.0.0.0/32", "10.0.0.1", false),
            ("10.0.0.0/1", "127.0.0.1", true),
            ("10.0.0.0/1", "128.0.0.1", false),
            ("10.0.0.0/008", "10.1.0.1", true),
            ("10.0.0.0/24,192.0.2.1", "192.0.2.1", true),
            ("10.0.0.0/24 192.0.2.1", "192.0.2.1", true),
            ("0.0.0.0/0", "0.0.0.0", true),
            ("0.0.0.0/0", "10.0.0.1", false),
            ("10.0.0.0 /8", "10.0.0.1", false),
            ("10.0.0.0/ 8", "10.0.0.1", false),
            // As curl's source has them since it knows addresses of IPv6, and takes no number of bits that is not all digits.
            ("10.0.0.0/", "10.0.0.0", false),
            ("10.0.0.0/", "10.0.0.1", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("10.0.0.0/x", "10.0.0.1", false),
            ("10.0.0.0/8x", "10.0.0.1", false),
            ("10.0.0.0/8/9", "10.0.0.1", false),
            ("10.0.0.0/+8", "10.0.0.1", false),
            ("10.0.0.0/-1", "10.0.0.0", false),
            ("10.0.0.0/4294967304", "10.0.0.1", false),
            ("10.0.0.0/4294967296", "10.0.0.0", false),
            ("10.0.0.0/2147483648", "10.0.0.0", false),
            ("10.0.0.0/99999999999999999999", "10.0.0.0", false),
            ("10.0.0.0/-4294967288", "10.0.0.1", false),
            ("10.0.0.0/.8", "10.0.0.0", false),
            ("::1", "::1", true),
            ("[::1]", "::1", false),
            ("[::1", "::1", false),
            ("[::1]/128", "::1", false),
            ("0:0::1", "::1", true),
            ("0:0:0:0:0:0:0:1", "::1", true),
            ("::1/0", "::1", true),
            ("::1/0", "::2", false),
            ("::1/", "::1", false),
            ("::1/", "::2", false),
            ("::1/x", "::1", false),
            ("::1/128", "::1", true),
            ("::1/129", "::1", false),
            ("::1/136", "::1", false),
            ("::1/-8", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("fd00::/8x", "fd12::1", false),
            ("fd00::/7", "fc12::1", true),
            ("fd00::/7", "fd12::1", true),
            ("fd00::/7", "fe80::1", false),
            ("fd00::/7", "ff80::1", false),
            ("fd00::/9", "fd12::1", true),
            ("fd00::/9", "fd82::1", false),
            ("fd00::/9", "fe80::1", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("2001:db8::/33", "2001:db9::1", false),
            ("2001:db8::/127", "2001:db8::1", true),
            ("2001:db8::/127", "2001:db8::2", false),
            ("2001:db8::/1", "::1", true),
            ("2001:db8::/1", "8000::1", false),
            ("::/0", "fe80::1", false),
            ("::/0", "10.0.0.1", false),
            ("::/0", "::", true),
            ("10.0.0.1", "::ffff:10.0.0.1", false),
            ("::FFFF:10.0.0.1", "::ffff:a00:1", true),
            ("fe80::1%1", "fe80::1", false),
        ] {
            assert_eq!(is_exempt(list, host), is_in, "{list} {host}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "((http|socks5h?)://)?([a-z%:@]{0,9}@)?[a-z0-9.:\\[\\]/,* ]{0,20}") {
            fuzz_proxy(text.as_bytes());
        }
    }
}
