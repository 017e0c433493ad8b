"""What links within TLS, in a WebSocket inside of that, and by requests of HTTP cost beside those over TCP."""

import os
import subprocess
import sys
import time

from bench import GIB, ROOT, World, helper, host_port, many_files, median, tool

SCHEMES = ("tcp", "tls", "wss", "http")
# Of those that are held to a bound: speed at least, processor time and round trip at most, over TCP's.
SPEED = {"tls": 0.6, "wss": 0.6, "http": 0.5}
CPU = {"tls": 2, "wss": 2}
ROUND_TRIP = {"tls": 1.3, "wss": 1.3, "http": 3}
ANY = ("--outer-tls", "any")


def carriers(table, options):
    """Links by TLS, by WebSocket in TLS and by requests against those by TCP: stream, round trip, memory of the relay."""
    streams(table, options)
    round_trips(table, options)
    memory(table, options)


def by(world, scheme):
    return world.address.replace("tcp://", scheme + "://")


def turns(count):
    """So many rounds of all; each begins with another."""
    for nth in range(count):
        at = nth % len(SCHEMES)
        yield from SCHEMES[at:] + SCHEMES[:at]


def ratio(runs, scheme, what):
    """The median of what the runs of a round have of TCP's."""
    return median([what(other) / what(tcp) for other, tcp in zip(runs[scheme], runs["tcp"])])


def streams(table, options):
    size = (GIB // 8) if options.quick else GIB
    runs = {scheme: [] for scheme in SCHEMES}
    with World() as world:
        data = world.random_file("data", size)
        world.start_relay()
        for scheme in turns(1 if options.quick else max(9, options.rounds)):
            runs[scheme].append(stream(world, by(world, scheme), size, data))
    for scheme in SCHEMES[1:]:
        speed, cpu = ratio(runs, scheme, lambda run: run[0]), ratio(runs, scheme, lambda run: sum(run[1]))
        pick = lambda scheme, what: median([what(run) for run in runs[scheme]])
        parts = lambda scheme: " + ".join(f"{pick(scheme, lambda run, n=n: run[1][n]):.2f}" for n in range(3))
        table.add(f"{scheme}: stream speed over tcp's", f"{speed:.2f}", f">= {SPEED[scheme]}", speed >= SPEED[scheme],
                  f"{pick(scheme, lambda run: run[0]):.2f} of {pick('tcp', lambda run: run[0]):.2f} GiB/s")
        if scheme in CPU:
            table.add(f"{scheme}: processor time of all three over tcp's", f"{cpu:.2f}", f"<= {CPU[scheme]}",
                      cpu <= CPU[scheme], f"{parts(scheme)} of {parts('tcp')} s (send + relay + recv)")


def stream(world, relay, size, data):
    """GiB/s, and processor seconds per GiB of sender, relay and receiver."""
    any_tls = () if relay.startswith("tcp:") else ANY
    receive = world.waiting("vp-recv", "west", "pipe", *any_tls, relay=relay)
    before, started = world.relay.used(), time.perf_counter()
    with open(data, "rb") as source:
        command = ("vp-send", "east", "-q", "--compress", "off", "-", "west:pipe", *any_tls)
        send = world.party(*command, stdin=source, relay=relay)
    receive.expect(), send.expect()
    took = max(process.started + process.took for process in (receive, send)) - started
    spent = (send.cpu, world.relay.used() - before, receive.cpu)
    return size / GIB / took, [seconds * GIB / size for seconds in spent]


def round_trips(table, options):
    count = 500 if options.quick else 5000
    took = {scheme: [] for scheme in SCHEMES}
    with World() as world:
        world.start_relay()
        for scheme in SCHEMES:
            any_tls = () if scheme == "tcp" else ANY
            world.waiting("vp-attach", "west", "--listen", scheme, "--keep", *any_tls, "--exec", "cat", relay=by(world, scheme))
        for scheme in turns(1 if options.quick else max(5, options.rounds)):
            any_tls = () if scheme == "tcp" else ANY
            attach = [tool("vp-attach"), "-r", by(world, scheme), "-k", world.path("east.key"), "--peers", world.path("peers")]
            ping = world.start([helper("ping"), "command", "--count", count, "--", *attach, *any_tls, "west:" + scheme],
                               stdout=subprocess.PIPE)
            took[scheme].append(float(ping.line("median ").split()[0]))
            ping.expect()
    for scheme in SCHEMES[1:]:
        reached = ratio(took, scheme, lambda micros: micros)
        table.add(f"{scheme}: 64-byte round trip over tcp's", f"{reached:.2f}", f"<= {ROUND_TRIP[scheme]}",
                  reached <= ROUND_TRIP[scheme],
                  f"{median(took[scheme]):.0f} against {median(took['tcp']):.0f} us, medians")


def memory(table, options):
    count = 200 if options.quick else 2000
    if many_files() < count + 100:
        raise RuntimeError(f"needs {count + 100} descriptors: raise ulimit -Hn")
    for scheme in CPU:
        with World() as world:
            relay = world.start_relay("--max-links", 2 * count, "--max-links-per-peer", 2 * count)
            wrap = os.path.join(ROOT, "benches", "tools", "wrap.py")
            wrap = world.start([sys.executable, wrap, scheme, host_port(world.address)], stdout=subprocess.PIPE)
            through = world.address.replace(host_port(world.address), wrap.line("listening "))
            empty = relay.proportional_memory()
            command = [helper("attachments"), "--relay", through, "--key", world.path("west.key"), "--count", count]
            load = world.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            attached = load.line("attached ")
            if attached != str(count):
                raise RuntimeError(f"{attached} of {count} attached")
            time.sleep(5)
            each = (relay.proportional_memory() - empty) / count
            load.stdin.close()
            load.expect()
        table.add(f"{scheme}: relay memory per idle attachment, {count} of them", f"{each:.1f} KiB", "<= 24 KiB", each <= 24,
                  f"on top of {empty / 1024:.1f} MiB")
