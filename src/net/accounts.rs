//! Users and groups by their names, as the whole system knows them: files, directories of networks, systemd.

use nix::unistd::{Group, User};
use std::io;

/// The number of a user by name, or of one who is written as a number. None: nobody is called that.
///
/// # Errors
/// Whoever knows the names does not answer.
pub(crate) fn user_id(text: &str) -> io::Result<Option<u32>> {
    let found = User::from_name(text)?;
    Ok(found.map(|user| user.uid.as_raw()).or_else(|| number(text)))
}

/// The same of a group.
///
/// # Errors
/// The same.
pub(crate) fn group_id(text: &str) -> io::Result<Option<u32>> {
    let found = Group::from_name(text)?;
    Ok(found.map(|group| group.gid.as_raw()).or_else(|| number(text)))
}

/// The highest number means "leave it as it is" to the kernel, and nobody has it.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_known_and_nobody_else_is() {
        assert_eq!((user_id("root").unwrap(), group_id("root").unwrap()), (Some(0), Some(0)));
        assert_eq!((user_id("4711").unwrap(), group_id("0").unwrap()), (Some(4711), Some(0)));
        for nobody in ["no such user", "-1", "+1", "4294967295", ""] {
            assert_eq!((user_id(nobody).unwrap(), group_id(nobody).unwrap()), (None, None), "{nobody}");
        }
    }
}
