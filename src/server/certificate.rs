//! What a relay shows to whoever speaks TLS to it: a certificate from files, which are read again on SIGHUP and when they have
//! changed, or one of its own making.

use super::certificate_news::CertificateNews;
use super::log::{Log, LogLine};
use super::renewal::Renewal;
use crate::carrier::{TlsFault, TlsServer, Validity};
use crate::net::list::{PATIENCE, read_list, read_settled};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustix::io::Errno;
use rustls::time_provider::DefaultTimeProvider;
use std::fs::{Metadata, metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Largest file, bytes: a certificate and those that it needs to be believed.
const FILE_MAX: u64 = 1024 * 1024;
/// So long before its end a certificate is told of: those that renew themselves have been by then.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// Or such a part of its life, if that is less.
const SOON_PART: u64 = 4;
/// A longer key of RSA makes each handshake cost far more than everything else that a link begins with.
const RSA_BITS_MAX: usize = 4096;
/// Bits of a mode that let others than owner and group read, or others than the owner write.
const EXPOSED: u32 = 0o026;
/// Signatures that are made to see how long one takes: the quickest is one that nothing came between.
const SIGNATURES: usize = 3;
/// Whom a relay's own certificate is of. It says nothing of the relay, and nobody believes it.
const OWN_NAME: &str = "localhost";

/// Where a relay has its certificate from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// It makes one at each start, and keeps it nowhere. Its id proves who it is.
    Own,
    /// Files in PEM, which are read again on SIGHUP, and when they have changed.
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
    /// One is no file, and nothing came out of it.
    Silent {
        /// Which.
        path: PathBuf,
        /// For how long.
        after: Duration,
    },
    /// A file of it does not hold what it should.
    Unusable(PathBuf, TlsFault),
    /// None could be made.
    Unmade,
}

impl CertificateError {
    /// Whether it could not be read for want of something that the system may have again at any time.
    fn passes(&self) -> bool {
        let CertificateError::Read(_, error) = self else { return false };
        let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO].map(Errno::raw_os_error);
        error.raw_os_error().is_some_and(|number| lacks.contains(&number))
    }
}

/// See the module.
pub(super) struct Shown {
    from: Certificate,
    now: Mutex<Now>,
    /// The files as they were when they were last read, to whatever avail.
    read: Mutex<Stamps>,
    /// Who is to read them again.
    pub renewal: Renewal,
}

/// What is shown now.
#[derive(Clone)]
struct Now {
    server: TlsServer,
    /// What a signature takes.
    signing: Duration,
}

/// By what a file is told from an older one of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    /// When it was written, or who may read it was changed.
    changed: [(i64, i64); 2],
}

/// Those of the chain and of the key, as far as they are there.
pub(super) type Stamps = [Option<Stamp>; 2];

impl Shown {
    /// That of this certificate.
    pub(super) fn new(from: Certificate, log: &Log) -> Result<Shown, CertificateError> {
        let read = Mutex::new(stamps(&from));
        let now = Mutex::new(Now::read(&from, read_list)?);
        let shown = Shown { from, now, read, renewal: Renewal::default() };
        shown.tell_of_files(log);
        Ok(shown)
    }

    /// Whether it comes from files.
    pub(super) fn is_of_files(&self) -> bool {
        self.from != Certificate::Own
    }

    /// What is shown to whoever connects now.
    pub(super) fn current(&self) -> TlsServer {
        self.now().server.clone()
    }

    /// What each handshake takes for its signature.
    pub(super) fn signing(&self) -> Duration {
        self.now().signing
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads its files again, once nobody has changed them for a moment. If they cannot be used, the old ones stay in force. For a
    /// thread that may wait.
    pub(super) fn read_again(&self, log: &Log) -> Result<(), CertificateError> {
        *self.stamps() = stamps(&self.from);
        let new = Now::read(&self.from, read_settled);
        if new.as_ref().is_err_and(CertificateError::passes) {
            // That it was read by then is no reason not to read it again.
            *self.stamps() = [None; 2];
        }
        *self.now() = new?;
        self.tell_of_files(log);
        Ok(())
    }

    /// Its files as they are now, if they are others than those that were last read.
    pub(super) fn changed(&self) -> Option<Stamps> {
        let now = stamps(&self.from);
        let is_other = *self.stamps() != now;
        is_other.then_some(now)
    }

    fn stamps(&self) -> MutexGuard<'_, Stamps> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how long it counts, and what is wrong with its key.
    fn tell_of_files(&self, log: &Log) {
        let Certificate::Files { chain, key } = &self.from else { return };
        if let Some(Validity { until, .. }) = self.current().validity() {
            log(LogLine::Certificate(chain, CertificateNews::Read { until }));
        }
        self.tell_of_time(log);
        let exposed = metadata(key).ok().filter(Metadata::is_file).map(|about| about.mode() & 0o7777);
        if let Some(mode) = exposed.filter(|mode| mode & EXPOSED != 0) {
            log(LogLine::Certificate(key, CertificateNews::ExposedKey { mode }));
        }
        if let Some(bits) = self.current().rsa_bits().filter(|bits| *bits > RSA_BITS_MAX) {
            log(LogLine::Certificate(key, CertificateNews::LongKey { bits, signing: self.signing() }));
        }
    }

    /// Tells of it if it does not count now, or soon no more.
    pub(super) fn tell_of_time(&self, log: &Log) {
        let Certificate::Files { chain, .. } = &self.from else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some(news) = self.current().validity().and_then(|validity| untimely(validity, now)) {
            log(LogLine::Certificate(chain, news));
        }
    }
}

/// What is to be said of a certificate with these times at this one.
fn untimely(Validity { from, until }: Validity, now: u64) -> Option<CertificateNews> {
    match () {
        () if now > until => Some(CertificateNews::Expired { until }),
        () if now < from => Some(CertificateNews::NotYetValid { from }),
        () if until - now < SOON.as_secs().min((until - from) / SOON_PART) => Some(CertificateNews::EndsSoon { until }),
        () => None,
    }
}

fn stamps(from: &Certificate) -> Stamps {
    let Certificate::Files { chain, key } = from else { return [None; 2] };
    [chain, key].map(|path| {
        metadata(path).ok().map(|about| Stamp {
            device: about.dev(),
            inode: about.ino(),
            length: about.len(),
            changed: [(about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec())],
        })
    })
}

/// How a file of at most so many bytes is read.
type Reading = fn(&Path, u64) -> io::Result<Vec<u8>>;

impl Now {
    fn read(from: &Certificate, reading: Reading) -> Result<Now, CertificateError> {
        let server = match from {
            Certificate::Own => make().ok_or(CertificateError::Unmade)?,
            Certificate::Files { chain, key } => of_files(chain, key, reading)?,
        };
        let sign = |_| {
            let start = Instant::now();
            server.sign().map(|_| start.elapsed())
        };
        let signing = (0..SIGNATURES).filter_map(sign).min().unwrap_or_default();
        Ok(Now { server, signing })
    }
}

fn of_files(chain: &Path, key: &Path, reading: Reading) -> Result<TlsServer, CertificateError> {
    let (certificates, secret) = (contents(chain, reading)?, Zeroizing::new(contents(key, reading)?));
    let server = TlsServer::from_pem(&certificates, &secret, Arc::new(DefaultTimeProvider));
    server.map_err(|fault| {
        let culprit = match fault {
            TlsFault::NoKey | TlsFault::BadKey | TlsFault::EncryptedKey | TlsFault::OtherKey => key,
            _ => chain,
        };
        CertificateError::Unusable(culprit.to_owned(), fault)
    })
}

fn contents(path: &Path, reading: Reading) -> Result<Vec<u8>, CertificateError> {
    reading(path, FILE_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => CertificateError::TooLong { path: path.to_owned(), most_bytes: FILE_MAX },
        io::ErrorKind::TimedOut => CertificateError::Silent { path: path.to_owned(), after: PATIENCE },
        _ => CertificateError::Read(path.to_owned(), error),
    })
}

fn make() -> Option<TlsServer> {
    let mut params = CertificateParams::new(vec![OWN_NAME.to_owned()]).ok()?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, OWN_NAME);
    let key = KeyPair::generate().ok()?;
    let certificate = params.self_signed(&key).ok()?;
    TlsServer::from_der(certificate.der().to_vec(), key.serialize_der(), Arc::new(DefaultTimeProvider)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_of_before_its_time_comes_shortly_before_it_is_over_and_then() {
        let (from, until, soon) = (1_000_000_000, 2_000_000_000, SOON.as_secs());
        let at = |now| untimely(Validity { from, until }, now);
        assert_eq!(at(from - 1), Some(CertificateNews::NotYetValid { from }));
        assert_eq!((at(from), at(until - soon)), (None, None));
        assert_eq!(at(until - soon + 1), Some(CertificateNews::EndsSoon { until }));
        assert_eq!(at(until), Some(CertificateNews::EndsSoon { until }));
        assert_eq!(at(until + 1), Some(CertificateNews::Expired { until }));
    }

    #[test]
    fn one_that_never_has_so_much_time_is_told_of_in_the_last_quarter_of_it() {
        let (from, until) = (1_000_000_000, 1_000_000_000 + 6 * 24 * 60 * 60);
        let at = |now| untimely(Validity { from, until }, now);
        let quarter = (until - from) / 4;
        assert_eq!((at(from), at(until - quarter)), (None, None));
        assert_eq!(at(until - quarter + 1), Some(CertificateNews::EndsSoon { until }));
    }

    #[test]
    fn files_count_as_others_when_somebody_may_read_them_who_did_not_or_the_system_has_what_it_lacked() {
        let place = tempfile::tempdir().unwrap();
        let [chain, key] = ["chain", "key"].map(|name| place.path().join(name));
        for path in [&chain, &key] {
            std::fs::write(path, "").unwrap();
        }
        let from = Certificate::Files { chain: chain.clone(), key: key.clone() };
        let before = stamps(&from);
        assert_eq!(stamps(&from), before);
        // Its mode alone would not show when it is the same again.
        let changed = || metadata(&key).map(|about| (about.ctime(), about.ctime_nsec())).unwrap();
        let first = changed();
        while changed() == first {
            std::fs::set_permissions(&key, metadata(&key).unwrap().permissions()).unwrap();
        }
        assert_ne!(stamps(&from), before);
        let passes = |number| CertificateError::Read(chain.clone(), io::Error::from_raw_os_error(number)).passes();
        assert!(passes(Errno::MFILE.raw_os_error()) && !passes(Errno::NOENT.raw_os_error()));
    }
}
