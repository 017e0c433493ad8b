//! What is read from a certificate beyond what the library says of it: who signed it, and when it counts.

/// Characters of a name that are kept.
pub(super) const NAME_MAX: usize = 100;

/// Who signed a certificate, and whom it is of, each in DER (RFC 5280, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Names<'a> {
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const OBJECT: u8 = 0x06;

/// Those of a certificate.
pub(super) fn names(certificate: &[u8]) -> Option<Names<'_>> {
    let (issuer, rest) = value(from_issuer(certificate)?, SEQUENCE)?;
    let (_, _, rest) = element(rest)?;
    let (subject, _) = value(rest, SEQUENCE)?;
    Some(Names { issuer, subject })
}

/// What is signed of a certificate, from the name of who signed it on.
fn from_issuer(certificate: &[u8]) -> Option<&[u8]> {
    let (whole, _) = value(certificate, SEQUENCE)?;
    let (signed, _) = value(whole, SEQUENCE)?;
    let rest = value(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_, _, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    Some(rest)
}

/// When a certificate counts, in seconds since the beginning of 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub from: u64,
    /// Until then.
    pub until: u64,
}

/// When this one does.
pub(super) fn validity(certificate: &[u8]) -> Option<Validity> {
    let (_, rest) = value(from_issuer(certificate)?, SEQUENCE)?;
    let (times, _) = value(rest, SEQUENCE)?;
    let (tag, from, rest) = element(times)?;
    let from = seconds(tag, from)?;
    let (tag, until, _) = element(rest)?;
    Some(Validity { from, until: seconds(tag, until)? })
}

/// A time as certificates have it (RFC 5280, 4.1.2.5); what was before 1970 is its beginning.
fn seconds(tag: u8, text: &[u8]) -> Option<u64> {
    const TWO_DIGITS: u8 = 0x17;
    const FOUR_DIGITS: u8 = 0x18;
    let digits = text.strip_suffix(b"Z").filter(|text| text.iter().all(u8::is_ascii_digit))?;
    let number = |digits: &[u8]| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let (year, rest) = match tag {
        TWO_DIGITS => digits.split_at_checked(2).map(|(year, rest)| (number(year), rest))?,
        FOUR_DIGITS => digits.split_at_checked(4).map(|(year, rest)| (number(year), rest))?,
        _ => return None,
    };
    let year = match (tag, year) {
        (TWO_DIGITS, 50..) => year + 1900,
        (TWO_DIGITS, _) => year + 2000,
        _ => year,
    };
    let (parts, []) = rest.as_chunks::<2>() else { return None };
    let [month, day, hour, minute, second] = *parts else { return None };
    let (month, day) = (number(&month), number(&day));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some((days(year, month, day)? * 24 + number(&hour)) * 3600 + number(&minute) * 60 + number(&second))
}

/// Days from the beginning of 1970 to this day. Years begin with March here, so that what a leap year has more comes last.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    /// Days from the first of March of the year 0 to the beginning of 1970.
    const TO_1970: u64 = 719_468;
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    Some((before + (153 * month + 2) / 5 + day - 1).saturating_sub(TO_1970))
}

/// A name as text: the organisation, and what it calls itself, as far as there are such (RFC 4519, 2.19 and 2.3).
pub(super) fn readable(name: &[u8]) -> Option<String> {
    let (mut organisation, mut common, mut rest) = (None, None, name);
    while let Some((_, set, more)) = element(rest) {
        rest = more;
        let Some((attribute, _)) = value(set, SEQUENCE) else { continue };
        let Some((kind, behind)) = value(attribute, OBJECT) else { continue };
        let Some((tag, text, _)) = element(behind) else { continue };
        match kind {
            [0x55, 0x04, 0x0a] => organisation = Some(text_of(tag, text)),
            [0x55, 0x04, 0x03] => common = Some(text_of(tag, text)),
            _ => {}
        }
    }
    let parts: Vec<_> = organisation.into_iter().chain(common).filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn text_of(tag: u8, text: &[u8]) -> String {
    const BMP: u8 = 0x1e;
    let whole = match tag {
        BMP => text
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| char::from_u32(u16::from_be_bytes(*pair).into()).unwrap_or('?'))
            .collect(),
        _ => String::from_utf8_lossy(text).into_owned(),
    };
    whole.chars().take(NAME_MAX).collect()
}

/// What an element with this tag has, and what follows it.
fn value(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(tag, _, _)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// The element at the front: its tag, what it has, and what follows it (X.690, 8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};

    fn params(organisation: &str, common: &str) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["relay.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, organisation);
        params.distinguished_name.push(DnType::CommonName, common);
        params
    }

    #[test]
    fn who_signed_a_certificate_is_read_from_it() {
        let (key, own) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = params("Example Ltd", "Inspection 1");
        authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = authority.self_signed(&key).unwrap();
        let of = names(root.der()).unwrap();
        assert!(of.issuer == of.subject && readable(of.issuer).unwrap() == "Example Ltd, Inspection 1");
        let signed = params("", "a relay").signed_by(&own, &Issuer::new(authority, key)).unwrap();
        let of = names(signed.der()).unwrap();
        assert_eq!(readable(of.issuer).unwrap(), "Example Ltd, Inspection 1");
        assert_eq!(readable(of.subject).unwrap(), "a relay");
    }

    #[test]
    fn when_a_certificate_counts_is_read_from_it() {
        let key = KeyPair::generate().unwrap();
        for (from, until) in
            [((1970, 1, 1), (1970, 3, 1)), ((1999, 12, 31), (2000, 3, 1)), ((2024, 2, 29), (4096, 1, 1))]
        {
            let mut params = params("", "a relay");
            (params.not_before, params.not_after) =
                (rcgen::date_time_ymd(from.0, from.1, from.2), rcgen::date_time_ymd(until.0, until.1, until.2));
            let (from, until) = (params.not_before.unix_timestamp(), params.not_after.unix_timestamp());
            let certificate = params.self_signed(&key).unwrap();
            let read = validity(certificate.der()).unwrap();
            assert_eq!((i64::try_from(read.from), i64::try_from(read.until)), (Ok(from), Ok(until)));
        }
        assert_eq!(seconds(0x17, b"500101000000Z"), Some(0), "it is of 1950");
        for (tag, text) in
            [(0x17, "7001010000Z"), (0x17, "701301000000Z"), (0x18, "20000101000000"), (0x17, "70010100000xZ")]
        {
            assert_eq!(seconds(tag, text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![Just(0x30_u8), Just(0x31), Just(3), Just(0x84), any::<u8>()], 0..200)) {
            let of = names(&bytes);
            readable(&bytes);
            of.and_then(|of| readable(of.subject));
            validity(&bytes);
            seconds(bytes.first().map_or(0x17, |byte| 0x17 + byte % 2), &bytes);
        }
    }
}
