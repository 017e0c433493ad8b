//! Whoever is told what has come, and what that says.

use super::policy::{GivenUp, OnReceived};
use super::progress::Progress;
use super::sink::{Owing, Sink};
use super::tops::Tops;
use crate::transfer::outcome::Tally;

/// See the module's text.
pub(crate) struct Hook<'a> {
    on_received: Option<Box<OnReceived<'a>>>,
    /// Whether nobody wants the outcome any more.
    pub given_up: GivenUp,
    /// The status of a command, if one has run: the first other than 0.
    pub status: Option<i32>,
}

impl<'a> Hook<'a> {
    /// Nobody, or this one, whose outcome is wanted.
    pub(super) fn new(on_received: Option<Box<OnReceived<'a>>>) -> Hook<'a> {
        Hook { on_received, given_up: Box::new(|| false), status: None }
    }

    /// Tells of each whole item that it is owed for. The first status other than 0 is the transfer's.
    pub(super) fn run(&mut self, tops: &Tops, sink: &mut dyn Sink, tally: &mut Tally, progress: &mut dyn Progress) {
        let Some(on_received) = &mut self.on_received else { return };
        for (name, top) in tops.whole() {
            let done = match sink.owed(name, &*self.given_up) {
                Ok(None) => continue,
                Ok(Some(owing)) => match (on_received(top), owing) {
                    (0, Owing::Noted(owed)) => owed.settle().map(|()| 0),
                    (status, _) => Ok(status),
                },
                Err(fault) => Err(fault),
            };
            match done {
                Ok(0) => {}
                Ok(status) => drop(self.status.get_or_insert(status)),
                Err(fault) => progress.warn(&tally.note_late(top.path.as_bytes(), fault)),
            }
        }
    }
}
