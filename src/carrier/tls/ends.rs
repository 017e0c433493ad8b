//! What each end of TLS brings along: a relay its certificate, a client whom it trusts.

use super::certificate::{Shown, Witness, anybody};
use rustls::client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig};
use std::sync::Arc;

/// What is spoken inside, as far as the other side is to know: what a web server speaks.
const ALPN: &[u8] = b"http/1.1";

/// Why an end cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// There is no certificate among what should be some, in PEM.
    NoCertificate,
    /// One of the certificates is damaged, or of a kind that nobody reads.
    BadCertificate,
    /// There is no private key where one should be, in PEM.
    NoKey,
    /// The private key is damaged, or of a kind that nobody reads.
    BadKey,
    /// The private key is that of another certificate.
    OtherKey,
    /// No certificate can be for this host.
    BadHost,
    /// The library does not do it.
    Library,
}

/// What a relay shows to whoever speaks TLS to it.
#[derive(Clone)]
pub struct TlsServer(Arc<ServerConfig>);

impl std::fmt::Debug for TlsServer {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsServer").finish_non_exhaustive()
    }
}

/// The certificates in this text, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsFault::NoCertificate),
        Ok(found) => Ok(found),
        Err(_) => Err(TlsFault::BadCertificate),
    }
}

impl TlsServer {
    /// With a certificate and those it needs to be believed, and its private key, each in PEM.
    ///
    /// # Errors
    /// They are not what they should be, or do not belong together.
    pub(crate) fn from_pem(
        certificate: &[u8],
        key: &[u8],
        clock: Arc<dyn TimeProvider>,
    ) -> Result<TlsServer, TlsFault> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => TlsFault::NoKey,
            _ => TlsFault::BadKey,
        })?;
        TlsServer::new(chain, key, clock)
    }

    /// With one certificate, in DER, and its private key, in DER (PKCS #8).
    ///
    /// # Errors
    /// They are not what they should be, or do not belong together.
    pub(crate) fn from_der(
        certificate: Vec<u8>,
        key: Vec<u8>,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<TlsServer, TlsFault> {
        TlsServer::new(vec![certificate.into()], PrivatePkcs8KeyDer::from(key).into(), clock)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<TlsServer, TlsFault> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        // Of the two that may be at fault the key is looked at first.
        provider.key_provider.load_private_key(key.clone_key()).map_err(|_| TlsFault::BadKey)?;
        let config = ServerConfig::builder_with_details(provider, clock)
            .with_safe_default_protocol_versions()
            .map_err(|_| TlsFault::Library)?
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config = config.map_err(|error| match error {
            Error::InconsistentKeys(_) => TlsFault::OtherKey,
            _ => TlsFault::BadCertificate,
        })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A link lives for long: what would make the next one quicker is not worth what it would have to keep.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsServer(Arc::new(config)))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

/// Whom a client believes that a certificate is what it says.
#[derive(Clone, Debug)]
pub struct TlsClient {
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn TimeProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl TlsClient {
    /// Those who have one of these certificates, each in DER. Those that nobody can read are left out.
    ///
    /// # Errors
    /// None is left.
    pub(crate) fn trusting(authorities: Vec<Vec<u8>>, clock: Arc<dyn TimeProvider>) -> Result<TlsClient, TlsFault> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.into_iter().map(CertificateDer::from));
        TlsClient::of_roots(roots, clock)
    }

    /// Those who have one of these certificates, in PEM.
    ///
    /// # Errors
    /// There is none, or one that cannot be used.
    pub(crate) fn trusting_pem(authorities: &[u8], clock: Arc<dyn TimeProvider>) -> Result<TlsClient, TlsFault> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(authorities)? {
            roots.add(authority).map_err(|_| TlsFault::BadCertificate)?;
        }
        TlsClient::of_roots(roots, clock)
    }

    fn of_roots(roots: RootCertStore, clock: Arc<dyn TimeProvider>) -> Result<TlsClient, TlsFault> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = verifier.build().map_err(|_| TlsFault::NoCertificate)?;
        Ok(TlsClient { provider, clock, verifier })
    }

    /// Anybody: the link inside proves who is there.
    pub(crate) fn trusting_anybody(clock: Arc<dyn TimeProvider>) -> TlsClient {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = anybody(&provider);
        TlsClient { provider, clock, verifier }
    }

    /// What one connection to `host` needs.
    pub(super) fn config(&self, host: &str) -> Result<(Arc<ClientConfig>, ServerName<'static>, Shown), TlsFault> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsFault::BadHost)?;
        let shown = Shown::default();
        let witness = Witness::new(Arc::clone(&self.verifier), shown.clone());
        let mut config = ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.clock))
            .with_safe_default_protocol_versions()
            .map_err(|_| TlsFault::Library)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(witness))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok((Arc::new(config), name, shown))
    }
}

/// A server with a certificate of its own making, made once.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn for_tests() -> Option<TlsServer> {
    static MADE: std::sync::OnceLock<Option<TlsServer>> = std::sync::OnceLock::new();
    let make = || {
        let made = rcgen::generate_simple_self_signed(["relay.example".to_owned()]).ok()?;
        let clock = Arc::new(rustls::time_provider::DefaultTimeProvider);
        TlsServer::from_der(made.cert.der().to_vec(), made.signing_key.serialize_der(), clock).ok()
    };
    MADE.get_or_init(make).clone()
}
