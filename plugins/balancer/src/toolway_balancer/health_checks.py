"""Active health checks: each endpoint that has others beside it is asked now and then, on every node for itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import msgspec

from toolway.plugin import Kernel, NotFound, ToolwayError, UpstreamUnauthorized
from toolway_balancer.balancer import AdaptiveBalancer, Memory
from toolway_balancer.pool import Pool
from toolway_balancer.replica import Replica
from toolway_balancer.settings import BalancerSettings

log = logging.getLogger(__name__)

LONGEST_PAUSE = 1.0


class Kept(msgspec.Struct):
    """What the newest gateway of the process knows of endpoints."""

    memory: Memory


class HealthChecks:
    """Runs as long as the gateway: probes, never a call of a tool (see `Catalog.probe`)."""

    name = "balancer"

    def __init__(self, kernel: Kernel, balancer: AdaptiveBalancer, settings: BalancerSettings, random: Random) -> None:
        self._kernel = kernel
        self._balancer = balancer
        self._settings = settings
        self._random = random
        self._running: dict[Replica, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`; what a gateway before a reload knew is known again."""
        kept = await self._kernel.keep("balancer", "memory", self._memory)
        self._balancer.adopt(kept.memory)
        kept.memory = self._balancer.memory
        task = asyncio.create_task(self._forever(kept))
        try:
            yield
        finally:
            tasks = [task, *self._running.values()]
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def start_due(self) -> None:
        """Begin the checks that are due, the longest due first, as far as so many may run at once."""
        now = self._kernel.clock.monotonic()
        due = sorted(self._due(now), key=lambda each: each[1].due)
        for pool, replica in due[: self._settings.health_concurrency - len(self._running)]:
            task = self._running[replica] = asyncio.create_task(self._check(pool, replica))
            task.add_done_callback(partial(self._ended, replica))

    def _ended(self, replica: Replica, _: object) -> None:
        del self._running[replica]

    def _due(self, now: float) -> Iterator[tuple[Pool, Replica]]:
        for pool in self._balancer.pools.values():
            if pool.is_judged:
                for replica in pool.replicas.values():
                    if replica.due <= now and replica not in self._running:
                        yield pool, replica

    async def _check(self, pool: Pool, replica: Replica) -> None:
        try:
            problem = await self._problem(pool.upstream.name, replica)
        except NotFound:
            return
        finally:
            now, jitter = self._kernel.clock.monotonic(), self._settings.health_jitter
            replica.due = now + self._settings.health_interval * self._random.uniform(1 - jitter, 1 + jitter)
        current = self._balancer.pools.get(pool.upstream.name)
        if current is not None and current.replicas.get(replica.endpoint.id) is replica:
            current.checked(replica, problem, now)

    async def _problem(self, upstream: str, replica: Replica) -> str:
        """What is wrong with it, empty if nothing is; raises NotFound when the upstream is gone."""
        try:
            async with asyncio.timeout(self._settings.health_timeout):
                await self._kernel.catalog.probe(upstream, replica.endpoint)
        except (NotFound, asyncio.CancelledError):
            raise
        except UpstreamUnauthorized:
            return ""  # it answers, and only wants the credential of a caller
        except TimeoutError:
            return f"no answer within {self._settings.health_timeout:g} s"
        except ToolwayError as error:
            return error.message
        except Exception as error:
            log.exception("the health check of endpoint %s of upstream %s broke", replica.endpoint.id, upstream)
            return type(error).__name__
        return ""

    async def _forever(self, kept: Kept) -> None:
        pause = min(LONGEST_PAUSE, self._settings.health_interval / 4)
        while True:
            self.start_due()
            kept.memory = self._balancer.memory
            await asyncio.sleep(pause)

    async def _memory(self) -> Kept:
        return Kept({})
