//! Who may call a running tool, read again when it is told to (SIGHUP).

use super::news::News;
use super::tool::{Context, Tool};
use crate::node::{Callers, Key};

/// Reads again who may call, as often as it is told to.
pub(crate) struct Reload {
    read: Box<dyn Fn() -> Option<Reread>>,
    /// Names that have been told of as nobody's.
    unknown: Vec<String>,
    is_nobody: bool,
}

impl Reload {
    /// By this way, which gives none if it cannot be read: then everything stays as it was. Of the names in `unknown` it has
    /// been said that nobody bears them.
    pub(crate) fn new(unknown: Vec<String>, read: impl Fn() -> Option<Reread> + 'static) -> Reload {
        Reload { read: Box::new(read), unknown, is_nobody: false }
    }
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
    let Some(again) = (reload.read)() else {
        (ctx.news)(News::NotReloaded.into());
        return None;
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
