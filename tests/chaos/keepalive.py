"""A client with one keep-alive connection, which knows the process at the other end of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from callers import VERSION
from node import META
from yarl import URL

LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp (proc_pid_net(5))."""


class Lost(Exception):
    """The connection was cut before the answer was complete."""


@dataclass
class Wire:
    """One client; `port` is the local one of its connection."""

    url: URL
    port: int = 0
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def call(self, seconds: float) -> bool:
        """Call `nap`; says whether the gateway lets the connection be used again. Raises Lost and AssertionError."""
        if self._reader is None or self._writer is None:
            await self.connect()
        assert self._reader is not None and self._writer is not None
        self._writer.write(request(self.url, seconds))
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            await self.close()
            raise Lost(repr(error)) from error
        assert b" 200 " in head.partition(b"\r\n")[0] and b'"awake"' in body, (head, body)
        stays = b"connection: close" not in head
        if not stays:
            await self.close()
        return stays

    async def connect(self) -> None:
        """Open a connection."""
        self._reader, self._writer = await asyncio.open_connection(self.url.host, self.url.port)
        self.port = self._writer.get_extra_info("sockname")[1]

    async def close(self) -> None:
        """Let the connection go."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def request(url: URL, seconds: float) -> bytes:
    """The bytes of a call of `nap`."""
    params = {"name": "nap", "arguments": {"seconds": seconds}, "_meta": META}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    lines = [
        f"POST {url.path} HTTP/1.1",
        f"host: {url.host}:{url.port}",
        "content-type: application/json",
        "accept: application/json, text/event-stream",
        f"mcp-protocol-version: {VERSION}",
        "mcp-method: tools/call",
        "mcp-name: nap",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", body]).encode()


def children(pid: int) -> list[int]:
    """The processes that this one has started and that have not ended."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def clients_of(pid: int, port: int) -> set[int]:
    """The local ports of the clients whose connections to `port` this process has accepted."""
    owned = {each.readlink().name for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        _port(remote)
        for _, local, remote, state, *_, inode in (row[:10] for row in rows)
        if state != LISTENS and _port(local) == port and f"socket:[{inode}]" in owned
    }


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
