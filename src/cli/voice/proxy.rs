//! Words for what is in the way to a relay: proxies, and commands that lead there.

use crate::carrier::proxy::Refusal;
use crate::cli::escape::printable;
use crate::cli::report::chain;
use crate::net::child::Ended;
use crate::run::way::{Hindrance, Named, Obstacle, Way};
use std::error::Error;
use std::fmt::{self, Display, Formatter};

/// Why a way did not lead to a relay, to stand behind that it could not be reached.
impl Display for Obstacle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let proxy = self.proxy.as_ref().map(named).unwrap_or_default();
        match &self.what {
            Hindrance::Io(error) => write!(f, "{proxy}: {}", chain(error)),
            Hindrance::Refused(refusal) => write!(f, "{proxy} {}", refused(refusal)),
            Hindrance::NotStarted(error) => {
                write!(f, "the command of --proxy-command cannot be started: {}", chain(error))
            }
            Hindrance::Ended(ended) => write!(f, "the command of --proxy-command {}", ended_so(*ended)),
            Hindrance::Closed => {
                f.write_str("the command of --proxy-command closed its streams before it led to a relay")
            }
        }
    }
}

impl Error for Obstacle {}

/// What a relay is reached by, where that is not straight, and what fails may be that.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum By {
    /// This proxy, as it is called.
    Proxy(String),
    /// A command.
    Command,
}

impl By {
    /// What this way goes by.
    pub(super) fn of(way: &Way) -> Option<By> {
        match way {
            Way::Straight => None,
            Way::Proxy(server) => Some(By::Proxy(named(&server.named))),
            Way::Command(_) => Some(By::Command),
        }
    }
}

impl Display for By {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            By::Proxy(proxy) => write!(f, "through {proxy}"),
            By::Command => f.write_str("by the command of --proxy-command"),
        }
    }
}

/// By which way a relay is dialled.
pub(super) fn by(way: &Way) -> String {
    match way {
        Way::Straight => "straight".to_owned(),
        Way::Proxy(server) => format!("through {}", named(&server.named)),
        Way::Command(command) => format!("by the command {}", printable(command.as_os_str())),
    }
}

/// What to do about it, where that is known.
pub(super) fn advice(obstacle: &Obstacle) -> Option<String> {
    let (Some(Named { address, .. }), Hindrance::Refused(refusal)) = (&obstacle.proxy, &obstacle.what) else {
        return None;
    };
    match refusal {
        Refusal::LoginWanted => {
            let with_user = address.to_string().replacen("://", "://USER@", 1);
            Some(format!(
                "name who asks in the proxy's address, as in --proxy {with_user}, and put the password into the file \
                 proxy-password beside the key, or name its file with --proxy-password-file"
            ))
        }
        Refusal::LoginRefused => Some(
            "see whether both are right: the user stands in the proxy's address, the password in the file proxy-password beside \
             the key, or in the one of --proxy-password-file, or in the variable that names the proxy"
                .to_owned(),
        ),
        Refusal::LoginUnknown(_) => Some(
            "Basic and Digest are known here, and user and password of SOCKS: a command that --proxy-command names may know \
             other ways"
                .to_owned(),
        ),
        Refusal::Status(403, _) => {
            Some("most proxies that say so lead to few ports, such as 443, which a relay can listen at".to_owned())
        }
        _ => None,
    }
}

fn named(named: &Named) -> String {
    match named.by {
        Some(by) => format!("the proxy {} ({by})", named.address),
        None => format!("the proxy {}", named.address),
    }
}

fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotProxy => "answered as no proxy of that kind does".to_owned(),
        Refusal::Status(status, reason) if reason.is_empty() => format!("answered with HTTP status {status}"),
        Refusal::Status(status, reason) => format!("answered with HTTP status {status}: {}", printable(reason)),
        Refusal::Reply(code) => format!("answered: {}", reply(*code)),
        Refusal::Page => "answered with a page, not with a tunnel".to_owned(),
        Refusal::Closed => "closed the connection without an answer".to_owned(),
        Refusal::LoginWanted => "wants to know who asks".to_owned(),
        Refusal::LoginRefused => "does not take this user and password".to_owned(),
        Refusal::LoginStale => "asks again and again who asks, and finds each answer too old".to_owned(),
        Refusal::LoginUnknown(ways) if ways.is_empty() => {
            "wants to know who asks, and not by user and password".to_owned()
        }
        Refusal::LoginUnknown(ways) => format!("wants to know who asks by {}", printable(ways)),
    }
}

/// The reply codes of SOCKS (RFC 1928, 6).
fn reply(code: u8) -> String {
    let text = match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "no answer in time",
        7 => "it makes no connections",
        8 => "no such kind of address",
        _ => return format!("SOCKS reply {code}"),
    };
    format!("{text} (SOCKS reply {code})")
}

fn ended_so(ended: Ended) -> String {
    match ended {
        Ended::Exited(status) => format!("ended with status {status} before it led to a relay"),
        Ended::Killed(signal) => format!("was ended by signal {signal} before it led to a relay"),
        Ended::Unknown => "ended before it led to a relay".to_owned(),
    }
}
