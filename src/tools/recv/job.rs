//! The engine's part of receiving: which job a session of files calls for.

use super::command::CommandLine;
use super::leash::Leashed;
use super::writers::{Feed, Output, OutputNews};
use crate::identity::PeerId;
use crate::net::reactor::Waker;
use crate::run::tool::{Doing, RunError};
use crate::tools::transfers::Error;
use crate::tools::transfers::engine::{Destination, OnReceived, ReceiveJob, ReceivePolicy, Received};
use crate::tools::transfers::pump::Pump;
use crate::transfer::reception::Greeted;
use crate::transfer::{ReceiveOutcome, TransferError};
use std::path::Path;
use std::sync::Arc;

/// An engine that receives files.
pub(super) type Engine = Pump<Result<ReceiveOutcome, TransferError>>;

/// What an engine needs to know of its session.
pub(super) struct Order {
    /// Who sends.
    pub peer: PeerId,
    /// The stream.
    pub stream: u32,
    /// What is taken.
    pub policy: ReceivePolicy,
    /// The command, if there is one.
    pub command: Option<CommandLine>,
    /// The end of each item is to be told.
    pub tells_items: bool,
}

/// What becomes of what comes.
struct Delivery {
    destination: Destination,
    /// What the sender has said, if it has been heard already.
    greeted: Option<Greeted>,
    /// What follows an item.
    hook: Option<Box<OnReceived<'static>>>,
    /// Who lets go of it gives up what is waited for.
    held: Leashed,
}

fn io(doing: Doing) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::Run(RunError::Io(doing, error))
}

impl Order {
    /// Starts an engine that puts items into a directory. The first of the two holds the command, the second what is waited
    /// for until it may begin.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn into_directory(
        self,
        waker: &Arc<Waker>,
        place: Destination,
        (leashed, held): (Leashed, Leashed),
    ) -> Result<Engine, Error> {
        let base = place.directory().map(Path::to_owned).unwrap_or_default();
        let hook = self.command.clone().map(|command| -> Box<OnReceived<'static>> {
            Box::new(move |item: &Received| command.run(&base, item.path.as_bytes(), &leashed))
        });
        self.start(waker, Delivery { destination: place, greeted: None, hook, held })
    }

    /// Starts an engine for one file, whose sender has greeted, that goes to the command or to standard output, and yields
    /// news of the latter. The first of `leashed` holds the command, the second what is written to either.
    ///
    /// # Errors
    /// There is no such output, or the system gives no process or thread.
    pub(super) fn into_writer(
        self,
        waker: &Arc<Waker>,
        greeted: Greeted,
        leashed: (Leashed, Leashed),
    ) -> Result<(Engine, Option<Arc<OutputNews>>), Error> {
        let Some(command) = &self.command else {
            let (output, news) = Output::stdout(leashed.1).map_err(io(Doing::OpenStdout))?;
            let destination = Destination::Writer(Box::new(output));
            let delivery = Delivery { destination, greeted: Some(greeted), hook: None, held: leashed.0 };
            let engine = self.start(waker, delivery)?;
            return Ok((engine, Some(news)));
        };
        let (feed, fed) =
            Feed::start(command, &greeted.hello.name, leashed.clone()).map_err(io(Doing::StartCommand))?;
        let hook: Box<OnReceived<'static>> = Box::new(move |_: &Received| fed.wait());
        let destination = Destination::Writer(Box::new(feed));
        let delivery = Delivery { destination, greeted: Some(greeted), hook: Some(hook), held: leashed.1 };
        let engine = self.start(waker, delivery)?;
        Ok((engine, None))
    }

    fn start(self, waker: &Arc<Waker>, delivery: Delivery) -> Result<Engine, Error> {
        let Delivery { destination, greeted, hook: on_received, held } = delivery;
        let sender = *self.peer.as_bytes();
        let given_up = Box::new(move || held.is_let_go());
        let job = ReceiveJob { greeted, destination, policy: self.policy, sender, on_received, given_up };
        let tells_items = self.tells_items;
        let pump = Pump::start("receive", self.stream, waker, move |port, teller| {
            teller.serve_receiver();
            teller.tell_items(tells_items);
            job.run(port, teller)
        });
        pump.map_err(io(Doing::StartThread))
    }
}
