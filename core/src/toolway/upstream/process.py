"""One child process that speaks lines of JSON on its standard streams (MCP, stdio transport)."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen
from typing import NamedTuple

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


class _Pipes(NamedTuple):
    """The standard streams of a process; `inputs` are the transports that have to be closed."""

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    inputs: tuple[asyncio.ReadTransport, ...]


class Process:
    """A running command in a process group of its own; `start` makes one, and whoever made it stops it."""

    def __init__(self, name: str, popen: Popen[bytes], pipes: _Pipes, max_line: int, stderr_log: StderrLog) -> None:
        self.name = name
        self.pid = popen.pid
        self._pipes = pipes
        self._max_line = max_line
        self._sending = asyncio.Lock()
        self._patience: asyncio.Timeout | None = None
        self._exited = _exit_of(popen)
        self._stderr = asyncio.create_task(stderr_log.copy(pipes.stderr))
        self._ending = asyncio.create_task(self._after_exit())
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
        popen = _popen(command, environment or {}, cwd)
        try:
            pipes = await _connect(popen)
        except BaseException:
            popen.kill()
            raise
        return cls(name, popen, pipes, max_line, StderrLog(name, monotonic))

    @property
    def returncode(self) -> int | None:
        """None while it runs; the negative signal number if a signal ended it."""
        return self._exited.result() if self._exited.done() else None

    async def wait(self) -> int:
        """Wait until it is gone, whoever still holds its pipes; returns `returncode`."""
        return await asyncio.shield(self._exited)

    async def send(self, line: bytes) -> None:
        """Send one message; waits while the process reads slower than we write.

        Line breaks, which JSON has only between tokens, become spaces.

        Raises:
            ProcessExited: it is gone (`sent` is False when it was so before), or closed its input.
        """
        stdin = self._pipes.stdin
        if self.returncode is not None or stdin.is_closing():
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
        self._pipes.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            await asyncio.wait({self._exited}, timeout=STOP_SECONDS)
            if self.returncode is None:
                self._signal(number)
        await self._ending
        for transport in self._pipes.inputs:
            transport.close()

    async def _read(self) -> bytes:
        """The next piece of output; empty at its end, and when the process is gone and its pipe stays silent."""
        seconds = _LAST_WORDS_SECONDS if self._exited.done() else None
        try:
            async with asyncio.timeout(seconds) as self._patience:
                return await self._pipes.stdout.read(_CHUNK)
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

    async def _after_exit(self) -> None:
        """What is left of its group goes too, at once: later the number of the group may be somebody else's."""
        await self.wait()
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time() + _LAST_WORDS_SECONDS)
        if self._signal(signal.SIGTERM):
            await self._until_group_is_gone()
            self._signal(signal.SIGKILL)
        await asyncio.wait({self._stderr}, timeout=_LAST_WORDS_SECONDS)
        self._stderr.cancel()

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


def _popen(command: Sequence[str], environment: Mapping[str, str], cwd: Path | None) -> Popen[bytes]:
    """Not by way of the event loop: uvloop's children inherit listening sockets."""
    try:
        return Popen(
            command,
            bufsize=0,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=scrubbed_environment(environment),
            cwd=cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "bad argument"
        where = f" in {cwd}" if cwd else ""
        raise ProcessNotStarted(f"cannot start {command[0]!r}{where}: {reason}; check command and PATH") from None


async def _connect(popen: Popen[bytes]) -> _Pipes:
    loop = asyncio.get_running_loop()
    stdout, stderr = asyncio.StreamReader(limit=_CHUNK), asyncio.StreamReader(limit=_CHUNK)
    output, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdout), popen.stdout)
    errors, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stderr), popen.stderr)
    transport, flow = await loop.connect_write_pipe(_flow_control, popen.stdin)
    return _Pipes(asyncio.StreamWriter(transport, flow, None, loop), stdout, stderr, (output, errors))


def _flow_control() -> asyncio.StreamReaderProtocol:
    return asyncio.StreamReaderProtocol(asyncio.StreamReader())


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
