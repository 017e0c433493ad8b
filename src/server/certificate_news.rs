//! What a relay tells of the certificate that it shows.

use std::time::Duration;

/// What there is to say of a certificate that is shown now, or of its key. Times are in seconds since the beginning of 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateNews {
    /// A detail: it was read, and counts until then.
    Read {
        /// When its time is over.
        until: u64,
    },
    /// Its time has been over since then.
    Expired {
        /// When that was.
        until: u64,
    },
    /// Its time has not come.
    NotYetValid {
        /// When it does.
        from: u64,
    },
    /// Its time is over soon.
    EndsSoon {
        /// When.
        until: u64,
    },
    /// Others may read its key, or write it.
    ExposedKey {
        /// The file's mode.
        mode: u32,
    },
    /// Its key makes handshakes expensive.
    LongKey {
        /// How long that is.
        bits: usize,
        /// What one signature takes.
        signing: Duration,
    },
}
