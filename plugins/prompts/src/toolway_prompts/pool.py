"""Warm workers: each job gets one that does nothing else meanwhile, one that did too much is ended and replaced."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

from toolway.plugin import InvalidInput, Overloaded, SessionLost, ToolwayError
from toolway_prompts.jobs import Analyse, Analysed, Found, Job, Outcome, Refused, Render, Rendered
from toolway_prompts.worker import ANSWER, COMMAND, LENGTH

log = logging.getLogger(__name__)

T = TypeVar("T")

JOBS = 1000
"""Of one worker, before a new one takes its place."""

START_SECONDS = 30.0
CLOSE_SECONDS = 5.0
WAIT_SECONDS = 2.0
"""How long a job waits for a worker."""

MOST_ANSWER = 64 * 1024 * 1024
"""Bytes; more is not what a worker says that is in order."""

ENVIRONMENT = {"LC_ALL": "C.UTF-8"}
"""All that workers get of it."""

_read = msgspec.json.Decoder(Outcome)
_write = msgspec.json.Encoder()


class Bounds(msgspec.Struct, frozen=True):
    """Of one job: seconds of processor time, seconds by the clock, bytes of memory beyond what a worker begins with."""

    cpu: float = 0.05
    clock: float = 5.0
    memory: int = 32 * 1024 * 1024


class TemplateRefused(InvalidInput):
    """A template cannot be rendered; `found` says where and why."""

    def __init__(self, found: Found) -> None:
        super().__init__(found.message, line=found.line, rule=found.rule)
        self.found = found


class Worker(msgspec.Struct, eq=False):
    """One process."""

    process: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    jobs: int = 0
    is_over: bool = False

    async def do(self, job: Job) -> Outcome | None:
        """The outcome; None when the process ended before."""
        body = _write.encode(job)
        self.jobs += 1
        try:
            self.writer.write(LENGTH.pack(len(body)) + body)
            size = LENGTH.unpack(await self.reader.readexactly(LENGTH.size))[0]
            if size > MOST_ANSWER:
                return None
            outcome: Outcome = _read.decode(await self.reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            return None
        return outcome


class Forker:
    """The process that makes workers."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process, self._control = process, control
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    async def start(cls, bounds: Bounds) -> Forker:
        """Start it and wait until it has loaded everything; raises ToolwayError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        words = [sys.executable, "-I", "-m", "toolway_prompts.worker"]
        numbers = (theirs.fileno(), bounds.cpu, bounds.memory)
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *words, *map(str, numbers), stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=ENVIRONMENT
                )
        except BaseException:
            ours.close()
            raise
        forker = cls(process, ours)
        try:
            async with asyncio.timeout(START_SECONDS):
                await forker._answer()
        except BaseException:
            process.kill()
            await forker.close()
            raise
        return forker

    async def fork(self) -> Worker:
        """A new worker; raises ToolwayError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                async with self._one_at_a_time:
                    socket.send_fds(self._control, [COMMAND.pack(b"F", 0)], [theirs.fileno()])
                    process, _, _ = await self._answer()
            ours.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        return Worker(process, reader, writer)

    async def end(self, worker: Worker) -> tuple[int, int, float]:
        """End a worker, which may be over already: how it ended, its most memory and its processor time."""
        async with self._one_at_a_time:
            await asyncio.get_running_loop().sock_sendall(self._control, COMMAND.pack(b"K", worker.process))
            return await self._answer()

    async def close(self) -> None:
        """End it; its workers end when their connections do."""
        self._control.close()
        await self._process.wait()

    async def _answer(self) -> tuple[int, int, float]:
        answer = await asyncio.get_running_loop().sock_recv(self._control, ANSWER.size)
        if len(answer) < ANSWER.size:
            raise ToolwayError("the process that renders prompts has ended; the log has what it wrote")
        status, memory, seconds = ANSWER.unpack(answer)
        return status, memory, seconds


class Jobs(Protocol):
    """Does jobs."""

    async def render(self, job: Render) -> Rendered:
        """See `Pool.render`."""

    async def analyse(self, job: Analyse) -> Analysed:
        """See `Pool.analyse`."""


class Pool:
    """So many workers; the process that makes them is started with the first job, and anew when it has ended."""

    def __init__(self, bounds: Bounds, size: int = 2) -> None:
        self._bounds, self._size = bounds, size
        self._forker: Forker | None = None
        self._starting = asyncio.Lock()
        self._free = asyncio.Semaphore(size)
        self._idle: list[Worker] = []
        self._is_closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self.most_memory, self.most_seconds = 0, 0.0
        """Of all workers that have ended: memory in KiB, and processor time."""

    async def render(self, job: Render) -> Rendered:
        """The texts; raises TemplateRefused, Overloaded, or SessionLost after the end of the pool."""
        outcome = await self._run(job)
        if not isinstance(outcome, Rendered):
            raise TemplateRefused(outcome.reason if isinstance(outcome, Refused) else _UNEXPECTED)
        return outcome

    async def analyse(self, job: Analyse) -> Analysed:
        """What is found; a template that takes too long is found to do so."""
        outcome = await self._run(job)
        if isinstance(outcome, Analysed):
            return outcome
        reason = outcome.reason if isinstance(outcome, Refused) else _UNEXPECTED
        return Analysed((reason,), ({},) * len(job.templates))

    async def close(self) -> None:
        """End all processes."""
        self._is_closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        for worker in self._idle:
            worker.writer.close()
        self._idle.clear()
        forker, self._forker = self._forker, None
        if forker is not None:
            await forker.close()

    async def _run(self, job: Job) -> Outcome:
        if self._is_closed:
            raise SessionLost("the processes that rendered prompts have ended", sent=False)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise Overloaded("all processes that render prompts are busy; try again in a second") from None
        try:
            return await self._run_in(await self._worker(), job)
        finally:
            self._free.release()

    async def _run_in(self, worker: Worker, job: Job) -> Outcome:
        """Do it, and keep the worker if it is as good as new."""
        is_good = False
        try:
            async with asyncio.timeout(self._bounds.clock):
                outcome = await worker.do(job)
            is_good = outcome is not None and not (isinstance(outcome, Refused) and outcome.is_spent)
            return outcome if outcome is not None else Refused(self._cause(await self._end(worker)))
        except TimeoutError:  # had the template been at work, its processor time would have ended first
            raise Overloaded("this node is too busy to render prompts in time; try again in a second") from None
        finally:
            self._put_back(worker, is_good=is_good)

    async def _worker(self) -> Worker:
        """A free one, or a new one; if nobody waits for that any more it is kept for the next job."""
        if self._idle:
            return self._idle.pop()
        task = self._tracked(self._new())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._adopt)
            raise

    def _adopt(self, task: asyncio.Task[Worker]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._put_back(task.result())

    def _put_back(self, worker: Worker, *, is_good: bool = True) -> None:
        """For the next job, unless there are enough or it is not as good as new."""
        if is_good and worker.jobs < JOBS and len(self._idle) < self._size and not self._is_closed:
            self._idle.append(worker)
        else:
            worker.writer.close()
            self._later(self._replace(worker))

    async def _new(self) -> Worker:
        forker = None
        try:
            async with self._starting:
                forker = self._forker = self._forker or await Forker.start(self._bounds)
            return await forker.fork()
        except (ToolwayError, OSError, TimeoutError):
            log.warning("the process that renders prompts does not answer; another one is started", exc_info=True)
            if forker is not None and forker is self._forker:
                self._forker = None
                await forker.close()
            raise Overloaded("prompts cannot be rendered now; try again in a second") from None

    async def _end(self, worker: Worker) -> int:
        """End it, whoever waits; once only: then its number may be another process's."""
        return await asyncio.shield(self._tracked(self._ended(worker)))

    async def _ended(self, worker: Worker) -> int:
        if self._forker is None or worker.is_over:
            return 0
        worker.is_over = True
        status, memory, seconds = await self._forker.end(worker)
        self.most_memory, self.most_seconds = max(self.most_memory, memory), max(self.most_seconds, seconds)
        return status

    async def _replace(self, worker: Worker) -> None:
        """End it, and have another one ready before somebody needs it."""
        await self._end(worker)
        if len(self._idle) < self._size and not self._is_closed:
            self._idle.append(await self._new())

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        self._tracked(work).add_done_callback(_told)

    def _tracked(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that comes to its end, so that every answer of the process that forks is read."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _cause(self, status: int) -> Found:
        """Why a worker ended."""
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGXCPU):
            limit = f"takes more than {self._bounds.cpu * 1000:g} ms of processor time"
            return Found(0, 0, 0, "time", limit)
        return Found(0, 0, 0, "failed", "ended the process that renders it")


def _told(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a process that renders prompts could not be replaced", exc_info=error)


_UNEXPECTED = Found(0, 0, 0, "failed", "could not be rendered")
