//! Amounts of bytes as people write them: `512`, `10k`, `1.5G`, `1MB`.

/// Units and their bytes. As with `dd` and `sort`, a letter alone or with `iB` is a power of 1024, with `B` one of 1000.
const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
];
/// Digits behind the point that count.
const FRACTION_DIGITS_MAX: usize = 9;

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// It does not start with a number.
    NotANumber,
    /// Its unit is none of ours.
    UnknownUnit,
    /// More than 64 bits can count.
    TooLarge,
}

/// Reads an amount of bytes; what is less than a byte is dropped.
///
/// # Errors
/// [`SizeError`] says what is wrong with it.
pub fn size(text: &str) -> Result<u64, SizeError> {
    let (number, unit) = Number::take(text).ok_or(SizeError::NotANumber)?;
    let unit = unit.to_ascii_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    number.times(factor.ok_or(SizeError::UnknownUnit)?).ok_or(SizeError::TooLarge)
}

/// A number with a fraction: `digits` over a power of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    digits: u128,
    places: u32,
}

impl Number {
    /// Takes a number off the front: digits, perhaps a point and more digits.
    pub(crate) fn take(text: &str) -> Option<(Number, &str)> {
        let count = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) = text.split_at(count(text));
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(behind) => behind.split_at(count(behind)),
            None => ("", rest),
        };
        let is_odd = whole.is_empty()
            || fraction.len() > FRACTION_DIGITS_MAX
            || (fraction.is_empty() && text[whole.len()..].starts_with('.'));
        // Thirty digits are far beyond what is taken, and far below what 128 bits hold.
        if is_odd || whole.trim_start_matches('0').len() > 30 - FRACTION_DIGITS_MAX {
            return (!is_odd).then_some((Number { digits: u128::MAX, places: 0 }, rest));
        }
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some((Number { digits, places: u32::try_from(fraction.len()).ok()? }, rest))
    }

    /// So many times a factor, without what is behind the point.
    pub(crate) fn times(self, factor: u64) -> Option<u64> {
        let product = self.digits.checked_mul(u128::from(factor))?;
        u64::try_from(product / 10_u128.pow(self.places)).ok()
    }

    /// So many times a factor, if nothing is left behind the point; `Some(None)` is more than 64 bits count.
    pub(crate) fn whole(self, factor: u64) -> Option<Option<u64>> {
        let Some(product) = self.digits.checked_mul(u128::from(factor)) else { return Some(None) };
        let scale = 10_u128.pow(self.places);
        (product % scale == 0).then(|| u64::try_from(product / scale).ok())
    }

    /// Whether it is nothing.
    pub(crate) fn is_zero(self) -> bool {
        self.digits == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("10k", 10 << 10),
            ("10K", 10 << 10),
            ("10KiB", 10 << 10),
            ("10kB", 10_000),
            ("1MB", 1_000_000),
            ("1.5G", 3 << 29),
            ("0.5k", 512),
            ("1T", 1 << 40),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, error) in [
            ("", SizeError::NotANumber),
            ("M", SizeError::NotANumber),
            ("-1", SizeError::NotANumber),
            ("1.", SizeError::NotANumber),
            (".5G", SizeError::NotANumber),
            ("1,5M", SizeError::UnknownUnit),
            ("1 M", SizeError::UnknownUnit),
            ("1KK", SizeError::UnknownUnit),
            ("18446744073709551616", SizeError::TooLarge),
            ("99999999T", SizeError::TooLarge),
            ("99999999999999999999999999999999999999999999999", SizeError::TooLarge),
        ] {
            assert_eq!(size(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9.kKMGTiBx]{0,50}") {
            let _ = size(&text);
        }

        #[test]
        fn whole_numbers_are_exact(bytes: u64) {
            prop_assert_eq!(size(&bytes.to_string()), Ok(bytes));
        }
    }
}
