//! `vp-keygen`: words to work.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use super::{Context, Tool, print_line};
use crate::cli::args::Keygen;
use crate::cli::env::Env;
use crate::cli::escape::printable;
use crate::cli::exit::Exit;
use crate::cli::files::{ConfigFile, user_file};
use crate::cli::key::{create_fault, key_fault};
use crate::cli::report::Fault;
use crate::store::keyfile::Overwrite;
use crate::tools::keygen::{KeygenError, KeygenOptions, run};

impl Tool for Keygen {
    fn run(self, context: &Context) -> Result<Exit, Fault> {
        if self.show_id.iter().chain(&self.output).any(|path| path == Path::new("-")) {
            let fault = Fault::new(Exit::Usage, "-: a file is wanted here, not a standard stream");
            return Err(fault.hint("without -o a new key goes to standard output; a file of this name is ./-"));
        }
        let overwrite = if self.force { Overwrite::Replace } else { Overwrite::Never };
        let (path, options) = match (self.show_id, self.output) {
            (Some(path), _) => (path.clone(), KeygenOptions::ShowId { path }),
            (None, Some(path)) => {
                let directory = own_directory(&path, &context.env);
                (path.clone(), KeygenOptions::Create { path, overwrite, directory })
            }
            (None, None) if io::stdout().is_terminal() => {
                let place = user_file(ConfigFile::Key, &context.env).unwrap_or_else(|| "FILE".into());
                return Err(Fault::new(Exit::Usage, "a secret key is not shown on a terminal")
                    .hint(format!("write it to a file: vp-keygen -o {}", printable(&place))));
            }
            (None, None) => (PathBuf::new(), KeygenOptions::Print),
        };
        let text = run(options).map_err(|error| match error {
            KeygenError::Load(error) => key_fault(&path, &error),
            KeygenError::Create(error) => create_fault(&path, &error),
        })?;
        print_line(&text)?;
        Ok(Exit::Done)
    }
}

/// The directory of `path`, if it is the one where this user's key belongs. Another that is missing may be a slip of the
/// hand, and is not made.
fn own_directory(path: &Path, env: &Env) -> Option<PathBuf> {
    let own = user_file(ConfigFile::Key, env)?;
    let typed = std::path::absolute(path).ok()?;
    (typed.parent() == own.parent()).then(|| typed.parent().map(Path::to_owned)).flatten()
}
