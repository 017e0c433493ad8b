//! Durations, sizes and rates as people type them: `1h30m`, `0.5s`, `10k`, `1MB`.

use std::error::Error;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use crate::names::{Number, SizeError, size};

/// Longest duration taken, seconds: a century. Adding it to any clock cannot overflow.
pub(crate) const DURATION_MAX_SECONDS: u64 = 100 * 366 * 24 * 60 * 60;

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
pub(crate) enum Patience {
    /// Give up after this time; zero means do not wait at all.
    For(Duration),
    /// Never give up.
    Endless,
}

impl Patience {
    /// The time after which to give up, or `None` for never.
    pub(crate) const fn limit(self) -> Option<Duration> {
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
    /// Not a duration: no number first, a space, or a unit that is none.
    NotADuration,
    /// The same, where waiting for ever would be taken, too.
    NotPatience,
    /// For ever, where it cannot be meant.
    NeverEnds,
    /// A number of time without a unit. Only `0` may stand alone.
    NoDurationUnit,
    /// A unit twice, or the smaller before the larger.
    UnitOrder,
    /// A duration of more than this.
    LongerThan(Duration),
    /// Not an amount of bytes.
    NotASize,
    /// More bytes than the program can count.
    SizeTooLarge,
    /// Not a number of things.
    NotACount,
    /// A number of things beyond this.
    MoreThan(u64),
    /// Zero where zero makes no sense.
    Zero,
    /// Not the number of a descriptor.
    NotADescriptor,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADuration => f.write_str("not a duration: numbers with ms, s, m, h or d, as in 90s or 1h30m"),
            Self::NotPatience => {
                f.write_str("not a duration: numbers with ms, s, m, h or d, as in 90s or 1h30m, or 0, or never")
            }
            Self::NeverEnds => f.write_str("this cannot be for ever: give a duration, as in 90s or 1h30m"),
            Self::NoDurationUnit => f.write_str("a unit is missing: ms, s, m, h or d, as in 90s or 1h30m"),
            Self::UnitOrder => f.write_str("the larger unit comes first, and each once, as in 1h30m"),
            Self::LongerThan(most) => write!(f, "at most {} is taken", shown(*most)),
            Self::NotASize => f.write_str(
                "not a size: a number, with K, M, G or T (of 1024) or KB, MB, GB or TB (of 1000) if wanted, as in 500M",
            ),
            Self::SizeTooLarge => write!(f, "at most {}T is taken", u64::MAX >> 40),
            Self::NotACount => {
                f.write_str("not a number: digits, with k (thousand) or M (million) if wanted, as in 500 or 10k")
            }
            Self::MoreThan(most) => write!(f, "at most {most} is taken"),
            Self::Zero => f.write_str("it must be more than 0"),
            Self::NotADescriptor => f.write_str("a descriptor is given by its number, as in 3"),
        }
    }
}

/// A limit as it would be typed.
fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % (24 * 60 * 60) == 0 => format!("{}d", seconds / (24 * 60 * 60)),
        seconds => format!("{seconds}s"),
    }
}

impl Error for UnitError {}

impl From<SizeError> for UnitError {
    fn from(error: SizeError) -> UnitError {
        match error {
            SizeError::NotANumber | SizeError::UnknownUnit => UnitError::NotASize,
            SizeError::TooLarge => UnitError::SizeTooLarge,
        }
    }
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        UnitError::from(*self).fmt(f)
    }
}

impl Error for SizeError {}

impl FromStr for Patience {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text {
            "never" => Ok(Self::Endless),
            _ => duration(text).map(Self::For).map_err(|error| match error {
                UnitError::NotADuration => UnitError::NotPatience,
                other => other,
            }),
        }
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        size(text).map(Self).map_err(UnitError::from)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let Size(bytes) = text.parse()?;
        NonZeroU64::new(bytes).map(Self).ok_or(UnitError::Zero)
    }
}

/// Reads a number of things that is not zero: `500`, `10k`, `2M`. Things are counted in thousands, as bytes are not.
///
/// # Errors
/// [`UnitError`] says what is wrong with it.
pub fn count<T: TryFrom<NonZeroU64>>(text: &str) -> Result<T, UnitError> {
    let most = u64::MAX >> (u64::BITS as usize - 8 * size_of::<T>().clamp(1, 8));
    let (number, unit) = Number::take(text).ok_or(UnitError::NotACount)?;
    let factor = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "m" | "M" => 1_000_000,
        _ => return Err(UnitError::NotACount),
    };
    // Half a thing is none.
    let many = number.whole(factor).ok_or(UnitError::NotACount)?;
    let many = NonZeroU64::new(many.ok_or(UnitError::MoreThan(most))?).ok_or(UnitError::Zero)?;
    many.try_into().map_err(|_| UnitError::MoreThan(most))
}

/// Reads the number of a descriptor.
///
/// # Errors
/// It is none.
pub fn descriptor(text: &str) -> Result<u16, UnitError> {
    text.parse().map_err(|_| UnitError::NotADescriptor)
}

/// Reads `300ms`, `0.5s`, `1h30m`, `1d` or `0`.
///
/// # Errors
/// [`UnitError`] says what is wrong with it.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let (mut rest, mut units, mut whole) = (text, &DURATION_UNITS[..], 0_u64);
    let too_long = UnitError::LongerThan(Duration::from_secs(DURATION_MAX_SECONDS));
    match text {
        "" => return Err(UnitError::NotADuration),
        "never" => return Err(UnitError::NeverEnds),
        _ => {}
    }
    while !rest.is_empty() {
        let (number, behind) = Number::take(rest).ok_or(UnitError::NotADuration)?;
        let length = behind.bytes().take_while(|byte| !byte.is_ascii_digit()).count();
        let unit = behind.get(..length).ok_or(UnitError::NotADuration)?;
        if unit.is_empty() {
            return if number.is_zero() && rest == text { Ok(Duration::ZERO) } else { Err(UnitError::NoDurationUnit) };
        }
        let is_unit = |(name, _): &(&str, u64)| *name == unit;
        let at = units.iter().position(is_unit).ok_or(match DURATION_UNITS.iter().any(is_unit) {
            true => UnitError::UnitOrder,
            false => UnitError::NotADuration,
        })?;
        // A century in nanoseconds fits 64 bits five times.
        let part = number.times(units[at].1).ok_or(too_long)?;
        whole = whole.checked_add(part).ok_or(too_long)?;
        (rest, units) = (&behind[length..], &units[at + 1..]);
    }
    let time = Duration::from_nanos(whole);
    if time.as_secs() > DURATION_MAX_SECONDS { Err(too_long) } else { Ok(time) }
}

/// Reads a duration that must not be zero.
///
/// # Errors
/// [`UnitError`] says what is wrong with it.
pub(crate) fn duration_above_zero(text: &str) -> Result<Duration, UnitError> {
    let time = duration(text)?;
    if time.is_zero() { Err(UnitError::Zero) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::{NonZeroU16, NonZeroU32};

    const CENTURY: UnitError = UnitError::LongerThan(Duration::from_secs(DURATION_MAX_SECONDS));

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
            ("", UnitError::NotADuration),
            ("s", UnitError::NotADuration),
            ("-1s", UnitError::NotADuration),
            ("+1s", UnitError::NotADuration),
            (" 1s", UnitError::NotADuration),
            ("1.s", UnitError::NotADuration),
            ("1m-1s", UnitError::NotADuration),
            ("10", UnitError::NoDurationUnit),
            ("10x", UnitError::NotADuration),
            ("10 s", UnitError::NotADuration),
            ("1 h", UnitError::NotADuration),
            ("10S", UnitError::NotADuration),
            ("1e3", UnitError::NotADuration),
            ("never", UnitError::NeverEnds),
            ("1h30", UnitError::NoDurationUnit),
            ("30m1h", UnitError::UnitOrder),
            ("1m1m", UnitError::UnitOrder),
            ("99999999999999999999s", CENTURY),
            ("18446744073709551615h", CENTURY),
            ("9999999999h", CENTURY),
        ] {
            assert_eq!(duration(text), Err(error), "{text}");
        }
        assert_eq!(duration_above_zero("0"), Err(UnitError::Zero));
    }

    #[test]
    fn patience_knows_for_ever() {
        assert_eq!("never".parse::<Patience>().map(Patience::limit), Ok(None));
        assert_eq!("0".parse::<Patience>().map(Patience::limit), Ok(Some(Duration::ZERO)));
        assert_eq!("Never".parse::<Patience>(), Err(UnitError::NotPatience));
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
            ("", UnitError::NotASize),
            ("64x", UnitError::NotASize),
            ("1,5M", UnitError::NotASize),
            ("5 MB", UnitError::NotASize),
            ("1e3", UnitError::NotASize),
            ("99999999T", UnitError::SizeTooLarge),
            ("M", UnitError::NotASize),
        ] {
            assert_eq!(text.parse::<Size>(), Err(error), "{text}");
        }
        assert_eq!("0M".parse::<Rate>(), Err(UnitError::Zero));
        assert_eq!("1M".parse::<Rate>().map(|rate| rate.0.get()), Ok(1 << 20));
    }

    #[test]
    fn things_are_counted_in_thousands() {
        for (text, things) in [("1", 1), ("10k", 10_000), ("10K", 10_000), ("1.5k", 1_500), ("2M", 2_000_000)] {
            assert_eq!(count::<NonZeroU32>(text).map(NonZeroU32::get), Ok(things), "{text}");
        }
        for (text, error) in [
            ("", UnitError::NotACount),
            ("k", UnitError::NotACount),
            ("-1", UnitError::NotACount),
            ("1.5", UnitError::NotACount),
            ("10kB", UnitError::NotACount),
            ("1 k", UnitError::NotACount),
            ("never", UnitError::NotACount),
            ("0", UnitError::Zero),
            ("66k", UnitError::MoreThan(65_535)),
            ("99999999999999999999999999999999", UnitError::MoreThan(65_535)),
        ] {
            assert_eq!(count::<NonZeroU16>(text), Err(error), "{text}");
        }
        assert_eq!(count::<NonZeroU64>("18446744073709551615").map(NonZeroU64::get), Ok(u64::MAX));
    }

    #[test]
    fn what_is_wrong_is_said_with_an_example_or_the_limit() {
        for error in [UnitError::NotADuration, UnitError::NotPatience, UnitError::NeverEnds, UnitError::UnitOrder] {
            assert!(error.to_string().contains("as in ") && error.to_string().contains("1h30m"), "{error}");
        }
        assert_eq!(CENTURY.to_string(), "at most 36600d is taken");
        let most = UnitError::SizeTooLarge.to_string();
        assert_eq!(most, "at most 16777215T is taken");
        assert!("16777215T".parse::<Size>().is_ok() && "16777216T".parse::<Size>().is_err());
        assert!(duration("36600d").is_ok() && duration("36601d").is_err());
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
