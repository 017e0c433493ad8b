//! Options of connected TCP sockets, each with its reason. Nobody else sets any.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Data of a link that the other side's kernel has not acknowledged for this long kills it: longer than the dead time of a
/// link, which notices first. This is for what is left in the kernel after a link is closed.
const LINK_USER_TIMEOUT: Duration = Duration::from_secs(20);
/// Heartbeats of the link keep paths open and notice their death; these are for connections that end half-way, which no
/// heartbeat watches any more.
const LINK_KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const LINK_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const LINK_KEEPALIVE_PROBES: u32 = 4;
/// Questions without an answer, as far apart as the first was from the last byte, until an application's machine is taken
/// for gone. It is what kernels do of themselves, and long enough for a cable that is plugged in elsewhere.
const PROBES: u32 = 9;
/// Longest silence that the kernel can be told to wait for.
pub(crate) const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);

/// What a connected socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A link between a client and its relay.
    Link,
    /// A connection of an unmodified application.
    Application(Keepalive),
}

/// After how long a silence a connection is asked whether it is still there; none: never.
///
/// Firewalls and routers forget connections on which nothing happens, some after a few minutes, and tell neither end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive(Option<Duration>);

impl Keepalive {
    /// After this time, which is rounded up to a whole second and cut to [`KEEPALIVE_MAX`]; zero is never.
    pub(crate) fn after(silence: Duration) -> Keepalive {
        let whole = Duration::from_secs(silence.as_secs().saturating_add((silence.subsec_nanos() > 0).into()));
        Keepalive((!whole.is_zero()).then(|| whole.min(KEEPALIVE_MAX)))
    }
}

impl Purpose {
    /// Prepares a socket for it.
    ///
    /// # Errors
    /// The kernel refuses an option: the connection is gone already.
    pub fn prepare(self, socket: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(socket);
        // Frames are written whole, and what comes out of a stream was sent as it is: waiting for more to send would only
        // add latency.
        socket.set_tcp_nodelay(true)?;
        match self {
            Purpose::Link => {
                socket.set_tcp_user_timeout(Some(LINK_USER_TIMEOUT))?;
                let keepalive =
                    TcpKeepalive::new().with_time(LINK_KEEPALIVE_AFTER).with_interval(LINK_KEEPALIVE_INTERVAL);
                socket.set_tcp_keepalive(&keepalive.with_retries(LINK_KEEPALIVE_PROBES))
            }
            Purpose::Application(Keepalive(None)) => socket.set_keepalive(false),
            Purpose::Application(Keepalive(Some(silence))) => {
                let keepalive = TcpKeepalive::new().with_time(silence).with_interval(silence);
                socket.set_tcp_keepalive(&keepalive.with_retries(PROBES))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn prepared(purpose: Purpose) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        purpose.prepare(&stream).unwrap();
        assert!(SockRef::from(&stream).tcp_nodelay().unwrap());
        stream
    }

    #[test]
    fn a_link_gives_up_in_time() {
        let stream = prepared(Purpose::Link);
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(LINK_USER_TIMEOUT));
        assert!(socket.keepalive().unwrap());
    }

    #[test]
    fn an_application_is_asked_after_the_time_it_is_given_and_never_after_none() {
        let stream = prepared(Purpose::Application(Keepalive::after(Duration::from_millis(41_500))));
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(42));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(42));
        let stream = prepared(Purpose::Application(Keepalive::after(Duration::ZERO)));
        assert!(!SockRef::from(&stream).keepalive().unwrap());
        prepared(Purpose::Application(Keepalive::after(Duration::MAX)));
    }
}
