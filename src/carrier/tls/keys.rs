//! The keys that both ends have agreed on, and those that follow them (RFC 8446, 7.2): what opens and seals records.

use super::seal::{Form, Sealer};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{AeadKey, Iv, MessageDecrypter};
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ConnectionTrafficSecrets, Error, ExtractedSecrets, SupportedCipherSuite};

/// The keys of both directions, and how many records have used each.
pub(super) type Secrets = ExtractedSecrets;

/// Records that one key may seal or open, however many its cipher could.
const RECORDS_MAX: u64 = u64::MAX - (1 << 16);

/// Where the keys come from.
pub(super) enum Keys {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

/// Opens what comes.
pub(super) struct Opener {
    pub decrypter: Box<dyn MessageDecrypter>,
    /// Records that it has opened.
    pub count: u64,
}

impl Keys {
    /// What both have chosen.
    pub(super) fn suite(&self) -> SupportedCipherSuite {
        match self {
            Keys::Client(keys) => keys.negotiated_cipher_suite(),
            Keys::Server(keys) => keys.negotiated_cipher_suite(),
        }
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self, Keys::Client(_))
    }

    /// How their records look.
    pub(super) fn form(&self) -> Form {
        match self.suite() {
            SupportedCipherSuite::Tls12(suite) => {
                Form { is_new: false, nonce_bytes: suite.aead_alg.key_block_shape().explicit_nonce_len }
            }
            SupportedCipherSuite::Tls13(_) => Form { is_new: true, nonce_bytes: 0 },
        }
    }

    /// What uses them.
    ///
    /// # Errors
    /// The library has keys of a kind that it does not say.
    pub(super) fn begin(&self, secrets: Secrets) -> Result<(Opener, Sealer), Error> {
        Ok((self.opener(secrets.rx)?, self.sealer(secrets.tx)?))
    }

    /// The other side has changed its keys: what opens what follows.
    ///
    /// # Errors
    /// This version has no such change.
    pub(super) fn next_opener(&mut self) -> Result<Opener, Error> {
        let secrets = match self {
            Keys::Client(keys) => keys.update_rx_secret(),
            Keys::Server(keys) => keys.update_rx_secret(),
        };
        self.opener(secrets?)
    }

    /// We change ours: what seals what follows.
    ///
    /// # Errors
    /// This version has no such change.
    pub(super) fn next_sealer(&mut self) -> Result<Sealer, Error> {
        let secrets = match self {
            Keys::Client(keys) => keys.update_tx_secret(),
            Keys::Server(keys) => keys.update_tx_secret(),
        };
        self.sealer(secrets?)
    }

    fn opener(&self, (count, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Opener, Error> {
        let (key, iv) = parts(secrets)?;
        let decrypter = match self.suite() {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key, iv),
            SupportedCipherSuite::Tls12(suite) => {
                let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
                suite.aead_alg.decrypter(key, &iv.as_ref()[..fixed])
            }
        };
        Ok(Opener { decrypter, count })
    }

    fn sealer(&self, (count, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Sealer, Error> {
        let algorithm = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { .. } => &AES_128_GCM,
            ConnectionTrafficSecrets::Aes256Gcm { .. } => &AES_256_GCM,
            _ => &CHACHA20_POLY1305,
        };
        let most = match self.suite() {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        };
        let (key, iv) = parts(secrets)?;
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Error::EncryptError)?;
        Ok(Sealer { key: LessSafeKey::new(key), iv, form: self.form(), count, most: most.min(RECORDS_MAX) })
    }
}

fn parts(secrets: ConnectionTrafficSecrets) -> Result<(AeadKey, Iv), Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((key, iv)),
        _ => Err(Error::HandshakeNotComplete),
    }
}
