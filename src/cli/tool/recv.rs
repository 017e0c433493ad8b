//! `vp-recv`: words to work.

use super::party::{Called, drive, time_of, voice};
use super::{Context, Party, Tool};
use crate::cli::args::{Overwrite, Recv};
use crate::cli::config::peer_ids;
use crate::cli::escape::printable;
use crate::cli::exit::Exit;
use crate::cli::ready::{Otherwise, Ready};
use crate::cli::report::{Fault, chain};
use crate::cli::voice::Limits;
use crate::node::Kind;
use crate::run::turns::STILL_MIN;
use crate::store::inbox;
use crate::tools::recv::{self, Directory, Options};
use crate::tools::transfers::engine::ReceivePolicy;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Sessions of `--keep -d` at once: each has a thread, and windows of its own.
const KEPT_SESSIONS_MAX: usize = 64;

impl Tool for Recv {
    fn run(self, context: &Context) -> Result<Exit, Fault> {
        let ready = Ready::open(self.connect.ready_fd, Otherwise::Nowhere, &context.env)
            .map_err(|error| Fault::new(Exit::Usage, format!("--ready-fd: {}", chain(&error))))?;
        let directory = self.directory.as_deref().map(receiving_directory).transpose()?;
        let party = Party::load(&self.connect, context)?;
        let from = peer_ids(&self.from, &party.peers)?;
        // Standard output, or commands that write to it, are for one at a time.
        let most = if self.keep && directory.is_some() { KEPT_SESSIONS_MAX } else { 1 };
        let called = Called { by: party.callers(from)?, most, exclusive: self.exclusive };
        let names = party.roster.clone();
        let mut tool = recv::Recv::new(Options {
            app: self.app.clone(),
            keep: self.keep,
            sessions_max: most,
            patience: time_of(self.connect.resume_timeout).max(STILL_MIN),
            directory,
            exec: self.exec.clone().map(Into::into),
            policy: self.policy(),
            tells_items: context.report.tells_items(),
            peer_name: Box::new(move |id| names.name(id)),
            reload: party.roster.reload(&self.from),
        });
        let ReceivePolicy { bytes_max: size, items_max: items, .. } = self.policy();
        let limits = Limits { size, items };
        if self.from.is_empty() {
            let alone = format!("to receive from {app} alone: vp-recv --from {app}", app = self.app);
            party.warn_of_namesake(&context.report, &self.app, &alone);
        }
        let voice = voice(context, &party, ready).of_listener(&self.app, self.keep).of_transfer().with_limits(limits);
        let voice = voice.with_command(self.exec.as_deref().map(OsStr::new));
        let client = party.client(&self.connect, Kind::Transfer, called)?;
        drive(client, &mut tool, voice)
    }
}

impl Recv {
    fn policy(&self) -> ReceivePolicy {
        ReceivePolicy {
            overwrite: match self.overwrite {
                Overwrite::Never => inbox::Overwrite::Never,
                Overwrite::Rename => inbox::Overwrite::Rename,
                Overwrite::Yes => inbox::Overwrite::Yes,
            },
            bytes_max: self.max_size.map(|size| size.0),
            // A transfer never has more items than fit 32 bits, so a larger limit is none.
            items_max: self.max_items.and_then(|most| u32::try_from(most.get()).ok()),
        }
    }
}

/// The directory, or the one in which each peer has its own.
fn receiving_directory(path: &Path) -> Result<Directory, Fault> {
    let directory = Directory::of(path).ok_or_else(|| {
        let message = format!("{}: %p may stand in the last name of the path only", printable(path));
        Fault::new(Exit::Usage, message).hint("for one directory each: vp-recv -d DIR/%p")
    })?;
    let base = usable_directory(directory.base())?;
    Ok(directory.based(base))
}

/// Looks now whether the directory is there and can be written to, instead of when somebody has come to send, and makes it
/// where that is no more than one step; and makes its path one that a command in another directory understands.
fn usable_directory(path: &Path) -> Result<PathBuf, Fault> {
    let about = |error: &std::io::Error| Fault::about(Exit::Config, path, error);
    let shown = printable(path);
    let made = inbox::make_root(path);
    made.map_err(|error| about(&error).hint(format!("make it, and let it be yours: mkdir -p {shown}")))?;
    inbox::Inbox::open(path).map_err(|error| about(&error))?;
    access(path, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let fault = about(&error.into());
        match error {
            Errno::ROFS => fault,
            _ => fault.hint(format!("make it writable for the user that vp-recv runs as: chown or chmod u+wx {shown}")),
        }
    })?;
    std::path::absolute(path).map_err(|error| about(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn limits_become_the_policy() {
        let words = ["vp-recv", "-d", "in", "--max-size", "2K", "--max-items", "3", "--overwrite", "rename"];
        let policy = Recv::try_parse_from(words).expect("words that parse").policy();
        assert_eq!((policy.bytes_max, policy.items_max), (Some(2048), Some(3)));
        assert_eq!(policy.overwrite, inbox::Overwrite::Rename);
    }

    #[test]
    fn a_directory_that_is_no_more_than_missing_is_made_and_any_other_is_told_of_at_once() {
        let fault = usable_directory(Path::new("/nonexistent/inbox")).expect_err("it is not there");
        assert!(fault.message.starts_with("/nonexistent/inbox: ") && fault.exit == Exit::Config, "{fault}");
        assert!(fault.hints[0].ends_with("mkdir -p /nonexistent/inbox"), "{fault:?}");
        let home = tempfile::tempdir().expect("a directory");
        let inbox = home.path().join("inbox");
        assert_eq!(usable_directory(&inbox).as_deref(), Ok(&*inbox));
        assert!(inbox.is_dir());
        std::fs::write(home.path().join("file"), "").expect("a file");
        assert_eq!(usable_directory(&home.path().join("file")).map_err(|fault| fault.exit), Err(Exit::Config));
    }
}
