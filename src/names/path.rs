//! The path of a request.

use std::fmt;
use std::str::FromStr;

/// Longest path: fits any proxy's request line with room to spare.
pub(super) const PATH_MAX: usize = 1024;

/// Whether a path, or a query, may have this character (RFC 3986, 3.3 and 3.4); `#` begins a comment in the relays file.
pub(super) fn may_have(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%?".contains(&byte)
}

/// `/vp`: from its slash on, and without a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath(String);

/// Why a text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPathError {
    /// It does not begin with a slash.
    NoSlash,
    /// It has a query, which is no part of it.
    HasQuery,
    /// A character that a path cannot have, or more than 1024 of them.
    BadPath,
}

impl RequestPath {
    /// Whether this is what is asked for, whatever the query says.
    pub(crate) fn is_of(&self, target: &str) -> bool {
        target.split('?').next() == Some(&self.0)
    }
}

impl FromStr for RequestPath {
    type Err = RequestPathError;

    fn from_str(text: &str) -> Result<RequestPath, RequestPathError> {
        if !text.starts_with('/') {
            return Err(RequestPathError::NoSlash);
        }
        if text.contains('?') {
            return Err(RequestPathError::HasQuery);
        }
        if text.len() > PATH_MAX || !text.bytes().all(may_have) {
            return Err(RequestPathError::BadPath);
        }
        Ok(RequestPath(text.to_owned()))
    }
}

impl fmt::Display for RequestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_of_a_path_exactly_whatever_its_query() {
        let path: RequestPath = "/vp".parse().unwrap();
        assert_eq!(path.to_string(), "/vp");
        for target in ["/vp", "/vp?", "/vp?a=b?c"] {
            assert!(path.is_of(target), "{target}");
        }
        for target in ["/", "/v", "/vp/", "/vpn", "/VP", "/%76p", "//vp", "/vp;a", "?/vp"] {
            assert!(!path.is_of(target), "{target}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_reason() {
        use RequestPathError::{BadPath, HasQuery, NoSlash};
        let long = format!("/{}", "p".repeat(PATH_MAX));
        for (text, error) in [
            ("", NoSlash),
            ("vp", NoSlash),
            ("/vp?a", HasQuery),
            ("/v p", BadPath),
            ("/v#p", BadPath),
            (&long, BadPath),
        ] {
            assert_eq!(text.parse::<RequestPath>(), Err(error), "{text}");
        }
        assert!(long[..PATH_MAX].parse::<RequestPath>().is_ok());
    }
}
