//! Programs that others wrote, through `vp-portrep`, while paths are cut and the relay is killed: they notice nothing, and
//! what they carry arrives as it was.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;

use crate::harness::data::{digest, nasty_tree};
use crate::harness::programs::{need, repository, reserve};
use crate::harness::sites::Sites;
use crate::harness::{DEADLINE, Input, Random, Running, Tool, World, assert_same_content, exit, factor, scale};
use crate::impair::ReservedPort;

/// So much is carried each way: some troubles' worth.
const BYTES: u64 = 6 << 20;

/// A server that runs until its test ends, and its port.
struct Server {
    _running: Running,
    place: ReservedPort,
}

impl Server {
    /// Starts what listens on a port, and waits until it says so on standard error or output.
    fn start(program: impl FnOnce(u16) -> Tool, says: &str) -> Server {
        let place = reserve();
        let running = program(place.address.port()).under(["sh", "-c", "exec \"$@\" 2>&1", "sh"]);
        let running = running.within(2 * DEADLINE * factor()).spawn();
        running.wait_line_like(says, |line| line.contains(says));
        Server { _running: running, place }
    }
}

fn bytes() -> u64 {
    BYTES * scale()
}

/// A throw-away sshd with keys of its own, and the options that get a client in.
fn sshd(world: &World) -> (Server, Vec<String>) {
    let sshd = need("sshd", "openssh-server");
    need("ssh", "openssh-client");
    for name in ["host", "user"] {
        let tool = Tool::new("ssh-keygen", &world.path("")).args(["-q", "-t", "ed25519", "-N", "", "-f", name]);
        drop(tool.run().expect(exit::DONE));
    }
    let path = |name: &str| world.path(name).display().to_string();
    let (host, keys) = (path("host"), path("user.pub"));
    let config = format!(
        "HostKey {host}\nAuthorizedKeysFile {keys}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\n\
         ListenAddress 127.0.0.1\nSubsystem sftp internal-sftp\n"
    );
    let config = world.write("sshd.conf", &config);
    // sshd run by root wants its empty directory, which a machine that never booted does not have.
    drop(Tool::new("mkdir", &world.path("")).args(["-p", "/run/sshd"]).run());
    let program = |port: u16| {
        let tool = Tool::new(sshd, &world.path("")).args(["-D", "-e", "-f"]).arg(config);
        tool.args(["-p", &port.to_string()])
    };
    let server = Server::start(program, "Server listening on");
    let words = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"];
    let mut options = vec!["-F".to_owned(), "none".to_owned(), "-i".to_owned(), path("user")];
    options.extend(words.iter().flat_map(|word| ["-o".to_owned(), (*word).to_owned()]));
    (server, options)
}

#[test]
fn ssh_and_scp_go_on_while_paths_break() {
    let world = World::new();
    let (server, options) = sshd(&world);
    let mut sites = Sites::start(&world, &[("ssh", server.place.address)]);
    let port = sites.at("ssh").port().to_string();
    let ssh = Tool::new("ssh", &world.path("")).args(&options).args(["-p", &port, "127.0.0.1"]);
    let ssh = ssh.args(["cat; exit 7"]).input(Input::Random { seed: 1, bytes: bytes() });
    sites.run_troubled(ssh).expect(7).expect_random(1, bytes());
    Random::file(&world.path("file"), 2, bytes());
    let mut scp = |from: &str, to: &str| {
        let tool = Tool::new("scp", &world.path("")).args(&options).args(["-q", "-P", &port, from, to]);
        sites.run_troubled(tool).expect(exit::DONE).expect_silence()
    };
    let there = format!("127.0.0.1:{}", world.path("there").display());
    drop(scp("file", &there));
    drop(scp(&there, "back"));
    assert_eq!(digest(&world.path("there")), Random::digest(2, bytes()));
    assert_eq!(digest(&world.path("back")), Random::digest(2, bytes()));
}

#[test]
fn rsync_copies_a_tree_both_ways_while_paths_break() {
    need("rsync", "rsync");
    let world = World::new();
    nasty_tree(&world.path("tree"));
    Random::file(&world.path("tree/huge"), 7, bytes());
    world.dir("there");
    // Run by root it would serve as nobody, who may not read everything.
    let owner = if rustix::process::getuid().is_root() { "uid = root\ngid = root\n" } else { "" };
    let there = world.path("there").display().to_string();
    let config = format!("use chroot = no\nmunge symlinks = no\nread only = no\n{owner}[there]\npath = {there}\n");
    let config = format!("--config={}", world.write("rsyncd.conf", &config).display());
    let program = |port: u16| {
        let tool =
            Tool::new("rsync", &world.path("")).args(["--daemon", "--no-detach", "--address=127.0.0.1", &config]);
        tool.args(["--log-file=/dev/stdout", &format!("--port={port}")])
    };
    let server = Server::start(program, "listening on port");
    let mut sites = Sites::start(&world, &[("rsync", server.place.address)]);
    let far = format!("rsync://{}/there/", sites.at("rsync"));
    let mut rsync = |from: &str, to: &str| {
        let tool = Tool::new("rsync", &world.path("")).args(["-aS", from, to]);
        sites.run_troubled(tool).expect(exit::DONE).expect_silence()
    };
    drop(rsync("tree/", &far));
    assert_same_content(&world.path("tree"), &world.path("there"));
    drop(rsync(&far, "back"));
    assert_same_content(&world.path("tree"), &world.path("back"));
}

#[test]
fn git_clones_and_pushes_while_paths_break() {
    let world = World::new();
    let work = repository(&world, bytes());
    let git = |dir: &str, words: &[&str]| Tool::new("git", &world.path(dir)).args(words);
    let run = |dir: &str, words: &[&str]| git(dir, words).run().expect(exit::DONE);
    drop(run("", &["clone", "-q", "--bare", &work.display().to_string(), "bare"]));
    let base = format!("--base-path={}", world.path("").display());
    let program = |port: u16| {
        let tool = git("", &["daemon", "--reuseaddr", "--verbose", "--export-all", "--enable=receive-pack", &base]);
        tool.args(["--listen=127.0.0.1", &format!("--port={port}")])
    };
    let server = Server::start(program, "Ready to rumble");
    let mut sites = Sites::start(&world, &[("git", server.place.address)]);
    let far = format!("git://{}/bare", sites.at("git"));
    drop(sites.run_troubled(git("", &["clone", "-q", &far, "copy"])).expect(exit::DONE).expect_silence());
    assert_eq!(digest(&world.path("copy/large")), Random::digest(1, bytes()));
    Random::file(&world.path("copy/more"), 2, bytes());
    drop(run("copy", &["add", "more"]));
    drop(run("copy", &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "third"]));
    drop(sites.run_troubled(git("copy", &["push", "-q", "origin", "main"])).expect(exit::DONE).expect_silence());
    drop(run("bare", &["fsck", "--strict"]));
    run("bare", &["log", "--format=%s", "main"]).expect_output(b"third\nsecond\nfirst\n");
    drop(run("", &["clone", "-q", "bare", "again"]));
    assert_eq!(digest(&world.path("again/more")), digest(&world.path("copy/more")));
}

/// A web server: `GET /SEED/BYTES` answers so much of [`Random`], `PUT` the digest of what came.
fn serve_web(stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap_or(0),
            Some(_) => {}
            None => break,
        }
    }
    let numbers: Vec<u64> = line.split(['/', ' ']).filter_map(|word| word.parse().ok()).collect();
    if let (true, [seed, bytes, ..]) = (line.starts_with("GET "), &numbers[..]) {
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n")?;
        io::copy(&mut Random::new(*seed).take(*bytes), &mut writer)?;
        return Ok(());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(reader.take(length))?;
    let mut body = String::new();
    let _ = write!(body, "{}", hasher.finalize());
    write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn web() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    // It ends with the test program; a client that goes is what the test sees.
    std::thread::spawn(move || {
        listener.incoming().flatten().for_each(|stream| drop(std::thread::spawn(move || serve_web(stream))));
    });
    address
}

#[test]
fn curl_gets_and_puts_while_paths_break() {
    need("curl", "curl");
    let world = World::new();
    let mut sites = Sites::start(&world, &[("web", web())]);
    let url = format!("http://{}/1/{}", sites.at("web"), bytes());
    let curl =
        |words: &[&str]| Tool::new("curl", &world.path("")).args(["-sS", "--fail", "--noproxy", "*"]).args(words);
    let got = sites.run_troubled(curl(&[&url])).expect(exit::DONE).expect_silence();
    got.expect_random(1, bytes());
    Random::file(&world.path("file"), 2, bytes());
    let put = sites.run_troubled(curl(&["-T", "file", &url])).expect(exit::DONE).expect_silence();
    put.expect_output(Random::digest(2, bytes()).to_string().as_bytes());
}

#[test]
fn redis_has_every_command_once_while_paths_break() {
    let world = World::new();
    // Debian's redis-tools has the whole program, under the name of its checker.
    symlink(need("redis-check-rdb", "redis-tools"), world.path("redis-server")).expect("a link");
    let program = |port: u16| {
        let tool = Tool::new(world.path("redis-server"), &world.path("")).args(["--bind", "127.0.0.1", "--save", ""]);
        tool.args(["--port", &port.to_string()])
    };
    let server = Server::start(program, "Ready to accept connections");
    let mut sites = Sites::start(&world, &[("redis", server.place.address)]);
    let commands = (8_000 * scale()).to_string();
    let words = |name: &str, at: SocketAddr| {
        let tool = Tool::new(need(name, "redis-tools"), &world.path(""));
        tool.args(["-h", "127.0.0.1", "-p", &at.port().to_string()])
    };
    let bench = words("redis-benchmark", sites.at("redis")).args(["-c", "20", "-n", &commands, "-q"]);
    let done = sites.run_troubled(bench.args(["RPUSH", "list", &"x".repeat(1000)])).expect(exit::DONE);
    assert!(!done.stderr.to_lowercase().contains("error"), "{done}");
    let length = words("redis-cli", server.place.address).args(["LLEN", "list"]).run().expect(exit::DONE);
    length.expect_output(format!("{commands}\n").as_bytes());
}
