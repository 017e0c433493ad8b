//! Where keys, peers, relays and state are looked for. Pure: paths come out, nothing is opened.
//!
//! One rule of precedence for all: flag, environment, the user's file, the system's file.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::env::Env;
use super::voice::names::NOT_TEXT;
use crate::names::{RelayAddress, RelayAddressError};

/// The system's configuration directory, for services.
pub(crate) const SYSTEM_DIRECTORY: &str = "/etc/vp";

/// Name of a relay's key, in its state directory or among systemd's credentials.
pub(crate) const RELAY_KEY: &str = "relay.key";

/// A configuration file that every tool looks for in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigFile {
    /// The secret key of this party.
    Key,
    /// Petnames and ids of others.
    Peers,
    /// Relay addresses, one per line.
    Relays,
    /// The password for a proxy.
    ProxyPassword,
}

impl ConfigFile {
    /// Its name in a configuration directory.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Peers => "peers",
            Self::Relays => "relays",
            Self::ProxyPassword => "proxy-password",
        }
    }

    /// The variable that gives its path. `VP_RELAY` holds addresses, not a path, so relays have none.
    pub(crate) const fn variable(self) -> Option<&'static str> {
        match self {
            Self::Key => Some("VP_KEY"),
            Self::Peers => Some("VP_PEERS"),
            Self::Relays | Self::ProxyPassword => None,
        }
    }
}

/// Who named a path, which decides whether its absence is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag on the command line.
    Flag,
    /// A variable of ours.
    Variable(&'static str),
    /// systemd's `CREDENTIALS_DIRECTORY`. It guards the file itself: the mode may allow the group to read.
    Credential,
    /// The user's configuration directory.
    User,
    /// [`SYSTEM_DIRECTORY`].
    System,
}

impl Origin {
    /// Somebody asked for this very file: go no further when it is missing.
    pub(crate) const fn is_explicit(self) -> bool {
        matches!(self, Self::Flag | Self::Variable(_))
    }
}

/// One place to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The file.
    pub path: PathBuf,
    /// Who named it.
    pub origin: Origin,
}

/// Places to look for a file, best first. The first that exists is meant; an explicit one stands alone.
pub(crate) fn candidates(file: ConfigFile, flag: Option<&Path>, env: &Env) -> Vec<Candidate> {
    if let Some(path) = flag {
        return vec![Candidate { path: path.to_owned(), origin: Origin::Flag }];
    }
    if let Some((name, path)) = file.variable().and_then(|name| Some((name, env.get(name)?))) {
        return vec![Candidate { path: path.into(), origin: Origin::Variable(name) }];
    }
    usual_places(file, env)
}

/// Places to look for a file that nobody has named, best first.
fn usual_places(file: ConfigFile, env: &Env) -> Vec<Candidate> {
    let credential = match file {
        ConfigFile::Key | ConfigFile::ProxyPassword => env.absolute("CREDENTIALS_DIRECTORY"),
        ConfigFile::Peers | ConfigFile::Relays => None,
    };
    [
        credential.map(|directory| (directory, Origin::Credential)),
        user_directory(env).map(|directory| (directory, Origin::User)),
        Some((PathBuf::from(SYSTEM_DIRECTORY), Origin::System)),
    ]
    .into_iter()
    .flatten()
    .map(|(directory, origin)| Candidate { path: directory.join(file.name()), origin })
    .collect()
}

/// Places to look for a relay's key that somebody has given to it. A party's key is not among them, wherever it may lie.
pub(crate) fn relay_key_candidates(flag: Option<&Path>, env: &Env) -> Vec<Candidate> {
    if let Some(path) = flag {
        return vec![Candidate { path: path.to_owned(), origin: Origin::Flag }];
    }
    let credential = env.absolute("CREDENTIALS_DIRECTORY").map(|directory| directory.join(RELAY_KEY));
    credential.map(|path| Candidate { path, origin: Origin::Credential }).into_iter().collect()
}

/// Wherever a secret key may lie that these tools use here: in this run, or in the next without its flag and variable.
pub(crate) fn secret_keys(flag: Option<&Path>, env: &Env) -> Vec<PathBuf> {
    let named = candidates(ConfigFile::Key, flag, env).into_iter().chain(candidates(ConfigFile::Key, None, env));
    let ours = named.chain(usual_places(ConfigFile::Key, env));
    let relays = relay_key_candidates(None, env).into_iter().map(|candidate| candidate.path);
    let made = state_directory(env).map(|directory| directory.join(RELAY_KEY));
    ours.map(|candidate| candidate.path).chain(relays).chain(made).collect()
}

/// Where this user's `key` belongs when one is made: the first place of the user's own.
pub(crate) fn user_file(file: ConfigFile, env: &Env) -> Option<PathBuf> {
    user_directory(env).map(|directory| directory.join(file.name()))
}

/// Where the relays come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RelaySource {
    /// Named on the command line or in `VP_RELAY`; never empty.
    Named(Vec<RelayAddress>),
    /// To be read from the first of these files that exists.
    Files(Vec<Candidate>),
}

/// Which relays to use: those of `--relay`, else those of `VP_RELAY`, else a `relays` file.
///
/// # Errors
/// `VP_RELAY` holds something that is no relay address.
pub(crate) fn relays(flags: &[RelayAddress], env: &Env) -> Result<RelaySource, VariableError> {
    if !flags.is_empty() {
        return Ok(RelaySource::Named(flags.to_vec()));
    }
    let named = variable_relays(env.get("VP_RELAY").unwrap_or_default().as_bytes())?;
    Ok(match named.is_empty() {
        true => RelaySource::Files(candidates(ConfigFile::Relays, None, env)),
        false => RelaySource::Named(named),
    })
}

/// What is wrong with `VP_RELAY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VariableError {
    /// Which of its words, from 1.
    pub word: usize,
    /// Where, in characters from the start of the variable, from 1.
    pub column: usize,
    /// Why it is no relay address; `None` if it is not even UTF-8.
    pub cause: Option<RelayAddressError>,
}

impl fmt::Display for VariableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VP_RELAY, word {}, column {}: ", self.word, self.column)?;
        match &self.cause {
            Some(cause) => write!(f, "the relay address {}", cause),
            None => f.write_str(NOT_TEXT),
        }
    }
}

impl Error for VariableError {}

/// The directory for what must survive: systemd's, else the user's. `None` if neither is known.
pub(crate) fn state_directory(env: &Env) -> Option<PathBuf> {
    // systemd separates several directories by colons; a unit of ours has one, and the first is it.
    let service = env.get("STATE_DIRECTORY").and_then(|list| list.as_bytes().split(|byte| *byte == b':').next());
    service
        .map(|path| PathBuf::from(OsStr::from_bytes(path)))
        .filter(|path| path.is_absolute())
        .or_else(|| env.absolute("XDG_STATE_HOME").map(|home| home.join("vp")))
        .or_else(|| env.absolute("HOME").map(|home| home.join(".local/state/vp")))
}

fn user_directory(env: &Env) -> Option<PathBuf> {
    env.absolute("XDG_CONFIG_HOME")
        .or_else(|| env.absolute("HOME").map(|home| home.join(".config")))
        .map(|directory| directory.join("vp"))
}

fn variable_relays(value: &[u8]) -> Result<Vec<RelayAddress>, VariableError> {
    let (mut at, mut number, mut found) = (0, 0, Vec::new());
    for word in value.split(u8::is_ascii_whitespace) {
        let fail = |offset: usize, cause| {
            let before = String::from_utf8_lossy(&value[..at]).chars().count();
            VariableError { word: number + 1, column: before + offset + 1, cause }
        };
        if !word.is_empty() {
            let text = std::str::from_utf8(word)
                .map_err(|error| fail(String::from_utf8_lossy(&word[..error.valid_up_to()]).chars().count(), None))?;
            found.push(text.parse().map_err(|cause: RelayAddressError| fail(cause.offset(text), Some(cause)))?);
            number += 1;
        }
        at += word.len() + 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PeerId;

    fn full() -> Env {
        Env::from_iter([
            ("HOME", "/home/u"),
            ("XDG_CONFIG_HOME", "/cfg"),
            ("XDG_STATE_HOME", "/st"),
            ("CREDENTIALS_DIRECTORY", "/run/cred"),
            ("STATE_DIRECTORY", "/var/lib/vp:/var/lib/other"),
            ("VP_KEY", "here/key"),
        ])
    }

    fn without(env: &[&str]) -> Env {
        let keep = ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "VP_KEY"];
        let full = full();
        keep.iter().filter(|name| !env.contains(name)).map(|name| (*name, full.get(name).unwrap_or_default())).collect()
    }

    fn paths(file: ConfigFile, flag: Option<&str>, env: &Env) -> Vec<String> {
        candidates(file, flag.map(Path::new), env).iter().map(|c| c.path.display().to_string()).collect()
    }

    #[test]
    fn a_flag_beats_the_environment_beats_files() {
        let key = ConfigFile::Key;
        assert_eq!(paths(key, Some("k"), &full()), ["k"]);
        assert_eq!(paths(key, None, &full()), ["here/key"]);
        let rest = without(&["VP_KEY"]);
        assert_eq!(paths(key, None, &rest), ["/run/cred/key", "/cfg/vp/key", "/etc/vp/key"]);
        assert_eq!(paths(ConfigFile::Peers, None, &rest), ["/cfg/vp/peers", "/etc/vp/peers"]);
        let home = without(&["VP_KEY", "XDG_CONFIG_HOME", "CREDENTIALS_DIRECTORY"]);
        assert_eq!(paths(key, None, &home), ["/home/u/.config/vp/key", "/etc/vp/key"]);
        assert_eq!(paths(key, None, &Env::default()), ["/etc/vp/key"]);
    }

    #[test]
    fn a_key_that_this_run_does_not_use_stays_secret() {
        let keys = |flag: Option<&str>| secret_keys(flag.map(Path::new), &full());
        for place in ["here/key", "/run/cred/key", "/cfg/vp/key", "/etc/vp/key", "/run/cred/relay.key"] {
            assert!(keys(None).contains(&place.into()), "{place}");
            assert!(keys(Some("other")).contains(&place.into()), "{place}");
        }
        assert!(keys(Some("other")).contains(&"other".into()));
    }

    #[test]
    fn only_what_somebody_named_is_explicit() {
        let origin = |env: &Env, flag| candidates(ConfigFile::Key, flag, env)[0].origin;
        assert!(origin(&full(), Some(Path::new("k"))).is_explicit());
        assert!(origin(&full(), None).is_explicit());
        assert!(candidates(ConfigFile::Key, None, &without(&["VP_KEY"])).iter().all(|c| !c.origin.is_explicit()));
    }

    #[test]
    fn state_goes_to_systemd_then_xdg_then_home() {
        let at = |env: &Env| state_directory(env).map(|path| path.display().to_string());
        assert_eq!(at(&full()).as_deref(), Some("/var/lib/vp"));
        assert_eq!(at(&without(&["STATE_DIRECTORY"])).as_deref(), Some("/st/vp"));
        assert_eq!(at(&without(&["STATE_DIRECTORY", "XDG_STATE_HOME"])).as_deref(), Some("/home/u/.local/state/vp"));
        assert_eq!(at(&Env::default()), None);
        assert_eq!(at(&Env::from_iter([("HOME", "relative")])), None);
    }

    fn relay(byte: u8) -> RelayAddress {
        format!("{}@relay.example", PeerId::from_bytes([byte; 32])).parse().expect("an address")
    }

    #[test]
    fn relays_come_from_flags_then_the_variable_then_files() {
        let two = Env::from_iter([("VP_RELAY", format!(" {}\t {} ", relay(1), relay(2)))]);
        assert_eq!(relays(&[relay(3)], &two), Ok(RelaySource::Named(vec![relay(3)])));
        assert_eq!(relays(&[], &two), Ok(RelaySource::Named(vec![relay(1), relay(2)])));
        let files = candidates(ConfigFile::Relays, None, &Env::default());
        assert_eq!(relays(&[], &Env::from_iter([("VP_RELAY", "  ")])), Ok(RelaySource::Files(files)));
    }

    #[test]
    fn a_bad_relay_variable_says_which_word_and_where() {
        let error = |value: &[u8]| {
            let env = Env::from_iter([("VP_RELAY", OsStr::from_bytes(value))]);
            relays(&[], &env).expect_err("a mistake")
        };
        let good = relay(1).to_string();
        let found = error(format!("{good} nonsense").as_bytes());
        let column = good.len() + 2;
        assert_eq!(found, VariableError { word: 2, column, cause: Some(RelayAddressError::MissingId) });
        assert!(found.to_string().starts_with(&format!("VP_RELAY, word 2, column {column}: ")), "{found}");
        let found = error(format!("tcp://{}", good.replacen("vp1qyq", "vp1qbq", 1)).as_bytes());
        assert_eq!((found.word, found.column), (1, 11), "{found}");
        let found = error(b"  vp1\xe9 ").to_string();
        assert_eq!(found, "VP_RELAY, word 1, column 6: a byte that is not UTF-8 text");
    }
}
