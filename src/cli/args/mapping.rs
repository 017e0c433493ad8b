//! Exports and imports of `vp-portrep` as typed: `pg=127.0.0.1:5432`, `1099-1103=depot:rmi`, `unix:/run/db=depot:db`,
//! `web=socks:*.example.com:443`.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::names::{AppName, NameError};
use crate::ports::{Rule, RuleError};

/// Ports from the first to the last, both included; often one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port, not below the lowest.
    pub last: u16,
}

/// What an export serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// These ports of a host, by name or address.
    Tcp {
        /// A DNS name, or an address without brackets.
        host: String,
        /// Never includes 0.
        ports: PortRange,
    },
    /// A Unix socket.
    Unix(PathBuf),
    /// Whatever peers name, out of these.
    Socks(Vec<Rule>),
}

/// Where an import listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// These ports of an address of this machine. A range never includes 0; 0 alone takes a free port.
    Tcp {
        /// Loopback of version 4 unless written.
        bind: Bind,
        /// The ports.
        ports: PortRange,
    },
    /// A Unix socket.
    Unix(SocketFile),
}

/// `PATH,mode=660,user=NAME,group=NAME`, each but the path as wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SocketFile {
    /// Its name.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: Option<u32>,
    /// Its owner, to be looked up.
    pub user: Option<String>,
    /// Its group, to be looked up.
    pub group: Option<String>,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// This one.
    Address(IpAddr),
    /// `localhost`: loopback of both versions, where there are both.
    Localhost,
}

/// `APP=TARGET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    /// What peers call it.
    pub app: AppName,
    /// What they get.
    pub target: Target,
}

/// `WHERE=PEER:APP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// Where it listens here.
    pub at: Where,
    /// What it reaches, to be looked up in the peers file.
    pub to: String,
    /// The mapping with a peer before its last word, if that word is alone there: it may be an application's.
    pub with_peer: Option<String>,
}

/// `[APP=]PEER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allow {
    /// The one export it is about, or all.
    pub app: Option<AppName>,
    /// Who may use it, to be looked up in the peers file.
    pub peer: String,
}

/// Why a mapping makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MappingError {
    /// There is no `=`.
    NoEquals,
    /// Nothing left or right of the `=`, or of a colon.
    Missing,
    /// The name of the application is none.
    BadApp(NameError),
    /// Not a port from 1 to 65535.
    BadPort,
    /// The second port of a range is below the first.
    BackwardRange,
    /// Not an address of a machine; IPv6 goes in brackets.
    BadAddress,
    /// Not permissions of a file.
    BadMode,
    /// Not something that a socket file can have.
    BadOption,
    /// Not a target that peers may name.
    BadRule(RuleError),
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEquals => f.write_str("an = is missing: only an export that is named by its port needs none"),
            Self::Missing => f.write_str("one side is empty"),
            Self::BadApp(error) => write!(f, "the application name {error}"),
            Self::BadPort => f.write_str("a port is a number from 1 to 65535"),
            Self::BackwardRange => f.write_str("the range runs backwards"),
            Self::BadMode => f.write_str("a mode is octal, at most 777"),
            Self::BadOption => {
                f.write_str("a socket file can have mode=, user= and group= behind commas, nothing else")
            }
            Self::BadRule(error) => error.fmt(f),
            Self::BadAddress => f.write_str("not an IP address (IPv6 goes in brackets)"),
        }
    }
}

impl Error for MappingError {}

impl FromStr for Export {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        // A number alone is both: the port, and what peers call it.
        let alone = text.parse::<PortRange>().is_ok();
        let (app, target) = if alone { (text, text) } else { sides(text, text.find('='))? };
        let app = app.parse().map_err(MappingError::BadApp)?;
        let target = match (target.strip_prefix("unix:"), target.strip_prefix("socks:")) {
            (Some(path), _) => Target::Unix(socket(path)?),
            (None, Some(list)) => Target::Socks(rules(list)?),
            (None, None) => {
                let (host, ports) = target.rsplit_once(':').unwrap_or(("127.0.0.1", target));
                Target::Tcp { host: host_of(host)?, ports: ports.parse()? }
            }
        };
        Ok(Self { app, target })
    }
}

impl FromStr for Import {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        // The last `=`: a socket's path may have one, a peer's address has none.
        let (where_typed, to) = match text.rfind('=') {
            None => (same_number(text)?, text),
            equals => sides(text, equals)?,
        };
        let with_peer = (!to.contains(':')).then(|| format!("{where_typed}=PEER:{to}"));
        let at = match where_typed.strip_prefix("unix:") {
            Some(file) => Where::Unix(socket_file(file)?),
            None => {
                let (bind, ports) = match where_typed.rsplit_once(':') {
                    Some(("localhost", ports)) => (Bind::Localhost, ports),
                    Some((bind, ports)) => (Bind::Address(address(bind)?), ports),
                    None => (Bind::Address(Ipv4Addr::LOCALHOST.into()), where_typed),
                };
                let free = PortRange { first: 0, last: 0 };
                Where::Tcp { bind, ports: if ports == "0" { free } else { ports.parse()? } }
            }
        };
        // `5432=depot` is for what the peer exports by that number.
        let numbered = |ports: &PortRange| !to.contains([':', '/', '@']) && ports.first != 0;
        let to = match &at {
            Where::Tcp { ports, .. } if numbered(ports) => format!("{to}:{ports}"),
            _ => to.to_owned(),
        };
        Ok(Self { at, to, with_peer })
    }
}

impl FromStr for Allow {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let (app, peer) = match text.find('=') {
            Some(at) => {
                let (app, peer) = sides(text, Some(at))?;
                (Some(app.parse().map_err(MappingError::BadApp)?), peer)
            }
            None => (None, text),
        };
        Ok(Self { app, peer: peer.to_owned() })
    }
}

impl fmt::Display for PortRange {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl FromStr for PortRange {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self { first: port(first)?, last: port(last)? };
        if range.first > range.last { Err(MappingError::BackwardRange) } else { Ok(range) }
    }
}

/// The ports of `PEER:PORTS`: what is exported by a number is imported by the same one.
fn same_number(address: &str) -> Result<&str, MappingError> {
    let (peer, ports) = address.rsplit_once(':').ok_or(MappingError::NoEquals)?;
    // `5434:depot:5432` is an order of ssh: it has no peer that anybody could be called.
    let is_peer = !peer.is_empty() && !peer.contains(':');
    if is_peer && ports.parse::<PortRange>().is_ok() { Ok(ports) } else { Err(MappingError::NoEquals) }
}

fn sides(text: &str, equals: Option<usize>) -> Result<(&str, &str), MappingError> {
    let (left, right) = text.split_at(equals.ok_or(MappingError::NoEquals)?);
    let right = &right[1..];
    if left.is_empty() || right.is_empty() { Err(MappingError::Missing) } else { Ok((left, right)) }
}

fn socket(path: &str) -> Result<PathBuf, MappingError> {
    if path.is_empty() { Err(MappingError::Missing) } else { Ok(path.into()) }
}

/// What is behind the last commas, as long as it has an `=`: a path may have commas, too.
fn socket_file(text: &str) -> Result<SocketFile, MappingError> {
    let mut file = SocketFile::default();
    let mut path = text;
    while let Some((before, option)) = path.rsplit_once(',') {
        let Some((name, value)) = option.split_once('=') else { break };
        if value.is_empty() {
            return Err(MappingError::Missing);
        }
        // The last one counts, and it comes first here.
        match name {
            "mode" => file.mode = Some(file.mode.map_or_else(|| mode(value), Ok)?),
            "user" => file.user = file.user.or_else(|| Some(value.to_owned())),
            "group" => file.group = file.group.or_else(|| Some(value.to_owned())),
            _ => return Err(MappingError::BadOption),
        }
        path = before;
    }
    file.path = socket(path)?;
    Ok(file)
}

fn mode(text: &str) -> Result<u32, MappingError> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777).ok_or(MappingError::BadMode)
}

fn rules(list: &str) -> Result<Vec<Rule>, MappingError> {
    list.split(',').map(|rule| rule.parse().map_err(MappingError::BadRule)).collect()
}

fn port(text: &str) -> Result<u16, MappingError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or(MappingError::BadPort)
}

fn address(text: &str) -> Result<IpAddr, MappingError> {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse().map(IpAddr::V6).map_err(|_| MappingError::BadAddress),
        None => text.parse().map(IpAddr::V4).map_err(|_| MappingError::BadAddress),
    }
}

/// A host is looked up later; here it must only not be mistaken: an IPv6 address without brackets hides the port.
fn host_of(text: &str) -> Result<String, MappingError> {
    match text {
        "" => Err(MappingError::Missing),
        _ if text.contains([':', '[', ']']) => address(text).map(|address| address.to_string()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(port: u16) -> PortRange {
        PortRange { first: port, last: port }
    }

    #[test]
    fn exports_name_a_host_or_a_socket() {
        let target = |text: &str| text.parse::<Export>().map(|export| export.target);
        let tcp = |host: &str, ports| Ok(Target::Tcp { host: host.to_owned(), ports });
        assert_eq!(target("pg=db.local:5432"), tcp("db.local", one(5432)));
        assert_eq!(target("pg=5432"), tcp("127.0.0.1", one(5432)));
        assert_eq!(target("pg=[::1]:5432"), tcp("::1", one(5432)));
        assert_eq!(target("rmi=10.0.0.1:1099-1103"), tcp("10.0.0.1", PortRange { first: 1099, last: 1103 }));
        assert_eq!(target("db=unix:/run/a=b"), Ok(Target::Unix("/run/a=b".into())));
        let rules = |list: &str| list.split(',').map(|rule| rule.parse().expect("a rule")).collect();
        assert_eq!(target("web=socks:db:5432,10.0.0.0/8:*"), Ok(Target::Socks(rules("db:5432,10.0.0.0/8:*"))));
        assert_eq!(target("web=socks:1080"), Err(MappingError::BadRule(RuleError::NoPort)));
        assert_eq!(target("web=socks:db:1,"), Err(MappingError::BadRule(RuleError::NoPort)));
        assert_eq!(target("5432"), tcp("127.0.0.1", one(5432)), "a number is its own name");
        assert_eq!("1099-1103".parse::<Export>().map(|export| export.app.to_string()), Ok("1099-1103".to_owned()));
        assert_eq!(target("pg=::1:5432"), Err(MappingError::BadAddress));
        assert_eq!(target("pg=host:0"), Err(MappingError::BadPort));
        assert_eq!(target("pg=:5432"), Err(MappingError::Missing));
        assert_eq!(target("pg"), Err(MappingError::NoEquals));
        assert!(matches!(target("p g=1"), Err(MappingError::BadApp(_))));
    }

    #[test]
    fn imports_listen_on_loopback_unless_told() {
        let at = |text: &str| text.parse::<Import>().map(|import| import.at);
        let tcp = |bind: &str, ports| {
            let bind = Bind::Address(bind.parse().expect("an address"));
            Ok(Where::Tcp { bind, ports })
        };
        assert_eq!(at("5432=depot:pg"), tcp("127.0.0.1", one(5432)));
        assert_eq!(at("0=depot:pg"), tcp("127.0.0.1", one(0)));
        assert_eq!(at("[::]:5432=depot:pg"), tcp("::", one(5432)));
        let file = |path: &str| SocketFile { path: path.into(), ..SocketFile::default() };
        assert_eq!(at("unix:/run/a=b=depot:pg"), Ok(Where::Unix(file("/run/a=b"))));
        assert_eq!(at("5-4=depot:pg"), Err(MappingError::BackwardRange));
        assert_eq!(at("0-4=depot:pg"), Err(MappingError::BadPort));
        assert_eq!(at("localhost:1=depot:pg"), Ok(Where::Tcp { bind: Bind::Localhost, ports: one(1) }));
        assert_eq!(at("elsewhere:1=depot:pg"), Err(MappingError::BadAddress), "a name may stand for anything");
        assert_eq!(at("+1=depot:pg"), Err(MappingError::BadPort));
        assert_eq!("1=depot:pg".parse::<Import>().map(|import| import.to), Ok("depot:pg".to_owned()));
        assert_eq!(at("depot:pg"), Err(MappingError::NoEquals), "which port?");
    }

    #[test]
    fn a_socket_file_may_be_for_somebody() {
        let at = |text: &str| text.parse::<Import>().map(|import| import.at);
        let file = |path: &str, mode, user: Option<&str>, group: Option<&str>| {
            let (user, group) = (user.map(str::to_owned), group.map(str::to_owned));
            Ok(Where::Unix(SocketFile { path: path.into(), mode, user, group }))
        };
        assert_eq!(at("unix:/run/db,mode=660=depot:pg"), file("/run/db", Some(0o660), None, None));
        let all = "unix:/run/db,user=pg,group=www-data,mode=0600=depot:pg";
        assert_eq!(at(all), file("/run/db", Some(0o600), Some("pg"), Some("www-data")));
        assert_eq!(at("unix:/run/a,b=depot:pg"), file("/run/a,b", None, None, None));
        assert_eq!(at("unix:/run/a,mode=600,mode=660=depot:pg"), file("/run/a", Some(0o660), None, None));
        for mode in ["999", "1777", "rw", "+1", "-1"] {
            assert_eq!(at(&format!("unix:/run/db,mode={mode}=depot:pg")), Err(MappingError::BadMode), "{mode}");
        }
        assert_eq!(at("unix:/run/db,mod=660=depot:pg"), Err(MappingError::BadOption));
        assert_eq!(at("unix:/run/db,group==depot:pg"), Err(MappingError::Missing));
        assert_eq!(at("unix:,mode=660=depot:pg"), Err(MappingError::Missing));
    }

    #[test]
    fn the_number_is_the_same_on_both_sides_unless_told() {
        let range = PortRange { first: 1099, last: 1103 };
        let at = |ports| Where::Tcp { bind: Bind::Address(Ipv4Addr::LOCALHOST.into()), ports };
        for (text, ports, to) in [
            ("depot:5432", one(5432), "depot:5432"),
            ("5432=depot", one(5432), "depot:5432"),
            ("15432=depot:5432", one(15432), "depot:5432"),
            ("depot:1099-1103", range, "depot:1099-1103"),
            ("1099-1103=depot", range, "depot:1099-1103"),
        ] {
            let import = text.parse::<Import>().map(|import| (import.at, import.to));
            assert_eq!(import, Ok((at(ports), to.to_owned())), "{text}");
        }
        assert_eq!("0=depot".parse::<Import>().map(|import| import.to), Ok("depot".to_owned()));
        for (text, line) in [("5432=pg", Some("5432=PEER:pg")), ("depot:5432", None), ("1=depot:pg", None)] {
            let import = text.parse::<Import>().expect("a mapping");
            assert_eq!(import.with_peer.as_deref(), line, "{text}");
        }
        for text in [":5432", "5434:shop:5432", "127.0.0.1:5434:shop:5432"] {
            assert_eq!(text.parse::<Import>(), Err(MappingError::NoEquals), "{text}");
        }
    }

    #[test]
    fn allow_is_for_all_exports_or_for_one() {
        let allow = |text: &str| text.parse::<Allow>().map(|a| (a.app.map(|app| app.to_string()), a.peer));
        assert_eq!(allow("hq"), Ok((None, "hq".to_owned())));
        assert_eq!(allow("pg=hq"), Ok((Some("pg".to_owned()), "hq".to_owned())));
        assert_eq!(allow("=hq"), Err(MappingError::Missing));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z0-9:=\\[\\]\\-./ é]{0,24}") {
            let taken = [text.parse::<Export>().is_ok(), text.parse::<Import>().is_ok()];
            let numbered = text.rsplit(':').next().is_some_and(|ports| ports.parse::<PortRange>().is_ok());
            prop_assert!(text.contains('=') || numbered || taken == [false, false]);
        }
    }
}
