//! Whom a tool believes, where TLS is on its way to a relay.

use crate::carrier::{TlsClient, TlsFault};
use rustls::time_provider::DefaultTimeProvider;
use std::sync::Arc;

/// Whoever this machine trusts, as other programs find it: in `SSL_CERT_FILE` or `SSL_CERT_DIR`, else where the system keeps them.
///
/// # Errors
/// There is nobody.
pub(crate) fn of_system() -> Result<TlsClient, TlsFault> {
    let found = rustls_native_certs::load_native_certs();
    let authorities = found.certs.into_iter().map(|authority| authority.to_vec()).collect();
    TlsClient::trusting(authorities, Arc::new(DefaultTimeProvider))
}

/// Whoever has one of these certificates, in PEM.
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
