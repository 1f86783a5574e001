"""One child process that speaks lines of JSON on its standard streams (MCP, stdio transport)."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import time
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from toolway.errors import UpstreamError, UpstreamProtocol, UpstreamUnreachable

log = logging.getLogger(__name__)

MAX_LINE = 64 * 1024 * 1024
"""Largest message of a process, in bytes."""

STOP_SECONDS = 2.0
"""Between closing its input, SIGTERM and SIGKILL."""

_LAST_WORDS_SECONDS = 1.0
_POLL_SECONDS = 0.02
_CHUNK = 256 * 1024
_INHERITED = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL"})
_LOG_CHARACTERS = 2000
_LOG_BURST = 100
_LOG_PER_SECOND = 10.0
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class ProcessNotStarted(UpstreamUnreachable):
    """The command cannot be started."""

    code = "process_not_started"


class ProcessExited(UpstreamError):
    """The process is gone, or does not read its input any more."""

    code = "process_exited"


class LineTooLong(UpstreamProtocol):
    """A line of the process is longer than allowed; it cannot be used any more."""

    code = "line_too_long"


def scrubbed_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What a child gets: a few harmless variables of ours, and `extra`, which wins."""
    inherited = {key: value for key, value in os.environ.items() if key in _INHERITED or key.startswith("LC_")}
    return {**inherited, **extra}


class Process:
    """A running command in a process group of its own; `start` makes one, and whoever made it stops it."""

    def __init__(self, name: str, transport: asyncio.SubprocessTransport, streams: _Streams, max_line: int) -> None:
        self.name = name
        self.pid = transport.get_pid()
        self._transport = transport
        self._streams = streams
        self._max_line = max_line
        self._sending = asyncio.Lock()
        self._patience: asyncio.Timeout | None = None
        self._ending: asyncio.Task[None]
        self._stopping: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        *,
        max_line: int = MAX_LINE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Process:
        """Start a command without a shell; `name` is for the log, `environment` is added to the scrubbed one.

        Raises:
            ProcessNotStarted: there is no such command or directory, or it may not be run.
        """
        loop = asyncio.get_running_loop()
        try:
            transport, streams = await loop.subprocess_exec(
                lambda: _Streams(loop),
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=scrubbed_environment(environment or {}),
                cwd=cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "bad argument"
            where = f" in {cwd}" if cwd else ""
            raise ProcessNotStarted(f"cannot start {command[0]!r}{where}: {reason}; check command and PATH") from None
        process = cls(name, transport, streams, max_line)
        stderr = asyncio.create_task(StderrLog(name, monotonic).copy(streams.reader(2)))
        process._ending = asyncio.create_task(process._after_exit(stderr))
        return process

    @property
    def returncode(self) -> int | None:
        """None while it runs; the negative signal number if a signal ended it."""
        return self._streams.exited.result() if self._streams.exited.done() else None

    async def wait(self) -> int:
        """Wait until it is gone, whoever still holds its pipes; returns `returncode`."""
        return await asyncio.shield(self._streams.exited)

    async def send(self, line: bytes) -> None:
        """Send one message; waits while the process reads slower than we write.

        Line breaks, which JSON has only between tokens, become spaces.

        Raises:
            ProcessExited: it is gone (`sent` is False when it was so before), or closed its input.
        """
        stdin = self._streams.stdin
        if self.returncode is not None or stdin is None or stdin.is_closing():
            raise self._gone(sent=False)
        async with self._sending:
            try:
                stdin.write(line.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")
                await stdin.drain()
            except (OSError, RuntimeError):
                raise self._gone(sent=True) from None

    async def lines(self) -> AsyncIterator[bytes]:
        """Its messages, without line ends and empty lines; ends with the process. For one reader.

        Raises:
            LineTooLong: a message is larger than `max_line`.
        """
        partial = bytearray()
        while chunk := await self._read():
            *complete, rest = chunk.split(b"\n")
            for line in complete:
                message = bytes(partial + line).strip()
                partial.clear()
                self._check(len(message))
                if message:
                    yield message
            partial += rest
            self._check(len(partial))

    async def stop(self) -> None:
        """End it and its descendants: close its input, after `STOP_SECONDS` SIGTERM, after as long again SIGKILL."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        if self._streams.stdin is not None:
            self._streams.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            await asyncio.wait({self._streams.exited}, timeout=STOP_SECONDS)
            if self.returncode is None:
                self._signal(number)
        await self._ending
        self._transport.close()

    async def _read(self) -> bytes:
        """The next piece of output; empty at its end, and when the process is gone and its pipe stays silent."""
        seconds = _LAST_WORDS_SECONDS if self._streams.exited.done() else None
        try:
            async with asyncio.timeout(seconds) as self._patience:
                return await self._streams.reader(1).read(_CHUNK)
        except TimeoutError:
            return b""
        finally:
            self._patience = None

    def _check(self, length: int) -> None:
        if length > self._max_line:
            raise LineTooLong(f"upstream {self.name!r} wrote a line of more than {self._max_line} bytes")

    def _gone(self, *, sent: bool) -> ProcessExited:
        how = "closed its input" if self.returncode is None else f"ended with code {self.returncode}"
        return ProcessExited(f"the process of upstream {self.name!r} {how}; the log has its stderr", sent=sent)

    async def _after_exit(self, stderr: asyncio.Task[None]) -> None:
        """What is left of its group goes too, at once: later the number of the group may be somebody else's."""
        await self.wait()
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time() + _LAST_WORDS_SECONDS)
        if self._signal(signal.SIGTERM):
            await self._until_group_is_gone()
            self._signal(signal.SIGKILL)
        await asyncio.wait({stderr}, timeout=_LAST_WORDS_SECONDS)
        stderr.cancel()

    async def _until_group_is_gone(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while self._signal(0):
                    await asyncio.sleep(_POLL_SECONDS)

    def _signal(self, number: int) -> bool:
        """Signal the group; False when nobody is left in it."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


class StderrLog:
    """Copies what a process writes to stderr into our log, so that neither a flood nor a long line hurts."""

    def __init__(self, name: str, monotonic: Callable[[], float]) -> None:
        self._name = name
        self._monotonic = monotonic
        self._tokens = float(_LOG_BURST)
        self._refilled_at = monotonic()
        self._dropped = 0

    async def copy(self, stream: asyncio.StreamReader) -> None:
        """Until the stream ends."""
        partial = b""
        while chunk := await stream.read(_CHUNK):
            *complete, partial = (partial + chunk).split(b"\n")
            for line in complete:
                self.write(line)
            partial = partial[: _LOG_CHARACTERS * 4]
        self.write(partial)

    def write(self, line: bytes) -> None:
        """Log one line: cut, without control characters, and only while the rate allows."""
        text = _CONTROL.sub("?", line[: _LOG_CHARACTERS * 4].decode(errors="replace").strip())[:_LOG_CHARACTERS]
        if not text:
            return
        if not self._may_write():
            self._dropped += 1
            return
        if self._dropped:
            log.warning("stderr of upstream %r: %d lines left out, it writes too much", self._name, self._dropped)
            self._dropped = 0
        log.info("stderr of upstream %r: %s", self._name, text)

    def _may_write(self) -> bool:
        now = self._monotonic()
        self._tokens = min(_LOG_BURST, self._tokens + (now - self._refilled_at) * _LOG_PER_SECOND)
        self._refilled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class _Streams(SubprocessStreamProtocol):
    """asyncio's own pipes; `exited` is done when the process is gone, even if a descendant holds a pipe open."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_CHUNK, loop=loop)
        self.exited: asyncio.Future[int] = loop.create_future()
        self._status: Callable[[], int | None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._status = cast(asyncio.SubprocessTransport, transport).get_returncode  # uvloop's is no subclass

    def process_exited(self) -> None:
        self.exited.set_result(self._status() or 0)
        super().process_exited()

    def reader(self, descriptor: int) -> asyncio.StreamReader:
        """Its output (1) or error output (2)."""
        reader = self.stdout if descriptor == 1 else self.stderr
        if reader is None:
            raise ProcessNotStarted("the process was started without pipes")
        return reader
