//! Plain requests at a proxy that passes them on (RFC 9112, 3.2.2): who asks is said in each of them.

use super::login::{NONCE_BYTES, Way, best, challenges, credentials, names};
use super::{Login, REASON_MAX, Refusal};
use crate::carrier::http;

/// What is to be done where a proxy wants to know who asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PlainLogin {
    /// Each request says this.
    Say(Vec<u8>),
    /// It offers a better way, that needs a word for each request and may ask for another at any time, when what a request has brought is
    /// gone: a tunnel is asked for instead.
    Tunnel,
}

/// The same where a request was answered with this head.
pub(crate) fn plain_login(head: &[u8], login: Option<&Login>) -> Result<PlainLogin, Refusal> {
    let login = login.ok_or(Refusal::LoginWanted)?;
    let offered = |answer: &http::Answer<'_>| -> Vec<_> {
        answer.fields.all("Proxy-Authenticate").flat_map(challenges).collect()
    };
    let offered = http::with_answer(head, offered).map_err(|http::Malformed| Refusal::NotProxy)?;
    match best(&offered) {
        Some(choice) if choice.way == Way::Basic => {
            Ok(PlainLogin::Say(credentials(choice, login, "", [0; NONCE_BYTES])))
        }
        Some(_) => Ok(PlainLogin::Tunnel),
        None => Err(Refusal::LoginUnknown(names(&offered).chars().take(REASON_MAX).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    #[test]
    fn a_password_is_said_in_plain_requests_only_where_there_is_no_better_way() {
        let login = Login::new("user".to_owned(), Zeroizing::new("open sesame".to_owned()));
        let asks = |fields: &str| {
            let head = format!("HTTP/1.1 407 No\r\n{fields}\r\n");
            plain_login(head.as_bytes(), login.as_ref())
        };
        let basic = "Proxy-Authenticate: Basic realm=a\r\n";
        let digest = "Proxy-Authenticate: Digest realm=a, nonce=n, qop=auth\r\n";
        assert_eq!(asks(basic), Ok(PlainLogin::Say(b"Basic dXNlcjpvcGVuIHNlc2FtZQ==".to_vec())));
        assert_eq!(asks(&format!("{basic}{digest}")), Ok(PlainLogin::Tunnel));
        assert_eq!(asks("Proxy-Authenticate: NTLM\r\n"), Err(Refusal::LoginUnknown("NTLM".to_owned())));
        assert_eq!(plain_login(b"HTTP/1.1 407 No\r\n\r\n", None), Err(Refusal::LoginWanted));
    }
}
