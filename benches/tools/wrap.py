"""`wrap.py tls|wss HOST:PORT`: connections that come leave for there within TLS, and with `wss` in a WebSocket inside of that, as a
client's would. For programs that have only plain links, such as attachments.rs. Prints `listening HOST:PORT`."""

import asyncio
import base64
import os
import ssl
import sys

HANDSHAKES = 50


def main():
    scheme, to = sys.argv[1:]
    asyncio.run(serve(scheme, *to.rsplit(":", 1)))


async def serve(scheme, host, port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # A relay hears so many at a time from one address.
    turns = asyncio.Semaphore(HANDSHAKES)

    async def carry(reader, writer):
        try:
            async with turns:
                from_relay, to_relay = await asyncio.open_connection(host, int(port), ssl=context)
                if scheme == "wss":
                    await upgrade(from_relay, to_relay, f"{host}:{port}")
            outward, inward = (masked, unwrapped) if scheme == "wss" else (plain, plain)
            await asyncio.gather(outward(reader, to_relay), inward(from_relay, writer))
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0, backlog=4096)
    print("listening", "%s:%d" % server.sockets[0].getsockname(), flush=True)
    await server.serve_forever()


async def upgrade(reader, writer, host):
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 f"Sec-WebSocket-Protocol: vp.1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise OSError(answer.decode(errors="replace"))


async def plain(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def masked(reader, writer):
    """Each read is a message."""
    while data := await reader.read(65535):
        key = os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        writer.write(b"\x82" + size + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(data)))
        await writer.drain()
    writer.close()


async def unwrapped(reader, writer):
    while True:
        _, size = await reader.readexactly(2)
        if size >= 126:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
        writer.write(await reader.readexactly(size))
        await writer.drain()


main()
