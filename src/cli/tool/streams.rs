//! Standard streams that a tool cannot do without: nothing is dialled, and no key made, where one of them is closed.

use crate::cli::exit::Exit;
use crate::cli::report::Fault;
use crate::net::stdio::{is_input_closed, is_output_closed};

/// What comes goes to standard output.
///
/// # Errors
/// It is closed.
pub(super) fn needs_output() -> Result<(), Fault> {
    let hint =
        "redirect it; >/dev/null throws away what comes; open for reading and writing, /dev/null looks as if closed";
    needed(is_output_closed(), "standard output", hint)
}

/// What is sent comes from standard input.
///
/// # Errors
/// It is closed.
pub(super) fn needs_input() -> Result<(), Fault> {
    let hint = "redirect it; </dev/null sends nothing; open for reading and writing, /dev/null looks as if closed";
    needed(is_input_closed(), "standard input", hint)
}

fn needed(is_closed: bool, what: &str, hint: &str) -> Result<(), Fault> {
    if is_closed { Err(Fault::new(Exit::Usage, format!("{what} is closed")).hint(hint)) } else { Ok(()) }
}
