//! Durations, sizes and rates as people type them: one whole number, one unit, nothing else.

use std::error::Error;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// Longest duration taken, seconds: a century. Adding it to any clock cannot overflow.
pub const DURATION_MAX_SECONDS: u64 = 100 * 366 * 24 * 60 * 60;

/// Units of a duration and their milliseconds. `ms` is told from `m` because the whole tail is compared.
const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Units of a size and their bytes: powers of 1024, as in `dd` and `split`.
const SIZE_UNITS: [(&str, u64); 5] = [("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];

/// How long to wait: for a time, or for ever. Typed `300ms`, `20s`, `10m`, `2h`, `0` or `never` (never give up).
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

/// An amount of bytes. Typed `0`, `512`, `64K`, `2M`, `1G` or `1T`.
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
    /// It does not start with a digit: signs, spaces and fractions are refused.
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
            Self::NotANumber => "not a whole number",
            Self::NoDurationUnit => "a unit is missing: ms, s, m or h",
            Self::UnknownDurationUnit => "unknown unit: use ms, s, m or h",
            Self::UnknownSizeUnit => "unknown unit: use K, M, G or T (powers of 1024)",
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
        let (number, unit) = split(text)?;
        let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or(UnitError::UnknownSizeUnit)?;
        number.checked_mul(*factor).map(Self).ok_or(UnitError::TooLarge)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let Size(bytes) = text.parse()?;
        NonZeroU64::new(bytes).map(Self).ok_or(UnitError::Zero)
    }
}

/// Reads `300ms`, `20s`, `10m`, `2h` or `0`.
///
/// # Errors
/// [`UnitError`] says what is wrong with it.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    if unit.is_empty() {
        return if number == 0 { Ok(Duration::ZERO) } else { Err(UnitError::NoDurationUnit) };
    }
    let (_, factor) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or(UnitError::UnknownDurationUnit)?;
    let time = number.checked_mul(*factor).map(Duration::from_millis).ok_or(UnitError::TooLarge)?;
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

/// Splits the digits at the front from the unit behind them.
fn split(text: &str) -> Result<(u64, &str), UnitError> {
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || unit.starts_with(['.', ',']) {
        return Err(UnitError::NotANumber);
    }
    // Only digits are left, so the one thing that can go wrong is their number.
    number.parse().map(|number| (number, unit)).map_err(|_| UnitError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_written() {
        for (text, milliseconds) in
            [("0", 0), ("0s", 0), ("300ms", 300), ("20s", 20_000), ("10m", 600_000), ("2h", 7_200_000), ("007s", 7_000)]
        {
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
            ("1.5s", UnitError::NotANumber),
            ("10", UnitError::NoDurationUnit),
            ("10x", UnitError::UnknownDurationUnit),
            ("10 s", UnitError::UnknownDurationUnit),
            ("10S", UnitError::UnknownDurationUnit),
            ("1h30m", UnitError::UnknownDurationUnit),
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
    fn sizes_are_binary_and_strict() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("64K", 65_536), ("2M", 2 << 20), ("1G", 1 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(text.parse::<Size>(), Ok(Size(bytes)), "{text}");
        }
        for (text, error) in [
            ("64k", UnitError::UnknownSizeUnit),
            ("64KB", UnitError::UnknownSizeUnit),
            ("1,5M", UnitError::NotANumber),
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
