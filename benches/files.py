"""Files and trees: in memory, on disk, and against rsync through a jump host, which is what people do today."""

import filecmp
import os
import shutil
import tempfile
import time

from bench import GIB, MIB, ROOT, Missing, World, free_port, median, need, wait_port
from streams import limit, ours
from wormhole import Wormhole

# Measured beside a limit of 1.1 GiB/s: magic-wormhole.rs through its relay, seconds. For machines without its programs.
WORMHOLE_FILE, WORMHOLE_TREE, WORMHOLE_LIMIT = 13.7, 4.0, 1.1


def receive_into(world, source, inbox):
    """Seconds from the sender's start until both have ended; everything is verified, synced and renamed then."""
    receive = world.waiting("vp-recv", "west", "drop", "-d", inbox)
    started = time.perf_counter()
    send = world.party("vp-send", "east", "-q", source, "west")
    send.expect(), receive.expect()
    return max(process.started + process.took for process in (receive, send)) - started


def fresh(path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


class Yardstick:
    """magic-wormhole.rs, measured where it is installed, otherwise what it took elsewhere, scaled to this machine's limit."""

    def __init__(self, world, elsewhere):
        self.world, self.elsewhere, self.took, self.missing = world, elsewhere, [], None
        try:
            self.wormhole = Wormhole(world)
        except Missing as missing:
            self.missing = missing

    def run(self, source):
        if not self.missing:
            self.took.append(self.wormhole.receive_into(source, fresh(self.world.path("theirs"))))

    def seconds(self, part, best):
        """Of so large a part of the whole, where the limit is so many GiB/s; and how that is known."""
        if self.took:
            return median(self.took), f"magic-wormhole.rs {median(self.took):.2f} s"
        scaled = self.elsewhere * part * WORMHOLE_LIMIT / best
        return scaled, f"magic-wormhole.rs {scaled:.2f} s, scaled, because {self.missing} is not installed"


def file(table, options):
    """A file from memory to memory, verified and renamed, against magic-wormhole.rs through its own relay."""
    size = (GIB // 8) if options.quick else 2 * GIB
    with World() as world:
        source = world.random_file("data", size)
        world.start_relay()
        yardstick = Yardstick(world, WORMHOLE_FILE)
        took, limits = [], []
        for _ in range(options.rounds):
            limits.append(limit(world, size).speed)
            took.append(receive_into(world, source, fresh(world.path("inbox"))))
            yardstick.run(source)
            for inbox in ["inbox"] if yardstick.missing else ["inbox", "theirs"]:
                if not filecmp.cmp(source, world.path(inbox + "/data"), shallow=False):
                    raise RuntimeError("the file differs")
    best, reached = median(limits), median(took)
    wormhole, how = yardstick.seconds(size / (2 * GIB), best)
    table.add("file in memory, times faster than magic-wormhole.rs", f"{wormhole / reached:.1f}", ">= 4",
              wormhole / reached >= 4, f"{reached:.2f} s for {size / GIB:.2f} GiB, limit {best:.2f} GiB/s; {how}")


def disk(table, options):
    """A file to disk, synced, against the longer of the same bytes as a stream and as dd with fsync."""
    size = (GIB // 8) if options.quick else 2 * GIB
    base = os.environ.get("BENCH_DISK", os.path.join(ROOT, "target"))
    place = tempfile.mkdtemp(prefix="vp-bench-", dir=base)
    try:
        with World() as world:
            source = world.random_file("data", size)
            world.start_relay()
            took = {"file": [], "stream": [], "dd": []}
            for _ in range(options.rounds):
                stream, _, _ = ours(world, size, source, "--compress", "off")
                took["stream"].append(size / GIB / stream.speed)
                copy = os.path.join(place, "dd")
                dd = world.start(["dd", "if=" + source, "of=" + copy, "bs=1M", "conv=fsync"]).expect()
                took["dd"].append(dd.took)
                os.remove(copy)
                took["file"].append(receive_into(world, source, fresh(os.path.join(place, "inbox"))))
    finally:
        shutil.rmtree(place)
    ours_took, yardstick = median(took["file"]), max(median(took["stream"]), median(took["dd"]))
    table.add("file to disk over the longer of stream and dd", f"{ours_took / yardstick:.2f}", "<= 1.25",
              ours_took <= 1.25 * yardstick,
              f"{ours_took:.2f} s; stream {median(took['stream']):.2f}, dd {median(took['dd']):.2f}")


def make_tree(root, count, size):
    """`count` files of `size` bytes, a hundred to a directory."""
    for n in range(count):
        directory = os.path.join(root, f"{n // 100:03}")
        if n % 100 == 0:
            os.makedirs(directory)
        with open(os.path.join(directory, f"{n % 100:02}"), "wb") as out:
            out.write(os.urandom(size))


def jump_host(world):
    """Two throw-away sshds and an ssh configuration in which `far` lies behind `jump`. The path of that."""
    sshd, keygen = need("sshd"), need("ssh-keygen")
    ports = {"jump": free_port(), "far": free_port()}
    for name in ("host", "user"):
        world.start([keygen, "-q", "-t", "ed25519", "-N", "", "-f", world.path(name)]).expect()
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    for name, port in ports.items():
        with open(world.path(name + ".conf"), "w") as conf:
            conf.write(f"Port {port}\nListenAddress 127.0.0.1\nHostKey {world.path('host')}\nPidFile none\n"
                       f"AuthorizedKeysFile {world.path('user.pub')}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n")
        world.start([sshd, "-D", "-e", "-f", world.path(name + ".conf")])
        wait_port(port)
    with open(world.path("ssh.conf"), "w") as conf:
        conf.write(f"Host *\n IdentityFile {world.path('user')}\n StrictHostKeyChecking no\n BatchMode yes\n"
                   f" UserKnownHostsFile /dev/null\n LogLevel ERROR\n Ciphers aes256-gcm@openssh.com\n"
                   f"Host jump\n HostName 127.0.0.1\n Port {ports['jump']}\n"
                   f"Host far\n HostName 127.0.0.1\n Port {ports['far']}\n ProxyJump jump\n")
    return world.path("ssh.conf")


def tree(table, options):
    """Ten thousand files of 4 KiB in memory against rsync through a jump host and magic-wormhole.rs."""
    count = 1000 if options.quick else 10_000
    need("rsync")
    with World() as world:
        make_tree(world.path("tree"), count, 4096)
        world.start_relay()
        conf = jump_host(world)
        best = median([limit(world, GIB // 4).speed for _ in range(options.rounds)])
        yardstick = Yardstick(world, WORMHOLE_TREE)
        took = {"ours": [], "rsync": []}
        for _ in range(options.rounds):
            yardstick.run(world.path("tree"))
            took["ours"].append(receive_into(world, world.path("tree"), fresh(world.path("inbox"))))
            copy = fresh(world.path("copy"))
            command = ["rsync", "-a", "-e", f"ssh -F {conf}", world.path("tree"), f"far:{copy}/"]
            took["rsync"].append(world.start(command).expect().took)
        same(world.path("tree"), world.path("inbox/tree"), count)
    reached = median(took["ours"])
    table.add("tree in memory, times faster than rsync over a jump host", f"{median(took['rsync']) / reached:.1f}", ">= 1",
              median(took["rsync"]) >= reached, f"{reached:.2f} s, rsync {median(took['rsync']):.2f} s, {count} files")
    wormhole, how = yardstick.seconds(count / 10_000, best)
    table.add("tree in memory, times faster than magic-wormhole.rs", f"{wormhole / reached:.1f}", ">= 2.5",
              wormhole >= 2.5 * reached, f"limit {best:.2f} GiB/s; {how}")


def same(sent, received, count):
    """Every file is there with the same bytes."""
    seen = 0
    for directory, _, names in os.walk(sent):
        other = os.path.join(received, os.path.relpath(directory, sent))
        _, differ, absent = filecmp.cmpfiles(directory, other, names, shallow=False)
        if differ or absent:
            raise RuntimeError(f"{directory}: {len(differ)} differ, {len(absent)} are absent")
        seen += len(names)
    if seen != count:
        raise RuntimeError(f"{seen} of {count} files were compared")
