//! Words of every tool that listens.

use crate::cli::escape::printable;
use crate::cli::exit::Exit;
use crate::cli::report::{Fault, chain};
use std::io;
use std::net::SocketAddr;

/// Why nothing can be listened on: an address, or the path of a socket.
pub(crate) fn listen_fault(place: &str, error: &io::Error) -> Fault {
    let message = format!("cannot listen on {}: {}", printable(place), chain(error));
    let address = place.parse::<SocketAddr>();
    match (error.kind(), address) {
        // Only a person can mend these.
        (io::ErrorKind::PermissionDenied, Ok(_)) => Fault::new(Exit::Config, message).hint(
            "a port as low as that needs a right: take another, or give CAP_NET_BIND_SERVICE \
             (AmbientCapabilities= in a unit), or let a .socket unit listen",
        ),
        (io::ErrorKind::PermissionDenied, Err(_)) => {
            Fault::new(Exit::Config, message).hint("let its directory be writable for the user that runs this")
        }
        // Who listens there may go.
        (io::ErrorKind::AddrInUse, Ok(address)) => Fault::new(Exit::Failed, message)
            .hint(format!("another process listens there: ss -ltnp 'sport = :{}' shows which", address.port())),
        _ => Fault::new(Exit::Failed, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_that_needs_a_right_is_a_matter_of_configuration_and_one_in_use_is_not() {
        let fault = |place: &str, kind: io::ErrorKind| listen_fault(place, &kind.into());
        let denied = fault("[::]:443", io::ErrorKind::PermissionDenied);
        assert!(denied.exit == Exit::Config && denied.hints[0].contains("CAP_NET_BIND_SERVICE"), "{denied:?}");
        let path = fault("/run/x", io::ErrorKind::PermissionDenied);
        assert!(path.exit == Exit::Config && path.hints[0].contains("directory"), "{path:?}");
        let taken = fault("127.0.0.1:443", io::ErrorKind::AddrInUse);
        assert!(taken.exit == Exit::Failed && taken.hints[0].contains(":443"), "{taken:?}");
    }
}
