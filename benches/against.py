#!/usr/bin/env python3
"""Two builds of the tools in turns: benches/against.py OLD NEW [WORLDS]

OLD and NEW are directories with the programs, release builds both; the benchmark's own programs are taken from NEW. Each figure is NEW
over OLD, larger is better: the median over so many worlds (10), each with processes of its own. Round trips, connects and bulk go by
replicated ports of both builds that stand beside each other, in short turns: a machine that is slow for a while is so for both. What
starts processes takes turns by whole runs. Loopback only.
"""

import contextlib
import statistics
import sys

import bench
import files
import ports
import streams
from bench import GIB, World


def by_port(builds, kind, measure, turns):
    """One world's median of OLD and NEW in turns, over ports that stand."""
    with contextlib.ExitStack() as stack:
        made = []
        for build in builds:
            bench.TARGET = build
            made.append(stack.enter_context(ports.tunnel(ports.ours, kind)))
        ratios = []
        for turn in range(turns + 1):
            order = (0, 1) if turn % 2 else (1, 0)
            took = {which: measure(made[which].port if kind == "echo" else made[which]) for which in order}
            # The first finds everything cold.
            ratios += [took[1] / took[0]] if turn else []
        return statistics.median(ratios)


def by_run(builds, measure):
    """One run of each."""
    took = []
    for build in builds:
        bench.TARGET = build
        with World() as world:
            world.start_relay()
            took.append(measure(world))
    return took[1] / took[0]


def sent(source):
    return lambda world: 1 / files.receive_into(world, source, files.fresh(world.path("inbox")))


def main():
    old, new = sys.argv[1:3]
    worlds = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    bench.helper = streams.helper = lambda name: f"{new}/{name}"
    bench.TARGET = new
    with World() as world:
        data, tree, small = world.random_file("data", GIB), world.path("tree"), world.random_file("small", 1)
        files.make_tree(tree, 5000, 4096)
        figures = {
            "round trip": lambda pair: by_port(pair, "echo", lambda port: 1 / ports.round_trips(port, 600), 12),
            "connect": lambda pair: by_port(pair, "echo", lambda port: 1 / ports.first_bytes(port, 60), 12),
            "port": lambda pair: by_port(pair, "sink", lambda made: ports.bulk(made, GIB // 4)[0], 8),
            "stream": lambda pair: by_run(pair, lambda one: streams.ours(one, GIB, data, "--compress", "off")[0].speed),
            "file": lambda pair: by_run(pair, sent(data)),
            "tree": lambda pair: by_run(pair, sent(tree)),
            "one byte": lambda pair: by_run(pair, sent(small)),
        }
        for name, figure in figures.items():
            ratios = []
            for number in range(worlds):
                # Whoever is second in a world has its place in memory and among the cores.
                ratio = figure((old, new)) if number % 2 else 1 / figure((new, old))
                ratios.append(ratio)
            print(f"{name}: {statistics.median(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    main()
