"""What an attachment that does nothing costs the relay."""

import subprocess
import time

from bench import World, helper, many_files


def idle(table, options):
    """Relay memory per idle attachment, ten thousand of them from one process."""
    count = 500 if options.quick else 10_000
    if many_files() < count + 100:
        raise RuntimeError(f"needs {count + 100} descriptors: raise ulimit -Hn")
    with World() as world:
        relay = world.start_relay("--max-links", 2 * count, "--max-links-per-peer", 2 * count)
        empty = relay.proportional_memory()
        command = [helper("attachments"), "--relay", world.address, "--key", world.path("west.key"), "--count", count]
        load = world.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        attached = load.line("attached ")
        if attached != str(count):
            raise RuntimeError(f"{attached} of {count} attached")
        used = relay.used()
        # Long enough for what was only needed to come up to be given back, and for some heartbeats to pass.
        time.sleep(5)
        each = (relay.proportional_memory() - empty) / count
        burnt = (relay.used() - used) / 5
        load.stdin.close()
        load.expect()
    table.add(f"relay memory per idle attachment, {count} of them", f"{each:.1f} KiB", "<= 16 KiB", each <= 16,
              f"on top of {empty / 1024:.1f} MiB; idle processor use {100 * burnt:.1f} %")
