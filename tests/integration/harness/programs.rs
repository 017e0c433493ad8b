//! Programs that others wrote, as the tests start them. One that is missing fails its test with the package that brings
//! it; nothing is skipped.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{DEADLINE, Random, Running, Signal, Tool, World, exit};
use crate::impair::ReservedPort;

/// Where a program is; daemons are often outside the search path of those who are not root.
pub fn need(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = std::env::split_paths(&path).collect();
    dirs.push("/usr/sbin".into());
    let found = dirs.iter().map(|dir| dir.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{program} is missing: apt-get install {package}"))
}

/// A repository with a few commits and one object of so many bytes of seed 1.
pub fn repository(world: &World, bytes: u64) -> PathBuf {
    need("git", "git");
    Random::file(&world.dir("work").join("large"), 1, bytes);
    let lines = "git init -q -b main . && git add . && git commit -q -m first && echo x > y && git add . && git commit -qm second";
    let sh = Tool::new("sh", &world.path("work")).args(["-ec", lines]);
    let named = [
        ("GIT_AUTHOR_NAME", "t"),
        ("GIT_AUTHOR_EMAIL", "t@t"),
        ("GIT_COMMITTER_NAME", "t"),
        ("GIT_COMMITTER_EMAIL", "t@t"),
    ];
    drop(named.into_iter().fold(sh, |sh, (name, value)| sh.env(name, value)).run().expect(0));
    world.path("work")
}

/// A port of this machine that stays free for a program that is about to listen there.
pub fn reserve() -> ReservedPort {
    ReservedPort::reserve((Ipv4Addr::LOCALHOST, 0).into()).expect("a port")
}

/// A PostgreSQL of one test: in the world's directory, by nobody's root, on a port of its own.
pub struct Postgres<'w> {
    world: &'w World,
    running: Running,
    place: ReservedPort,
}

impl<'w> Postgres<'w> {
    /// Makes a cluster and starts its server.
    pub fn start(world: &'w World) -> Postgres<'w> {
        let bin = postgres_programs();
        let data = world.dir("pg").join("data");
        // It refuses to be root; the package has made a user for it, who must get to its directory.
        let root = rustix::process::getuid().is_root();
        let user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"];
        let under: &[&str] = if root { &user } else { &[] };
        if root {
            drop(Tool::new("chown", &world.path("")).args(["postgres", "pg"]).run().expect(exit::DONE));
            let open = std::fs::Permissions::from_mode(0o711);
            std::fs::set_permissions(world.path(""), open).expect("a mode");
        }
        let program = |name: &str| Tool::new(bin.join(name), &world.path("pg")).under(under);
        let initdb = program("initdb").args(["--username=postgres", "--auth=trust", "--no-sync", "-D"]);
        drop(initdb.arg(&data).run().expect(exit::DONE));
        let place = reserve();
        let server = program("postgres").arg("-D").arg(&data).args(["-F", "-h", "127.0.0.1", "-c", "log_line_prefix="]);
        let server = server.args(["-c", "unix_socket_directories=", "-p"]).arg(place.address.port().to_string());
        let running = server.within(DEADLINE * 2 * super::factor()).spawn();
        running.wait_error_line("LOG:  database system is ready");
        Postgres { world, running, place }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.place.address
    }

    /// A client program that reaches it at this address, there or through a mapping.
    pub fn client(&self, program: &str, at: SocketAddr) -> Tool {
        let tool = Tool::new(need(program, "postgresql"), &self.world.path("")).env("PGCONNECT_TIMEOUT", "30");
        let tool = tool.args(["-h", &at.ip().to_string(), "-p", &at.port().to_string(), "-U", "postgres"]);
        tool.within(DEADLINE * super::factor())
    }

    /// `psql` that says nothing but rows.
    pub fn psql(&self, at: SocketAddr) -> Tool {
        self.client("psql", at).args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", "postgres"])
    }

    /// What the server itself says to a query, without a mapping.
    pub fn ask(&self, query: &str) -> String {
        let done = self.psql(self.address()).args(["-c", query]).run().expect(exit::DONE);
        String::from_utf8(done.stdout).expect("text").trim_end().to_owned()
    }
}

impl Drop for Postgres<'_> {
    fn drop(&mut self) {
        // Killed, it would leave a piece of shared memory behind.
        self.running.signal(Signal::INT);
        self.running.ended_by(Instant::now() + Duration::from_secs(10));
    }
}

/// Where the newest PostgreSQL has its programs: Debian keeps them out of the search path.
fn postgres_programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").is_file()).max();
    found.or_else(|| need("initdb", "postgresql").parent().map(Path::to_owned)).expect("a directory")
}
