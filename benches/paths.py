"""Round trips, long paths and breaks: the time between a byte here and the same byte there."""

import os
import select
import socket
import subprocess
import threading
import time

from bench import GIB, MIB, World, free_port, helper, host_port, median, need, tool


def rtt(table, options):
    """A 64-byte round trip on an open attach session against plain TCP through one socat."""
    count = 500 if options.quick else 5000
    took = {"ours": [], "socat": []}
    with World() as world:
        world.start_relay()
        world.waiting("vp-attach", "west", "--listen", "echo", "--keep", "--exec", "cat")
        for _ in range(options.rounds):
            took["ours"].append(ping(world, "command", "--count", count, "--", *attach_command(world, "west:echo")))
            took["socat"].append(socat(world, count))
    reached, plain = median(took["ours"]), median(took["socat"])
    table.add("64-byte round trip over plain TCP through socat", f"{reached / plain:.2f}", "<= 2.5", reached <= 2.5 * plain,
              f"{reached:.0f} against {plain:.0f} us, medians")


def attach_command(world, to):
    return [tool("vp-attach"), "-r", world.address, "-k", world.path("east.key"), "--peers", world.path("peers"), to]


def ping(world, *command):
    """Median round trip, microseconds."""
    process = world.start([helper("ping"), *command], stdout=subprocess.PIPE)
    micros = float(process.line("median ").split()[0])
    process.expect()
    return micros


def socat(world, count):
    echo = world.start([helper("ping"), "echo"], stdout=subprocess.PIPE)
    target, port = echo.line("listening "), free_port()
    relay = world.start([need("socat"), f"TCP-LISTEN:{port},bind=127.0.0.1,nodelay,reuseaddr,fork", f"TCP:{target},nodelay"])
    # The probe's connection would be the one that echo serves; the listener is seen in the kernel's table instead.
    wait_listen(port)
    try:
        return ping(world, "tcp", f"127.0.0.1:{port}", "--count", count)
    finally:
        relay.kill()


def wait_listen(port, deadline=20):
    """Returns once somebody listens there, without connecting."""
    wanted, end = f"0100007F:{port:04X} 00000000:0000 0A", time.monotonic() + deadline
    while True:
        with open("/proc/net/tcp") as table:
            if wanted in table.read():
                return
        if time.monotonic() > end:
            raise RuntimeError(f"nobody listens on {port}")
        time.sleep(0.01)


def path(table, options):
    """One stream at 50 ms round trip: at 100 MiB/s, with TCP's largest window, and beyond it, against plain TCP."""
    # The proxy takes bytes as long as its queue has room, and a byte leaves it after 25 ms. A queue of 3 MiB carries what a
    # TCP connection with Linux's largest default window, 6 MiB, carries in a round trip of 50 ms.
    cases = (
        ("at 100 MiB/s", GIB, ("--rate", "100M")),
        ("in a window of 6 MiB", GIB, ("--queue", "3M")),
        # The queue is 16 MiB each way. Longer, because the proxy spares TCP its slow start, and us not ours.
        ("in a window of 32 MiB", 8 * GIB, ()),
    )
    for name, size, shape in cases:
        if options.quick:
            size //= 16
        speed = {"ours": [], "plain": []}
        with World() as world:
            data = world.random_file("data", size)
            world.start_relay()
            for _ in range(options.rounds):
                proxy, at = world.impair(host_port(world.address), "--delay", "25ms", *shape)
                receive = world.waiting("vp-recv", "west", "pipe")
                started = time.perf_counter()
                with open(data, "rb") as source:
                    through = world.address.rsplit("@", 1)[0] + "@" + at
                    command = ("vp-send", "east", "-q", "--compress", "off", "-", "west:pipe")
                    send = world.party(*command, relay=through, stdin=source)
                receive.expect(), send.expect()
                speed["ours"].append(size / (time.perf_counter() - started))
                proxy.kill()
                speed["plain"].append(size / plain(world, size, data, shape))
        reached, tcp = median(speed["ours"]), median(speed["plain"])
        table.add(f"stream at 50 ms over plain TCP, {name}", f"{reached / tcp:.2f}", ">= 0.80", reached >= 0.8 * tcp,
                  f"{reached / MIB:.0f} of {tcp / MIB:.0f} MiB/s")


def plain(world, size, data, shape):
    """Seconds from the first connection until the last byte has been read at the far end."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        proxy, at = world.impair("127.0.0.1:%d" % listener.getsockname()[1], "--delay", "25ms", *shape)
        host, port = at.rsplit(":", 1)
        started = time.perf_counter()
        to = socket.create_connection((host, int(port)), 20)
        fro, _ = listener.accept()
    with to, fro:
        def send():
            with open(data, "rb") as source:
                to.sendfile(source)
            to.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        got, buffer = 0, bytearray(MIB)
        while count := fro.recv_into(buffer):
            got += count
        took = time.perf_counter() - started
        sender.join()
    proxy.kill()
    if got != size:
        raise RuntimeError(f"{got} of {size} bytes came through")
    return took


def restart(table, options):
    """How long an attach session stands still when the relay is killed and started again at once."""
    rounds = 3 if options.quick else 21
    stalls = []
    with World() as world:
        port = free_port()
        listen = f"127.0.0.1:{port}"
        world.start_relay(listen=listen)
        world.waiting("vp-attach", "west", "--listen", "echo", "--exec", "cat")
        dial = world.party("vp-attach", "east", "west:echo", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        echo_once(dial)
        for _ in range(rounds):
            killed = time.perf_counter()
            world.relay.kill()
            world.start_relay(listen=listen)
            echo_once(dial)
            stalls.append(time.perf_counter() - killed)
            # Let back-off forget this break, as it would between two real ones.
            for _ in range(20):
                echo_once(dial)
                time.sleep(0.05)
        dial.stdin.close()
    stalls.sort()
    reached = median(stalls)
    table.add("stall after kill -9 and restart of the relay, median", f"{reached:.2f} s", "<= 1.5 s", reached <= 1.5,
              f"{rounds} breaks, {stalls[0]:.2f} to {stalls[-1]:.2f} s")


def echo_once(dial, deadline=60):
    """One message there and back."""
    message = os.urandom(64)
    os.write(dial.stdin.fileno(), message)
    got, end = b"", time.monotonic() + deadline
    while len(got) < len(message):
        left = end - time.monotonic()
        if left <= 0 or not select.select([dial.stdout], [], [], left)[0]:
            raise dial.failure("no echo")
        piece = os.read(dial.stdout.fileno(), 64)
        if not piece:
            raise dial.failure("the session ended")
        got += piece
    if got != message:
        raise dial.failure("another echo than was called")
