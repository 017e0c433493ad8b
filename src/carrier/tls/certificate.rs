//! The certificate that a client is shown: whether it is believed, and who signed it if not.

use super::x509::{NAME_MAX, names, readable, validity};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::{Arc, OnceLock};

/// Hosts of a certificate that are kept.
const HOSTS_MAX: usize = 4;

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for other hosts.
    OtherHost,
    /// Nobody who is trusted stands behind it.
    UnknownIssuer,
    /// It vouches for itself.
    SelfSigned,
    /// Anything else.
    Unusable,
}

/// A certificate that is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust {
    /// Why.
    pub doubt: Doubt,
    /// Who signed it, by its own words: any characters, which the other side chose.
    pub issuer: Option<String>,
    /// Hosts that it is for, a few of them, likewise.
    pub hosts: Vec<String>,
}

/// What became of the certificate that one connection was shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown(Arc<OnceLock<Distrust>>);

impl Shown {
    /// What is wrong with it, if something is.
    pub(super) fn distrust(&self) -> Option<Distrust> {
        self.0.get().cloned()
    }
}

/// Whoever looks at the certificate, and notes what there is to say of it.
#[derive(Debug)]
pub(super) struct Witness {
    judge: Arc<dyn ServerCertVerifier>,
    shown: Shown,
}

impl Witness {
    pub(super) fn new(judge: Arc<dyn ServerCertVerifier>, shown: Shown) -> Witness {
        Witness { judge, shown }
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.judge.verify_server_cert(certificate, between, host, ocsp, now);
        if let Err(Error::InvalidCertificate(error)) = &verified {
            let names = names(certificate);
            let is_own = names.as_ref().is_some_and(|names| names.issuer == names.subject);
            let doubt = doubt(error, is_own);
            let hosts = match error {
                CertificateError::NotValidForNameContext { presented, .. } => {
                    presented.iter().take(HOSTS_MAX).map(|name| host_of(name)).collect()
                }
                _ => Vec::new(),
            };
            // It is looked at once.
            let _ = self.shown.0.set(Distrust { doubt, issuer: names.and_then(|names| readable(names.issuer)), hosts });
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

/// Believes in certificates that stand in a list themselves, whoever signed them and whatever else they may do, as `openssl req -x509`
/// makes one that may sign others; and in those that a judge believes.
#[derive(Debug)]
pub(super) struct Listed {
    judge: Arc<dyn ServerCertVerifier>,
    list: Vec<CertificateDer<'static>>,
}

impl Listed {
    pub(super) fn new(judge: Arc<dyn ServerCertVerifier>, list: Vec<CertificateDer<'static>>) -> Listed {
        Listed { judge, list }
    }
}

impl ServerCertVerifier for Listed {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.list.iter().any(|listed| listed == certificate) {
            return self.judge.verify_server_cert(certificate, between, host, ocsp, now);
        }
        let counts = validity(certificate).ok_or(CertificateError::BadEncoding)?;
        if now.as_secs() < counts.from {
            return Err(CertificateError::NotValidYet.into());
        }
        if now.as_secs() > counts.until {
            return Err(CertificateError::Expired.into());
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, host)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

/// Believes everybody, whatever the certificate says, and however it is signed: an id that is proven inside is worth more.
#[derive(Debug)]
struct Anybody(Vec<SignatureScheme>);

/// A judge who believes everybody.
pub(super) fn anybody(provider: &CryptoProvider) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Anybody(provider.signature_verification_algorithms.supported_schemes()))
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

fn doubt(error: &CertificateError, is_own: bool) -> Doubt {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Doubt::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Doubt::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Doubt::OtherHost,
        // One that may also sign others is refused as such where it is not listed itself; and who is trusted may have had another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_) if is_own => {
            Doubt::SelfSigned
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Doubt::UnknownIssuer,
        _ => Doubt::Unusable,
    }
}

/// The host in what the library says of a name: `DnsName("relay.example")`, `IpAddress(192.0.2.1)`.
fn host_of(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"').chars().take(NAME_MAX).collect()
}
