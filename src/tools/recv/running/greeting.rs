//! The peer's first message: what it means without a directory, and when it does not come.

use super::{Closing, Moved, Running, Work};
use crate::net::child::Child;
use crate::net::stdio::Sink;
use crate::run::tool::{Breach, Context, Doing, RunError};
use crate::session::Session;
use crate::tools::recv::Options;
use crate::tools::recv::Recv;
use crate::tools::recv::inflow::{Inflow, Place, Taken};
use crate::tools::transfers::Error;
use crate::transfer::Fault;
use crate::transfer::messages::{Content, Hello, VERSION};
use crate::transfer::reception::Greeted;
use crate::transfer::{Fact, TransferError};

impl Running {
    pub(super) fn check_greeting_time(&mut self, ctx: &mut Context<'_, Recv>) -> Moved {
        let has_path = ctx.node.session(self.key).is_some_and(|session| session.has_lane());
        if self.deadlines.check_greeting(ctx.now, has_path) {
            return Err(Error::Run(RunError::Protocol(Breach::SaidNothing)));
        }
        Ok(false)
    }

    /// Without a directory the first message decides: a stream is dealt with here, files need an engine.
    pub(super) fn greet(&mut self, ctx: &mut Context<'_, Recv>, options: &Options) -> Moved {
        let (Work::Greeting(reception), Some(session)) = (&mut self.work, ctx.node.session(self.key)) else {
            return Ok(false);
        };
        let bytes = session.stream(self.stream).readable();
        let mut input = bytes;
        let fact = reception.next(&mut input)?;
        let used = bytes.len() - input.len();
        session.stream_mut(self.stream).read(used);
        // It is the first fact.
        let Some(Fact::Hello(hello)) = fact else { return Ok(true) };
        if hello.version != VERSION {
            return Ok(self.begin_refusing(Fault::Version));
        }
        // Before a command is started for it.
        if hello.is_several() {
            return Ok(self.begin_refusing(Fault::TreeNotTaken));
        }
        match hello.content {
            Content::Stream => self.begin_stream(ctx, options, &hello),
            Content::Files if options.exec.is_none() && crate::net::stdio::is_output_terminal() => {
                Ok(self.begin_refusing(Fault::Terminal))
            }
            Content::Files => {
                let leashed = self.leashes.hold()?;
                let Work::Greeting(reception) = std::mem::replace(&mut self.work, Work::Over) else { return Ok(false) };
                let greeted = Greeted { reception: *reception, hello };
                let (engine, news) = self.order(options).into_writer(ctx.waker, greeted, leashed)?;
                self.output = news;
                self.work = Work::Files(engine);
                Ok(true)
            }
        }
    }

    fn begin_stream(&mut self, ctx: &mut Context<'_, Recv>, options: &Options, hello: &Hello) -> Moved {
        let Work::Greeting(reception) = std::mem::replace(&mut self.work, Work::Over) else { return Ok(false) };
        let (sink, command): (Sink, Option<Child>) = match self.order(options).command {
            None => (Sink::stdout().map_err(|error| Error::Run(RunError::Io(Doing::OpenStdout, error)))?, None),
            Some(command) => {
                let fed =
                    command.feed(&hello.name).map_err(|error| Error::Run(RunError::Io(Doing::StartCommand, error)))?;
                (fed.sink, Some(fed.child))
            }
        };
        let mut taken = Taken::new(&hello.name, options.policy.bytes_max);
        if options.tells_items {
            taken.watch(ctx.now);
        }
        let mut inflow = Inflow::new(self.stream, *reception, Place { sink, command, taken }, ctx.waker);
        inflow
            .register(ctx.registry, self.token(0), self.token(1))
            .map_err(|error| Error::Run(RunError::Io(Doing::Watch, error)))?;
        self.work = Work::Stream(Box::new(inflow));
        Ok(true)
    }

    fn begin_refusing(&mut self, fault: Fault) -> bool {
        if let Work::Greeting(mut reception) = std::mem::replace(&mut self.work, Work::Over) {
            reception.refuse(fault);
            self.work = Work::Refusing(fault, reception);
        }
        true
    }

    pub(super) fn refuse(&mut self, session: &mut Session) -> bool {
        let Work::Refusing(fault, reception) = &mut self.work else { return false };
        let answer = reception.answers();
        let count = session.stream_mut(self.stream).write(answer);
        answer.drain(..count);
        if answer.is_empty() {
            session.stream_mut(self.stream).finish();
            self.end = Closing::Told(Err(TransferError::Refused(*fault).into()));
        }
        true
    }
}
