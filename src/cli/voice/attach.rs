//! Words of `vp-attach`.

use super::connect::Between;
use super::{AsFault, Hears, Voice, command_fault, output_gone};
use crate::cli::exit::Exit;
use crate::cli::report::Fault;
use crate::run::tool::RunError;
use crate::tools::attach::{Attach, Error, News};

impl Hears<Attach> for Voice<'_> {
    fn hear_tool(&mut self, news: &News<'_>) {
        match news {
            News::Run(news) => self.hear(news),
            News::SessionFailed(peer, error) => {
                self.tell_event(|_| None);
                self.session_failed(peer, *error);
            }
            News::Joined(peer, app, joined) => self.joined(peer, app, joined),
        }
    }
}

impl AsFault for Error {
    fn fault(&self, between: &Between<'_>) -> Fault {
        match self {
            Error::Run(error) => error.fault(between),
            Error::Command(status) => command_fault(*status, between),
            Error::OutputGone => output_gone(),
            Error::GaveWay => {
                between.fault(Exit::Deadline, "the peer was gone, and its place went to another that waited")
            }
        }
    }

    fn run(&self) -> Option<&RunError> {
        match self {
            Error::Run(error) => Some(error),
            _ => None,
        }
    }
}
