//! `vp-send`: words to work.

use super::{Context, Party, Tool};
use crate::cli::args::Send;
use crate::cli::config::address;
use crate::cli::exit::Exit;
use crate::cli::report::Fault;

impl Tool for Send {
    fn run(self, context: &Context) -> Result<Exit, Fault> {
        let party = Party::load(&self.connect, &context.env)?;
        let _to = address(&self.operands.to, &party.peers)?;
        Err(Fault::new(Exit::Failed, "sessions are not part of this build"))
    }
}
