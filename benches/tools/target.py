"""What a replicated port leads to in the benchmarks. `target.py echo` gives every byte back, on any number of connections;
`target.py sink` takes eight bytes of length (little-endian) and as many bytes, then answers with one. Prints `listening PORT`."""

import selectors
import socket
import sys


def main():
    serve = {"echo": echo, "sink": sink}[sys.argv[1]]
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print("listening", listener.getsockname()[1], flush=True)
        serve(listener)


def echo(listener):
    """One thread for all connections. Answers are small, so a send that does not fit is a fault of the benchmark."""
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(connection, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(65536)
                if data:
                    key.fileobj.sendall(data)
                    continue
            except ConnectionError:
                pass
            ready.unregister(key.fileobj)
            key.fileobj.close()


def sink(listener):
    """One connection after the other."""
    room = bytearray(1 << 20)
    while True:
        connection, _ = listener.accept()
        with connection:
            head = b""
            while len(head) < 8 and (more := connection.recv(8 - len(head))):
                head += more
            left = int.from_bytes(head, "little")
            while left and (count := connection.recv_into(room, min(left, len(room)))):
                left -= count
            if head and not left:
                connection.sendall(b"k")


main()
