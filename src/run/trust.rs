//! Whom a tool believes, where TLS is on its way to a relay.

use crate::carrier::{TlsClient, TlsFault};
use rustls::time_provider::DefaultTimeProvider;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whoever this machine trusts, where its system keeps them.
///
/// # Errors
/// There is nobody.
pub(crate) fn of_system() -> Result<TlsClient, TlsFault> {
    let places = openssl_probe::probe();
    let mut dirs = places.cert_dir.iter().map(PathBuf::as_path);
    let mut found = rustls_native_certs::load_certs_from_paths(places.cert_file.as_deref(), dirs.next()).certs;
    for dir in dirs {
        found.extend(rustls_native_certs::load_certs_from_paths(None, Some(dir)).certs);
    }
    of_these(found.into_iter().map(|authority| authority.to_vec()).collect())
}

/// The certificates in a directory, in DER. What is no certificate is left out.
///
/// # Errors
/// It cannot be read.
pub(crate) fn in_directory(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    path.read_dir()?;
    let found = rustls_native_certs::load_certs_from_paths(None, Some(path)).certs;
    Ok(found.into_iter().map(|authority| authority.to_vec()).collect())
}

/// Whoever has one of these certificates, in DER, or is signed by one. Those that nobody can read are left out.
///
/// # Errors
/// There is nobody.
pub(crate) fn of_these(authorities: Vec<Vec<u8>>) -> Result<TlsClient, TlsFault> {
    TlsClient::trusting(authorities, Arc::new(DefaultTimeProvider))
}

/// The same of certificates in PEM.
///
/// # Errors
/// There is none, or one that cannot be used.
pub(crate) fn of_pem(authorities: &[u8]) -> Result<TlsClient, TlsFault> {
    TlsClient::trusting_pem(authorities, Arc::new(DefaultTimeProvider))
}

/// Anybody: the relay proves by itself who it is.
pub(crate) fn of_anybody() -> TlsClient {
    TlsClient::trusting_anybody(Arc::new(DefaultTimeProvider))
}
