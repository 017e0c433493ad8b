"""Replicated ports: what a connection through vp-portrep costs, beside rathole with Noise and ssh over a jump host."""

import contextlib
import os
import re
import select
import selectors
import shutil
import socket
import subprocess
import sys
import time

from bench import GIB, MIB, ROOT, World, free_port, many_files, median, need, wait_port
from files import jump_host

HERE = os.path.dirname(os.path.abspath(__file__))


class Tunnel:
    """A port that leads to `target`, and the processes that make it so."""

    def __init__(self, name, port, processes):
        self.name, self.port, self.processes = name, port, processes

    def cpu(self):
        return sum(seconds(pid) for process in self.processes for pid in family(process.pid))

    def memory(self):
        return sum(pss(pid) for process in self.processes for pid in family(process.pid))


def family(pid):
    """A process and what it has started: sshd has a process for each connection."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            return [pid] + [one for child in children.read().split() for one in family(int(child))]
    except OSError:
        return []


def seconds(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
            return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0


def pss(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            return next(int(row.split()[1]) for row in rollup if row.startswith("Pss:"))
    except OSError:
        return 0


def target(world, kind):
    process = world.start([sys.executable, os.path.join(HERE, "tools/target.py"), kind], stdout=subprocess.PIPE)
    return int(process.line("listening "))


def ours(world, port):
    """Export and import of one port through a relay."""
    relay = world.start_relay()
    export = world.party("vp-portrep", "west", "--export", f"bench=127.0.0.1:{port}", stdout=subprocess.PIPE)
    export.line("serving ")
    entry = world.party("vp-portrep", "east", "--import", "127.0.0.1:0=west:bench", stdout=subprocess.PIPE)
    return Tunnel("vp", int(entry.line("listening ").split()[0].rsplit(":", 1)[1]), [relay, export, entry])


def rathole(world, port):
    """The tunnel that is closest in kind. Encrypted to its relay, which reads everything."""
    program, control, entry = need("rathole"), free_port(), free_port()
    keys = subprocess.run([program, "--genkey"], check=True, capture_output=True, text=True).stdout.split()
    noise = '[{0}.transport]\ntype = "noise"\n[{0}.transport.noise]\n'
    server = (f'[server]\nbind_addr = "127.0.0.1:{control}"\ndefault_token = "x"\n[server.services.bench]\n'
              f'bind_addr = "127.0.0.1:{entry}"\n{noise.format("server")}local_private_key = "{keys[2]}"\n')
    client = (f'[client]\nremote_addr = "127.0.0.1:{control}"\ndefault_token = "x"\n[client.services.bench]\n'
              f'local_addr = "127.0.0.1:{port}"\n{noise.format("client")}remote_public_key = "{keys[5]}"\n')
    processes = []
    for role, config in (("server", server), ("client", client)):
        with open(world.path(role + ".toml"), "w") as file:
            file.write(config)
        processes.append(world.start([program, "--" + role, world.path(role + ".toml")]))
        wait_port(control)
    wait_port(entry)
    return Tunnel("rathole", entry, processes)


def ssh(world, port):
    """What people do today: the far side holds a reverse port open at the jump host, we go through that."""
    program, conf, back, entry = need("ssh"), jump_host(world), free_port(), free_port()
    with open(conf) as file:
        far = re.search(r"Host far\n HostName 127.0.0.1\n Port (\d+)", file.read())[1]
    with open(conf, "a") as file:
        file.write(f"Host back\n HostName 127.0.0.1\n Port {back}\n ProxyJump jump\n")
    daemons = [process for process in world.processes if process.command[0].endswith("sshd")]
    outward = world.start([program, "-F", conf, "-N", "-R", f"127.0.0.1:{back}:127.0.0.1:{far}", "jump"])
    wait_port(back)
    inward = world.start([program, "-F", conf, "-N", "-L", f"127.0.0.1:{entry}:127.0.0.1:{port}", "back"])
    wait_port(entry)
    return Tunnel("ssh", entry, [*daemons, outward, inward])


@contextlib.contextmanager
def tunnel(make, kind):
    """A tunnel of its own world to a target of a kind."""
    with World() as world:
        made = make(world, target(world, kind))
        # The probe's connection has to end, and rathole to fill its pool.
        time.sleep(0.8)
        yield made


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), 60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def receive(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise RuntimeError("the connection ended")
        data += more
    return data


def bulk(made, size):
    """GiB/s and processor seconds a GiB of one stream."""
    block = memoryview(os.urandom(MIB))
    began, used = time.perf_counter(), made.cpu()
    with connect(made.port) as connection:
        connection.sendall(size.to_bytes(8, "little"))
        for _ in range(size // MIB):
            connection.sendall(block)
        receive(connection, 1)
    took = time.perf_counter() - began
    return size / GIB / took, (made.cpu() - used) / (size / GIB)


def round_trips(port, count):
    """Median round trip of 64 bytes, microseconds."""
    took = []
    with connect(port) as connection:
        for _ in range(count):
            began = time.perf_counter()
            connection.sendall(b"x" * 64)
            receive(connection, 64)
            took.append(time.perf_counter() - began)
    return 1e6 * median(took[count // 10:])


def first_bytes(port, count):
    """Median time from connect to the first byte back, microseconds."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        with connect(port) as connection:
            connection.sendall(b"y")
            receive(connection, 1)
            took.append(time.perf_counter() - began)
    return 1e6 * median(took)


def idle_connection(made, count):
    """KiB of all processes for each connection that has said something and now says nothing."""
    empty = made.memory()
    with contextlib.ExitStack() as open_ones:
        for _ in range(count):
            connection = open_ones.enter_context(connect(made.port))
            connection.sendall(b"z")
            receive(connection, 1)
        time.sleep(0.5)
        return (made.memory() - empty) / count


def port(table, options):
    """One connection: bulk, round trip, first byte, memory, beside rathole with Noise and ssh over a jump host."""
    size = GIB // 8 if options.quick else 2 * GIB
    trips, fresh, held = (300, 30, 50) if options.quick else (3000, 300, 500)
    makers = {"vp": ours, "rathole": rathole, "ssh": ssh}
    got = {name: {"speed": [], "cpu": [], "trip": [], "first": [], "idle": []} for name in makers}
    for _ in range(options.rounds):
        for name, make in makers.items():
            with tunnel(make, "sink") as made:
                # ssh is an order of magnitude slower: less of it says as much.
                speed, cpu = bulk(made, size // 8 if name == "ssh" else size)
                got[name]["speed"].append(speed), got[name]["cpu"].append(cpu)
            if name != "ssh":
                with tunnel(make, "echo") as made:
                    got[name]["trip"].append(round_trips(made.port, trips))
                    got[name]["first"].append(first_bytes(made.port, fresh))
                    got[name]["idle"].append(idle_connection(made, held))
    our, rat, jump = (({key: median(values) for key, values in got[name].items() if values}) for name in makers)
    ratio = our["cpu"] / rat["cpu"]
    table.add("port, bulk: processor time over rathole with Noise", f"{ratio:.2f}", "<= 0.52", ratio <= 2.3 / 4.4,
              f"{our['cpu']:.2f} against {rat['cpu']:.2f} s/GiB, ssh {jump['cpu']:.2f}")
    ratio = our["speed"] / rat["speed"]
    table.add("port, bulk: times as fast as rathole with Noise", f"{ratio:.1f}", ">= 2", ratio >= 2,
              f"{our['speed']:.2f} against {rat['speed']:.2f} GiB/s")
    ratio = our["speed"] / jump["speed"]
    table.add("port, bulk: times as fast as ssh over a jump host", f"{ratio:.1f}", ">= 8", ratio >= 8,
              f"{our['speed']:.2f} against {jump['speed']:.3f} GiB/s")
    ratio = our["trip"] / rat["trip"]
    table.add("port, 64-byte round trip over rathole's", f"{ratio:.2f}", "<= 1", ratio <= 1,
              f"{our['trip']:.0f} against {rat['trip']:.0f} us, medians")
    ratio = our["first"] / rat["first"]
    table.add("port, connect to first byte over rathole's", f"{ratio:.2f}", "<= 0.6", ratio <= 0.6,
              f"{our['first']:.0f} against {rat['first']:.0f} us, medians")
    table.add("port, memory per idle connection, all processes", f"{our['idle']:.1f} KiB", "<= 16 KiB", our["idle"] <= 16,
              f"rathole {rat['idle']:.0f} KiB")


def crowd(table, options):
    """Two thousand connections that echo at once: all are served, and none waits three times as long as the others."""
    count, lasts = (200, 1) if options.quick else (2000, 10)
    many_files()
    with tunnel(ours, "echo") as made:
        trips = echo_all(made.port, count, lasts)
    if any(not taken for taken in trips):
        raise RuntimeError(f"{sum(not taken for taken in trips)} of {count} connections were not served")
    means = sorted(sum(taken) / len(taken) for taken in trips)
    slowest, usual = means[-1], median(means)
    table.add(f"{count} connections echo at once: the slowest's round trip over the median", f"{slowest / usual:.2f}", "<= 3",
              slowest <= 3 * usual, f"{1e3 * slowest:.0f} against {1e3 * usual:.0f} ms; {sum(map(len, trips))} round trips")


def echo_all(port, count, lasts):
    """The round trips of each of `count` connections, all busy all the time, seconds."""
    ready, trips = selectors.DefaultSelector(), [[] for _ in range(count)]
    with contextlib.ExitStack() as open_ones:
        connections = [open_ones.enter_context(connect(port)) for _ in range(count)]
        sent = [0.0] * count
        for number, connection in enumerate(connections):
            ready.register(connection, selectors.EVENT_READ, number)
            sent[number] = time.perf_counter()
            connection.sendall(b"x" * 64)
        end = time.perf_counter() + lasts
        while time.perf_counter() < end:
            for key, _ in ready.select(1):
                number = key.data
                receive(key.fileobj, 64)
                now = time.perf_counter()
                trips[number].append(now - sent[number])
                sent[number] = now
                key.fileobj.sendall(b"x" * 64)
    return trips


class Postgres:
    """A PostgreSQL of our own on a free port of loopback, without sync: the disk is not what is measured."""

    def __init__(self, world):
        self.bin = max((folder for folder, _, names in os.walk("/usr/lib/postgresql") if "initdb" in names), default=None)
        if not self.bin:
            need("initdb")
        self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if os.getuid() == 0 else []
        place = world.path("pg")
        os.mkdir(place)
        if self.user:
            os.chmod(world.dir, 0o711)
            shutil.chown(place, "postgres")
        self.world, self.port = world, free_port()
        data = os.path.join(place, "data")
        world.start([*self.user, self.tool("initdb"), "-U", "postgres", "-A", "trust", "--no-sync", data]).expect()
        self.server = world.start([*self.user, self.tool("postgres"), "-D", data, "-F", "-k", place, "-p", self.port,
                                   "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=50"])
        wait_port(self.port)
        end = time.monotonic() + 60
        while self.run("psql", self.port, "-c", "select 1").wait().code != 0:
            if time.monotonic() > end:
                raise self.server.failure("no answer")

    def tool(self, name):
        return os.path.join(self.bin, name)

    def run(self, name, port, *words, **options):
        return self.world.start([self.tool(name), "-h", "127.0.0.1", "-p", port, "-U", "postgres", *words, "postgres"], **options)

    def transactions(self, port, lasts):
        """Read-only transactions a second of ten clients."""
        bench = self.run("pgbench", port, "-n", "-S", "-c", 10, "-j", 2, "-T", lasts, stdout=subprocess.PIPE, text=True)
        out = bench.stdout.read()
        bench.expect()
        return float(re.search(r"tps = ([\d.]+)", out)[1])


def pgbench(table, options):
    """Ten clients that only select: transactions a second over those of a direct connection, against rathole's."""
    lasts = 1 if options.quick else 8
    got = {"direct": [], "vp": [], "rathole": []}
    with World() as world:
        database = Postgres(world)
        database.run("pgbench", database.port, "-i", "-q", "-s", 2 if options.quick else 10).expect()
        made = {"direct": database.port, "vp": ours(world, database.port).port, "rathole": rathole(world, database.port).port}
        for _ in range(options.rounds):
            for name, port in made.items():
                got[name].append(database.transactions(port, lasts))
    direct, our, rat = (median(got[name]) for name in ("direct", "vp", "rathole"))
    table.add("pgbench -S -c 10 through a port: transactions over rathole's", f"{our / rat:.2f}", ">= 1", our >= rat,
              f"{our:.0f} against {rat:.0f} a second, direct {direct:.0f}")


class Session:
    """An interactive session with PostgreSQL: its protocol, version 3, as far as one question needs it."""

    QUESTION = b"Q" + (4 + len(b"select 1\0")).to_bytes(4, "big") + b"select 1\0"

    def __init__(self, port):
        self.connection = connect(port)
        words = b"user\0postgres\0database\0postgres\0\0"
        self.connection.sendall((8 + len(words)).to_bytes(4, "big") + (196608).to_bytes(4, "big") + words)
        self.answer()

    def answer(self):
        """Reads messages up to the one that says: ready for the next question."""
        while True:
            head = receive(self.connection, 5)
            receive(self.connection, int.from_bytes(head[1:], "big") - 4)
            if head[:1] == b"Z":
                return
            if head[:1] == b"E":
                raise RuntimeError("PostgreSQL reports an error")

    def round_trip(self):
        """Seconds for one question."""
        began = time.perf_counter()
        self.connection.sendall(self.QUESTION)
        self.answer()
        return time.perf_counter() - began


def copy(table, options):
    """A question to a database beside a COPY of 1 GiB through the same mapping, over the same without the COPY."""
    size = GIB // 16 if options.quick else GIB
    rows = size // 1024
    with World() as world:
        database = Postgres(world)
        made = ours(world, database.port)
        command = f"copy (select repeat('x', 1023) from generate_series(1, {rows})) to stdout"
        session = Session(made.port)
        ratios, idles = [], []
        # A COPY takes a second or two, and what it does to its neighbour differs from one to the next.
        for _ in range(1 if options.quick else max(7, options.rounds)):
            idle = [session.round_trip() for _ in range(2000)]
            psql = database.run("psql", made.port, "-q", "-c", command)
            beside = []
            while psql.code is None:
                beside.append(session.round_trip())
                if os.waitid(os.P_PID, psql.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    psql.expect()
            ratios.append(median(beside) / median(idle))
            idles.append(1e6 * median(idle))
    reached = median(ratios)
    table.add("round trip of a session beside a COPY, over its idle figure", f"{reached:.1f}", "<= 5", reached <= 5,
              f"{len(ratios)} COPYs, {min(ratios):.1f} to {max(ratios):.1f}; idle {median(idles):.0f} us")
