//! The certificate that a client is shown: whether it is believed, and who signed it if not.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::{Arc, OnceLock};

/// Characters of a name that are kept.
const NAME_MAX: usize = 100;

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
    /// A host that it is for, likewise.
    pub host: Option<String>,
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
            let host = match error {
                CertificateError::NotValidForNameContext { presented, .. } => {
                    presented.first().map(|name| host_of(name))
                }
                _ => None,
            };
            // It is looked at once.
            let _ = self.shown.0.set(Distrust { doubt, issuer: names.and_then(|names| readable(names.issuer)), host });
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
        // One that may also sign others is refused as such; and who is trusted may have had another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_) if is_own => {
            Doubt::SelfSigned
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Doubt::UnknownIssuer,
        _ => Doubt::Unusable,
    }
}

/// The host in what the library says of a name: `DnsName("relay.example")`.
fn host_of(name: &str) -> String {
    let inner = name.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).map_or(name, |(inner, _)| inner);
    inner.chars().take(NAME_MAX).collect()
}

/// Who signed a certificate, and whom it is of, each in DER (RFC 5280, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Names<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const OBJECT: u8 = 0x06;

fn names(certificate: &[u8]) -> Option<Names<'_>> {
    let (whole, _) = value(certificate, SEQUENCE)?;
    let (signed, _) = value(whole, SEQUENCE)?;
    let rest = value(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_, _, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    let (issuer, rest) = value(rest, SEQUENCE)?;
    let (_, _, rest) = element(rest)?;
    let (subject, _) = value(rest, SEQUENCE)?;
    Some(Names { issuer, subject })
}

/// A name as text: the organisation, and what it calls itself, as far as there are such (RFC 4519, 2.19 and 2.3).
fn readable(name: &[u8]) -> Option<String> {
    let (mut organisation, mut common, mut rest) = (None, None, name);
    while let Some((_, set, more)) = element(rest) {
        rest = more;
        let Some((attribute, _)) = value(set, SEQUENCE) else { continue };
        let Some((kind, behind)) = value(attribute, OBJECT) else { continue };
        let Some((tag, text, _)) = element(behind) else { continue };
        match kind {
            [0x55, 0x04, 0x0a] => organisation = Some(text_of(tag, text)),
            [0x55, 0x04, 0x03] => common = Some(text_of(tag, text)),
            _ => {}
        }
    }
    let parts: Vec<_> = organisation.into_iter().chain(common).filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn text_of(tag: u8, text: &[u8]) -> String {
    const BMP: u8 = 0x1e;
    let whole = match tag {
        BMP => text
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| char::from_u32(u16::from_be_bytes(*pair).into()).unwrap_or('?'))
            .collect(),
        _ => String::from_utf8_lossy(text).into_owned(),
    };
    whole.chars().take(NAME_MAX).collect()
}

/// What an element with this tag has, and what follows it.
fn value(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(tag, _, _)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// The element at the front: its tag, what it has, and what follows it (X.690, 8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};

    fn params(organisation: &str, common: &str) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["relay.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, organisation);
        params.distinguished_name.push(DnType::CommonName, common);
        params
    }

    #[test]
    fn who_signed_a_certificate_is_read_from_it() {
        let (key, own) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = params("Example Ltd", "Inspection 1");
        authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = authority.self_signed(&key).unwrap();
        let of = names(root.der()).unwrap();
        assert!(of.issuer == of.subject && readable(of.issuer).unwrap() == "Example Ltd, Inspection 1");
        let signed = params("", "a relay").signed_by(&own, &Issuer::new(authority, key)).unwrap();
        let of = names(signed.der()).unwrap();
        assert_eq!(readable(of.issuer).unwrap(), "Example Ltd, Inspection 1");
        assert_eq!(readable(of.subject).unwrap(), "a relay");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![Just(0x30_u8), Just(0x31), Just(3), Just(0x84), any::<u8>()], 0..200)) {
            let of = names(&bytes);
            readable(&bytes);
            of.and_then(|of| readable(of.subject));
        }
    }
}
