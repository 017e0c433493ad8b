//! Who may call a running tool, read again when it is told to (SIGHUP).

use super::event_loop::{Callers, Context, Notice};
use crate::node::Key;

/// Reads again who may call. None: it cannot be read, and everything stays as it was.
pub type Reload = Box<dyn Fn() -> Option<Reread>>;

/// Who may call now.
#[derive(Debug, PartialEq, Eq)]
pub struct Reread {
    /// By application, if it differs.
    pub callers: Callers,
    /// Names on the command line that nobody bears any more.
    pub unknown: Vec<String>,
}

/// What came of reading again.
pub struct Taken {
    /// Who may call now.
    pub callers: Callers,
    /// Sessions whose peer may no more call what it called.
    pub outcasts: Vec<Key>,
}

/// Takes the new list, which the node then goes by, and says what is wrong with it. None if all stays as it was.
pub fn reread(ctx: &mut Context<'_>, reload: &Reload) -> Option<Taken> {
    let Some(again) = reload() else {
        (ctx.notices)(Notice::NotReloaded);
        return None;
    };
    again.unknown.iter().for_each(|name| (ctx.notices)(Notice::Unlisted(name)));
    let outcasts = ctx.node.set_callers(ctx.now, again.callers.clone());
    Some(Taken { callers: again.callers, outcasts })
}
