//! The environment as one value, read once at the start: what depends on it can be tested without touching it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Names of the variables the tools look at, each with its line in the manual pages.
pub const VARIABLES: [(&str, &str); 19] = [
    ("VP_RELAY", "relay addresses, separated by spaces"),
    ("VP_KEY", "key file"),
    ("VP_PEERS", "peers file"),
    ("HTTPS_PROXY", "proxy to relays, but for those at ws:// and http://; https_proxy goes before it"),
    ("http_proxy", "proxy to relays at ws:// and http://"),
    ("ALL_PROXY", "proxy to relays for which neither of these says anything; all_proxy goes before it"),
    (
        "NO_PROXY",
        "hosts that are reached without a proxy of these variables, as curl reads it; no_proxy goes before it",
    ),
    ("XDG_CONFIG_HOME", "holds vp/key, vp/peers and vp/relays (default ~/.config)"),
    ("XDG_STATE_HOME", "holds vp/, the state directory (default ~/.local/state)"),
    ("CREDENTIALS_DIRECTORY", "set by systemd; holds the credentials key, a key file, and proxy-password"),
    ("STATE_DIRECTORY", "set by systemd; the state directory"),
    (
        "SSL_CERT_FILE",
        "certificates to trust in place of the system's, for relays by tls, wss and https; --ca goes before it",
    ),
    ("SSL_CERT_DIR", "a directory of such certificates"),
    ("NOTIFY_SOCKET", "set by systemd; is told when the tool is ready and when it stops"),
    (
        "LISTEN_FDS",
        "set by systemd; listening sockets to serve, named by LISTEN_FDNAMES where a tool needs to know which is which",
    ),
    (
        "VP_DUMPABLE",
        "if not empty, a crash may leave a core file and your debugger may look in, and both see keys; else root alone may look",
    ),
    ("NO_COLOR", "if not empty, help texts have no colours; the tools use none elsewhere"),
    ("TERM", "if unset or dumb, no progress bar"),
    ("HOME", "stands in for the XDG directories"),
];

/// A snapshot of environment variables. An empty value counts as unset, as XDG and NO_COLOR have it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env {
    variables: BTreeMap<OsString, OsString>,
}

impl Env {
    /// The environment of this process, now.
    pub(crate) fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// The value of a variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The value as an absolute path. The XDG specification has relative ones ignored.
    pub(crate) fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self { variables: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn empty_is_unset_and_relative_is_no_directory() {
        let env = Env::from_iter([("A", ""), ("B", "rel/ative"), ("C", "/abs")]);
        assert_eq!(env.get("A"), None);
        assert_eq!(env.get("B"), Some(OsStr::new("rel/ative")));
        assert_eq!(env.absolute("B"), None);
        assert_eq!(env.absolute("C").as_deref(), Some(Path::new("/abs")));
    }
}
