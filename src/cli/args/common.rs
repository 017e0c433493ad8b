//! The options that tools share.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use crate::cli::report::{Format, Verbosity};
use crate::cli::units::{Patience, descriptor, duration_above_zero};
use crate::names::RelayAddress;

/// How the tool speaks.
#[derive(Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = "Messages")]
pub struct Output {
    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say what happens; twice: also what helps to find a fault
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Write messages and events as JSON, one object a line
    ///
    /// They go to standard error, in place of the lines for people: one for the end of each item, connection and transfer,
    /// one for the end of the tool, and others. vp-events(7) lists them with their fields.
    #[arg(long)]
    pub json: bool,
}

impl Output {
    /// The verbosity asked for.
    pub(crate) const fn verbosity(self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Debug,
        }
    }

    /// The format asked for.
    pub(crate) const fn format(self) -> Format {
        if self.json { Format::Json } else { Format::Text }
    }
}

/// How to reach relays and peers: the options of every tool that connects.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub struct Connect {
    /// Meet at the relay with this address; may be repeated
    ///
    /// An address is tcp://ID@HOST:PORT, as vp-relay prints it; ID@HOST is enough. ws://ID@HOST:PORT/PATH reaches it by
    /// WebSocket, tls://ID@HOST:PORT by TLS and wss://ID@HOST:PORT/PATH by both, where only web traffic gets out; http://ID@HOST:PORT/PATH
    /// and https:// reach it by plain requests, where nothing else gets out. Default: the addresses in VP_RELAY, else those in the relays
    /// file.
    #[arg(short, long = "relay", value_name = "RELAY")]
    pub relays: Vec<RelayAddress>,

    /// Reach relays through this proxy: http://[USER@]HOST:PORT or socks5://[USER@]HOST:PORT; none: through no proxy
    ///
    /// It is asked for a tunnel to each relay by its name, which it looks up itself, also with socks5; relays at http:// are asked for by
    /// plain requests, without a tunnel, unless it offers a login by Digest. The password of USER is in a
    /// file, see --proxy-password-file. Default: as curl has it, https_proxy, HTTPS_PROXY, all_proxy or ALL_PROXY, and for relays at
    /// ws:// or http:// http_proxy instead of the first two, but for hosts in no_proxy or NO_PROXY; else a line "proxy URL" in the relays file.
    #[arg(long, value_name = "URL", value_parser = proxy_word)]
    pub(crate) proxy: Option<ProxyWord>,

    /// Read the password for the proxy from this file
    ///
    /// It has one line, and only its owner may read it. Default: the file proxy-password in the configuration directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) proxy_password_file: Option<PathBuf>,

    /// Reach relays by the standard input and output of this command
    ///
    /// In it %h stands for the relay's host, %p for its port and %% for a percent sign, as in ssh: 'ssh jump nc %h %p'. The shell runs
    /// it anew for each connection. It has ten seconds to lead there: too few to ask for a password. With the connection it is asked to
    /// end (SIGTERM), and killed two seconds later. Its standard error is the tool's.
    #[arg(long, value_name = "CMD", conflicts_with = "proxy")]
    pub(crate) proxy_command: Option<String>,

    /// For relays by tls, wss or https, trust the certificates in FILE (PEM) and none of the system's
    ///
    /// A relay is believed that shows one of them, or one that they have signed. Default: those in SSL_CERT_FILE or SSL_CERT_DIR, else
    /// the system's.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Whether the certificate of a relay by tls, wss or https is verified; with any it may be anyone's
    ///
    /// The relay proves its id inside in any case, and nobody on the way reads what peers say. Verifying keeps who talks to whom,
    /// and how much, from whoever else could open TLS on the way. A relay without --tls-cert has a certificate that only any takes.
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = OuterTls::Verify)]
    pub outer_tls: OuterTls,

    /// Be the party with this key
    ///
    /// Default: VP_KEY, else the file key in the configuration directory.
    #[arg(short, long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Look names of peers up in this file
    ///
    /// Default: VP_PEERS, else the file peers in the configuration directory.
    #[arg(long, value_name = "FILE")]
    pub peers: Option<PathBuf>,

    /// Wait at most this long for a relay and the peer; 0 does not wait, never waits for ever
    ///
    /// With 0 each relay is tried once, and a peer that is there and does not answer counts as absent after ten seconds.
    #[arg(long, visible_alias = "wait", value_name = "DUR", default_value = "never", allow_hyphen_values = true)]
    pub(crate) timeout: Patience,

    /// Keep a broken session alive at most this long while reconnecting; never keeps it for ever
    #[arg(long, value_name = "DUR", default_value = "10m", allow_hyphen_values = true)]
    pub(crate) resume_timeout: Patience,

    /// Take a path for dead after this long without a sign of life
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = duration_above_zero, allow_hyphen_values = true)]
    pub dead_time: Duration,

    /// Write the line that says the tool is ready to this descriptor
    #[arg(long, value_name = "FD", value_parser = descriptor)]
    pub ready_fd: Option<u16>,
}

/// What is asked of a relay's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OuterTls {
    /// That somebody who is trusted has signed it, for this host.
    Verify,
    /// Nothing.
    Any,
}

/// What was typed for a proxy: it may have a password in it that it should not have, and is not shown.
#[derive(Clone)]
pub(crate) struct ProxyWord(pub(crate) String);

impl fmt::Debug for ProxyWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyWord")
    }
}

/// Takes it as it is: what is said of it later repeats nothing.
fn proxy_word(text: &str) -> Result<ProxyWord, Infallible> {
    Ok(ProxyWord(text.to_owned()))
}

/// Variables that every tool that connects looks at.
pub(super) const VARIABLES: [&str; 16] = [
    "VP_RELAY",
    "VP_KEY",
    "VP_PEERS",
    "HTTPS_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "NO_PROXY",
    "XDG_CONFIG_HOME",
    "CREDENTIALS_DIRECTORY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NOTIFY_SOCKET",
    "VP_DUMPABLE",
    "NO_COLOR",
    "TERM",
    "HOME",
];
