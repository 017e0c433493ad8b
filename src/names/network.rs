//! Networks as people write them: `10.0.0.0/8`, `2001:db8::/32`, or a single address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Bits that stand before the address where IPv6 spells one of IPv4 (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// What stands before the slash is no address.
    BadAddress,
    /// More bits than the address has, or no number of them.
    BadPrefix,
    /// The address has bits behind its prefix; the network that it is in.
    BitsBehindPrefix(Network),
}

impl Network {
    /// All addresses whose first `bits` are those of `address`.
    ///
    /// # Errors
    /// There are fewer, or one behind them is set.
    pub fn new(address: IpAddr, bits: u8) -> Result<Network, NetworkError> {
        let first = match address {
            IpAddr::V4(four) if bits <= 32 => IpAddr::V4((four.to_bits() & mask_4(bits)).into()),
            IpAddr::V6(six) if bits <= 128 => IpAddr::V6((six.to_bits() & mask_6(bits)).into()),
            _ => return Err(NetworkError::BadPrefix),
        };
        let network = Network { address: first, bits };
        if first == address { Ok(network) } else { Err(NetworkError::BitsBehindPrefix(network)) }
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits its addresses share.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether an address is in it. One of IPv6 that spells one of IPv4 is that one.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (address.to_canonical(), self.address) {
            (IpAddr::V4(four), IpAddr::V4(first)) => (four.to_bits() ^ first.to_bits()) & mask_4(self.bits) == 0,
            (IpAddr::V6(six), IpAddr::V6(first)) => (six.to_bits() ^ first.to_bits()) & mask_6(self.bits) == 0,
            _ => false,
        }
    }
}

fn mask_4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn mask_6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let written: IpAddr = address.parse().map_err(|_| NetworkError::BadAddress)?;
        let bits = match bits {
            None if written.is_ipv4() => 32,
            None => 128,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| NetworkError::BadPrefix)?
            }
            Some(_) => return Err(NetworkError::BadPrefix),
        };
        // No address that is asked about would be in a network of such spellings.
        let address = written.to_canonical();
        if address.is_ipv4() && written.is_ipv6() && (MAPPED_BITS..=128).contains(&bits) {
            return Network::new(address, bits - MAPPED_BITS);
        }
        Network::new(written, bits)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_in_a_network_by_the_bits_before_its_prefix() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.0.0.1", "::1"),
            ("::/0", "::1", "192.0.2.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::10.1.1.1"),
            ("::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ] {
            assert!(network(text).contains(ip(inside)), "{inside} is in {text}");
            assert!(!network(text).contains(ip(outside)), "{outside} is not in {text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_its_reason() {
        use NetworkError::{BadAddress, BadPrefix, BitsBehindPrefix};
        for (text, error) in [
            ("", BadAddress),
            ("localhost", BadAddress),
            ("10.0.0/8", BadAddress),
            ("[::1]", BadAddress),
            ("10.0.0.0:80", BadAddress),
            (" 10.0.0.0", BadAddress),
            ("fe80::1%1", BadAddress),
            ("10.0.0.0/", BadPrefix),
            ("10.0.0.0/33", BadPrefix),
            ("10.0.0.0/+8", BadPrefix),
            ("10.0.0.0/255.0.0.0", BadPrefix),
            ("::/129", BadPrefix),
            ("::/256", BadPrefix),
            ("10.0.0.1/8", BitsBehindPrefix(network("10.0.0.0/8"))),
            ("2001:db8::1/64", BitsBehindPrefix(network("2001:db8::/64"))),
        ] {
            assert_eq!(text.parse::<Network>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_network_prints_to_what_parses_to_it_and_has_the_addresses_that_share_its_bits(
            address: IpAddr,
            other: IpAddr,
            bits in 0..=128_u8,
        ) {
            let found = match Network::new(address, bits) {
                Ok(network) | Err(NetworkError::BitsBehindPrefix(network)) => network,
                Err(_) => return Ok(()),
            };
            prop_assert!(found.contains(address.to_canonical()) || address.to_canonical() != address);
            prop_assert!(address.to_canonical() != address || found.to_string().parse() == Ok(found));
            let text = |address: IpAddr| match address {
                IpAddr::V4(four) => format!("{:032b}", four.to_bits()),
                IpAddr::V6(six) => format!("{:0128b}", six.to_bits()),
            };
            let (mine, its) = (text(other.to_canonical()), text(found.address()));
            let bits = usize::from(bits);
            prop_assert_eq!(found.contains(other), mine.len() == its.len() && mine[..bits] == its[..bits]);
        }
    }
}
