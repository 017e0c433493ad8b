//! What `vp-keygen` does.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::identity::Identity;
use crate::names::keyfile;
use crate::store::keyfile::{CreateError, LoadError, Overwrite, create, load, make_directory};

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeygenOptions {
    /// Make a key and give the text of its file.
    Print,
    /// `-o FILE`: make a key, write it there, and give its id.
    Create {
        /// Where to.
        path: PathBuf,
        /// `--force` or not.
        overwrite: Overwrite,
        /// A directory to make first if it is missing.
        directory: Option<PathBuf>,
    },
    /// `-y FILE`: give the id of the key there.
    ShowId {
        /// Where from.
        path: PathBuf,
    },
}

/// Does it, and gives what belongs on stdout, without the final newline.
///
/// With [`KeygenOptions::Print`] that is the secret itself, so it is wiped when dropped.
///
/// # Errors
/// [`KeygenError`]: the file could not be read or written.
pub(crate) fn run(options: KeygenOptions) -> Result<Zeroizing<String>, KeygenError> {
    match options {
        KeygenOptions::Print => {
            let mut text = keyfile::encode(&Identity::generate());
            let len = text.trim_end().len();
            text.truncate(len);
            Ok(text)
        }
        KeygenOptions::Create { path, overwrite, directory } => {
            if let Some(directory) = directory {
                make_directory(&directory).map_err(|error| KeygenError::Create(CreateError::Io(error)))?;
            }
            let identity = Identity::generate();
            create(&path, &identity, overwrite).map_err(KeygenError::Create)?;
            Ok(Zeroizing::new(identity.id().to_string()))
        }
        KeygenOptions::ShowId { path } => {
            let identity = load(&path).map_err(KeygenError::Load)?;
            Ok(Zeroizing::new(identity.id().to_string()))
        }
    }
}

/// Why there is no key.
#[derive(Debug)]
pub(crate) enum KeygenError {
    /// The key file of `-y`.
    Load(LoadError),
    /// The key file of `-o`.
    Create(CreateError),
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_id_of_a_new_file_is_the_id_that_it_shows() {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("key");
        let create = |overwrite| run(KeygenOptions::Create { path: path.clone(), overwrite, directory: None });
        let show = || run(KeygenOptions::ShowId { path: path.clone() });
        let id = create(Overwrite::Never).expect("creates");
        assert!(id.starts_with("vp1") && !id.contains('\n'));
        assert_eq!(show().expect("shows"), id);
        assert!(matches!(create(Overwrite::Never), Err(KeygenError::Create(CreateError::Exists))));
        assert_eq!(show().expect("shows"), id);
        assert_ne!(create(Overwrite::Replace).expect("replaces"), id);
    }

    #[test]
    fn a_printed_key_is_the_text_of_a_key_file() {
        let text = run(KeygenOptions::Print).expect("prints");
        let identity = keyfile::parse(&text).expect("a key file");
        assert!(text.starts_with(&format!("# id: {}\n", identity.id())));
        assert!(!text.ends_with('\n'));
    }

    #[test]
    fn a_missing_file_has_no_id() {
        let path = PathBuf::from("/nonexistent/key");
        assert!(matches!(run(KeygenOptions::ShowId { path }), Err(KeygenError::Load(LoadError::Io(_)))));
    }
}
