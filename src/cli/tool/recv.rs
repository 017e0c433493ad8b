//! `vp-recv`: words to work.

use super::{Context, Party, Tool};
use crate::cli::args::Recv;
use crate::cli::config::peer_ids;
use crate::cli::exit::Exit;
use crate::cli::report::Fault;

impl Tool for Recv {
    fn run(self, context: &Context) -> Result<Exit, Fault> {
        let party = Party::load(&self.connect, &context.env)?;
        let _from = peer_ids(&self.from, &party.peers)?;
        Err(Fault::new(Exit::Failed, "sessions are not part of this build"))
    }
}
