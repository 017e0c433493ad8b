//! Words of `vp-relay`.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser};

use super::manual::{Example, Manual, TEMPLATE};
use super::{Arguments, Output};
use crate::cli::units::{Size, count, descriptor, duration};
use crate::names::{Network, RequestPath};
use crate::relay::Limits;

const MANUAL: Manual = Manual {
    name: "vp-relay",
    purpose: "let peers behind firewalls meet, blindly",
    examples: &[
        Example {
            does: "serve the peers in a file on every address",
            line: "vp-relay --listen [::]:4433 --allow /etc/vp/allow",
        },
        Example {
            does: "serve them through a web server on this machine, at one path",
            line: "vp-relay --listen 127.0.0.1:4433 --allow /etc/vp/allow --path /vp --trusted-proxy 127.0.0.1",
        },
        Example {
            does: "serve them on port 443, also by TLS with a certificate that certbot has got and renews",
            line: "vp-relay --listen [::]:443 --allow /etc/vp/allow \
                   --tls-cert /etc/letsencrypt/live/relay.example.com/fullchain.pem \
                   --tls-key /etc/letsencrypt/live/relay.example.com/privkey.pem",
        },
        Example { does: "try things out on this machine", line: "vp-relay --listen 127.0.0.1:0 --open" },
    ],
    variables: &[
        "XDG_STATE_HOME",
        "CREDENTIALS_DIRECTORY",
        "STATE_DIRECTORY",
        "VP_DUMPABLE",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "NO_COLOR",
        "HOME",
    ],
    files: &[
        ("~/.local/state/vp/relay.key, $STATE_DIRECTORY/relay.key", "the relay's key, made once"),
        ("~/.local/state/vp/relay.id, $STATE_DIRECTORY/relay.id", "which relay that is: another key is refused"),
    ],
};

/// Let peers behind firewalls meet, blindly
#[derive(Parser, Clone, Debug)]
#[command(name = MANUAL.name, version, help_template = TEMPLATE, args_override_self = true)]
#[command(before_long_help = MANUAL.before_help(), after_long_help = MANUAL.after_help())]
#[command(group = ArgGroup::new("who").required(true).args(["allow", "open"]))]
pub struct Relay {
    /// Where it listens.
    #[command(flatten)]
    pub place: Place,

    /// Be the relay with this key
    ///
    /// Default: relay.key in the state directory, which is made at the first start. A party's key is not looked at.
    #[arg(short, long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Serve the peers in FILE and no others; read again on SIGHUP
    ///
    /// Lines of NAME ID [circuits=N] [rate=SIZE] [links=N]; SIZE is the bytes a second that it may send, over all its links.
    /// A peer whose line goes is cut. Whom the relay turns away it says on standard error, once a minute for each.
    #[arg(short, long, value_name = "FILE")]
    pub allow: Option<PathBuf>,

    /// Serve anybody
    ///
    /// A key costs nothing then, so that those of one address (of IPv6: one /64) have a sixteenth of --max-links together, or as
    /// many as --max-links-per-peer allows one of them if that is more, 1024 calls that are not answered, and 16384 circuits
    /// that they asked for, or as many as --max-circuits-per-peer allows one of them if that is more.
    #[arg(long)]
    pub open: bool,

    /// What is shown to whoever speaks TLS.
    #[command(flatten)]
    pub tls: ShownTls,

    /// How much there may be of what peers have.
    #[command(flatten)]
    pub most: Most,

    /// Hold at most this many bytes on their way, over all circuits; at least 1M for each worker
    ///
    /// Beyond it a link takes at most 48K, or 128K by requests, whatever its client does, and usually less than 2K; names and calls
    /// that wait, and TLS, have bounds of their own: see NOTES.
    #[arg(long, value_name = "SIZE", default_value = "256M", allow_hyphen_values = true, help_heading = "Limits")]
    pub memory: Size,

    /// Forward in this many threads; default: one per core, up to 256
    #[arg(long, value_name = "N", value_parser = count::<NonZeroU16>, allow_hyphen_values = true, help_heading = "Limits")]
    pub workers: Option<NonZeroU16>,

    /// On SIGTERM, give clients this long to go elsewhere; it ends when all have
    #[arg(long, value_name = "DUR", default_value = "5s", value_parser = duration, allow_hyphen_values = true, help_heading = "Limits")]
    pub drain: Duration,

    /// Write the ready lines to this descriptor instead of standard output
    #[arg(long, value_name = "FD", value_parser = descriptor)]
    pub ready_fd: Option<u16>,

    /// How the tool speaks.
    #[command(flatten)]
    pub output: Output,
}

/// Where a relay listens, and what stands in front.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// Accept links on this IP:PORT; port 0 takes a free one; may be repeated
    ///
    /// For each listener three lines go to standard output: listening tcp://ID@IP:PORT, and the same with ws:// for links
    /// by WebSocket and http:// for links by plain requests, with the path of --path if there is one; with --tls-cert three more, with
    /// tls://, wss:// and https://, for the same within TLS. What follows the first word can be given to the other tools as it stands. Sockets passed by systemd
    /// are served as well. All of IPv6 (::) is all of IPv4 too, unless an IPv4 address is given with the same port.
    #[arg(short, long, value_name = "ADDR")]
    pub listen: Vec<SocketAddr>,

    /// Take links by WebSocket and by requests only where this path is asked for
    ///
    /// The path is as the requests have it that come here, exactly, without a query, which means nothing. Every other is told that
    /// there is nothing. Default: any path.
    #[arg(long, value_name = "PATH")]
    pub path: Option<RequestPath>,

    /// Believe who connects from here where its clients are; may be repeated
    ///
    /// An address, or a network such as 10.0.0.0/8, of web servers and load balancers in front: see WEB SERVERS IN FRONT. What bounds
    /// one address then bounds that of the client, and not that of the server.
    #[arg(long, value_name = "CIDR")]
    pub trusted_proxy: Vec<Network>,
}

/// What a relay shows to whoever speaks TLS.
#[derive(Args, Clone, Debug)]
pub struct ShownTls {
    /// Show the certificate in FILE to whoever speaks TLS; read again on SIGHUP, and when it has changed
    ///
    /// In PEM, the relay's own first, with those behind it that it needs to be believed. Every listener takes TLS, for tls://, wss:// and https://, beside the rest.
    /// Without this option the relay shows a certificate of its own making, which clients take with --outer-tls any.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of that certificate, in PEM; read again with it
    ///
    /// One of ECDSA is best: RSA makes each connection by TLS cost many times as much. It is not locked with a password.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

/// How much there may be of what peers have.
#[derive(Args, Clone, Copy, Debug)]
pub struct Most {
    /// Links at a time
    #[arg(long, value_name = "N", default_value_t = number(Limits::DEFAULT.links), value_parser = count::<NonZeroU32>, allow_hyphen_values = true, help_heading = "Limits")]
    pub max_links: NonZeroU32,

    /// Links of one peer at a time, where its line in the allow file says nothing else
    #[arg(long, value_name = "N", default_value_t = number(Limits::DEFAULT.links_per_peer), value_parser = count::<NonZeroU32>, allow_hyphen_values = true, help_heading = "Limits")]
    pub max_links_per_peer: NonZeroU32,

    /// Circuits of one peer at a time, where its line in the allow file says nothing else
    ///
    /// Others may open seven in eight of them, and one caller three in four, so that some are left for what the peer asks for
    /// itself and for other callers.
    #[arg(long, value_name = "N", default_value_t = circuits(), value_parser = count::<NonZeroU32>, allow_hyphen_values = true, help_heading = "Limits")]
    pub max_circuits_per_peer: NonZeroU32,
}

fn number(most: usize) -> NonZeroU32 {
    u32::try_from(most).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX)
}

fn circuits() -> NonZeroU32 {
    NonZeroU32::new(Limits::DEFAULT.circuits_per_peer).unwrap_or(NonZeroU32::MAX)
}

impl Arguments for Relay {
    const MANUAL: &'static Manual = &MANUAL;

    fn output(&self) -> Output {
        self.output
    }

    fn serves(&self) -> bool {
        true
    }
}
