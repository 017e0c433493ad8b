//! What every tool that connects needs before it can: who we are, whom we know, where to meet.

use crate::cli::args::Connect;
use crate::cli::config;
use crate::cli::env::Env;
use crate::cli::report::Fault;
use crate::identity::{Identity, Peers, RelayAddress};

/// This party and its surroundings.
pub struct Party {
    /// Who we are.
    pub identity: Identity,
    /// Whom we know.
    pub peers: Peers,
    /// Where to meet; at least one.
    pub relays: Vec<RelayAddress>,
}

impl Party {
    /// Reads what the options and the environment name.
    ///
    /// # Errors
    /// Something is missing or malformed; the message names it.
    pub fn load(connect: &Connect, env: &Env) -> Result<Self, Fault> {
        Ok(Self {
            identity: config::key(connect.key.as_deref(), env)?,
            peers: config::peers(connect.peers.as_deref(), env)?,
            relays: config::relay_addresses(&connect.relays, env)?,
        })
    }
}
