//! Which addresses are this machine's.
//!
//! Interfaces are no answer: a secondary address has a source address that is another one, and a route can make a whole
//! network this machine's without any interface that has its addresses. So the kernel is asked for the route itself, and
//! whether it ends here (`rtnetlink(7)`). A filter may forbid that (`RestrictAddressFamilies=`); then it is asked whether a
//! socket could be bound there, which a machine with `ip_nonlocal_bind` answers with yes for all addresses.

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use std::io;
use std::net::{IpAddr, UdpSocket};

/// Of `linux/netlink.h` and `linux/rtnetlink.h`.
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_ANYCAST: u8 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// The length of `nlmsghdr`, of `rtmsg` behind it, and of the header of an attribute.
const HEADER: u16 = 16;
const ROUTE: u16 = 12;
const ATTRIBUTE: u16 = 4;
/// Where the answer has its type, an error its number, and a route what it is.
const MESSAGE_TYPE: std::ops::Range<usize> = 4..6;
const ERROR_NUMBER: std::ops::Range<usize> = 16..20;
const ROUTE_TYPE: usize = 23;
/// A route and its attributes, generously.
const ANSWER_MAX: usize = 8192;

/// Whether connections to `address` end at this machine, now, in this network namespace.
///
/// # Errors
/// Nobody tells.
pub(super) fn is_of_this_machine(address: IpAddr) -> io::Result<bool> {
    by_route(address).or_else(|_| by_binding(address))
}

fn by_route(address: IpAddr) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // None is the protocol of routes.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    send(&socket, &question(address), SendFlags::empty())?;
    let mut answer = [0; ANSWER_MAX];
    // The kernel answers before it returns from the sending.
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    heard(&answer[..length])
}

fn question(address: IpAddr) -> Vec<u8> {
    let (family, bits, octets) = match address {
        IpAddr::V4(four) => (AF_INET, 32, four.octets().to_vec()),
        IpAddr::V6(six) => (AF_INET6, 128, six.octets().to_vec()),
    };
    let attribute = ATTRIBUTE + u16::from(bits / 8);
    let mut message = u32::from(HEADER + ROUTE + attribute).to_ne_bytes().to_vec();
    message.extend(RTM_GETROUTE.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and sender, which one question does not need.
    message.extend([0; 8]);
    message.extend([family, bits]);
    message.extend([0; 10]);
    message.extend(attribute.to_ne_bytes());
    message.extend(RTA_DST.to_ne_bytes());
    message.extend(octets);
    message
}

fn heard(answer: &[u8]) -> io::Result<bool> {
    let bytes = |at: std::ops::Range<usize>| answer.get(at).unwrap_or_default();
    let kind = bytes(MESSAGE_TYPE).try_into().map(u16::from_ne_bytes);
    let error = bytes(ERROR_NUMBER).try_into().map(i32::from_ne_bytes);
    match (kind, answer.get(ROUTE_TYPE), error) {
        (Ok(RTM_NEWROUTE), Some(route), _) => Ok(matches!(*route, RTN_LOCAL | RTN_ANYCAST)),
        (Ok(NLMSG_ERROR), _, Ok(number)) => {
            let error = io::Error::from_raw_os_error(number.saturating_neg());
            // There is no way to it, so it is not here; who connects is told the same.
            let nowhere = matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable);
            if nowhere { Ok(false) } else { Err(error) }
        }
        _ => Err(Errno::PROTO.into()),
    }
}

fn by_binding(address: IpAddr) -> io::Result<bool> {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// Addresses that are for documents alone, so nobody has them.
    const NOBODYS: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

    #[test]
    fn what_is_bound_to_loopback_is_here_and_what_is_for_documents_is_not() {
        for ask in [is_of_this_machine, by_route, by_binding] {
            for here in ["127.0.0.1", "127.0.0.2", "127.255.0.1"] {
                assert!(ask(here.parse().unwrap()).unwrap(), "{here}");
            }
        }
        for nobodys in NOBODYS.map(|address| address.parse().unwrap()) {
            assert!(!is_of_this_machine(nobodys).unwrap(), "{nobodys}");
        }
    }

    const INSIDE: &str = "VP_TEST_INSIDE";
    /// A network that has in it whatever an address can be: first and second of an interface, and all of a network by a route.
    const NETWORK: [&str; 9] = [
        "ip link set lo up",
        "ip link add one type veth peer name two",
        "ip link set one up && ip link set two up",
        "ip addr add 10.9.9.1/24 dev one && ip addr add 10.9.9.2/24 dev one",
        "ip addr add fd09::1/64 dev one nodad && ip addr add fd09::2/64 dev one nodad",
        "ip route add local 10.8.0.0/16 dev lo",
        "ip -6 route add local fd08::/64 dev lo",
        "echo made",
        "exec \"$0\" --exact net::local_address::tests::every_way_to_be_an_address_of_this_machine_is_known",
    ];

    #[test]
    fn every_way_to_be_an_address_of_this_machine_is_known() {
        if std::env::var_os(INSIDE).is_none() {
            let program = std::env::current_exe().unwrap();
            let words = ["-r", "-n", "sh", "-c", &NETWORK.join(" && ")];
            let run = std::process::Command::new("unshare").args(words).arg(program).env(INSIDE, "1").output();
            let said = run.as_ref().map(|run| String::from_utf8_lossy(&run.stdout).into_owned()).unwrap_or_default();
            if said.contains("made") {
                return assert!(said.contains("1 passed"), "{said}");
            }
            let _ = writeln!(io::stderr(), "SKIPPED: a network of a test's own is not permitted here");
            return assert!(std::env::var_os("VP_TEST_EVERYTHING").is_none(), "every test must run here");
        }
        for here in
            ["10.9.9.1", "10.9.9.2", "fd09::1", "fd09::2", "10.8.7.6", "fd08::77", "127.0.0.1", "127.8.8.8", "::1"]
        {
            assert_eq!(by_route(here.parse().unwrap()).ok(), Some(true), "{here}");
        }
        // Neighbours, and addresses to which there is no way.
        for other in ["10.9.9.3", "fd09::3", "10.7.0.1", "2001:db8::1"] {
            assert_eq!(by_route(other.parse().unwrap()).ok(), Some(false), "{other}");
        }
        for here in ["10.9.9.1", "10.9.9.2", "fd09::1", "fd09::2", "10.8.7.6"] {
            assert_eq!(by_binding(here.parse().unwrap()).ok(), Some(true), "{here}");
        }
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_none() {
        let route = |kind: u8| [&[0; 4][..], &RTM_NEWROUTE.to_ne_bytes(), &[0; 17], &[kind, 0, 0, 0, 0]].concat();
        assert_eq!([1, 2, 4, 7].map(|kind| heard(&route(kind)).unwrap()), [false, true, true, false]);
        let error = |errno: Errno| {
            let code = (-errno.raw_os_error()).to_ne_bytes();
            heard(&[&[0; 4][..], &NLMSG_ERROR.to_ne_bytes(), &[0; 10], &code, &[0; 16]].concat())
        };
        assert!(!error(Errno::NETUNREACH).unwrap());
        assert!(error(Errno::PERM).is_err());
        assert!(heard(&[]).is_err() && heard(&route(2)[..ROUTE_TYPE]).is_err() && heard(&[0; 64]).is_err());
    }
}
