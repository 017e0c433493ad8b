//! Programs that others wrote, through `vp-attach`: ssh, rsync and git. A program that is missing fails its test with the
//! package that brings it; nothing is skipped.

use crate::harness::data::{digest, nasty_tree};
use crate::harness::programs::{need, repository};
use crate::harness::{Random, Relay, Running, Tool, World, assert_same_content, exit};

/// A throw-away sshd behind `vp-attach --listen ssh`, one process a session and no port, and the ssh command that gets there.
struct Ssh<'w> {
    world: &'w World,
    _listen: Running,
    command: String,
}

fn ssh<'w>(world: &'w World, relay: &Relay<'w>) -> Ssh<'w> {
    let sshd = need("sshd", "openssh-server");
    need("ssh", "openssh-client");
    let keygen = |name: &str| {
        let tool = Tool::new("ssh-keygen", &world.path("")).args(["-q", "-t", "ed25519", "-N", "", "-f", name]);
        drop(tool.run().expect(0));
    };
    ["host", "user"].into_iter().for_each(keygen);
    let path = |name: &str| world.path(name).display().to_string();
    let config = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\n\
         Subsystem sftp internal-sftp\n",
        path("host"),
        path("user.pub")
    );
    world.write("sshd.conf", &config);
    // sshd run by root wants its empty directory, which a machine that never booted does not have.
    let serve = format!("mkdir -p /run/sshd 2>/dev/null; exec {} -i -e -f {}", sshd.display(), path("sshd.conf"));
    let script = world.script("serve-ssh", &serve);
    let (east, west) = (relay.party("east"), relay.party("west"));
    let listen = west.waiting(west.attach().args(["--listen", "ssh", "--keep", "--exec"]).arg(script));
    let proxy = world.script("proxy", &format!("exec {}", east.attach().arg("west:ssh").shell_line()));
    let command = format!(
        "ssh -F none -i {} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
         -o ProxyCommand={}",
        path("user"),
        proxy.display()
    );
    Ssh { world, _listen: listen, command }
}

impl Ssh<'_> {
    /// A shell command line at the near end, with `$SSH` the way to the far one, and `$SCP` that for copies.
    fn sh(&self, line: &str) -> Tool {
        let scp = self.command.replacen("ssh", "scp", 1);
        Tool::new("sh", &self.world.path("")).env("SSH", &self.command).env("SCP", scp).args(["-ec", line])
    }
}

#[test]
fn ssh_runs_a_command_and_keeps_its_streams_and_its_status() {
    let world = World::new();
    let relay = world.relay();
    let ssh = ssh(&world, &relay);
    ssh.sh("$SSH far 'echo out; echo err >&2; exit 7'").run().expect(7).expect_output(b"out\n");
    let tool = ssh.sh("$SSH far cat").input(crate::harness::Input::Random { seed: 1, bytes: 8 << 20 });
    tool.run().expect(0).expect_random(1, 8 << 20);
}

#[test]
fn scp_copies_files_both_ways() {
    let world = World::new();
    let relay = world.relay();
    let ssh = ssh(&world, &relay);
    let bytes = 5 << 20;
    Random::file(&world.path("file"), 4, bytes);
    let there = world.path("there").display().to_string();
    ssh.sh(&format!("$SCP -p file far:{there}")).run().expect(0);
    ssh.sh(&format!("$SCP -p far:{there} back")).run().expect(0);
    for name in ["there", "back"] {
        assert_eq!(digest(&world.path(name)), Random::digest(4, bytes), "{name}");
    }
}

#[test]
fn rsync_copies_a_tree_both_ways_through_ssh() {
    need("rsync", "rsync");
    let world = World::new();
    let relay = world.relay();
    let ssh = ssh(&world, &relay);
    nasty_tree(&world.path("tree"));
    let there = format!("rsync -aSe \"$SSH\" tree/ far:{}/there", world.path("").display());
    ssh.sh(&there).run().expect(0);
    assert_same_content(&world.path("tree"), &world.path("there"));
    let back = format!("rsync -aSe \"$SSH\" far:{}/there/ back", world.path("").display());
    ssh.sh(&back).run().expect(0);
    assert_same_content(&world.path("tree"), &world.path("back"));
}

#[test]
fn rsync_reaches_a_daemon_without_ssh() {
    let rsync = need("rsync", "rsync");
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    nasty_tree(&world.path("tree"));
    // Run by root it would serve as nobody, who may not read everything.
    let owner = if rustix::process::getuid().is_root() { "uid = root\ngid = root\n" } else { "" };
    let conf = format!("use chroot = no\n{owner}[tree]\npath = {}\n", world.path("tree").display());
    let conf = world.write("rsyncd.conf", &conf);
    let serve = format!("exec {} --server --daemon --config={} .", rsync.display(), conf.display());
    let serve = world.script("serve", &serve);
    let _listen = west.waiting(west.attach().args(["--listen", "rsync", "--keep", "--exec"]).arg(serve));
    let reach = world.script("reach", &format!("exec {}", east.attach().arg("west:rsync").shell_line()));
    let tool = Tool::new("rsync", &world.path("")).args(["-aS", "-e"]).arg(reach).args(["far::tree/", "copy"]);
    tool.run().expect(0);
    assert_same_content(&world.path("tree"), &world.path("copy"));
}

#[test]
fn git_clones_pushes_and_fetches_through_ssh() {
    let world = World::new();
    let relay = world.relay();
    let ssh = ssh(&world, &relay);
    let work = repository(&world, 3 << 20);
    let git = |line: &str| drop(ssh.sh(&format!("export GIT_SSH_COMMAND=\"$SSH\"; {line}")).run().expect(0));
    let who = "-c user.name=t -c user.email=t@t";
    git(&format!("git clone -q far:{} copy", work.display()));
    assert_eq!(digest(&world.path("copy/large")), Random::digest(1, 3 << 20));
    git(&format!("cd copy; echo z > z; git add z; git {who} commit -qm third; git push -q origin main:pushed"));
    git(&format!("cd work; echo w > w; git add w; git {who} commit -qm fourth"));
    git("cd copy; git fetch -q origin");
    let log = |dir: &str, branch: &str| {
        let tool = Tool::new("git", &world.path(dir)).args(["log", "--format=%s", branch]);
        String::from_utf8(tool.run().expect(0).stdout).expect("text")
    };
    assert_eq!(log("work", "pushed"), "third\nsecond\nfirst\n");
    assert_eq!(log("copy", "origin/main"), "fourth\nsecond\nfirst\n");
}

#[test]
fn git_clones_and_pushes_without_ssh() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let work = repository(&world, 3 << 20);
    Tool::new("git", &world.path("")).args(["clone", "-q", "--bare"]).arg(work).arg("bare").run().expect(0);
    let bare = world.path("bare").display().to_string();
    let serve = |what: &str| {
        let script = world.script(what, &format!("exec git {what} {bare}"));
        west.waiting(west.attach().args(["--listen", what, "--keep", "--exec"]).arg(script))
    };
    let _listen = (serve("upload-pack"), serve("receive-pack"));
    // Git calls it with a host and the command it wants there: `far "git-upload-pack 'bare'"`.
    let attach = east.attach().shell_line();
    let reach = format!("service=${{2#git-}}; service=${{service%% *}}; exec {attach} \"west:$service\"");
    let reach = world.script("reach", &reach);
    let sh = |dir: &str, line: &str| {
        let tool = Tool::new("sh", &world.path(dir)).env("GIT_SSH_COMMAND", &reach).env("GIT_SSH_VARIANT", "simple");
        drop(tool.args(["-ec", line]).run().expect(exit::DONE));
    };
    sh("", "git clone -q far:bare copy");
    assert_eq!(digest(&world.path("copy/large")), Random::digest(1, 3 << 20));
    let commit = "echo z > z && git add z && git -c user.name=t -c user.email=t@t commit -qm third";
    sh("copy", &format!("{commit} && git push -q origin main"));
    let log = Tool::new("git", &world.path("bare")).args(["log", "--format=%s", "main"]).run().expect(0);
    log.expect_output(b"third\nsecond\nfirst\n");
}
