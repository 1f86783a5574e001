"""The fast load: wrk on the load's core. Content is checked by `checker.py`; here every answer's status and size."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httptools
import msgspec
from machine import LOAD_CORE, pinned, program
from target import address

SCRIPT = Path(__file__).with_name("post.lua")
ANSWER_SECONDS = 20.0


class LoadFailed(Exception):
    """The load could not run, or an answer was not the right one."""


@dataclass(frozen=True)
class Load:
    """What wrk saw: times in microseconds, bytes with HTTP heads."""

    count: int
    seconds: float
    bytes: int
    p50: float
    p99: float
    refused: int
    broken: int

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.count / self.seconds


def run(url: str, requests: Sequence[bytes], concurrency: int, seconds: float, slack: int = 1) -> Load:
    """Send the requests in turn over that many connections; answers may differ in size by `slack` bytes.

    Raises:
        LoadFailed: something other than 2xx came, connections broke, or answers had another size than the first.
    """
    size = answer_size(url, requests[0])
    load = _wrk(url, requests, concurrency, seconds)
    if load.refused or load.broken or not load.count:
        raise LoadFailed(f"{url}: of {load.count} answers {load.refused} were not 2xx and {load.broken} broke")
    if abs(load.bytes - load.count * size) > (concurrency + 1) * size + load.count * slack:
        raise LoadFailed(f"{url}: answers of {load.bytes / load.count:.0f} bytes on average instead of {size}")
    return load


def answer_size(url: str, request: bytes) -> int:
    """Bytes of the whole response to one request."""
    with socket.create_connection(address(url), ANSWER_SECONDS) as connection:
        connection.sendall(request)
        reading = _Reading()
        parser, size = httptools.HttpResponseParser(reading), 0
        while not reading.is_complete:
            piece = connection.recv(65536)
            if not piece:
                raise LoadFailed(f"{url}: the connection was closed before the answer was complete")
            parser.feed_data(piece)
            size += len(piece)
    return size


class _Reading:
    is_complete = False

    def on_message_complete(self) -> None:
        self.is_complete = True


def _wrk(url: str, requests: Sequence[bytes], concurrency: int, seconds: float) -> Load:
    with tempfile.TemporaryDirectory(prefix="toolway-bench-") as folder:
        paths = [Path(folder) / f"{number}.http" for number in range(len(requests))]
        for path, request in zip(paths, requests, strict=True):
            path.write_bytes(request)
        options = ["-t1", f"-c{concurrency}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(SCRIPT)]
        command = pinned(LOAD_CORE, program("wrk"), *options, url, "--", *paths)
        ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    lines = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise LoadFailed(f"wrk said: {(ended.stdout + ended.stderr).strip()[-500:]}")
    return msgspec.json.decode(lines[-1], type=Load)
