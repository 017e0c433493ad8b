//! What a relay shows to whoever speaks TLS to it: a certificate from files, read again on SIGHUP, or one of its own making.

use crate::carrier::{TlsFault, TlsServer};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::time_provider::DefaultTimeProvider;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Largest file, bytes: a certificate and those that it needs to be believed.
const FILE_MAX: u64 = 1024 * 1024;
/// Whom a relay's own certificate is of. It says nothing of the relay, and nobody believes it.
const OWN_NAME: &str = "localhost";

/// Where a relay has its certificate from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// It makes one at each start, and keeps it nowhere. Its id proves who it is.
    Own,
    /// Files in PEM, which are read again on SIGHUP.
    Files {
        /// The certificate, and then those that it needs to be believed.
        chain: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// Why a certificate cannot be used.
#[derive(Debug)]
pub enum CertificateError {
    /// A file of it cannot be read.
    Read(PathBuf, io::Error),
    /// A file of it is beyond its cap.
    TooLong {
        /// Which.
        path: PathBuf,
        /// The cap, bytes.
        most_bytes: u64,
    },
    /// A file of it does not hold what it should.
    Unusable(PathBuf, TlsFault),
    /// None could be made.
    Unmade,
}

/// See the module.
pub(super) struct Shown {
    from: Certificate,
    now: Mutex<TlsServer>,
}

impl Shown {
    /// That of this certificate.
    pub(super) fn new(from: Certificate) -> Result<Shown, CertificateError> {
        let now = Mutex::new(read(&from)?);
        Ok(Shown { from, now })
    }

    /// Whether it comes from files.
    pub(super) fn is_of_files(&self) -> bool {
        self.from != Certificate::Own
    }

    /// What is shown to whoever connects now.
    pub(super) fn current(&self) -> TlsServer {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads its files again. If they cannot be used, the old ones stay in force.
    pub(super) fn read_again(&self) -> Result<(), CertificateError> {
        let new = read(&self.from)?;
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

fn read(from: &Certificate) -> Result<TlsServer, CertificateError> {
    let Certificate::Files { chain, key } = from else { return make().ok_or(CertificateError::Unmade) };
    let (certificates, secret) = (contents(chain)?, Zeroizing::new(contents(key)?));
    let server = TlsServer::from_pem(&certificates, &secret, Arc::new(DefaultTimeProvider));
    server.map_err(|fault| {
        let culprit = match fault {
            TlsFault::NoKey | TlsFault::BadKey | TlsFault::OtherKey => key,
            _ => chain,
        };
        CertificateError::Unusable(culprit.clone(), fault)
    })
}

fn contents(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |error| CertificateError::Read(path.to_owned(), error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= FILE_MAX => Ok(bytes),
        _ => Err(CertificateError::TooLong { path: path.to_owned(), most_bytes: FILE_MAX }),
    }
}

fn make() -> Option<TlsServer> {
    let mut params = CertificateParams::new(vec![OWN_NAME.to_owned()]).ok()?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, OWN_NAME);
    let key = KeyPair::generate().ok()?;
    let certificate = params.self_signed(&key).ok()?;
    TlsServer::from_der(certificate.der().to_vec(), key.serialize_der(), Arc::new(DefaultTimeProvider)).ok()
}
