//! Words for what is wrong with a key file.

use crate::cli::escape::printable;
use crate::cli::exit::Exit;
use crate::cli::report::{Fault, chain};
use crate::store::keyfile::{CreateError, FILE_MAX, LoadError};
use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::Path;

/// What `error` about the key file at `path` means to a person.
pub(super) fn key_fault(path: &Path, error: &LoadError) -> Fault {
    let words = match error {
        LoadError::Io(cause) => format!("{error}: {}", chain(cause)),
        LoadError::Parse(cause) => format!("{error}: {cause}"),
        LoadError::NotRegular | LoadError::Exposed { .. } | LoadError::TooLong => error.to_string(),
    };
    let fault = about(path, &words);
    match error {
        LoadError::Exposed { .. } => fault.hint(format!("chmod 600 {}", printable(path))),
        _ => fault,
    }
}

impl Display for LoadError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the key file cannot be read"),
            Self::NotRegular => f.write_str("the key file is not a regular file"),
            Self::Exposed { mode } => write!(f, "others can access the key file (mode {mode:04o})"),
            Self::TooLong => write!(f, "not a key of vp: a key file has at most {FILE_MAX} bytes"),
            Self::Parse(_) => f.write_str("not a key of vp"),
        }
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Parse(error) => Some(error),
            Self::NotRegular | Self::Exposed { .. } | Self::TooLong => None,
        }
    }
}

/// Why there is no key file at `path` now.
pub(super) fn unwritten_key(path: &Path, error: &CreateError) -> Fault {
    let words = match error {
        CreateError::Io(error) => format!("the key file cannot be written: {}", chain(error)),
        CreateError::Exists => "the key file exists".to_owned(),
        CreateError::Directory => "this is a directory, and a file is wanted".to_owned(),
        CreateError::NotRegular => "the name belongs to something that is not a regular file".to_owned(),
        CreateError::NoName => "the path ends in no file name".to_owned(),
    };
    about(path, &words)
}

/// The same, and what whoever has named the file can do.
pub(super) fn create_fault(path: &Path, error: &CreateError) -> Fault {
    let fault = unwritten_key(path, error);
    match error {
        CreateError::Exists => fault.hint("--force replaces it; the old key is lost"),
        CreateError::Io(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
            Some(parent) => fault.hint(format!("make the directory first: mkdir -p {}", printable(parent))),
            None => fault,
        },
        CreateError::Directory => {
            fault.hint(format!("name the file in it: vp-keygen -o {}", printable(&path.join("key"))))
        }
        CreateError::Io(_) | CreateError::NotRegular | CreateError::NoName => fault,
    }
}

fn about(path: &Path, words: &str) -> Fault {
    Fault::new(Exit::Config, format!("{}: {words}", printable(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_be_read_is_told_of_with_what_the_system_says() {
        let fault = key_fault(Path::new("k"), &LoadError::Io(io::Error::from_raw_os_error(13)));
        assert_eq!(fault.message, "k: the key file cannot be read: permission denied");
    }
}
