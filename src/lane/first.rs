//! What the two ends of a session share and nobody else knows: how a later lane finds the session and proves itself.

use crate::identity::hkdf_sha256;
use zeroize::Zeroizing;

/// Derived once, from the first lane's handshake.
pub struct SessionSecret {
    join_psk: Zeroizing<[u8; 32]>,
    rendezvous: [u8; 16],
}

impl SessionSecret {
    /// `export` is the handshake's secret output. The labels are part of the protocol.
    pub fn derive(export: &[u8; 32]) -> SessionSecret {
        let id = hkdf_sha256(b"vp/1 session", export, &[b"rendezvous id"]);
        let mut rendezvous = [0; 16];
        rendezvous.copy_from_slice(&id[..16]);
        SessionSecret { join_psk: hkdf_sha256(b"vp/1 session", export, &[b"join psk"]), rendezvous }
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
