//! Options of connected TCP sockets, each with its reason. Nobody else sets any that outlives the making of a socket.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Data that the other side's kernel has not acknowledged for this long kills the connection: longer than the dead time of
/// a link, which notices first. This is for what is left in the kernel after a link is closed.
const USER_TIMEOUT: Duration = Duration::from_secs(20);
/// Heartbeats of the link keep paths open and notice their death; these are for connections that end half-way, which no
/// heartbeat watches any more.
const LINK_KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const LINK_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const LINK_KEEPALIVE_PROBES: u32 = 4;
/// An application's machine that is gone is noticed in the end, but far later than any application would: ten minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(300);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 10;

/// Of a link between a client and its relay.
///
/// # Errors
/// The kernel refuses an option: the connection is gone already.
pub fn link(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    // Frames are written whole: waiting for more to send would only add latency.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    let keepalive = TcpKeepalive::new().with_time(LINK_KEEPALIVE_AFTER).with_interval(LINK_KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive.with_retries(LINK_KEEPALIVE_PROBES))
}

/// Of a connection to an application.
///
/// # Errors
/// The same.
pub fn connection(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    // What comes out of a stream was sent as it is: waiting for more would only add latency.
    socket.set_tcp_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_prepared_socket_sends_at_once_and_gives_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        link(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        assert!(socket.keepalive().unwrap());
    }
}
