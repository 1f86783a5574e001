"""Two tries of one call at once: the second begins when the first is late, and the first answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from toolway.errors import UpstreamError
from toolway.gateway.legs import HeldLeg
from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.routing import UpstreamRequest


class Try(msgspec.Struct, eq=False):
    """One of the two, under way since `started` (monotonic seconds)."""

    attempt: Attempt
    held: HeldLeg
    request: UpstreamRequest
    started: float

    async def run(self) -> None:
        """Wait for its reply; raises UpstreamError."""
        try:
            self.attempt.reply = await self.held.connection.request(self.request)
        except UpstreamError as error:
            self.attempt.error = error
            raise


async def first_answer(
    first: Try, delay: float, begin_second: Callable[[], Try | None], ended: Callable[[Try], None]
) -> Try:
    """The try that was answered first; the other one is cancelled, and `ended` is called with it.

    `begin_second` is called when nothing came after `delay` seconds; None means that there is to be no second. What is
    returned is ended by whoever began the first, as is the first when this raises.

    Raises:
        UpstreamError: what befell the first, when neither was answered; its `sent` is of both.
    """
    running = {asyncio.ensure_future(first.run()): first}
    chosen = first
    try:
        done, _ = await asyncio.wait(running, timeout=delay)
        if not done and (second := begin_second()) is not None:
            running[asyncio.ensure_future(second.run())] = second
        waiting = set(running)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if answered := [each for task, each in running.items() if task in done and task.exception() is None]:
                chosen = answered[0]
                return chosen
        raise _failure([task.exception() for task in running])
    finally:
        for task in running:
            task.cancel()
        try:
            await asyncio.gather(*running, return_exceptions=True)
        except asyncio.CancelledError:
            chosen = first  # the answer is for nobody any more
            raise
        finally:
            for each in running.values():
                if each is not chosen:
                    ended(each)


def _failure(errors: list[BaseException | None]) -> BaseException:
    first = errors[0] or UpstreamError("the upstream did not answer")
    if isinstance(first, UpstreamError):
        first.sent = any(getattr(error, "sent", True) for error in errors)
    return first
