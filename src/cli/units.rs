//! Durations, sizes and rates as people type them: `1h30m`, `0.5s`, `10k`, `1MB`.

use std::error::Error;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use crate::names::{Number, SizeError, size};

/// Longest duration taken, seconds: a century. Adding it to any clock cannot overflow.
pub const DURATION_MAX_SECONDS: u64 = 100 * 366 * 24 * 60 * 60;

/// Units of a duration and their nanoseconds, in the order in which they may follow each other.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1_000_000_000),
    ("h", 60 * 60 * 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
];

/// How long to wait: for a time, or for ever. Typed `300ms`, `0.5s`, `1h30m`, `1d`, `0` or
/// `never` (never give up).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Give up after this time; zero means do not wait at all.
    For(Duration),
    /// Never give up.
    Endless,
}

impl Patience {
    /// The time after which to give up, or `None` for never.
    pub const fn limit(self) -> Option<Duration> {
        match self {
            Self::For(time) => Some(time),
            Self::Endless => None,
        }
    }
}

/// An amount of bytes. Typed `0`, `512`, `64K`, `1.5G` or `1MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Bytes in a second, never zero. Typed like a [`Size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub NonZeroU64);

/// Why a typed value was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// There was nothing.
    Empty,
    /// It does not start with a digit: signs and spaces are refused.
    NotANumber,
    /// A number of time without a unit. Only `0` may stand alone.
    NoDurationUnit,
    /// The unit of a duration is none of ours.
    UnknownDurationUnit,
    /// The unit of a size is none of ours.
    UnknownSizeUnit,
    /// More than the program can count, or a duration of more than a century.
    TooLarge,
    /// Zero where zero makes no sense.
    Zero,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a number is missing",
            Self::NotANumber => "not a number",
            Self::NoDurationUnit => "a unit is missing: ms, s, m, h or d",
            Self::UnknownDurationUnit => "unknown unit: use ms, s, m, h and d, the larger first, as in 1h30m",
            Self::UnknownSizeUnit => {
                "unknown unit: use K, M, G or T (powers of 1024), or KB, MB, GB or TB (powers of 1000)"
            }
            Self::TooLarge => "too large",
            Self::Zero => "must not be zero",
        })
    }
}

impl Error for UnitError {}

impl FromStr for Patience {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text {
            "never" => Ok(Self::Endless),
            _ => duration(text).map(Self::For),
        }
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.is_empty() {
            return Err(UnitError::Empty);
        }
        size(text).map(Self).map_err(|error| match error {
            SizeError::NotANumber => UnitError::NotANumber,
            SizeError::UnknownUnit => UnitError::UnknownSizeUnit,
            SizeError::TooLarge => UnitError::TooLarge,
        })
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let Size(bytes) = text.parse()?;
        NonZeroU64::new(bytes).map(Self).ok_or(UnitError::Zero)
    }
}

/// Reads `300ms`, `0.5s`, `1h30m`, `1d` or `0`.
///
/// # Errors
/// [`UnitError`] says what is wrong with it.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let (mut rest, mut units, mut whole) = (text, &DURATION_UNITS[..], 0_u64);
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    while !rest.is_empty() {
        let (number, behind) = Number::take(rest).ok_or(UnitError::NotANumber)?;
        let length = behind.bytes().take_while(|byte| !byte.is_ascii_digit()).count();
        let unit = behind.get(..length).ok_or(UnitError::UnknownDurationUnit)?;
        if unit.is_empty() {
            return if number.is_zero() && rest == text { Ok(Duration::ZERO) } else { Err(UnitError::NoDurationUnit) };
        }
        let at = units.iter().position(|(name, _)| *name == unit).ok_or(UnitError::UnknownDurationUnit)?;
        // A century in nanoseconds fits 64 bits five times.
        let part = number.times(units[at].1).ok_or(UnitError::TooLarge)?;
        whole = whole.checked_add(part).ok_or(UnitError::TooLarge)?;
        (rest, units) = (&behind[length..], &units[at + 1..]);
    }
    let time = Duration::from_nanos(whole);
    if time.as_secs() > DURATION_MAX_SECONDS { Err(UnitError::TooLarge) } else { Ok(time) }
}

/// Reads a duration that must not be zero.
///
/// # Errors
/// [`UnitError`] says what is wrong with it.
pub fn duration_above_zero(text: &str) -> Result<Duration, UnitError> {
    let time = duration(text)?;
    if time.is_zero() { Err(UnitError::Zero) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_written() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("300ms", 300),
            ("20s", 20_000),
            ("0.5s", 500),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1d12h0.5s", 129_600_500),
            ("007s", 7_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn bad_durations_say_what_is_wrong() {
        for (text, error) in [
            ("", UnitError::Empty),
            ("s", UnitError::NotANumber),
            ("-1s", UnitError::NotANumber),
            ("+1s", UnitError::NotANumber),
            (" 1s", UnitError::NotANumber),
            ("1.s", UnitError::NotANumber),
            ("1m-1s", UnitError::UnknownDurationUnit),
            ("10", UnitError::NoDurationUnit),
            ("10x", UnitError::UnknownDurationUnit),
            ("10 s", UnitError::UnknownDurationUnit),
            ("10S", UnitError::UnknownDurationUnit),
            ("1h30", UnitError::NoDurationUnit),
            ("30m1h", UnitError::UnknownDurationUnit),
            ("1m1m", UnitError::UnknownDurationUnit),
            ("99999999999999999999s", UnitError::TooLarge),
            ("18446744073709551615h", UnitError::TooLarge),
            ("9999999999h", UnitError::TooLarge),
        ] {
            assert_eq!(duration(text), Err(error), "{text}");
        }
        assert_eq!(duration_above_zero("0"), Err(UnitError::Zero));
    }

    #[test]
    fn patience_knows_for_ever() {
        assert_eq!("never".parse::<Patience>().map(Patience::limit), Ok(None));
        assert_eq!("0".parse::<Patience>().map(Patience::limit), Ok(Some(Duration::ZERO)));
        assert_eq!("Never".parse::<Patience>(), Err(UnitError::NotANumber));
    }

    #[test]
    fn sizes_are_binary_unless_they_say_bytes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64k", 65_536),
            ("64KB", 64_000),
            ("2M", 2 << 20),
            ("1G", 1 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(text.parse::<Size>(), Ok(Size(bytes)), "{text}");
        }
        for (text, error) in [
            ("64x", UnitError::UnknownSizeUnit),
            ("1,5M", UnitError::UnknownSizeUnit),
            ("99999999T", UnitError::TooLarge),
            ("M", UnitError::NotANumber),
        ] {
            assert_eq!(text.parse::<Size>(), Err(error), "{text}");
        }
        assert_eq!("0M".parse::<Rate>(), Err(UnitError::Zero));
        assert_eq!("1M".parse::<Rate>().map(|rate| rate.0.get()), Ok(1 << 20));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let size = text.parse::<Size>();
            let time = text.parse::<Patience>();
            prop_assert!(size.is_err() || text.starts_with(|c: char| c.is_ascii_digit()));
            prop_assert!(time.is_err() || text == "never" || text.starts_with(|c: char| c.is_ascii_digit()));
        }
    }
}
