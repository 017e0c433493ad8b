"""magic-wormhole.rs through its own two servers on loopback, for the figures that are measured against it.

What it takes is `wormhole-rs` (the crate `magic-wormhole-cli`) and `twistd` with the plugins of
`magic-wormhole-mailbox-server` and `magic-wormhole-transit-relay` (Python; a virtual environment will do), all on PATH.
"""

import os
import subprocess
import time

from bench import Missing, free_port, need, wait_port

PLUGINS = ("wormhole-mailbox", "transitrelay")


class Wormhole:
    """Both servers, for as long as the world lives. Whatever is absent raises `Missing` before anything starts."""

    def __init__(self, world):
        self.world, self.program, twistd = world, need("wormhole-rs"), need("twistd")
        known = subprocess.run([twistd, "--help"], capture_output=True, text=True, env=world.environment())
        for plugin in PLUGINS:
            if plugin not in known.stdout:
                raise Missing(f"{plugin} of twistd")
        ports = {plugin: free_port() for plugin in PLUGINS}
        for plugin, port in ports.items():
            command = [twistd, "--nodaemon", "--pidfile", "", plugin, "--port", f"tcp:{port}:interface=127.0.0.1"]
            if plugin == "wormhole-mailbox":
                command += ["--channel-db", world.path("mailbox.sqlite")]
            world.start(command)
            wait_port(port)
        mailbox, relay = (ports[plugin] for plugin in PLUGINS)
        self.options = ["--rendezvous-server", f"ws://127.0.0.1:{mailbox}/v1", "--relay-server",
                        f"tcp://127.0.0.1:{relay}", "--force-relay"]
        self.codes = 0

    def receive_into(self, source, inbox):
        """Seconds from the start of both ends, which are started together, until both have ended."""
        self.codes += 1
        code = f"{self.codes}-bench-{os.getpid()}"
        started = time.perf_counter()
        both = [self.world.start([self.program, *command, *self.options]).expect for command in (
            ["send", "--no-qr", "--code", code, source], ["receive", "--noconfirm", "--out-dir", inbox, code])]
        ended = [expect() for expect in both]
        return max(process.started + process.took for process in ended) - started
