//! `vp-send --exclude` and `--dry-run`: what is left out, and what is left.

use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Context;
use crate::cli::args::Send;
use crate::cli::env::Env;
use crate::cli::escape::printable;
use crate::cli::exit::Exit;
use crate::cli::files::secret_keys;
use crate::cli::report::{Fault, Level, chain};
use crate::cli::voice::{key_left_out, left_out_level, left_out_line};
use crate::store::omit::Omit;
use crate::tools::transfers::engine::SendJob;
use crate::transfer::item::Kind;

/// What a send leaves out: secret keys that are in use here, and what the user's patterns say.
///
/// # Errors
/// One is no pattern, or the user has named a key as what to send.
pub fn omit(words: &Send, env: &Env) -> Result<Omit, Fault> {
    let identity = |path: PathBuf| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let keys = secret_keys(words.connect.key.as_deref(), env).into_iter().filter_map(identity).collect();
    let omit = Omit::new(keys, &words.exclude)
        .map_err(|bad| Fault::new(Exit::Usage, format!("--exclude '{}': {bad}", printable(&bad.pattern))))?;
    let is_key = |source: &Path| identity(source.to_owned()).is_some_and(|it| omit.is_key(it));
    match words.operands.sources.iter().find(|source| is_key(source)) {
        Some(key) => {
            Err(Fault::new(Exit::Usage, format!("{}: this is a secret key, which is not sent", printable(key)))
                .hint(format!("others need the id alone: vp-keygen -y {}", printable(key))))
        }
        None => Ok(omit),
    }
}

/// Lists what would be sent, under the names it would have, and says what cannot be.
///
/// # Errors
/// Nothing of it could be sent, or some could not.
pub fn list(job: &SendJob, context: &Context) -> Result<Exit, Fault> {
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut good, mut bad, mut passing) = (0_u64, 0_u64, false);
    let mut walk = job.walk();
    while let Some(step) = walk.next() {
        while let Some(key) = walk.take_key() {
            context.report.say(Level::Warning, &key_left_out(&key));
        }
        let written = match step {
            Ok(found) => {
                good += 1;
                let end = if found.kind == Kind::Directory { "/" } else { "" };
                writeln!(out, "{}{end}", printable(found.path.as_bytes()))
            }
            Err(skipped) => {
                bad += 1;
                passing |= !skipped.fault.is_refusal();
                context.report.say(Level::Warning, &format!("{}: {}", printable(&skipped.path[..]), skipped.fault));
                Ok(())
            }
        };
        written.map_err(|error| unwritten(&error))?;
    }
    while let Some(key) = walk.take_key() {
        context.report.say(Level::Warning, &key_left_out(&key));
    }
    let left_out = walk.left_out();
    if left_out.count > 0 {
        context.report.say(left_out_level(left_out), &left_out_line(left_out));
    }
    out.flush().map_err(|error| unwritten(&error))?;
    match (good, bad) {
        (_, 0) => Ok(Exit::Done),
        (0, _) => Err(Fault::new(Exit::Failed, "nothing of it could be sent")),
        (good, bad) => {
            // As the run itself would end.
            let exit = if passing { Exit::Partial } else { Exit::Failed };
            Err(Fault::new(exit, format!("{bad} of {} items could not be sent", good + bad)))
        }
    }
}

fn unwritten(error: &io::Error) -> Fault {
    Fault::new(Exit::Failed, format!("cannot write to standard output: {}", chain(error)))
}
