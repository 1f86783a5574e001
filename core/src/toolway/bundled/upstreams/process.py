"""One child process that speaks lines of JSON on its standard streams (MCP, stdio transport)."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen

from toolway.plugin import UpstreamError, UpstreamProtocol, UpstreamUnreachable

log = logging.getLogger(__name__)

MAX_LINE = 64 * 1024 * 1024
"""Largest message of a process, in bytes."""

STOP_SECONDS = 2.0
"""Between closing its input, SIGTERM and SIGKILL."""

LOG_LINES = 100
"""Lines of stderr that are logged within `LOG_SECONDS`; the rest is left out."""

LOG_SECONDS = 10.0
_LOG_CHARACTERS = 2000
_LAST_WORDS_SECONDS = 1.0
_POLL_SECONDS = 0.02
_CHUNK = 256 * 1024
_INHERITED = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL"})
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


class Process:
    """A running command in a process group of its own; `start` makes one, and whoever made it stops it."""

    def __init__(self, name: str, popen: Popen[bytes]) -> None:
        """Not connected yet: `start` does both."""
        self.name = name
        self.pid = popen.pid
        self._popen = popen
        self._stdout, self._stderr = asyncio.StreamReader(_CHUNK), asyncio.StreamReader(_CHUNK)
        self._transports: list[asyncio.BaseTransport] = []
        self._sending = asyncio.Lock()
        self._exited = _exit_of(popen)
        self._stopping: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Process:
        """Start a command without a shell; `name` is for the log, `environment` is added to the scrubbed one.

        Raises:
            ProcessNotStarted: there is no such command or directory, or it may not be run.
        """
        process = cls(name, _popen(command, environment or {}, cwd))
        connecting = asyncio.create_task(process._connect())
        try:
            await _to_the_end(connecting)  # else a loop may lose the pipe that it was connecting
        except asyncio.CancelledError:
            if not connecting.cancelled() and connecting.exception() is None:
                process._popen.kill()
                await process.stop()
            raise
        except BaseException:
            process._give_up()
            raise
        return process

    def _give_up(self) -> None:
        self._popen.kill()
        for transport in self._transports:
            transport.close()
        for pipe in (self._popen.stdout, self._popen.stderr, self._popen.stdin)[len(self._transports) :]:
            if pipe is not None:
                pipe.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        for reader, pipe in ((self._stdout, self._popen.stdout), (self._stderr, self._popen.stderr)):
            protocol = asyncio.StreamReaderProtocol(reader)
            self._transports.append((await loop.connect_read_pipe(lambda: protocol, pipe))[0])  # noqa: B023 - called now
        flow = asyncio.StreamReaderProtocol(asyncio.StreamReader())
        transport, _ = await loop.connect_write_pipe(lambda: flow, self._popen.stdin)
        self._stdin = asyncio.StreamWriter(transport, flow, None, loop)
        self._logging = asyncio.create_task(copy_to_log(self._stderr, self.name))
        self._ending = asyncio.create_task(self._after_exit())

    @property
    def returncode(self) -> int | None:
        """None while it runs; the negative signal number if a signal ended it."""
        return self._exited.result() if self._exited.done() else None

    async def wait(self) -> int:
        """Wait until it is gone, whoever still holds its pipes; returns `returncode`."""
        return await asyncio.shield(self._exited)

    async def send(self, line: bytes) -> None:
        """Send one message; waits while the process reads slower than we write.

        What is given up before its turn is not sent. Line breaks, which JSON has only between tokens, become spaces.

        Raises:
            ProcessExited: it is gone (`sent` is False when it was so before), or closed its input.
        """
        if self.returncode is not None or self._stdin.is_closing():
            raise self._gone(sent=False)
        async with self._sending:
            try:
                await self._stdin.drain()
                self._stdin.write(line.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")
                await self._stdin.drain()
            except (OSError, RuntimeError):
                raise self._gone(sent=True) from None

    async def lines(self) -> AsyncIterator[bytes]:
        """Its messages, without line ends and empty lines; ends with the process. For one reader.

        Raises:
            LineTooLong: a message is larger than `MAX_LINE`.
        """
        partial = bytearray()
        while chunk := await self._stdout.read(_CHUNK):
            *complete, rest = chunk.split(b"\n")
            for line in complete:
                message = bytes(partial + line).strip()
                partial.clear()
                if message:
                    yield message
            partial += rest
            if len(partial) > MAX_LINE:
                raise LineTooLong(f"upstream {self.name!r} wrote a line of more than {MAX_LINE} bytes")

    async def stop(self) -> None:
        """End it and its descendants: close its input, after `STOP_SECONDS` SIGTERM, after as long again SIGKILL."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await _to_the_end(self._stopping)  # the loop must not end before it

    async def _stop(self) -> None:
        self._stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            await asyncio.wait({self._exited}, timeout=STOP_SECONDS)
            if self.returncode is None:
                self._signal(number)
        await self._ending
        if self._stdin.transport.get_write_buffer_size():  # a descendant holds the other end and reads nothing
            self._stdin.transport.abort()
        for transport in self._transports:
            transport.close()

    def _gone(self, *, sent: bool) -> ProcessExited:
        how = "closed its input" if self.returncode is None else f"ended with code {self.returncode}"
        return ProcessExited(f"the process of upstream {self.name!r} {how}; the log has its stderr", sent=sent)

    async def _after_exit(self) -> None:
        """What is left of its group goes too, at once: later the number of the group may be somebody else's.

        Then its streams end, even if a descendant in another group holds the pipes.
        """
        await self.wait()
        if self._signal(signal.SIGTERM):
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    while self._signal(0):
                        await asyncio.sleep(_POLL_SECONDS)
            self._signal(signal.SIGKILL)
        await asyncio.wait({self._logging}, timeout=_LAST_WORDS_SECONDS)
        self._stdout.feed_eof()
        self._stderr.feed_eof()
        await self._logging

    def _signal(self, number: int) -> bool:
        """Signal the group; False when nobody is left in it."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


async def _to_the_end(task: asyncio.Task[None]) -> None:
    """Wait for it; who is cancelled waits too."""
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def copy_to_log(stderr: asyncio.StreamReader, name: str) -> None:
    """Log what a process writes to stderr: lines cut, without control characters, and only so many of them."""
    loop = asyncio.get_running_loop()
    since, written, partial = loop.time(), 0, b""
    while chunk := await stderr.read(_CHUNK):
        *lines, partial = (partial + chunk).split(b"\n")
        if loop.time() - since > LOG_SECONDS:
            since, written = loop.time(), 0
        for line in filter(None, map(_readable, lines[: LOG_LINES + 1 - written])):
            written += 1
            text = line if written <= LOG_LINES else "lines are left out, it writes too much"
            log.info("stderr of upstream %r: %s", name, text)
        partial = partial[: _LOG_CHARACTERS * 4]
    if partial:
        log.info("stderr of upstream %r: %s", name, _readable(partial))


def _readable(line: bytes) -> str:
    return _CONTROL.sub("?", line[: _LOG_CHARACTERS * 4].decode(errors="replace").strip())[:_LOG_CHARACTERS]


def _popen(command: Sequence[str], extra: Mapping[str, str], cwd: Path | None) -> Popen[bytes]:
    """With a few harmless variables of ours and `extra`; not by way of uvloop: its children inherit sockets."""
    inherited = {key: value for key, value in os.environ.items() if key in _INHERITED or key.startswith("LC_")}
    environment = {**inherited, **extra}
    try:
        return Popen(
            command, bufsize=0, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, cwd=cwd, start_new_session=True
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "bad argument"
        where = f" in {cwd}" if cwd else ""
        raise ProcessNotStarted(f"cannot start {command[0]!r}{where}: {reason}; check command and PATH") from None


def _exit_of(popen: Popen[bytes]) -> asyncio.Future[int]:
    """Done when the process is gone, even if a descendant holds a pipe open; a thread waits for it."""
    loop = asyncio.get_running_loop()
    exited: asyncio.Future[int] = loop.create_future()

    def watch() -> None:
        code = popen.wait()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(exited.set_result, code)

    threading.Thread(target=watch, name=f"process {popen.pid}", daemon=True).start()
    return exited
