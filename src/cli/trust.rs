//! Whom to believe where a relay is reached by TLS, as options and the environment say.

use super::config::contents;
use super::env::Env;
use super::escape::printable;
use super::exit::Exit;
use super::report::Fault;
use super::voice::names::tls_text;
use crate::carrier::{TlsClient, TlsFault, written_certificates};
use crate::cli::args::{Connect, OuterTls};
use crate::run::trust;
use std::io;
use std::path::Path;

/// Names a file of certificates to trust in place of the system's.
const FILE: &str = "SSL_CERT_FILE";
/// Names directories of them, with colons between.
const DIRECTORIES: &str = "SSL_CERT_DIR";
/// What to do where nobody can be believed.
const NAME_SOME: &str = "name certificates to trust with --ca FILE, or take any with --outer-tls any";

/// What the options say of it, or None if they say nothing.
///
/// # Errors
/// They contradict each other, or the file that they name cannot be used.
pub(crate) fn of_options(connect: &Connect) -> Result<Option<TlsClient>, Fault> {
    match (&connect.ca, connect.outer_tls) {
        (Some(_), OuterTls::Any) => Err(Fault::new(
            Exit::Usage,
            "--ca and --outer-tls any exclude each other: whom to trust means nothing where any will do",
        )),
        (None, OuterTls::Any) => Ok(Some(trust::of_anybody())),
        (Some(path), OuterTls::Verify) => {
            let found = trust::of_pem(&there(path)?);
            found.map(Some).map_err(|fault| unusable(path, fault))
        }
        (None, OuterTls::Verify) => Ok(None),
    }
}

/// Those that the environment names, else the system's.
///
/// # Errors
/// There is nobody.
pub(crate) fn of_environment(env: &Env) -> Result<TlsClient, Fault> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    let mut take = |name: &str, path: &Path, read: Result<Vec<Vec<u8>>, Fault>| match read {
        Ok(some) if !some.is_empty() => found.extend(some),
        read => {
            let fault = read.err().unwrap_or_else(|| unusable(path, TlsFault::NoCertificate));
            faults.push(Fault { message: format!("{name}: {fault}"), ..fault }.hint(NAME_SOME));
        }
    };
    if let Some(path) = env.get(FILE).map(Path::new) {
        take(FILE, path, there(path).map(|text| written_certificates(&text)));
    }
    for path in env.get(DIRECTORIES).into_iter().flat_map(std::env::split_paths).filter(|path| is_named(path)) {
        let read = trust::in_directory(&path).map_err(|error| Fault::about(Exit::Config, &path, &error));
        take(DIRECTORIES, &path, read);
    }
    match faults.into_iter().next() {
        Some(fault) if found.is_empty() => Err(fault),
        None if found.is_empty() => trust::of_system().map_err(|_| {
            Fault::new(Exit::Config, "this machine has no certificates to verify those of relays by")
                .hint(format!("install them (Debian: ca-certificates), or {NAME_SOME}"))
        }),
        _ => trust::of_these(found).map_err(|fault| {
            let name = if env.get(FILE).is_some() { FILE } else { DIRECTORIES };
            Fault::new(Exit::Config, format!("{name}: {}", tls_text(fault))).hint(NAME_SOME)
        }),
    }
}

/// Whether a path of a list is one: between two colons there may be none.
fn is_named(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

fn there(path: &Path) -> Result<Vec<u8>, Fault> {
    contents(path)?.ok_or_else(|| {
        let missing = io::Error::from(rustix::io::Errno::NOENT);
        Fault::about(Exit::Config, path, &missing)
    })
}

fn unusable(path: &Path, fault: TlsFault) -> Fault {
    Fault::new(Exit::Config, format!("{}: {}", printable(path), tls_text(fault)))
}
