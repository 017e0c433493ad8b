//! `vp-attach`: words to work.

use super::{Context, Party, Tool};
use crate::cli::args::Attach;
use crate::cli::config::{address, peer_ids};
use crate::cli::exit::Exit;
use crate::cli::ready::{Otherwise, Ready};
use crate::cli::report::{Fault, chain};

impl Tool for Attach {
    fn run(self, context: &Context) -> Result<Exit, Fault> {
        let _ready = Ready::open(self.connect.ready_fd, Otherwise::Nowhere, &context.env)
            .map_err(|error| Fault::new(Exit::Usage, format!("--ready-fd: {}", chain(&error))))?;
        let party = Party::load(&self.connect, &context.env)?;
        let _to = self.to.as_deref().map(|to| address(to, &party.peers)).transpose()?;
        let _from = peer_ids(&self.from, &party.peers)?;
        Err(Fault::new(Exit::Failed, "sessions are not part of this build"))
    }
}
