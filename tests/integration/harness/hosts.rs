//! Names of a test's own: a program that is started under [`Hosts`] looks them up in a file that the test writes, and
//! nobody else's resolver has an answer for it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use socket2::{Domain, Socket, Type};

use super::{Tool, World, tell};

/// Puts the test's files where the system has its own, in a name space of mounts that ends with the program.
const UNDER: &str = r#"mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/host.conf && mount --bind "$3" /etc/resolv.conf &&
mount --bind "$4" /etc/nsswitch.conf && shift 4 && exec "$@""#;

/// The file, and how to start programs that read it.
pub struct Hosts {
    file: PathBuf,
    words: Vec<String>,
}

impl Hosts {
    /// With these lines, as in `/etc/hosts`. None where a program cannot have files of its own.
    pub fn new(world: &World, lines: &str) -> Option<Hosts> {
        let files = [("hosts", lines), ("host.conf", "multi on\n"), ("resolv.conf", "options attempts:1 timeout:1\n")];
        let files = files.into_iter().chain([("nsswitch.conf", "hosts: files dns\n")]);
        let files: Vec<String> = files.map(|(name, text)| world.write(name, text).display().to_string()).collect();
        for flags in [&["-m"][..], &["-r", "-m"]] {
            let words = ["unshare"].iter().chain(flags).chain(&["sh", "-c", UNDER, "sh"]);
            let words: Vec<String> = words.map(|word| (*word).to_owned()).chain(files.iter().cloned()).collect();
            let tried = Tool::new("true", &world.path("")).under(&words).run();
            if tried.code() == Some(0) {
                return Some(Hosts { file: world.path("hosts"), words });
            }
        }
        tell("SKIPPED: names of a test's own need a name space of mounts, and files in /etc to put others over");
        let everything = std::env::var_os("VP_TEST_EVERYTHING").is_some();
        assert!(!everything, "every test must run here");
        None
    }

    /// Other lines from now on.
    pub fn set(&self, lines: &str) {
        fs::write(&self.file, lines).expect("a small file");
    }

    /// No answer to any name for programs that are started from now on: whoever opens the file waits for its writer.
    pub fn silence(&self) {
        fs::remove_file(&self.file).expect("a file of the test's own");
        mknodat(CWD, &self.file, FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("a fifo");
    }

    /// What to start a program under.
    pub fn under(&self) -> &[String] {
        &self.words
    }
}

/// An address that says nothing to whoever asks for a connection, as if its machine were gone: its backlog is full.
pub struct Silent {
    _sockets: Vec<Socket>,
}

impl Silent {
    /// At a port that is free here.
    pub fn new(address: Ipv4Addr, port: u16) -> Silent {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&SocketAddr::from((address, port)).into()).expect("a port");
        listener.listen(0).expect("a listener");
        let at = listener.local_addr().expect("an address");
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("an option");
            // It is under way, or waits for ever.
            let _ = socket.connect(&at);
            sockets.push(socket);
        }
        Silent { _sockets: sockets }
    }
}
