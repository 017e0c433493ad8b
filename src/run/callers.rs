//! Who may call a running tool, read again when it is told to (SIGHUP).

use super::news::News;
use super::tool::{Context, Tool};
use crate::node::{Callers, Key};
use std::time::{Duration, Instant};

/// Reads again who may call, as often as it is told to.
pub(crate) struct Reload {
    read: Box<dyn Fn() -> Result<Reread, Unread>>,
    /// Names that have been told of as nobody's.
    unknown: Vec<String>,
    is_nobody: bool,
    /// When it is to be read again by itself.
    again_at: Option<Instant>,
}

impl Reload {
    /// By this way. As long as it cannot be read everything stays as it was. Of the names in `unknown` it has been said that
    /// nobody bears them.
    pub(crate) fn new(unknown: Vec<String>, read: impl Fn() -> Result<Reread, Unread> + 'static) -> Reload {
        Reload { read: Box::new(read), unknown, is_nobody: false, again_at: None }
    }

    /// When it is to be read again without a signal.
    pub(crate) fn again_at(&self) -> Option<Instant> {
        self.again_at
    }
}

/// Why it was not read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It cannot be read, or has a mistake.
    Unusable,
    /// It is perhaps being written: it is to be read again after this time.
    Unsettled(Duration),
}

/// Who may call now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reread {
    /// By application, if it differs.
    pub callers: Callers,
    /// Names on the command line that nobody bears any more.
    pub unknown: Vec<String>,
    /// Whether nobody who exists may call.
    pub is_nobody: bool,
}

/// What came of reading again.
pub(crate) struct Taken {
    /// Who may call now.
    pub callers: Callers,
    /// Sessions whose peer may no more call what it called.
    pub outcasts: Vec<Key>,
}

/// Takes the new list, which the node then goes by, and says what is wrong with it, once until it changes. None if all stays
/// as it was.
pub(crate) fn reread<T: Tool>(ctx: &mut Context<'_, T>, reload: &mut Reload) -> Option<Taken> {
    reload.again_at = None;
    let again = match (reload.read)() {
        Ok(again) => again,
        Err(Unread::Unusable) => {
            (ctx.news)(News::NotReloaded.into());
            return None;
        }
        Err(Unread::Unsettled(time)) => {
            reload.again_at = Some(ctx.now + time);
            return None;
        }
    };
    let news = again.unknown.iter().filter(|name| !reload.unknown.contains(name));
    news.for_each(|name| (ctx.news)(News::Unlisted(name).into()));
    if again.is_nobody && !reload.is_nobody {
        (ctx.news)(News::NobodyMayCall.into());
    }
    (reload.unknown, reload.is_nobody) = (again.unknown, again.is_nobody);
    let outcasts = ctx.node.set_callers(ctx.now, again.callers.clone());
    Some(Taken { callers: again.callers, outcasts })
}
