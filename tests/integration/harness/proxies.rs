//! Proxies that others wrote, each of one test: in the world's directory, on a port of its own, and gone with its handle.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use super::programs::{need, reserve};
use super::{DEADLINE, Running, Tool, World, eventually};
use crate::impair::ReservedPort;

/// Who may use those with a login, and by which password.
pub const USER: &str = "user";
pub const PASSWORD: &str = "open-sesame";
/// A name that nobody knows but squid.
pub const HIDDEN: &str = "relay.hidden";

/// What a squid wants of whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    Nothing,
    Basic,
    Digest,
    /// Either.
    Both,
    /// No tunnels, and nobody's name: it keeps answers if it may, and has little room for what a request brings.
    Requests,
}

/// One of them, running or killed.
pub struct Proxy<'w> {
    world: &'w World,
    place: ReservedPort,
    words: Vec<String>,
    under: Vec<String>,
    running: Option<Running>,
}

impl<'w> Proxy<'w> {
    /// squid, which knows [`HIDDEN`] as this machine.
    pub fn squid(world: &'w World, wants: Wants) -> Proxy<'w> {
        let place = reserve();
        let words = Self::squid_words(world, &place, wants);
        Proxy::start(world, place, words)
    }

    /// The same squid, which wants something else from now on.
    pub fn want(&mut self, wants: Wants) {
        self.kill();
        self.words = Self::squid_words(self.world, &self.place, wants);
        self.restart();
    }

    fn squid_words(world: &World, place: &ReservedPort, wants: Wants) -> Vec<String> {
        // Started by root it becomes another, who has to read its files.
        fs::set_permissions(world.path(""), Permissions::from_mode(0o711)).expect("a mode");
        let open = |name: &str, text: &str| {
            let path = world.write(name, text);
            fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("a mode");
            path.display().to_string()
        };
        // openssl passwd -apr1, and the digest of USER:vp:PASSWORD.
        let basic = open("squid-basic", &format!("{USER}:$apr1$abcdefgh$P7ojtXM3SXvs.8zpdoqUv1\n"));
        let digest = open("squid-digest", &format!("{USER}:vp:8ce475e723d07a285f4072b8dc7ebd88\n"));
        let hosts = open("squid-hosts", &format!("127.0.0.1 {HIDDEN}\n"));
        let basic = format!(
            "auth_param basic program /usr/lib/squid/basic_ncsa_auth {basic}\nauth_param basic children 1\nauth_param basic realm vp\n"
        );
        let digest = format!(
            "auth_param digest program /usr/lib/squid/digest_file_auth -c {digest}\nauth_param digest children 1\n\
             auth_param digest realm vp\n"
        );
        let known = "acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n";
        let rules = match wants {
            Wants::Nothing => "http_access allow all\n".to_owned(),
            Wants::Requests => "acl tunnels method CONNECT\nhttp_access deny tunnels\nhttp_access allow all\n\
                                client_request_buffer_max_size 128 KB\n"
                .to_owned(),
            Wants::Basic => format!("{basic}{known}"),
            Wants::Digest => format!("{digest}{known}"),
            Wants::Both => format!("{basic}{digest}{known}"),
        };
        let cache = if wants == Wants::Requests { "" } else { "cache deny all\n" };
        let config = format!(
            "http_port {}\npid_filename none\ncache_log /dev/null\naccess_log none\n{cache}cache_mem 8 MB\n\
             memory_cache_shared off\nmax_filedescriptors 1024\ncoredump_dir none\nvisible_hostname test\nshutdown_lifetime 0 seconds\n\
             pinger_enable off\nnetdb_filename none\nhosts_file {hosts}\n{rules}",
            place.address
        );
        let config = open(&format!("squid-{}.conf", place.address.port()), &config);
        let program = need("squid", "squid").display().to_string();
        // What several share on one machine goes by this name.
        let name = format!("vp{}", place.address.port());
        [&program, "-N", "-n", &name, "-f", &config].map(str::to_owned).to_vec()
    }

    /// tinyproxy, which wants a login by Basic or nothing.
    pub fn tinyproxy(world: &'w World, wants_login: bool) -> Proxy<'w> {
        let place = reserve();
        let login = if wants_login { format!("BasicAuth {USER} {PASSWORD}\n") } else { String::new() };
        let config = format!(
            "Port {}\nListen 127.0.0.1\nTimeout 600\nMaxClients 20\nLogLevel Connect\nAllow 127.0.0.1\n{login}",
            place.address.port()
        );
        let config = world.write("tinyproxy.conf", &config).display().to_string();
        let program = need("tinyproxy", "tinyproxy").display().to_string();
        Proxy::start(world, place, [&program, "-d", "-c", &config].map(str::to_owned).to_vec())
    }

    /// dante, a server of SOCKS. With a login it asks the system for its users, who are files of the test; None where a program
    /// cannot have files of its own.
    pub fn dante(world: &'w World, wants_login: bool) -> Option<Proxy<'w>> {
        let place = reserve();
        let method = if wants_login { "username" } else { "none" };
        let root = rustix::process::getuid().is_root();
        let users = if root { "user.privileged: root\nuser.unprivileged: root\n" } else { "" };
        let config = format!(
            "logoutput: stderr\ninternal: 127.0.0.1 port = {}\nexternal: lo\nclientmethod: none\nsocksmethod: {method}\n{users}\
             client pass {{\n from: 0.0.0.0/0 to: 0.0.0.0/0\n}}\nsocks pass {{\n from: 0.0.0.0/0 to: 0.0.0.0/0\n protocol: tcp\n \
             log: connect\n}}\n",
            place.address.port()
        );
        let config = world.write("dante.conf", &config).display().to_string();
        let program = need("danted", "dante-server").display().to_string();
        let words = [&program, "-f", &config].map(str::to_owned).to_vec();
        if !wants_login {
            return Some(Proxy::start(world, place, words));
        }
        let passwd =
            format!("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n{USER}:x:12345:12345::/:/bin/sh\n");
        // openssl passwd -6.
        let shadow = format!(
            "root:*:1::::::\n{USER}:$6$abcdefgh$nMtyG40GAPN2YsxLY1c4KoWs62vTlTeTI8K53ewlaSdTLb6X3v01TjqutTIx2QcVQ1hCf5JnrGYIlCwHTsj8U0:1::::::\n"
        );
        let files = [("passwd", passwd), ("shadow", shadow)];
        let files = files.map(|(name, text)| world.write(name, &text).display().to_string());
        let mounts = r#"mount --bind "$1" /etc/passwd && mount --bind "$2" /etc/shadow && shift 2 && exec "$@""#;
        let under = ["unshare", "-m", "sh", "-c", mounts, "sh", &files[0], &files[1]].map(str::to_owned).to_vec();
        if !root || Tool::new("true", &world.path("")).under(&under).run().code() != Some(0) {
            super::skip("users of a test's own, which need a name space of mounts");
            return None;
        }
        let mut proxy = Proxy { world, place, words, under, running: None };
        proxy.restart();
        Some(proxy)
    }

    fn start(world: &'w World, place: ReservedPort, words: Vec<String>) -> Proxy<'w> {
        let mut proxy = Proxy { world, place, words, under: Vec::new(), running: None };
        proxy.restart();
        proxy
    }

    /// Starts it again, on the same port.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "the proxy is still running");
        let tool = Tool::new(&self.words[0], &self.world.path("")).args(&self.words[1..]).under(&self.under);
        self.running = Some(tool.within(10 * DEADLINE).spawn());
        eventually("the proxy takes connections", || TcpStream::connect(self.address()).is_ok());
    }

    /// `kill -9`, and of all that it has started.
    pub fn kill(&mut self) {
        self.running.take().expect("the proxy is down").kill();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.place.address
    }

    /// The process.
    pub fn process(&self) -> &Running {
        self.running.as_ref().expect("the proxy is down")
    }
}
