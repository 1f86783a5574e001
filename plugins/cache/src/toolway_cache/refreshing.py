"""Renewing old copies in the background: whoever finds one gets it at once, and one call fetches a new one.

That call is made as the caller who found it, through all middleware: with their credentials and permissions, never with
those of somebody else or of the gateway.
"""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import msgspec
from msgspec import Raw

from toolway.hookspecs.routing import Call, ClientProfile
from toolway.plugin import Kernel
from toolway_cache.flights import is_done
from toolway_cache.keys import PROGRESS
from toolway_cache.nobody import CLIENT_INFO, Nobody
from toolway_cache.wanted import Wanted

REFRESH = "cache_refresh"
"""Among the attributes of a call that renews a copy: where it has to lead."""


class Refreshes:
    """Those under way on this node, `most` at the same time."""

    def __init__(self, kernel: Kernel, most: int) -> None:
        self._kernel, self._most = kernel, most
        self._running: dict[bytes, asyncio.Task[None]] = {}

    def begin(self, wanted: Wanted, key: bytes) -> bool:
        """Whether the caller can have the old copy: a new one is fetched, or will be for one who comes later.

        What depends on the session of the client cannot be fetched without that client.
        """
        if not self._most or self._kernel.phase != "serving" or wanted.session:
            return False
        if key not in self._running and len(self._running) < self._most:
            task = self._running[key] = asyncio.create_task(self._run(call_of(wanted)))
            task.add_done_callback(lambda _: self._running.pop(key))
        return True

    async def close(self) -> None:
        """Give up those under way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, call: Call) -> None:
        """Failures are the business of the middleware; a call whose client is asked for something is given up."""
        work = asyncio.ensure_future(self._kernel.call(call))
        try:
            await is_done(work, call)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


def call_of(wanted: Wanted) -> Call:
    """The same call once more, by names that every server understands; for everybody, it is one of nobody's client."""
    call, target = wanted.call, wanted.target
    if call.method == "resources/read":
        member, name = "uri", f"toolway://{target.upstream}/{quote(target.name, safe='')}"
    else:
        member, name = "name", f"{target.upstream}/{target.name}"
    made = Call(
        method=call.method,
        params={**call.params, member: Raw(msgspec.json.encode(name))},
        meta={key: value for key, value in call.meta.items() if key != PROGRESS},
        server=call.server,
        principal=call.principal,
        client=ClientProfile(call.client.version, {} if wanted.is_shared else call.client.capabilities, CLIENT_INFO),
        peer=Nobody(),
        deadline=0.0,
        address=call.address,
    )
    made.__dict__[REFRESH] = target
    return made
