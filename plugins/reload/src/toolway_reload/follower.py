"""One node's part in a reload: it tells that it is here, builds when asked, and does what was decided."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any

from toolway.plugin import Conflict, Kernel, Prepared, ToolwayError, beside
from toolway_reload.history import History, look
from toolway_reload.messages import CHANNEL, DECODER, ENCODE, NODES, Answer, AnyMessage, Ask, Decide, Done, Over
from toolway_reload.schemas import ReloadReport

log = logging.getLogger("toolway.reload")

ALIVE_SECONDS = 5.0
GONE_SECONDS = 15.0
LOOK_SECONDS = 0.05


class Follower:
    """Hears the node that leads, and does one thing after the other.

    What it prepared is thrown away when nothing is decided in time, or when the next reload begins.
    """

    def __init__(self, kernel: Kernel, patience: float) -> None:
        self._kernel, self._patience = kernel, patience
        self._prepared: dict[str, tuple[Prepared, asyncio.TimerHandle]] = {}
        self._key, self._mark = NODES + kernel.node, secrets.token_bytes(8)
        self.history = History()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn, self._is_first = asyncio.Lock(), True

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Take part while this is open."""
        kernel = self._kernel
        self._is_first, self.history.is_followed = not self.history.is_followed, True
        await self._tell_alive()
        try:
            async with beside("reload", self._stay_known()), kernel.pubsub.subscribe(CHANNEL, self._heard):
                yield
        finally:
            for reload in list(self._prepared):
                await self._cancel(reload)
            if self._is_first or kernel.phase != "starting":  # else the one that it should have replaced goes on
                with contextlib.suppress(ToolwayError):  # then it is only known a little longer
                    await kernel.keyvalue.compare_and_set(self._key, self._mark, b"gone", ttl=0.01)

    async def _stay_known(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_SECONDS)
            try:
                await self._tell_alive()
            except ToolwayError as error:
                log.warning("this node cannot tell that it is here, so a reload may leave it out: %s", error.message)

    async def _tell_alive(self) -> None:
        await self._kernel.keyvalue.set(self._key, self._mark, ttl=GONE_SECONDS)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """In a task of its own: building takes a while, and messages come one after the other.

        Its context is empty: what the new gateway begins in it would keep the request that asked for the reload, and
        with it the gateway before, and log in its name.
        """
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _heard(self, payload: bytes) -> None:
        message = DECODER.decode(payload)
        if isinstance(message, Over):
            self.history.add(ReloadReport.model_validate_json(message.report))
        elif isinstance(message, Decide) or (isinstance(message, Ask) and self._is_asked):
            self._begin(self._follow(message))

    @property
    def _is_asked(self) -> bool:
        """Whether it is for this gateway to answer; while one takes over from another, that one does."""
        return self._kernel.phase == "serving" or (self._kernel.phase == "starting" and self._is_first)

    async def _follow(self, message: Ask | Decide) -> None:
        async with self._turn:
            await self._do(message)

    async def _do(self, message: Ask | Decide) -> None:
        try:
            if isinstance(message, Ask):
                await self._prepare(message.reload, dry_run=message.dry_run)
            elif message.commit:
                await self._commit(message.reload)
            else:
                await self._cancel(message.reload)
        except ToolwayError as error:
            log.warning("a reload went on without this node: %s", error.message)

    async def _prepare(self, reload: str, *, dry_run: bool) -> None:
        problem = ""
        for other in list(self._prepared):  # of a node that led and is gone: it decides nothing any more
            await self._cancel(other)
        if not dry_run:  # what was only checked is still to be put in force
            self.history.seen = await asyncio.to_thread(look, self._kernel.control.files)
        try:
            prepared = await self._built()
        except ToolwayError as error:
            problem = self._kernel.redact(error.message)
            log.error("the new configuration cannot be used: %s", problem)
        except Exception:
            problem = "building a gateway failed unexpectedly; the log of the node says why"
            log.exception("building a gateway of the new configuration failed")
        else:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(2 * self._patience, lambda: self._begin(self._cancel(reload)))
            self._prepared[reload], self.history.prepared = (prepared, timer), (reload, prepared.differences)
        await self._say(Answer(reload, self._kernel.node, problem))

    async def _built(self) -> Prepared:
        """A worker that starts catches up with the others first: then it is its turn after that."""
        while self._kernel.phase == "starting":
            await asyncio.sleep(LOOK_SECONDS)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        while True:
            try:
                return await self._kernel.control.prepare()
            except Conflict:
                if loop.time() > until:
                    raise
            await asyncio.sleep(LOOK_SECONDS)

    async def _commit(self, reload: str) -> None:
        if (found := self._prepared.pop(reload, None)) is None:
            return
        prepared, timer = found
        timer.cancel()
        problem = ""
        try:
            await prepared.commit()
        except Exception as error:
            problem = self._problem(error)
            log.exception("the new configuration did not come into force, the one before stays")
        await self._say(Done(reload, self._kernel.node, problem))

    def _problem(self, error: Exception) -> str:
        return self._kernel.redact(error.message) if isinstance(error, ToolwayError) else "the log of the node says why"

    async def _cancel(self, reload: str) -> None:
        if (found := self._prepared.pop(reload, None)) is not None:
            found[1].cancel()
            await found[0].cancel()

    async def _say(self, message: AnyMessage) -> None:
        await self._kernel.pubsub.publish(CHANNEL, ENCODE(message))
