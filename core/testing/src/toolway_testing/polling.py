"""Waits for something to become true, so that no test sleeps a fixed time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

INTERVAL = 0.01

Found = TypeVar("Found")


@overload
async def eventually(
    predicate: Callable[[], Awaitable[Found | None]], timeout: float = 10.0, interval: float = INTERVAL
) -> Found: ...
@overload
async def eventually(
    predicate: Callable[[], Found | None], timeout: float = 10.0, interval: float = INTERVAL
) -> Found: ...
async def eventually(predicate: Callable[[], Any], timeout: float = 10.0, interval: float = INTERVAL) -> Any:
    """The first true value of `predicate`, which is asked every `interval` seconds and may be a coroutine function.

    Raises:
        AssertionError: it was still false after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = predicate()
        found = await answer if inspect.isawaitable(answer) else answer
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"still {found!r} after {timeout:g} s: {_name(predicate)}")
        await asyncio.sleep(interval)


def eventually_now(predicate: Callable[[], Found | None], timeout: float = 10.0, interval: float = INTERVAL) -> Found:
    """The same for code without an event loop; blocks the thread."""
    deadline = time.monotonic() + timeout
    while not (found := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {found!r} after {timeout:g} s: {_name(predicate)}")
        time.sleep(interval)
    return found


def _name(predicate: Callable[..., object]) -> str:
    code = getattr(predicate, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return getattr(predicate, "__qualname__", repr(predicate)) + where
