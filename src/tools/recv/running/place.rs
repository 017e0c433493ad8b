//! The place of a session among others: it waits for one, or gives its own away.

use super::{End, Running, Work};
use crate::run::farewell::GREETING_TIME;
use crate::run::tool::{Context, RunError};
use crate::tools::recv::Recv;
use crate::tools::recv::turns::{GIVES_WAY_AFTER, Going};
use crate::tools::transfers::Error;
use crate::wire::CloseCode;

impl Running {
    /// Others come first. It waits for us, not we for it, unless it has gone: that is nobody's business.
    pub(super) fn wait_for_turn(&mut self, ctx: &mut Context<'_, Recv>) {
        self.greet_by = ctx.now + GREETING_TIME;
        if self.lost_since.is_some_and(|since| since + GIVES_WAY_AFTER <= ctx.now) {
            self.superseded = true;
            self.fail(ctx, Error::Run(RunError::Expired), CloseCode::Cancelled);
            self.forget_at = Some(ctx.now);
        }
    }

    /// The process at the other end of this session is taken for gone. Where its peer has called anew, that call takes its place
    /// unless standard output has got something: that cannot be taken back, and must be neither doubled nor continued.
    pub fn give_way(&mut self, ctx: &mut Context<'_, Recv>, going: Going) {
        self.superseded = going.is_followed && !self.has_put_out();
        match (std::mem::replace(&mut self.end, End::Open), self.superseded) {
            // What is told is done: another run would do it twice.
            (End::Told(result), _) => {
                self.superseded = false;
                self.end = End::Closed(result);
            }
            _ if going.is_followed => self.fail(ctx, Error::BegunAnew, CloseCode::Cancelled),
            _ => self.fail(ctx, Error::GaveWay, CloseCode::Cancelled),
        }
        self.forget_at = Some(ctx.now);
    }

    fn has_put_out(&self) -> bool {
        match &self.work {
            Work::Stream(inflow) => inflow.has_put_out(),
            // An engine's end does not take back what it wrote.
            _ => self.output.as_ref().is_some_and(|news| news.has_put_out()),
        }
    }
}
