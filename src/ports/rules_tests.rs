//! What an allow-list lets through, and above all what it does not.

use super::*;
use proptest::prelude::*;

fn rules(text: &str) -> Rules {
    Rules::new(text.split(',').map(|rule| rule.parse().unwrap_or_else(|e| panic!("{rule}: {e}"))).collect())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn opens(list: &str, name: Option<&str>, address: &str, port: u16) -> bool {
    !rules(list).allowed(name, &[ip(address)], port).is_empty()
}

#[test]
fn an_address_is_matched_in_its_one_true_form() {
    for spelling in ["10.0.0.1", "::ffff:10.0.0.1", "::10.0.0.1"] {
        assert!(opens("10.0.0.1:80", None, spelling, 80), "{spelling}");
        assert!(opens("10.0.0.0/8:80", None, spelling, 80), "{spelling}");
        assert!(!opens("10.0.0.2:80", None, spelling, 80), "{spelling}");
        assert!(!opens("[::]/0:80", None, spelling, 80), "{spelling} is of version 4");
        assert_eq!(rules("*:80").allowed(None, &[ip(spelling)], 80), ["10.0.0.1:80".parse().unwrap()]);
    }
}

#[test]
fn what_the_system_takes_for_this_machine_is_this_machine() {
    for spelling in ["127.0.0.1", "0.0.0.0", "0.1.2.3", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::127.0.0.1"] {
        assert!(opens("127.0.0.1:80", None, spelling, 80), "{spelling}");
        assert!(!opens("*:80,0.0.0.0/8:80,[::ffff:0.0.0.0]/96:80", None, spelling, 80), "{spelling}");
    }
    for spelling in ["::1", "::"] {
        assert!(opens("[::1]:80", None, spelling, 80), "{spelling}");
        assert!(!opens("*:80,127.0.0.0/8:80", None, spelling, 80), "{spelling}");
    }
    assert_eq!(rules("[::ffff:10.0.0.1]:80,0.0.0.0:80").to_string(), "10.0.0.1:80,127.0.0.1:80");
}

#[test]
fn wildcards_lead_neither_to_this_machine_nor_to_its_link() {
    for near in ["127.0.0.2", "169.254.169.254", "fe80::1", "::1", "224.0.0.1", "ff02::1", "255.255.255.255"] {
        assert!(!opens("*:*", None, near, 80), "{near}");
        assert!(!opens("*.example.com:*", Some("a.example.com"), near, 80), "{near}");
    }
    assert!(opens("*:*", None, "10.0.0.1", 80) && opens("*.example.com:*", Some("a.example.com"), "10.0.0.1", 80));
    assert!(opens("169.254.0.0/16:80", None, "169.254.169.254", 80), "unless somebody lists it");
}

#[test]
fn a_name_opens_what_it_resolves_to_and_nobody_elses_names() {
    assert!(opens("db.example.com:5432", Some("db.example.com"), "127.0.0.1", 5432), "listed by name");
    assert!(!opens("db.example.com:5432", None, "10.0.0.1", 5432), "an address is not listed");
    assert!(!opens("db.example.com:5432", Some("db.example.com"), "10.0.0.1", 5433));
    assert!(!opens("*.example.com:80", Some("example.com"), "10.0.0.1", 80), "not below itself");
    assert!(!opens("*.example.com:80", Some("evilexample.com"), "10.0.0.1", 80));
    assert!(opens("10.0.0.0/8:80", Some("anything.test"), "10.0.0.1", 80), "the address is what counts");
    let some = rules("10.0.0.0/8:80").allowed(Some("a.test"), &[ip("10.0.0.1"), ip("192.0.2.1")], 80);
    assert_eq!(some, ["10.0.0.1:80".parse().unwrap()], "the address that is not listed is left out");
}

#[test]
fn names_are_only_looked_up_if_it_can_help() {
    let list = rules("db.example.com:5432,10.0.0.0/8:80");
    assert!(list.may_name("db.example.com", 5432) && list.may_name("anything.test", 80));
    assert!(!list.may_name("anything.test", 5432) && !list.may_name("db.example.com", 22));
}

#[test]
fn names_have_one_true_form() {
    assert_eq!(canonical_name(b"DB.Example.COM.").as_deref(), Some("db.example.com"));
    for bad in [&b""[..], b".", b"a..b", b".a", b"fe80::1%eth0", b"a b", b"a\0b", b"\xff", b"a/b", &[b'a'; 254]] {
        assert_eq!(canonical_name(bad), None, "{bad:?}");
    }
}

#[test]
fn rules_are_read_strictly_and_shown_as_typed() {
    let typed = "*:443,*.example.com:*,db:5432,10.0.0.0/8:1099-1103,[fd00::]/8:22,[fd00::1]:22,192.0.2.1:80";
    assert_eq!(rules(typed).to_string(), typed);
    let fault = |text: &str| text.parse::<Rule>().unwrap_err();
    assert_eq!(fault("db"), RuleError::NoPort);
    assert_eq!(fault("db:0"), RuleError::BadPort);
    assert_eq!(fault("db:9-8"), RuleError::BadPort);
    assert_eq!(fault("10.0.0.1/8:80"), RuleError::BadPrefix, "which network is meant?");
    assert_eq!(fault("10.0.0.0/33:80"), RuleError::BadPrefix);
    for bad in ["::1:80", "[::1:80", ":80", "*example.com:80", "a.*.b:80", "0x7f.1:80", "127.1:80", "db/8:80", "a b:80"]
    {
        assert_eq!(fault(bad), RuleError::BadHost, "{bad}");
    }
}

proptest! {
    #[test]
    fn a_canonical_address_is_its_own(four: u32, six: u128, mapped: bool) {
        let addresses = [
            IpAddr::V4(four.into()),
            IpAddr::V6(six.into()),
            IpAddr::V6(if mapped { Ipv4Addr::from(four).to_ipv6_mapped() } else { u128::from(four).into() }),
        ];
        for address in addresses {
            let once = canonical_address(address);
            prop_assert_eq!(canonical_address(once), once);
            prop_assert!(!once.is_unspecified());
        }
    }

    #[test]
    fn a_network_holds_what_shares_its_prefix(address: u32, other: u32, bits in 0u8..=32) {
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        let inside = is_within(IpAddr::V4(other.into()), IpAddr::V4((address & mask).into()), bits);
        prop_assert_eq!(inside, address & mask == other & mask);
    }

    #[test]
    fn no_text_panics_and_what_is_read_is_shown_as_a_rule(text in "[a-z0-9:*./\\[\\]-]{0,24}") {
        if let Ok(rule) = text.parse::<Rule>() {
            prop_assert_eq!(rule.to_string().parse(), Ok(rule));
        }
    }
}
