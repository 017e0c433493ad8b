//! `vp-keygen`: words to work.

use std::path::PathBuf;

use super::{Context, Tool, print_line};
use crate::app::keygen::{KeygenError, KeygenOptions, run};
use crate::cli::args::Keygen;
use crate::cli::config::key_fault;
use crate::cli::exit::Exit;
use crate::cli::report::Fault;
use crate::store::keyfile::{CreateError, Overwrite};

impl Tool for Keygen {
    fn run(self, _: &Context) -> Result<Exit, Fault> {
        let overwrite = if self.force { Overwrite::Replace } else { Overwrite::Never };
        let (path, options) = match (self.show_id, self.output) {
            (Some(path), _) => (path.clone(), KeygenOptions::ShowId { path }),
            (None, Some(path)) => (path.clone(), KeygenOptions::Create { path, overwrite }),
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

fn create_fault(path: &std::path::Path, error: &CreateError) -> Fault {
    let fault = Fault::about(Exit::Config, path, error);
    match error {
        CreateError::Exists => fault.hint("--force replaces it; the old key is lost"),
        CreateError::Io(_) | CreateError::NotRegular | CreateError::NoName => fault,
    }
}
