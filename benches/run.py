#!/usr/bin/env python3
"""Runs benchmarks by name and prints what each reached beside its goal. Start it through run.sh, which builds first."""

import argparse
import os
import platform
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import carriers
import files
import idle
import paths
import ports
import streams
from bench import Missing, Table, many_files

ALL = {
    "stream": streams.stream,
    "workers": streams.workers,
    "memory": streams.memory,
    "file": files.file,
    "disk": files.disk,
    "tree": files.tree,
    "idle": idle.idle,
    "carriers": carriers.carriers,
    "rtt": paths.rtt,
    "path": paths.path,
    "restart": paths.restart,
    "port": ports.port,
    "crowd": ports.crowd,
    "pgbench": ports.pgbench,
    "copy": ports.copy,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(ALL))
    parser.add_argument("--quick", action="store_true", help="small: shows that they run, proves nothing")
    parser.add_argument("--list", action="store_true", help="names and what they measure")
    parser.add_argument("--rounds", type=int, default=3, help="of each, the median counts")
    options = parser.parse_args()
    if options.list:
        for name, bench in ALL.items():
            print(f"{name:8} {bench.__doc__.splitlines()[0]}")
        return 0
    unknown = [name for name in options.names if name not in ALL]
    if unknown:
        parser.error("unknown: " + " ".join(unknown))
    if options.quick:
        options.rounds = 1
    many_files()
    print(f"# {platform.machine()}, {os.cpu_count()} cores, kernel {platform.release()}, load {os.getloadavg()[0]:.1f}")
    if options.quick:
        print("# --quick: everything too short and too small for a figure to mean anything")
    table, failed = Table(), []
    for name in options.names or ALL:
        started = time.monotonic()
        try:
            ALL[name](table, options)
        except Missing as missing:
            print(f"-- {name}: {missing} is not installed", flush=True)
            failed.append(name)
        except Exception as error:
            print(f"-- {name}: {error}", flush=True)
            failed.append(name)
        print(f"#  {name} took {time.monotonic() - started:.0f} s", flush=True)
    print()
    print(table.markdown())
    if failed:
        print("\nnot measured: " + ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
