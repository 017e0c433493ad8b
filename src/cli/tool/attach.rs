//! `vp-attach`: words to work.

use super::party::{Called, drive, voice};
use super::{Context, Party, Tool};
use crate::cli::args::Attach;
use crate::cli::config::peer_ids;
use crate::cli::exit::Exit;
use crate::cli::ready::{Otherwise, Ready};
use crate::cli::report::{Fault, chain};
use crate::node::Kind;
use crate::tools::attach::{self, DialOrListen, Directions, Options};
use std::ffi::OsStr;

/// Sessions of `--keep` at once: a process each, so that a peer cannot fill the machine.
const KEPT_SESSIONS_MAX: usize = 256;

impl Tool for Attach {
    fn run(self, context: &Context) -> Result<Exit, Fault> {
        let ready = Ready::open(self.connect.ready_fd, Otherwise::Nowhere, &context.env)
            .map_err(|error| Fault::new(Exit::Usage, format!("--ready-fd: {}", chain(&error))))?;
        let party = Party::load(&self.connect, context)?;
        let from = peer_ids(&self.from, &party.peers)?;
        let (end, called) = match (&self.to, &self.listen) {
            (Some(to), _) => {
                let to = party.address(to)?;
                (DialOrListen::Dial(to.peer, to.app), Called::nobody())
            }
            (None, Some(app)) => {
                let most = if self.keep { KEPT_SESSIONS_MAX } else { 1 };
                let called = Called { by: party.callers(from)?, most, exclusive: self.exclusive };
                (DialOrListen::Listen { app: app.clone(), keep: self.keep }, called)
            }
            (None, None) => return Err(Fault::new(Exit::Usage, "say whom to dial, or --listen")),
        };
        if let (DialOrListen::Listen { app, .. }, true) = (&end, self.from.is_empty()) {
            let alone = format!(
                "to wait for {app} alone: vp-attach --listen APP --from {app}; to call it: vp-attach {app}:APP"
            );
            party.warn_of_namesake(&context.report, app, &alone);
        }
        let voice = voice(context, &party, ready).with_command(self.exec.as_deref().map(OsStr::new));
        let voice = match &end {
            DialOrListen::Dial(peer, app) => voice.of_dialler((*peer, app)),
            DialOrListen::Listen { app, .. } => voice.of_listener(app, self.keep),
        };
        let names = party.roster.clone();
        let mut tool = attach::Attach::new(Options {
            end,
            sessions_max: called.most,
            exec: self.exec.clone().map(Into::into),
            directions: match (self.send_only, self.recv_only) {
                (true, _) => Directions::SendOnly,
                (_, true) => Directions::RecvOnly,
                _ => Directions::Both,
            },
            peer_name: Box::new(move |id| names.name(id)),
            reload: party.roster.reload(&self.from),
        });
        let client = party.client(&self.connect, Kind::Pipe, called)?;
        drive(client, &mut tool, voice)
    }
}
