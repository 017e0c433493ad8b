//! What the first lane's handshake leaves for later ones: how such a lane finds the session and proves itself.

use crate::identity::hkdf_sha256;
use zeroize::Zeroizing;

/// What the two ends of a session share and nobody else knows. Derived once.
pub struct JoinSecret {
    join_psk: Zeroizing<[u8; 32]>,
    rendezvous: [u8; 16],
}

impl JoinSecret {
    /// `export` is the handshake's secret output. The labels are part of the protocol.
    pub fn derive(export: &[u8; 32]) -> JoinSecret {
        let id = hkdf_sha256(b"vp/1 session", export, &[b"rendezvous id"]);
        let mut rendezvous = [0; 16];
        rendezvous.copy_from_slice(&id[..16]);
        JoinSecret { join_psk: hkdf_sha256(b"vp/1 session", export, &[b"join psk"]), rendezvous }
    }

    /// The name under which the relay brings the two ends together again: 16 bytes that say nothing.
    pub fn rendezvous(&self) -> [u8; 16] {
        self.rendezvous
    }

    /// The key that a joining lane proves to know.
    pub fn join_psk(&self) -> &[u8; 32] {
        &self.join_psk
    }
}
