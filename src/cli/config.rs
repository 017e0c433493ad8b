//! Reads the key, the peers and the relays from the places that [`super::files`] names, and puts failures into words.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::env::Env;
use super::escape::printable;
use super::exit::Exit;
use super::files::{Candidate, ConfigFile, Origin, RelaySource, candidates, relay_key_candidates, relays, user_file};
use super::mixups;
use super::report::Fault;
use crate::cli::key::key_fault;
use crate::identity::{Identity, PeerId};
use crate::names::{Address, AddressError, ParseError, Peers, ProxyAddress, RelayAddress, Relays, keyfile};
use crate::net::list::{PATIENCE, read_list};
use crate::store::keyfile::{LoadError, load};

/// Longest peers or relays file: some 100,000 lines. Bounds what is read of a file that is none.
const FILE_MAX: u64 = 16 * 1024 * 1024;
/// Longest credential, see [`load_credential`].
const CREDENTIAL_MAX: u64 = 4096;

/// The key of this party.
///
/// # Errors
/// There is none, others can read it, or it is damaged.
pub(crate) fn key(flag: Option<&Path>, env: &Env) -> Result<Identity, Fault> {
    let places = candidates(ConfigFile::Key, flag, env);
    first(&places, key_at)?.ok_or_else(|| {
        let fault = Fault::new(Exit::Config, format!("no key found: {}", nowhere(&places)));
        match user_file(ConfigFile::Key, env) {
            Some(path) => fault.hint(format!("make one: vp-keygen -o {}", printable(&path))),
            None => fault.hint("name one with --key or VP_KEY"),
        }
    })
}

/// The key that somebody has given to a relay, or `None`: then it has one in its state directory.
///
/// # Errors
/// One was named and is missing, others can read it, or it is damaged.
pub(crate) fn named_relay_key(flag: Option<&Path>, env: &Env) -> Result<Option<Identity>, Fault> {
    first(&relay_key_candidates(flag, env), key_at)
}

fn key_at(candidate: &Candidate) -> Result<Option<Identity>, Fault> {
    let loaded = match candidate.origin {
        Origin::Credential => load_credential(&candidate.path),
        _ => load(&candidate.path),
    };
    match loaded {
        Ok(identity) => Ok(Some(identity)),
        Err(LoadError::Io(error)) => not_found_is_none(&candidate.path, error),
        Err(error) => Err(key_fault(&candidate.path, &error)),
    }
}

/// Who is called what, if there is a file.
///
/// # Errors
/// A named file is missing, or a line of it is wrong.
pub(crate) fn peers(flag: Option<&Path>, env: &Env) -> Result<Option<Peers>, Fault> {
    first(&candidates(ConfigFile::Peers, flag, env), |candidate| {
        let Some(bytes) = contents(&candidate.path)? else { return Ok(None) };
        let peers = parsed(&candidate.path, Peers::read(&bytes))?;
        // A relay's options may stand there; what is none was meant for something, and would not do it.
        peers.iter().try_for_each(|peer| parsed(&candidate.path, peer.limits()).map(drop))?;
        Ok(Some(peers.of_file(printable(&candidate.path))))
    })
}

/// The file that they are read from, if there is one.
pub(crate) fn peers_file(flag: Option<&Path>, env: &Env) -> Option<PathBuf> {
    candidates(ConfigFile::Peers, flag, env).into_iter().map(|candidate| candidate.path).find(|path| path.exists())
}

/// Nobody, where there is no such file.
pub(crate) fn no_peers(flag: Option<&Path>, env: &Env) -> Peers {
    Peers::absent(nowhere(&candidates(ConfigFile::Peers, flag, env)))
}

/// That files are not there, by their paths.
fn nowhere(places: &[Candidate]) -> String {
    let places: Vec<_> = places.iter().map(|place| format!("no {}", printable(&place.path))).collect();
    format!("there is {}", places.join(" and "))
}

/// Where to meet, at least one, and the proxy that is named beside them.
///
/// # Errors
/// None is named anywhere, or what is named is wrong.
pub(crate) fn relay_addresses(
    flags: &[RelayAddress],
    env: &Env,
) -> Result<(Vec<RelayAddress>, Option<ProxyAddress>), Fault> {
    let places = match relays(flags, env).map_err(|error| Fault::new(Exit::Config, error.to_string()))? {
        RelaySource::Named(addresses) => return Ok((addresses, None)),
        RelaySource::Files(places) => places,
    };
    let found = first(&places, |candidate| {
        let Some(bytes) = contents(&candidate.path)? else { return Ok(None) };
        let relays = parsed(&candidate.path, Relays::read(&bytes))?;
        Ok(Some((relays.into_parts(), printable(&candidate.path))))
    })?;
    let none = match found {
        Some(((addresses, proxy), _)) if !addresses.is_empty() => return Ok((addresses, proxy)),
        Some((_, path)) => format!("{path} names none"),
        None => nowhere(&places),
    };
    Err(Fault::new(Exit::Config, format!("no relay named: {none}"))
        .hint("name one with --relay or VP_RELAY, or put its address into the relays file"))
}

/// The address that a person typed.
///
/// # Errors
/// It is malformed, or the peers file does not have the name.
pub(crate) fn address(typed: &str, peers: &Peers) -> Result<Address, Fault> {
    Address::parse(typed, peers).map_err(|error| {
        let file = peers.place().unwrap_or("the peers file");
        let (shown, why) = (printable(typed), error.to_string());
        let foreign = mixups::address(typed).map(|line| printable(&line));
        match error {
            AddressError::UnknownName => {
                let place = peers.place().map_or_else(|| format!(": {}", peers.absence()), |at| format!(" in {at}"));
                let fault = |tail| Fault::new(Exit::Config, format!("{shown}: {why}{place}{tail}"));
                let fault = match probably(typed, peers) {
                    Some(meant) => fault(format!("; did you mean {meant}?")),
                    None => fault(String::new()),
                };
                foreign
                    .into_iter()
                    .fold(fault, Fault::hint)
                    .hint(format!("add a line NAME ID to {file}, or use the id itself"))
            }
            AddressError::Conflict { .. } => Fault::new(Exit::Config, format!("{shown}: {why} in {file}"))
                .hint("take one of the two lines out: nobody is called that as long as both are there"),
            _ => foreign.into_iter().fold(Fault::new(Exit::Usage, format!("{shown}: {why}")), Fault::hint),
        }
    })
}

/// The address that somebody may have meant whose peer nobody knows: of a name like it, or with both words in order.
fn probably(typed: &str, peers: &Peers) -> Option<String> {
    match typed.split_once(':') {
        Some((app, peer)) if peers.by_name(peer).is_some() => Some(format!("{peer}:{app}")),
        Some((peer, app)) => nearest(peer, peers).map(|name| format!("{name}:{app}")),
        None => nearest(typed, peers).map(str::to_owned),
    }
}

/// Whether a word that is no name in the peers file is nearly one.
pub(crate) fn is_nearly_known(typed: &str, peers: &Peers) -> bool {
    nearest(typed, peers).is_some()
}

/// The name in the peers file that somebody may have meant: the same in other letters, or with one slip of the hand.
fn nearest<'a>(typed: &str, peers: &'a Peers) -> Option<&'a str> {
    let names = || peers.iter().map(|peer| peer.name.as_str());
    let same = names().find(|name| name.eq_ignore_ascii_case(typed));
    same.or_else(|| names().find(|name| is_one_slip(typed, name)))
}

/// One letter more, less, other, or two that changed places.
pub(crate) fn is_one_slip(typed: &str, name: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (typed.chars().collect(), name.chars().collect());
    let front = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[front..], &b[front..]);
    match (a, b) {
        ([], [_]) | ([_], []) => true,
        ([], _) | (_, []) => false,
        ([x, y, tail @ ..], [v, w, rest @ ..]) if x == w && y == v && tail == rest => true,
        ([_, tail @ ..], [_, rest @ ..]) => tail == rest || tail == b || a == rest,
    }
}

/// The peers that `--from` and `--allow` name.
///
/// # Errors
/// One is malformed or unknown, or names an application.
pub(crate) fn peer_ids(typed: &[String], peers: &Peers) -> Result<Vec<PeerId>, Fault> {
    typed
        .iter()
        .map(|one| match one.contains(':') {
            true => {
                let fault =
                    Fault::new(Exit::Usage, format!("{}: a peer is wanted here, without application", printable(one)));
                Err(match one.split_once(':').filter(|(peer, _)| peers.by_name(peer).is_some()) {
                    Some((peer, _)) => fault.hint(format!("name the peer alone: {peer}")),
                    None => fault,
                })
            }
            false => address(one, peers).map(|address| address.peer).map_err(|fault| match mixups::one_of_many(one) {
                Some(line) => Fault { hints: vec![printable(&line)], ..fault },
                None => fault,
            }),
        })
        .collect()
}

/// Asks each place in turn; `None` from a place that somebody named is an error, from others it means the next.
fn first<T>(places: &[Candidate], read: impl Fn(&Candidate) -> Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
    for candidate in places {
        match read(candidate)? {
            Some(found) => return Ok(Some(found)),
            None if candidate.origin.is_explicit() => {
                let missing = io::Error::from(rustix::io::Errno::NOENT);
                return Err(Fault::about(Exit::Config, &candidate.path, &missing));
            }
            None => {}
        }
    }
    Ok(None)
}

/// What a file says, or `None` if there is none.
pub(crate) fn contents(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    read_list(path, FILE_MAX).map(Some).or_else(|error| match error.kind() {
        io::ErrorKind::TimedOut => {
            let text =
                format!("{}: no file, and nothing has come out of it for {} s", printable(path), PATIENCE.as_secs());
            Err(Fault::new(Exit::Config, text).hint("name a file, or a pipe that somebody writes to, as <(command) is"))
        }
        io::ErrorKind::FileTooLarge => {
            let text = format!("{}: too large: it may have at most {} MiB", printable(path), FILE_MAX >> 20);
            Err(Fault::new(Exit::Config, text))
        }
        _ => not_found_is_none(path, error),
    })
}

fn bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= limit => Ok(bytes),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

fn not_found_is_none<T>(path: &Path, error: io::Error) -> Result<Option<T>, Fault> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
        _ => Err(Fault::about(Exit::Config, path, &error)),
    }
}

fn parsed<T>(path: &Path, result: Result<T, ParseError>) -> Result<T, Fault> {
    result.map_err(|error| Fault::new(Exit::Config, format!("{}: {}", printable(path), error)))
}

/// A key that systemd guards. Its access list shows as permission of the group (mode 0440), which is refused
/// anywhere else; others must still be kept out.
fn load_credential(path: &Path) -> Result<Identity, LoadError> {
    let mode = File::open(path)?.metadata()?.mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(LoadError::Exposed { mode });
    }
    let bytes = bounded(path, CREDENTIAL_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => LoadError::TooLong,
        _ => error.into(),
    })?;
    let bytes = Zeroizing::new(bytes);
    keyfile::read(&bytes).map_err(LoadError::Parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    struct Home(TempDir);

    impl Home {
        fn new() -> Self {
            let home = Self(TempDir::new().expect("a directory"));
            fs::create_dir(home.0.path().join("vp")).expect("writable");
            home
        }

        fn put(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) {
            let path = self.0.path().join("vp").join(name);
            fs::write(&path, text).expect("writable");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("ours");
        }

        fn env(&self) -> Env {
            Env::from_iter([("XDG_CONFIG_HOME", self.0.path())])
        }

        fn credentials(&self) -> Env {
            Env::from_iter([("CREDENTIALS_DIRECTORY", self.0.path().join("vp"))])
        }
    }

    fn id(byte: u8) -> PeerId {
        PeerId::from_bytes([byte; 32])
    }

    #[test]
    fn a_missing_key_says_how_to_make_one() {
        let home = Home::new();
        let fault = key(None, &home.env()).err().expect("no key");
        let said = format!("no key found: there is no {} and no /etc/vp/key", home.0.path().join("vp/key").display());
        assert_eq!((fault.exit, fault.message), (Exit::Config, said));
        assert!(fault.hints[0].starts_with("make one: vp-keygen -o /"), "{:?}", fault.hints);
        let named = named_relay_key(Some(Path::new("/nonexistent/key")), &home.env()).err().expect("named and missing");
        assert!(named.message.starts_with("/nonexistent/key: "), "{named}");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_but_for_a_credential() {
        let home = Home::new();
        let identity = Identity::generate();
        home.put("key", keyfile::encode(&identity).as_bytes(), 0o440);
        let fault = key(None, &home.env()).err().expect("exposed");
        assert!(fault.message.contains("mode 0440") && fault.hints[0].starts_with("chmod 600 "), "{fault:?}");
        assert_eq!(key(None, &home.credentials()).map(|key| key.id()), Ok(identity.id()));
        home.put("key", keyfile::encode(&identity).as_bytes(), 0o444);
        assert!(key(None, &home.credentials()).is_err());
        home.put("key", keyfile::encode(&identity).as_bytes(), 0o600);
        assert_eq!(key(None, &home.env()).map(|key| key.id()), Ok(identity.id()));
    }

    #[test]
    fn a_bad_line_is_named_by_file_line_and_column() {
        let home = Home::new();
        home.put("peers", "depot vp1nonsense\n", 0o644);
        let fault = peers(None, &home.env()).expect_err("a bad line");
        assert!(fault.message.contains("/vp/peers: line 1, column "), "{fault}");
        assert_eq!(fault.exit, Exit::Config);
        home.put("relays", "\u{1b}[2J", 0o644);
        assert!(relay_addresses(&[], &home.env()).expect_err("a bad line").message.contains("/vp/relays: line 1"));
    }

    #[test]
    fn a_byte_that_is_no_text_is_named_alike_in_every_file() {
        let home = Home::new();
        for name in ["key", "peers", "relays"] {
            home.put(name, b"# ours\n# Stra\xdfe\n", 0o600);
        }
        let said = "line 2, column 7: a byte that is not UTF-8 text";
        let faults = [
            key(None, &home.env()).err(),
            key(None, &home.credentials()).err(),
            peers(None, &home.env()).err(),
            relay_addresses(&[], &home.env()).err(),
        ];
        for fault in faults.map(|fault| fault.expect("no text")) {
            assert!(fault.message.ends_with(said) && fault.exit == Exit::Config, "{fault}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_in_every_file() {
        let home = Home::new();
        let identity = Identity::generate();
        home.put("key", format!("\u{feff}{}", *keyfile::encode(&identity)), 0o600);
        home.put("peers", format!("\u{feff}depot {}\r\n", id(1)), 0o644);
        home.put("relays", format!("\u{feff}{}@relay.example\r\n", id(3)), 0o644);
        for env in [home.env(), home.credentials()] {
            assert_eq!(key(None, &env).map(|key| key.id()), Ok(identity.id()));
        }
        assert!(peers(None, &home.env()).expect("a good file").expect("a file").by_name("depot").is_some());
        assert_eq!(relay_addresses(&[], &home.env()).map(|(relays, _)| relays[0].id), Ok(id(3)));
    }

    #[test]
    fn names_are_looked_up_and_unknown_ones_say_what_to_do() {
        let home = Home::new();
        home.put("peers", format!("depot {}\n", id(1)), 0o644);
        let peers = peers(None, &home.env()).expect("a good file").expect("a file");
        assert_eq!(peer_ids(&["depot".into(), id(2).to_string()], &peers), Ok(vec![id(1), id(2)]));
        let unknown = address("dep\u{202e}ot:x", &peers).expect_err("malformed");
        assert_eq!(unknown.exit, Exit::Usage);
        assert!(unknown.message.starts_with("dep\\u{202e}ot:x: "), "{unknown}");
        assert_eq!(address("hq", &peers).expect_err("unknown").exit, Exit::Config);
        assert_eq!(peer_ids(&["depot:pg".into()], &peers).expect_err("not a peer").exit, Exit::Usage);
    }

    #[test]
    fn who_is_not_found_is_named_with_the_file_and_with_who_may_be_meant() {
        let text = format!("Depot {}\neast {}\n", id(1), id(2));
        let known = Peers::parse(&text).expect("a good file").of_file("/c/peers".to_owned());
        let meant = |typed: &str| address(typed, &known).expect_err("unknown").message;
        assert_eq!(meant("depot"), "depot: no peer of this name in /c/peers; did you mean Depot?");
        assert_eq!(meant("Dpeot:pg"), "Dpeot:pg: no peer of this name in /c/peers; did you mean Depot:pg?");
        assert_eq!(meant("pg:east"), "pg:east: no peer of this name in /c/peers; did you mean east:pg?");
        assert_eq!(meant("hq:x"), "hq:x: no peer of this name in /c/peers");
        let none = no_peers(None, &Env::from_iter([("XDG_CONFIG_HOME", "/c")]));
        let fault = address("hq", &none).expect_err("unknown");
        assert_eq!(fault.message, "hq: no peer of this name: there is no /c/vp/peers and no /etc/vp/peers");
    }

    #[test]
    fn relays_are_read_from_the_file_when_nothing_else_names_them() {
        let home = Home::new();
        let none = || relay_addresses(&[], &home.env()).expect_err("no relay");
        assert!(none().message.ends_with("/vp/relays and no /etc/vp/relays"), "{}", none());
        home.put("relays", "# ours\n", 0o644);
        assert!(none().message.ends_with("/vp/relays names none") && none().exit == Exit::Config, "{}", none());
        home.put("relays", format!("# ours\n{}@relay.example\n", id(3)), 0o644);
        assert_eq!(relay_addresses(&[], &home.env()).map(|(relays, _)| relays[0].id), Ok(id(3)));
    }
}
