"""A reload of all nodes: all build, then all let it take over; if one cannot, none does."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import get_args

from toolway.plugin import Conflict, Difference, Kernel
from toolway_reload.follower import Follower
from toolway_reload.history import History
from toolway_reload.messages import CHANNEL, DECODER, ENCODE, NODES, Answer, Ask, Decide, Done
from toolway_reload.schemas import DifferenceReport, NodeReport, Outcome, ReloadReport

log = logging.getLogger("toolway.reload")

RETRY_SECONDS = 0.1


class Votes:
    """What the nodes said of one reload, by kind and node."""

    def __init__(self, reload: str) -> None:
        self._reload = reload
        self._said: dict[tuple[type, str], str] = {}
        self._news = asyncio.Event()

    async def heard(self, payload: bytes) -> None:
        """A message on the channel."""
        message = DECODER.decode(payload)
        if isinstance(message, Answer | Done) and message.reload == self._reload:
            self._said[type(message), message.node] = message.problem
            self._news.set()

    async def of(self, kind: type[Answer] | type[Done], nodes: set[str], seconds: float) -> Mapping[str, str]:
        """The problem of each node, empty where there is none; those that say nothing in time have that one."""
        try:
            async with asyncio.timeout(seconds):
                while any((kind, node) not in self._said for node in nodes):
                    await self._news.wait()
                    self._news.clear()
        except TimeoutError:
            log.warning("not every node answered within %g s", seconds)
        silent = f"it did not answer within {seconds:g} s"
        return {node: self._said.get((kind, node), silent) for node in nodes}


class Leader:
    """Leads reloads from this node; one at a time in the whole cluster."""

    def __init__(self, kernel: Kernel, follower: Follower, patience: float) -> None:
        self._kernel, self._follower, self._patience = kernel, follower, patience
        self.history = History()
        outcomes = {"outcome": get_args(Outcome)}
        self._count = kernel.metrics.counter("toolway_reloads_total", "Reloads that were asked for.", outcomes)

    async def reload(self, by: str, *, dry_run: bool = False, wait: bool = True) -> ReloadReport:
        """Let all nodes follow; the report says how it ended.

        With `wait` it begins when the one that is under way is over, which may have read the files before they changed.

        Raises:
            Conflict: another one is under way, and still is after the time in which nodes have to answer.
        """
        report = ReloadReport(at=self._kernel.clock.now(), by=by, outcome="refused")
        async with self._alone(self._patience if wait else 0):
            await self._lead(report, dry_run=dry_run)
        self.history.add(report)
        self._count.add(1, report.outcome)
        log.info("reload asked for by %s: %s%s", by, report.outcome, report.problem and f" ({report.problem})")
        return report

    @asynccontextmanager
    async def _alone(self, seconds: float) -> AsyncIterator[None]:
        until = time.monotonic() + seconds
        while True:
            async with self._kernel.keyvalue.lock("reload/lead", 3 * self._patience) as token:
                if token is not None:
                    yield
                    return
            if time.monotonic() >= until:
                raise Conflict("another reload is under way; try again when it is over")
            await asyncio.sleep(RETRY_SECONDS)

    async def _lead(self, report: ReloadReport, *, dry_run: bool) -> None:
        nodes = {self._kernel.node}
        async for key in self._kernel.keyvalue.scan(NODES):
            nodes.add(key.removeprefix(NODES))
        async with self._asking() as (reload, votes):
            answers = await votes.of(Answer, nodes, self._patience)
            problem = _problem(answers)
            report.differences = [_reported(each) for each in self._follower.differences(reload)]
            is_on = not problem and not dry_run
            await self._say(Decide(reload, self._kernel.node, is_on))
            if is_on:
                answers = await votes.of(Done, nodes, self._patience)
                problem = _problem(answers)
                report.outcome = "refused" if all(answers.values()) else "in part"
        report.nodes = [NodeReport(node=node, problem=text) for node, text in sorted(answers.items())]
        report.problem = problem
        if not problem:
            report.outcome = "only checked" if dry_run else "in force"

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[tuple[str, Votes]]:
        reload = secrets.token_hex(8)
        votes = Votes(reload)
        async with self._kernel.pubsub.subscribe(CHANNEL, votes.heard):
            await self._say(Ask(reload, self._kernel.node))
            yield reload, votes

    async def _say(self, message: Ask | Decide) -> None:
        await self._kernel.pubsub.publish(CHANNEL, ENCODE(message))


def _problem(answers: Mapping[str, str]) -> str:
    return "; ".join(f"node {node}: {problem}" for node, problem in sorted(answers.items()) if problem)


def _reported(difference: Difference) -> DifferenceReport:
    return DifferenceReport(path=difference.path, what=difference.what, needs_restart=difference.needs_restart)
