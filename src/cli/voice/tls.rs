//! Words about TLS on the way to a relay: how it was ended, and what is wrong with a certificate.

use crate::carrier::{Distrust, Doubt};
use crate::cli::escape::printable;

/// What to do about a certificate that is not believed, if nothing else is to be done.
const TAKE_ANY: &str = "--outer-tls any takes every certificate: the relay still proves to be the one in its address, and nobody \
                        on the way reads what peers say";

/// What is wrong with a certificate. What stands in it anybody may have written.
pub(super) fn distrust_text(distrust: &Distrust) -> String {
    let Distrust { doubt, issuer, hosts } = distrust;
    let by =
        issuer.as_ref().map_or_else(|| "by nobody it names".to_owned(), |issuer| format!("by {}", printable(issuer)));
    let hosts: Vec<_> = hosts.iter().map(String::as_str).map(printable).collect();
    match doubt {
        Doubt::Expired => format!("it has expired, by this machine's clock (signed {by})"),
        Doubt::NotYetValid => format!("it is not valid yet, by this machine's clock (signed {by})"),
        Doubt::OtherHost if hosts.is_empty() => format!("it names no host that it is for (signed {by})"),
        Doubt::OtherHost => format!("it is for other hosts, such as {} (signed {by})", hosts.join(", ")),
        Doubt::UnknownIssuer => format!("it was signed {by}, which this machine does not trust"),
        Doubt::SelfSigned => format!("it vouches for itself (signed {by})"),
        Doubt::Unusable => format!("it cannot be used (signed {by})"),
    }
}

/// What to do about that.
pub(super) fn distrust_advice(doubt: Doubt) -> String {
    let first = match doubt {
        Doubt::Expired => "set this machine's clock if it is wrong; else the relay's operator has to renew it",
        Doubt::NotYetValid => "set this machine's clock if it is wrong",
        Doubt::OtherHost => {
            "name the relay in its address as its certificate does; else its operator has to get one for that name"
        }
        Doubt::UnknownIssuer => "--ca FILE trusts whoever signed it, by their certificate in FILE",
        Doubt::SelfSigned => "--ca FILE trusts it, with a copy of it in FILE",
        Doubt::Unusable => "the relay's operator has to get another one",
    };
    format!("{first}; {TAKE_ANY}")
}

/// How the other side ended TLS (RFC 8446, 6; RFC 5246, 7.2.2).
pub(super) fn alert_text(alert: u8) -> String {
    let name = match alert {
        0 => "close notify",
        10 => "unexpected message",
        20 => "bad record MAC",
        21 => "decryption failed",
        22 => "record overflow",
        30 => "decompression failure",
        40 => "handshake failure",
        41 => "no certificate",
        42 => "bad certificate",
        43 => "unsupported certificate",
        44 => "certificate revoked",
        45 => "certificate expired",
        46 => "certificate unknown",
        47 => "illegal parameter",
        48 => "unknown CA",
        49 => "access denied",
        50 => "decode error",
        51 => "decrypt error",
        60 => "export restriction",
        70 => "protocol version",
        71 => "insufficient security",
        80 => "internal error",
        86 => "inappropriate fallback",
        90 => "user canceled",
        100 => "no renegotiation",
        109 => "missing extension",
        110 => "unsupported extension",
        111 => "certificate unobtainable",
        112 => "unrecognized name",
        113 => "bad certificate status response",
        114 => "bad certificate hash value",
        115 => "unknown PSK identity",
        116 => "certificate required",
        120 => "no application protocol",
        _ => return format!("ended TLS with alert {alert}"),
    };
    format!("ended TLS with alert {alert} ({name})")
}
