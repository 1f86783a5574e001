"""One node's part in a reload: it tells that it is here, builds when asked, and does what was decided."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from toolway.plugin import Difference, Kernel, Prepared, ToolwayError
from toolway_reload.history import History, look
from toolway_reload.messages import CHANNEL, DECODER, ENCODE, NODES, Answer, AnyMessage, Ask, Decide, Done

log = logging.getLogger("toolway.reload")

ALIVE_SECONDS = 5.0
GONE_SECONDS = 15.0


class Follower:
    """Hears the node that leads. What it prepared is thrown away when nothing is decided in time."""

    def __init__(self, kernel: Kernel, patience: float) -> None:
        self._kernel, self._patience = kernel, patience
        self._prepared: dict[str, tuple[Prepared, asyncio.TimerHandle]] = {}
        self._key, self._mark = NODES + kernel.node, secrets.token_bytes(8)
        self.history = History()
        self._tasks: set[asyncio.Task[None]] = set()

    def differences(self, reload: str) -> Sequence[Difference]:
        """What is different in what this node has prepared."""
        found = self._prepared.get(reload)
        return found[0].differences if found else ()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Take part while this is open."""
        kernel = self._kernel
        await self._tell_alive()
        alive = asyncio.create_task(self._stay_known())
        try:
            async with kernel.pubsub.subscribe(CHANNEL, self._heard):
                yield
        finally:
            alive.cancel()
            for reload in list(self._prepared):
                await self._cancel(reload)
            with contextlib.suppress(ToolwayError):  # then it is only known a little longer
                await self._kernel.keyvalue.compare_and_set(self._key, self._mark, b"gone", ttl=0.01)

    async def _stay_known(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_SECONDS)
            try:
                await self._tell_alive()
            except ToolwayError as error:
                log.warning("this node cannot tell that it is here, so a reload may leave it out: %s", error.message)

    async def _tell_alive(self) -> None:
        await self._kernel.keyvalue.set(self._key, self._mark, ttl=GONE_SECONDS)

    async def _heard(self, payload: bytes) -> None:
        """In a task of its own: building takes a while, and messages come one after the other."""
        message = DECODER.decode(payload)
        if isinstance(message, Ask | Decide) and self._kernel.phase == "serving":
            task = asyncio.create_task(self._follow(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _follow(self, message: Ask | Decide) -> None:
        try:
            if isinstance(message, Ask):
                await self._prepare(message.reload)
            elif message.commit:
                await self._commit(message.reload)
            else:
                await self._cancel(message.reload)
        except ToolwayError as error:
            log.warning("a reload went on without this node: %s", error.message)

    async def _prepare(self, reload: str) -> None:
        problem, control = "", self._kernel.control
        self.history.seen = await asyncio.to_thread(look, control.files())
        try:
            prepared = await control.prepare()
        except ToolwayError as error:
            problem = self._kernel.redact(error.message)
            log.error("the new configuration cannot be used: %s", problem)
        except Exception:
            problem = "building a gateway failed unexpectedly; the log of the node says why"
            log.exception("building a gateway of the new configuration failed")
        else:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(2 * self._patience, lambda: asyncio.ensure_future(self._cancel(reload)))
            self._prepared[reload] = prepared, timer
        await self._say(Answer(reload, self._kernel.node, problem))

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
