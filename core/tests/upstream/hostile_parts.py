"""A server that sends exactly the bytes it is told, and a certificate for it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BODY = b'{"ok":true}'
SIZED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n" + BODY
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5\r\n{"ok"\r\n6\r\n:true}\r\n0\r\n\r\n'
)
CLOSE = "close"
RESET = "reset"
Connect = Callable[..., Any]
Step = bytes | str | asyncio.Event


class Hostile:
    """Plays the same steps for every request: bytes are sent, events waited for, the connection closed or reset."""

    def __init__(self) -> None:
        self.steps: list[Step] = [SIZED]
        self.url = ""
        self.connections = 0
        self.left = 0
        self.requests: list[bytes] = []
        self.sent = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def answers(self, *steps: Step) -> None:
        """From the next request on."""
        self.steps = list(steps)

    def drips(self, data: bytes, at: Iterable[int] | None = None) -> None:
        """Send it in pieces that end there, or byte by byte."""
        ends = sorted({*(at if at is not None else range(len(data))), len(data)})
        self.steps = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    @contextlib.asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Hostile]:
        """Listen on a free port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls, limit=1 << 24)
        self.url = f"{'https' if tls else 'http'}://{host}:{server.sockets[0].getsockname()[1]}/mcp"
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = re.search(rb"content-length: (\d+)", head.lower())
                    if b"x-early: 1" not in head:
                        head += await reader.readexactly(int(length[1]) if length else 0)
                    self.requests.append(head)
                    if not await self._play(reader, writer):
                        break
        finally:
            self.left += 1
            writer.transport.abort()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        for step in self.steps:
            if step == CLOSE:
                writer.close()
                return False
            if step == RESET:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
                self.sent += len(step)
                for _ in range(4):  # the other side of the loop reads in between
                    await asyncio.sleep(0)
            elif isinstance(step, asyncio.Event):
                await _either(step.wait(), reader.read(1))
        return True


async def _either(*waits: object) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class TestCertificate:
    """A certificate for `localhost` that is its own authority."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
        now = dt.datetime.now(dt.UTC)
        cert = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.file = folder / "cert.pem"
        self.file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        key_file = folder / "key.pem"
        key_file.write_bytes(private)
        self.serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.serving.load_cert_chain(self.file, key_file)
