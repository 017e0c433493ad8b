//! Which relay this is. A relay has a key of its own: the one named, else the one in its state directory, made there once.
//! It is never a party's, which lies where parties look: a relay that took that one would be another relay from the day on
//! which its user makes a key.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::cli::config::named_relay_key;
use crate::cli::env::Env;
use crate::cli::escape::printable;
use crate::cli::exit::Exit;
use crate::cli::files::{RELAY_KEY, state_directory};
use crate::cli::key::{key_fault, unwritten_key};
use crate::cli::report::Fault;
use crate::identity::{Identity, PeerId};
use crate::store::keyfile::{CreateError, LoadError, Overwrite, create, load};

/// Name of the file beside the key that says which relay this is, so that another one is noticed.
const STATE_ID: &str = "relay.id";
/// Nobody else looks into a state directory.
const DIRECTORY_MODE: u32 = 0o700;

/// The key of this relay.
///
/// # Errors
/// It cannot be used, there is no place to make one in, or it is not the one of the last start.
pub(super) fn relay_key(flag: Option<&Path>, env: &Env) -> Result<Identity, Fault> {
    if let Some(identity) = named_relay_key(flag, env)? {
        return Ok(identity);
    }
    let directory = state_directory(env).ok_or_else(|| {
        Fault::new(Exit::Config, "no key, and no state directory to make one in")
            .hint("name a key with --key, or set STATE_DIRECTORY")
    })?;
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(&directory)
        .map_err(|error| Fault::about(Exit::Config, &directory, &error))?;
    let (path, note) = (directory.join(RELAY_KEY), directory.join(STATE_ID));
    let before = fs::read_to_string(&note).ok().and_then(|text| text.trim().parse().ok());
    let identity = match (load(&path), before) {
        (Ok(identity), Some(before)) if identity.id() != before => return Err(another(&path, &note, before)),
        (Ok(identity), _) => identity,
        (Err(LoadError::Io(error)), None) if error.kind() == io::ErrorKind::NotFound => made(&path)?,
        (Err(LoadError::Io(error)), Some(before)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(lost(&path, &note, before));
        }
        (Err(error), _) => return Err(key_fault(&path, &error)),
    };
    if before.is_none() {
        // It is there for who loses the key. A relay that cannot write it serves as well.
        let _ = fs::write(&note, format!("{}\n", identity.id()));
    }
    Ok(identity)
}

fn made(path: &Path) -> Result<Identity, Fault> {
    let identity = Identity::generate();
    match create(path, &identity, Overwrite::Never) {
        Ok(()) => Ok(identity),
        // Another relay that started at the same time was faster: its key is the key.
        Err(CreateError::Exists) => load(path).map_err(|error| key_fault(path, &error)),
        Err(error) => Err(unwritten_key(path, &error)),
    }
}

fn another(path: &Path, note: &Path, before: PeerId) -> Fault {
    let message = format!("{}: this is another key than that of the relay {before}, which ran here", printable(path));
    Fault::new(Exit::Config, message).hint(begin_anew(note))
}

fn lost(path: &Path, note: &Path, before: PeerId) -> Fault {
    let message = format!("{}: the key of the relay {before}, which ran here, is gone", printable(path));
    Fault::new(Exit::Config, message).hint(begin_anew(note))
}

fn begin_anew(note: &Path) -> String {
    format!("put it back; to be another relay, whose new address all peers need, remove {}", printable(note))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn id(env: &Env) -> Result<PeerId, Fault> {
        relay_key(None, env).map(|identity| identity.id())
    }

    #[test]
    fn a_relay_makes_its_key_once_and_keeps_it() {
        let home = tempfile::tempdir().expect("a directory");
        let env = Env::from_iter([("HOME", home.path())]);
        let first = id(&env);
        assert!(first.is_ok());
        assert_eq!(id(&env), first);
        let directory = home.path().join(".local/state/vp");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join(RELAY_KEY))), (DIRECTORY_MODE, 0o600));
    }

    #[test]
    fn a_key_of_a_party_is_not_a_relays() {
        let home = tempfile::tempdir().expect("a directory");
        let config = home.path().join(".config/vp");
        fs::create_dir_all(&config).expect("a directory");
        let env =
            Env::from_iter([("HOME", home.path()), ("CREDENTIALS_DIRECTORY", &config), ("VP_KEY", Path::new("/no"))]);
        let first = id(&env).expect("a key of its own");
        create(&config.join("key"), &Identity::generate(), Overwrite::Never).expect("a key");
        assert_eq!(id(&env), Ok(first));
        // What is called a relay's is one.
        let named = Identity::generate();
        create(&config.join(RELAY_KEY), &named, Overwrite::Never).expect("a key");
        assert_eq!(id(&env), Ok(named.id()));
    }

    #[test]
    fn another_identity_is_refused_until_somebody_says_that_it_is_meant() {
        let home = tempfile::tempdir().expect("a directory");
        let env = Env::from_iter([("XDG_STATE_HOME", home.path())]);
        let (key, note) = (home.path().join("vp/relay.key"), home.path().join("vp/relay.id"));
        let first = id(&env).expect("a key");
        fs::remove_file(&key).expect("it is there");
        let gone = id(&env).expect_err("its key is gone");
        assert!(gone.exit == Exit::Config && gone.message.contains(&first.to_string()), "{gone}");
        create(&key, &Identity::generate(), Overwrite::Never).expect("a key");
        let other = id(&env).expect_err("another key");
        assert!(other.message.contains("another key") && other.hints[0].contains("/vp/relay.id"), "{other:?}");
        fs::remove_file(&note).expect("it is there");
        assert_ne!(id(&env).expect("meant"), first);
    }

    #[test]
    fn without_any_directory_it_says_so() {
        assert_eq!(id(&Env::default()).map_err(|fault| fault.exit), Err(Exit::Config));
    }
}
