//! What a process says of itself when it asks whether another of its key receives the same.
//!
//! ```text
//! number u64 ‖ held u64 ‖ exclusive u8 (0 or 1) ‖ name of the application
//! ```

use crate::names::AppName;
use std::cmp::Reverse;

/// Before the application's name.
const HEAD_BYTES: usize = 8 + 8 + 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Tells processes apart.
    pub number: u64,
    /// For how many milliseconds it has received this, plus one; 0 if it does not yet.
    pub held: u64,
    /// Whether it means to be the only one.
    pub exclusive: bool,
    /// What it receives.
    pub app: AppName,
}

impl Claim {
    /// Who has received it for longer; of two that begin, the one with the lower number. So both come to the same answer.
    pub(crate) fn is_older_than(&self, other: &Claim) -> bool {
        (self.held, Reverse(self.number)) > (other.held, Reverse(other.number))
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.number.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.held.to_le_bytes());
        bytes.push(u8::from(self.exclusive));
        bytes.extend_from_slice(self.app.as_str().as_bytes());
        bytes
    }

    /// What these bytes say, if they are a claim.
    pub fn decode(bytes: &[u8]) -> Option<Claim> {
        let (head, app) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (number, rest) = head.split_first_chunk::<8>()?;
        let (held, rest) = rest.split_first_chunk::<8>()?;
        let exclusive = match rest {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        let app = std::str::from_utf8(app).ok()?.parse().ok()?;
        Some(Claim { number: u64::from_le_bytes(*number), held: u64::from_le_bytes(*held), exclusive, app })
    }
}

/// Fuzz entry: whatever decodes has one encoding.
#[cfg(feature = "fuzzing")]
pub fn fuzz_claim(bytes: &[u8]) {
    if let Some(claim) = Claim::decode(bytes) {
        assert_eq!(claim.encode(), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(number: u64, held: u64) -> Claim {
        Claim { number, held, exclusive: false, app: "x".parse().expect("a name") }
    }

    #[test]
    fn who_receives_it_already_is_older_than_who_begins() {
        assert!(claim(9, 1).is_older_than(&claim(1, 0)));
        assert!(claim(9, 100).is_older_than(&claim(1, 99)));
    }

    proptest! {
        #[test]
        fn of_two_one_is_older_and_both_know_which(a in (0u64..4, 0u64..3), b in (0u64..4, 0u64..3)) {
            let (one, other) = (claim(a.0, a.1), claim(b.0, b.1));
            prop_assert_eq!(one.is_older_than(&other), one != other && !other.is_older_than(&one));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
            fuzz_claim(&bytes);
        }
    }
}
