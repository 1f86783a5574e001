"""A reload of all nodes: all build, then all let it take over; if one cannot, none does."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import get_args

from toolway.plugin import Conflict, Difference, Kernel, ToolwayError
from toolway_reload.history import History
from toolway_reload.messages import CHANNEL, DECODER, ENCODE, NODES, Answer, Ask, Decide, Done, Over
from toolway_reload.schemas import DifferenceReport, NodeReport, Outcome, ReloadReport

log = logging.getLogger("toolway.reload")

RETRY_SECONDS = 0.1
CENSUS_SECONDS = 1.0
"""Between two looks at which nodes are still there, while one is waited for."""
TOLD = 500
"""Differences that other nodes hear of: a message has its limit."""


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

    def missing(self, kind: type[Answer] | type[Done], nodes: set[str]) -> set[str]:
        """Which of these have not said it yet."""
        return {node for node in nodes if (kind, node) not in self._said}

    async def news(self, seconds: float) -> None:
        """Wait for somebody to say something, so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()

    def problems(self, kind: type[Answer] | type[Done], nodes: set[str], silent: str) -> Mapping[str, str]:
        """That of each node, empty where there is none; those that said nothing have the problem `silent`."""
        return {node: self._said.get((kind, node), silent) for node in nodes}


class Leader:
    """Leads reloads from this node; one at a time in the whole cluster."""

    def __init__(self, kernel: Kernel, patience: float) -> None:
        self._kernel, self._patience = kernel, patience
        self.history = History()
        outcomes = {"outcome": get_args(Outcome)}
        self._count = kernel.metrics.counter("toolway_reloads_total", "Reloads that were asked for.", outcomes)

    async def reload(self, by: str, *, dry_run: bool = False, wait: bool = True) -> ReloadReport:
        """Let all nodes follow; the report says how it ended.

        With `wait` it begins when the one that is under way is over, which may have read the files before they changed.

        Raises:
            Conflict: another one is under way, and still is after the time in which nodes have to answer.
        """
        report = ReloadReport(at=self._kernel.clock.now(), by=by, outcome="refused", dry_run=dry_run)
        async with self._alone(self._patience if wait else 0):
            await self._lead(report)
        self.history.add(report)
        self._count.add(1, "only checked" if dry_run else report.outcome)
        log.info("reload asked for by %s: %s%s", by, report.outcome, report.problem and f" ({report.problem})")
        await self._tell(report)
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

    async def _lead(self, report: ReloadReport) -> None:
        nodes = await self._nodes()
        async with self._asking(dry_run=report.dry_run) as (reload, votes):
            answers = await self._answers(votes, Answer, nodes)
            problem = _problem(answers)
            report.differences = [_reported(each) for each in self.history.differences(reload)]
            is_on = not problem and not report.dry_run
            await self._say(Decide(reload, self._kernel.node, is_on))
            if is_on:
                answers = await self._answers(votes, Done, set(answers))
                problem = _problem(answers)
                report.outcome = "refused" if all(answers.values()) else "in part"
        report.nodes = [NodeReport(node=node, problem=text) for node, text in sorted(answers.items())]
        report.problem = problem
        if not problem:
            report.outcome = "only checked" if report.dry_run else "in force"

    async def _nodes(self) -> set[str]:
        """Those that are there now."""
        found = {self._kernel.node}
        async for key in self._kernel.keyvalue.scan(NODES):
            found.add(key.removeprefix(NODES))
        return found

    async def _answers(self, votes: Votes, kind: type[Answer] | type[Done], nodes: set[str]) -> Mapping[str, str]:
        """The problem of each node; one that ends meanwhile is not waited for, what replaces it follows by itself."""
        until = time.monotonic() + self._patience
        while (missing := votes.missing(kind, nodes)) and (left := until - time.monotonic()) > 0:
            await votes.news(min(left, CENSUS_SECONDS))
            with suppress(ToolwayError):
                if gone := votes.missing(kind, missing) - await self._nodes():
                    log.warning("the reload goes on without nodes that are gone: %s", ", ".join(sorted(gone)))
                    nodes = nodes - gone
        return votes.problems(kind, nodes, f"it did not answer within {self._patience:g} s")

    async def _tell(self, report: ReloadReport) -> None:
        """Every node knows how it ended, for whoever is asked."""
        short = report.model_copy(update={"differences": report.differences[:TOLD]})
        try:
            message = Over("", self._kernel.node, short.model_dump_json())
            await self._kernel.pubsub.publish(CHANNEL, ENCODE(message))
        except ToolwayError as error:
            log.warning("the other nodes do not hear how the reload ended: %s", error.message)

    @asynccontextmanager
    async def _asking(self, *, dry_run: bool) -> AsyncIterator[tuple[str, Votes]]:
        reload = secrets.token_hex(8)
        votes = Votes(reload)
        async with self._kernel.pubsub.subscribe(CHANNEL, votes.heard):
            await self._say(Ask(reload, self._kernel.node, dry_run=dry_run))
            try:
                yield reload, votes
            except ToolwayError:
                with suppress(ToolwayError):
                    await self._say(Decide(reload, self._kernel.node, commit=False))
                raise

    async def _say(self, message: Ask | Decide) -> None:
        await self._kernel.pubsub.publish(CHANNEL, ENCODE(message))


def _problem(answers: Mapping[str, str]) -> str:
    """In words; nodes with the same one are told together."""
    nodes = defaultdict[str, list[str]](list)
    for node, problem in sorted(answers.items()):
        nodes[problem].append(node)
    nodes.pop("", None)
    return "; ".join(f"node{'s' * (len(who) > 1)} {', '.join(who)}: {problem}" for problem, who in nodes.items())


def _reported(difference: Difference) -> DifferenceReport:
    return DifferenceReport(path=difference.path, what=difference.what, needs_restart=difference.needs_restart)
