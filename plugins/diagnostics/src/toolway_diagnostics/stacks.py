"""Where every thread and every task is; equal stacks are told once, with their number."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterable
from types import FrameType
from typing import Any

DEEPEST = 30
AT_ONCE = 50
MOST = 10_000
"""Tasks that are looked at."""


def threads() -> list[dict[str, Any]]:
    """Every thread with its stack, the innermost call last."""
    names = {each.ident: each.name for each in threading.enumerate()}
    return [
        {"thread": names.get(ident, str(ident)), "stack": _lines(_of(frame))}
        for ident, frame in sys._current_frames().items()
    ]


async def tasks() -> list[dict[str, Any]]:
    """Every task of the event loop by where it waits, the most frequent first; others run in between."""
    found: Counter[tuple[str, str]] = Counter()
    for number, task in enumerate(list(asyncio.all_tasks())[:MOST]):
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        if not task.done():
            found[_name(task), _lines(_waiting(task))] += 1
    return [{"tasks": count, "task": name, "stack": stack} for (name, stack), count in found.most_common()]


def _name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", type(task.get_coro()).__name__)


def _waiting(task: asyncio.Task[Any]) -> list[tuple[FrameType, int]]:
    """Through everything that it awaits: a task itself knows its outermost call only."""
    found: list[tuple[FrameType, int]] = []
    awaited: Any = task.get_coro()
    while awaited is not None and len(found) < DEEPEST:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        frame = frame or getattr(awaited, "ag_frame", None)
        if frame is not None:
            found.append((frame, frame.f_lineno))
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return found


def _of(frame: FrameType) -> Iterable[tuple[FrameType, int]]:
    return list(traceback.walk_stack(frame))[:DEEPEST][::-1]


def _lines(stack: Iterable[tuple[FrameType, int]]) -> str:
    """Places only: neither values nor source."""
    return "\n".join(f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}" for frame, line in stack)
