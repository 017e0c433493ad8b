"""Streams through the relay against the machine's own limit; what several workers and many circuits change; memory."""

import subprocess
import threading
import time

from bench import GIB, MIB, World, helper, mean, median


class Run:
    """One transfer: GiB/s, and processor seconds per GiB of sender, relay and receiver."""

    def __init__(self, size, took, cpu):
        self.speed = size / GIB / took
        self.cpu = [seconds * GIB / size for seconds in cpu]
        self.total = sum(self.cpu)


def limit(world, size):
    receive = world.start([helper("limit"), "receive"], stdout=subprocess.PIPE)
    relay = world.start([helper("limit"), "relay", receive.line("listening ")], stdout=subprocess.PIPE)
    at = relay.line("listening ")
    started = time.perf_counter()
    send = world.start([helper("limit"), "send", at, size])
    for process in (receive, relay, send):
        process.expect()
    took = max(process.started + process.took for process in (receive, send)) - started
    return Run(size, took, [process.cpu for process in (send, relay, receive)])


def ours(world, size, data, *options, app="pipe"):
    """A stream from a file to nowhere. The relay's processor time is what it used in the meantime."""
    receive = world.waiting("vp-recv", "west", app)
    before, started = world.relay.used(), time.perf_counter()
    with open(data, "rb") as source:
        send = world.party("vp-send", "east", "-q", *options, "-", "west:" + app, stdin=source)
    receive.expect(), send.expect()
    took = max(process.started + process.took for process in (receive, send)) - started
    return Run(size, took, [send.cpu, world.relay.used() - before, receive.cpu]), send, receive


def stream(table, options):
    """One stream without compression: speed and cost against the limit, the relay's cost against the limit's relay."""
    size = (GIB // 8) if options.quick else 2 * GIB
    with World() as world:
        data = world.random_file("data", size)
        world.start_relay()
        runs = {"limit": [], "ours": []}
        # Single runs differ by a third, by which of the three processes happen to share a core: more of them.
        for _ in range(1 if options.quick else max(7, options.rounds)):
            runs["limit"].append(limit(world, size))
            runs["ours"].append(ours(world, size, data, "--compress", "off")[0])
    pick = lambda who, what: median([what(run) for run in runs[who]])
    both = lambda what: (pick("ours", what), pick("limit", what))
    speed, best = both(lambda run: run.speed)
    table.add("stream speed over the limit's", f"{speed / best:.2f}", ">= 0.80", speed >= 0.8 * best,
              f"{speed:.2f} of {best:.2f} GiB/s")
    cost, least = both(lambda run: run.total)
    parts = " + ".join(f"{pick('ours', lambda run, n=n: run.cpu[n]):.2f}" for n in range(3))
    table.add("processor time per GiB over the limit's", f"{cost / least:.2f}", "<= 1.30", cost <= 1.3 * least,
              f"{parts} = {cost:.2f} of {least:.2f} s (send + relay + recv)")
    relay, least = both(lambda run: run.cpu[1])
    table.add("relay's processor time per GiB over the limit's relay", f"{relay / least:.2f}", "<= 1.25",
              relay <= 1.25 * least, f"{relay:.2f} of {least:.2f} s")


def crowd(world, count, each, data):
    """`count` streams at once; seconds for all of them."""
    receivers = [world.waiting("vp-recv", "west", f"pipe{n}") for n in range(count)]
    started = time.perf_counter()
    senders = []
    for n in range(count):
        with open(data, "rb") as source:
            command = ("vp-send", "east", "-q", "--compress", "off", "-", f"west:pipe{n}")
            senders.append(world.party(*command, stdin=source))
    for process in receivers + senders:
        process.expect()
    return time.perf_counter() - started


def workers(table, options):
    """The relay with two workers against one: one busy circuit, then a hundred."""
    many, total = (10, GIB // 8) if options.quick else (100, 2 * GIB)
    # Single runs of one circuit differ by a third, as those of `stream` do: the mean of many.
    alone = 2 if options.quick else max(24, options.rounds)
    with World() as world:
        large, small = world.random_file("large", total), world.random_file("small", total // many)
        for circuits, rounds, data, goal, least in ((1, alone, large, "no slower", 0.97),
                                                    (many, options.rounds, small, "faster", 1.0)):
            took = {"1": [], "2": []}
            for index in range(rounds):
                # Whichever comes second is a little slower: they take turns.
                for count in ("1", "2") if index % 2 else ("2", "1"):
                    relay = world.start_relay("--workers", count)
                    took[count].append(crowd(world, circuits, total // circuits, data))
                    relay.kill()
            one, two = mean(took["1"]), mean(took["2"])
            table.add(f"two workers over one, {circuits} circuits", f"{one / two:.2f}", goal, one / two > least,
                      f"{total / GIB / two:.2f} against {total / GIB / one:.2f} GiB/s, {rounds} runs each")


def memory(table, options):
    """Peak memory of sender, receiver and relay while a long stream passes, and while the receiver stops reading."""
    size = (GIB // 8) if options.quick else 8 * GIB
    with World() as world:
        relay = world.start_relay()
        receive = world.waiting("vp-recv", "west", "pipe")
        send = world.party("vp-send", "east", "-q", "--compress", "off", "-", "west:pipe", stdin=subprocess.PIPE)
        feeder = threading.Thread(target=feed, args=(send.stdin, size))
        feeder.start()
        send.expect(), receive.expect(), feeder.join()
        flowing = relay.memory()
        # A receiver whose output nobody reads: everything that can fill up does.
        blocked = world.waiting("vp-recv", "west", "pipe", stdout=subprocess.PIPE)
        stuck = world.party("vp-send", "east", "-q", "--compress", "off", "-", "west:pipe", stdin=subprocess.PIPE)
        threading.Thread(target=feed, args=(stuck.stdin, GIB), daemon=True).start()
        time.sleep(3)
        peaks = {"sender": max(send.peak, stuck.memory()), "receiver": max(receive.peak, blocked.memory())}
        for who, peak in peaks.items():
            table.add(f"peak memory of the {who}", f"{peak / 1024:.0f} MiB", "<= 64 MiB", peak <= 64 << 10,
                      f"stream of {size // MIB} MiB, then a blocked one")
        peak = relay.memory()
        table.add("peak memory of the relay, 1 busy circuit", f"{peak / 1024:.0f} MiB", "<= 24 MiB", peak <= 24 << 10,
                  f"{flowing / 1024:.0f} MiB while it flows")
        for process in (stuck, blocked):
            process.kill()


def feed(pipe, size):
    block = bytes(MIB)
    try:
        for _ in range(size // MIB):
            pipe.write(block)
        pipe.close()
    except (BrokenPipeError, ValueError):
        pass  # the reader was ended on purpose
