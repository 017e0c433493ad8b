"""What every benchmark stands on: keys and a relay in a directory of their own, processes that cannot outlive the run,
processor time by process, and a table of ratios. Standard library only."""

import contextlib
import os
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release")
SHM = "/dev/shm"
GIB = 1 << 30
MIB = 1 << 20
DEADLINE = 300


def tool(name):
    """One of our programs."""
    return os.path.join(TARGET, name)


def helper(name):
    """One of the benchmark's own programs."""
    return os.path.join(TARGET, name)


class Missing(Exception):
    """A program of the yardstick is not installed."""


def need(program):
    """The path of somebody else's program."""
    places = [os.environ.get("BENCH_BIN", ""), os.environ["PATH"], "/usr/sbin"]
    path = shutil.which(program, path=os.pathsep.join(filter(None, places)))
    if not path:
        raise Missing(program)
    return path


def has_input(file):
    """Whether there is something to read, within the deadline. With any number of files open, which select() has not."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(DEADLINE * 1000))


class Process:
    """A process in a group of its own. Its peak memory is sampled, because the kernel's own figure at the end includes
    what the parent was before exec."""

    def __init__(self, command, **options):
        self.command = [str(word) for word in command]
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.DEVNULL)
        self.errors = tempfile.TemporaryFile()
        self.started = time.perf_counter()
        self.child = subprocess.Popen(self.command, stderr=self.errors, start_new_session=True, **options)
        self.pid = self.child.pid
        self.stdin, self.stdout = self.child.stdin, self.child.stdout
        self.code, self.cpu, self.peak, self.took = None, 0.0, 0, 0.0

    def line(self, start):
        """The next line of standard output, which must begin with `start`: the rest of it."""
        if not has_input(self.stdout):
            raise self.failure(f"no line {start!r}")
        text = self.stdout.readline()
        text = text.decode() if isinstance(text, bytes) else text
        if not text.startswith(start):
            raise self.failure(f"{text!r} instead of {start!r}")
        return text[len(start):].strip()

    def memory(self, name="VmHWM"):
        """A line of /proc/PID/status, KiB."""
        try:
            with open(f"/proc/{self.pid}/status") as status:
                for row in status:
                    if row.startswith(name + ":"):
                        return int(row.split()[1])
        except OSError:
            pass
        return 0

    def proportional_memory(self):
        """Memory that would be free without it, KiB."""
        with open(f"/proc/{self.pid}/smaps_rollup") as rollup:
            return next(int(row.split()[1]) for row in rollup if row.startswith("Pss:"))

    def used(self):
        """Processor time so far, seconds, while it runs."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self, deadline=DEADLINE):
        """Waits for its end; its processor time, peak memory and duration are known then."""
        if self.code is not None:
            return self
        handle = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            end = time.monotonic() + deadline
            while not poll.poll(20):
                self.peak = max(self.peak, self.memory())
                if time.monotonic() > end:
                    raise self.failure(f"still running after {deadline} s")
        finally:
            os.close(handle)
        self.took = time.perf_counter() - self.started
        self.reap()
        return self

    def expect(self, code=0):
        """Waits for its end, which must have this status."""
        self.wait()
        if self.code != code:
            raise self.failure(f"ended with {self.code}")
        return self

    def reap(self):
        _, status, usage = os.wait4(self.pid, 0)
        self.code = self.child.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = usage.ru_utime + usage.ru_stime

    def signal(self, number):
        if self.code is None:
            os.kill(self.pid, number)

    def kill(self):
        """Ends it and whatever it started."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.reap()
        for stream in (self.stdin, self.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def failure(self, what):
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip()
        return RuntimeError(f"{what}: {' '.join(self.command)}\n{said}")


class World:
    """A directory with keys and peers; every process started through it ends with it."""

    def __init__(self, base=SHM):
        self.dir = tempfile.mkdtemp(prefix="vp-bench-", dir=base)
        self.processes = []
        self.address = None
        self.relay = None
        try:
            self.keygen("relay")
            with open(self.path("peers"), "w") as peers:
                peers.writelines(f"{name} {self.keygen(name)}\n" for name in ("east", "west"))
        except BaseException:
            shutil.rmtree(self.dir)
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def keygen(self, name):
        out = subprocess.run([tool("vp-keygen"), "-o", self.path(name + ".key")], check=True, capture_output=True, text=True)
        return out.stdout.split()[-1]

    def start(self, command, **options):
        process = Process(command, cwd=self.dir, env=self.environment(), **options)
        self.processes.append(process)
        return process

    def environment(self):
        return {"PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": self.dir, "LANG": "C.UTF-8"}

    def start_relay(self, *options, listen="127.0.0.1:0"):
        """A relay for east and west; its address is that of the world from now on."""
        command = [tool("vp-relay"), "--listen", listen, "--key", self.path("relay.key"), "--allow", self.path("peers")]
        self.relay = self.start([*command, *options], stdout=subprocess.PIPE)
        self.address = self.relay.line("listening ")
        return self.relay

    def party(self, program, who, *options, relay=None, **more):
        command = [tool(program), "--relay", relay or self.address, "--key", self.path(who + ".key")]
        return self.start([*command, "--peers", self.path("peers"), *options], **more)

    def waiting(self, program, who, *options, **more):
        """A waiting tool, started; back when it is ready. Its ready line comes over a pipe of its own."""
        read, write = os.pipe()
        os.set_inheritable(write, True)
        process = self.party(program, who, *options, "--ready-fd", write, pass_fds=[write], **more)
        os.close(write)
        with os.fdopen(read) as ready:
            if not has_input(ready) or not ready.readline().startswith("attached "):
                process.wait(1)
                raise process.failure("not ready")
        return process

    def impair(self, target, *options):
        """The impairment proxy before `HOST:PORT`; the process and its own address."""
        proxy = self.start([helper("impair"), "--target", target, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return proxy, proxy.line("listening ")

    def random_file(self, name, size):
        """A file that no compressor shrinks."""
        block = os.urandom(min(size, 64 * MIB) or 1)
        with open(self.path(name), "wb") as file:
            left = size
            while left > 0:
                # Blocks differ, or a large enough window would find them again.
                piece = block[: min(left, len(block))]
                file.write(left.to_bytes(8, "big") + piece[8:] if len(piece) > 8 else piece)
                left -= len(piece)
        return self.path(name)


def host_port(address):
    """`HOST:PORT` of a RELAY."""
    return address.rsplit("@", 1)[1]


def median(values):
    return statistics.median(values)


def mean(values):
    return statistics.mean(values)


def free_port():
    """A port that was free a moment ago, for programs that cannot take port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_port(port, deadline=20):
    """Returns once somebody listens there."""
    end = time.monotonic() + deadline
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def many_files():
    """Room for thousands of sockets, for us and for what we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Table:
    """Figures with their yardstick and their goal."""

    def __init__(self):
        self.rows = []
        self.lock = threading.Lock()

    def add(self, what, value, goal, holds, detail=""):
        """`value` is shown as it is; `holds` is None where there is no goal."""
        mark = "  " if holds is None else "ok" if holds else "NO"
        with self.lock:
            self.rows.append((what, value, goal, mark, detail))
        print(f"{mark} {what}: {value}  (goal {goal})  {detail}", flush=True)

    def markdown(self):
        lines = ["| what | reached | goal | | of what |", "|---|---|---|---|---|"]
        return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in self.rows])
