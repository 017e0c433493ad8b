//! What each end of TLS brings along: a relay its certificate, a client whom it trusts.

use super::HELD_MAX;
use super::certificate::{Listed, Shown, Witness, anybody};
use super::x509::{Validity, validity};
use rustls::client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::time_provider::TimeProvider;
use rustls::{CipherSuite, ClientConfig, Error, RootCertStore, ServerConfig, SignatureAlgorithm};
use std::sync::Arc;

/// What is spoken inside, as far as the other side is to know: what a web server speaks.
const ALPN: &[u8] = b"http/1.1";

/// The longest chain of certificates, bytes: with what else a server says at once a client takes no more.
const CHAIN_MAX: usize = HELD_MAX - 4096;
/// What the chain has beside each certificate (RFC 8446, 4.4.2).
const ENTRY_BYTES: usize = 5;
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
    /// The private key is locked with a password.
    EncryptedKey,
    /// The private key is that of another certificate.
    OtherKey,
    /// It is that of a certificate that is not the first.
    NotFirst,
    /// The certificates are more than any client takes.
    LongChain,
    /// No certificate can be for this host.
    BadHost,
    /// The library does not do it.
    Library,
}

/// What a relay shows to whoever speaks TLS to it.
#[derive(Clone)]
pub struct TlsServer(Arc<Shows>);

struct Shows {
    config: Arc<ServerConfig>,
    key: Arc<dyn SigningKey>,
    /// When the certificate counts, as far as that can be read.
    validity: Option<Validity>,
}

impl std::fmt::Debug for TlsServer {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsServer").finish_non_exhaustive()
    }
}

/// The library's ciphers, and AES with the shorter key first of those, as browsers ask for it: a relay takes what a client has first.
/// What it seals is sealed already, and it has ten rounds for fourteen.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    Arc::new(provider)
}

/// The certificates in this text, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(unmarked(pem)).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsFault::NoCertificate),
        Ok(found) => Ok(found),
        Err(_) => Err(TlsFault::BadCertificate),
    }
}

/// Those certificates in this text, in DER, that are written as they should be.
pub(crate) fn written_certificates(pem: &[u8]) -> Vec<Vec<u8>> {
    CertificateDer::pem_slice_iter(unmarked(pem)).flatten().map(|one| one.to_vec()).collect()
}

/// A text without the mark that some editors put in front.
fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFault> {
    // Both ways to lock one say so in front of it (RFC 7468, 11; RFC 1421, 4.6.1.1).
    let is_locked = || pem.windows(9).any(|word| word == b"ENCRYPTED");
    PrivateKeyDer::from_pem_slice(unmarked(pem)).map_err(|error| match error {
        _ if is_locked() => TlsFault::EncryptedKey,
        rustls::pki_types::pem::Error::NoItemsFound => TlsFault::NoKey,
        _ => TlsFault::BadKey,
    })
}

/// Whether the key is that of one of these certificates.
fn is_of_one(chain: &[CertificateDer<'static>], key: &Arc<dyn SigningKey>) -> bool {
    chain.iter().any(|one| CertifiedKey::new(vec![one.clone()], Arc::clone(key)).keys_match().is_ok())
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
        let key = private_key(key)?;
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
        let provider = provider();
        // Of the two that may be at fault the key is looked at first.
        let signer = provider.key_provider.load_private_key(key.clone_key()).map_err(|_| TlsFault::BadKey)?;
        let bytes: usize = chain.iter().map(|one| one.len() + ENTRY_BYTES).sum();
        if bytes > CHAIN_MAX {
            return Err(TlsFault::LongChain);
        }
        let validity = chain.first().and_then(|first| validity(first));
        let rest = chain.get(1..).unwrap_or_default().to_vec();
        let config = ServerConfig::builder_with_details(provider, clock)
            .with_safe_default_protocol_versions()
            .map_err(|_| TlsFault::Library)?
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config = config.map_err(|error| match error {
            Error::InconsistentKeys(_) if is_of_one(&rest, &signer) => TlsFault::NotFirst,
            Error::InconsistentKeys(_) => TlsFault::OtherKey,
            _ => TlsFault::BadCertificate,
        })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A link lives for long: what would make the next one quicker is not worth what it would have to keep.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // What follows the handshake is opened and sealed here (`records`).
        config.enable_secret_extraction = true;
        Ok(TlsServer(Arc::new(Shows { config: Arc::new(config), key: signer, validity })))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.config)
    }

    /// When its certificate counts, as far as that can be read.
    pub(crate) fn validity(&self) -> Option<Validity> {
        self.0.validity
    }

    /// Makes a signature as each handshake needs one, for whoever wants to know how long that takes. Its length, bytes.
    pub(crate) fn sign(&self) -> Option<usize> {
        let schemes = self.0.config.crypto_provider().signature_verification_algorithms.supported_schemes();
        let signature = self.0.key.choose_scheme(&schemes)?.sign(b"how long does it take").ok()?;
        Some(signature.len())
    }

    /// How long its key is, if it is one of RSA, bits.
    pub(crate) fn rsa_bits(&self) -> Option<usize> {
        let is_rsa = self.0.key.algorithm() == SignatureAlgorithm::RSA;
        // A signature is as long as the key.
        is_rsa.then(|| self.sign()).flatten().map(|bytes| bytes * 8)
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
    /// Those who have one of these certificates, or are signed by one, each in DER. Those that nobody can read are left out.
    ///
    /// # Errors
    /// None is left.
    pub(crate) fn trusting(authorities: Vec<Vec<u8>>, clock: Arc<dyn TimeProvider>) -> Result<TlsClient, TlsFault> {
        let mut roots = RootCertStore::empty();
        let list: Vec<_> = authorities.into_iter().map(CertificateDer::from).collect();
        roots.add_parsable_certificates(list.iter().cloned());
        TlsClient::of_roots(roots, list, clock)
    }

    /// The same of certificates in PEM.
    ///
    /// # Errors
    /// There is none, or one that cannot be used.
    pub(crate) fn trusting_pem(authorities: &[u8], clock: Arc<dyn TimeProvider>) -> Result<TlsClient, TlsFault> {
        let mut roots = RootCertStore::empty();
        let list = certificates(authorities)?;
        for authority in &list {
            roots.add(authority.clone()).map_err(|_| TlsFault::BadCertificate)?;
        }
        TlsClient::of_roots(roots, list, clock)
    }

    fn of_roots(
        roots: RootCertStore,
        list: Vec<CertificateDer<'static>>,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<TlsClient, TlsFault> {
        let provider = provider();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = verifier.build().map_err(|_| TlsFault::NoCertificate)?;
        Ok(TlsClient { provider, clock, verifier: Arc::new(Listed::new(verifier, list)) })
    }

    /// Anybody: the link inside proves who is there.
    pub(crate) fn trusting_anybody(clock: Arc<dyn TimeProvider>) -> TlsClient {
        let provider = provider();
        let verifier = anybody(&provider);
        TlsClient { provider, clock, verifier }
    }

    /// The same, of this suite alone.
    #[cfg(test)]
    pub(super) fn speaking(mut self, suite: rustls::SupportedCipherSuite) -> TlsClient {
        self.provider = Arc::new(CryptoProvider { cipher_suites: vec![suite], ..(*self.provider).clone() });
        self
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
        config.enable_secret_extraction = true;
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
