//! A proxy by CONNECT that does what no good one does, for as long as a test wants.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use super::ports::Target;

/// What it does with whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A tunnel, as it should.
    Tunnel,
    /// This answer, and then the end.
    Says(&'static [u8]),
    /// A tunnel by its word, and this out of it once something was said into it, and then the end.
    Leads(&'static [u8]),
    /// A tunnel by its word, and nothing out of it.
    Swallows,
    /// The beginning of a good answer.
    Begins,
}

/// One of a test. It ends with the test program.
pub struct Tunnels {
    target: Target,
    deed: Arc<Mutex<Deed>>,
}

impl Tunnels {
    pub fn new(deed: Deed) -> Tunnels {
        let deed = Arc::new(Mutex::new(deed));
        let now = Arc::clone(&deed);
        let target = Target::serving(move |stream| {
            let deed = *now.lock().expect("nobody panics here");
            // Whoever has had enough breaks it off.
            let _ = serve(stream, deed);
        });
        Tunnels { target, deed }
    }

    /// What it does with whoever connects from now on.
    pub fn turn_to(&self, deed: Deed) {
        *self.deed.lock().expect("nobody panics here") = deed;
    }

    pub fn at(&self) -> SocketAddr {
        self.target.at
    }

    /// How many have connected so far.
    pub fn accepted(&self) -> u64 {
        self.target.accepted()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at())
    }
}

fn serve(mut stream: TcpStream, deed: Deed) -> io::Result<()> {
    let Some(to) = request(&mut stream)? else { return Ok(()) };
    match deed {
        Deed::Tunnel => {
            let Ok(there) = TcpStream::connect(to) else {
                return stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
            };
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            let back = (there.try_clone()?, stream.try_clone()?);
            let back = std::thread::spawn(move || copy(&back.0, &back.1));
            copy(&stream, &there);
            let _ = back.join();
        }
        Deed::Says(answer) => stream.write_all(answer)?,
        Deed::Leads(answer) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            let _ = stream.read(&mut [0; 4096])?;
            stream.write_all(answer)?;
        }
        Deed::Swallows => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            io::copy(&mut stream, &mut io::sink())?;
        }
        Deed::Begins => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-Wait: ")?;
            io::copy(&mut stream, &mut io::sink())?;
        }
    }
    Ok(())
}

/// To where a tunnel is wanted; None if nothing is.
fn request(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    Ok(Some(head.split(' ').nth(1).and_then(|to| to.parse().ok()).expect("an address")))
}

/// One way of a tunnel, to its end or a break.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
