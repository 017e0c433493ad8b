//! A password in a file: one line, refused when others can read it.

use super::keyfile::{LoadError, contents};
use std::path::Path;
use zeroize::Zeroizing;

/// Why a file gives no password.
#[derive(Debug)]
pub(crate) enum PasswordError {
    /// It cannot be read, or others can.
    File(LoadError),
    /// It is no text, or not one line of it.
    NotOneLine,
}

/// Reads the password in a file that is `exposed` to others if its mode has one of these bits.
///
/// # Errors
/// [`PasswordError`].
pub(crate) fn load(path: &Path, exposed: u32) -> Result<Zeroizing<String>, PasswordError> {
    let (bytes, mode) = contents(path).map_err(PasswordError::File)?;
    if mode & exposed != 0 {
        return Err(PasswordError::File(LoadError::Exposed { mode }));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| PasswordError::NotOneLine)?;
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(line), None) if !line.is_empty() => Ok(Zeroizing::new(line.to_owned())),
        _ => Err(PasswordError::NotOneLine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_password_is_one_line_that_nobody_else_can_read() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("password");
        let read = |text: &[u8], mode: u32, exposed: u32| {
            fs::write(&file, text).expect("writable");
            fs::set_permissions(&file, Permissions::from_mode(mode)).expect("ours");
            load(&file, exposed).map(|password| password.to_string())
        };
        for text in ["open sesame", "open sesame\n", "open sesame\r\n"] {
            assert_eq!(read(text.as_bytes(), 0o600, 0o077).ok().as_deref(), Some("open sesame"));
        }
        assert!(matches!(read(b"x", 0o640, 0o077), Err(PasswordError::File(LoadError::Exposed { mode: 0o640 }))));
        assert!(read(b"x", 0o440, 0o007).is_ok(), "who guards a credential lets its group in");
        for text in [&b""[..], b"\n", b"a\nb", b"\xff"] {
            assert!(matches!(read(text, 0o600, 0o077), Err(PasswordError::NotOneLine)), "{text:?}");
        }
        let long = vec![b'x'; 5000];
        assert!(matches!(read(&long, 0o600, 0o077), Err(PasswordError::File(LoadError::TooLong))));
        assert!(matches!(load(&place.path().join("none"), 0o077), Err(PasswordError::File(LoadError::Io(_)))));
        assert!(matches!(load(place.path(), 0o077), Err(PasswordError::File(LoadError::NotRegular))));
    }
}
