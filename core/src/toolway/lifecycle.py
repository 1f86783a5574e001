"""The gateways of one process, one after the other: each is built beside the one that serves, then takes its place."""

from __future__ import annotations

import asyncio
import logging
import mmap
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from toolway.app import Gateway, build_gateway
from toolway.background import Background
from toolway.config import Config
from toolway.edge.metrics import Instruments
from toolway.edge.settings import EdgeSettings
from toolway.errors import ConfigError, Conflict
from toolway.keep import Keeper
from toolway.plugin.kernel import Difference

log = logging.getLogger(__name__)

LONGEST = 4 * 1024 * 1024
Load = Callable[[], Config]
LASTING = (*EdgeSettings.model_fields, "bind", "public_url", "data_dir", "database", "root_key", "server", "workers")
"""Settings of `[gateway]` that the process keeps until it is started anew."""


class InForce:
    """The configuration in force, where all workers of a supervisor see it: one that starts later begins with it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, LONGEST)  # shared with forked processes

    @staticmethod
    def text(config: Config) -> bytes:
        """How it is put; raises ConfigError when it is longer than a configuration can be."""
        text = config.model_dump_json(exclude_defaults=True).encode() + b"\0"
        if len(text) > LONGEST:
            raise ConfigError(f"the configuration has {len(text)} bytes; {LONGEST} are the most for a reload")
        return text

    def put(self, text: bytes) -> None:
        """This one is in force now."""
        self._memory[: len(text)] = text

    def get(self) -> bytes:
        """As it was put; empty before the first reload."""
        return self._memory[: self._memory.find(b"\0")]


class Life:
    """What serves now, and how another gateway takes over; `gateway` is the current one."""

    gateway: Gateway
    _known: bytes

    def __init__(
        self,
        load: Load,
        metrics: Instruments,
        admit: Callable[[Gateway], None],
        files: Callable[[], Sequence[Path]] = tuple,
        in_force: InForce | None = None,
        *,
        demo: bool = False,
    ) -> None:
        """`load` reads the configuration anew; `admit` raises ConfigError for a gateway that must not serve."""
        self.files, self._in_force = files, in_force or InForce()
        self._load, self._metrics, self._admit, self._demo = load, metrics, admit, demo
        self.hangups: list[Callable[[], None]] = []
        self._keeper, self._retiring, self._serving = Keeper(), Background(), AsyncExitStack()
        self._prepared: Prepared | None = None
        self.swapped: Callable[[Gateway], None] = lambda gateway: None

    async def build(self, config: Config) -> Gateway:
        """The gateway that serves first, unless another configuration is in force; raises what `build_gateway` does."""
        self._known = self._in_force.get()
        self.gateway = await self._built(Config.model_validate_json(self._known) if self._known else config)
        return self.gateway

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve inside of this context; `swapped` is called with each gateway that takes over."""
        await self._serving.enter_async_context(self.gateway.running())
        try:
            if (wanted := self._in_force.get()) != self._known:  # the others reloaded while this one started
                await (await self._prepare(Config.model_validate_json(wanted))).commit()
            yield
        finally:
            await self._retiring.close()
            await self._serving.aclose()

    def hung_up(self) -> None:
        """SIGHUP came."""
        for each in self.hangups:
            each()

    async def prepare(self) -> Prepared:
        """See `plugin.Control`."""
        return await self._prepare(await asyncio.to_thread(self._load))

    async def _prepare(self, wanted: Config) -> Prepared:
        if self._prepared is not None:
            raise Conflict("another reload is under way; try again when it is over")
        current = self.gateway.config
        lasting = {name: getattr(current.gateway, name) for name in LASTING}
        config = wanted.model_copy(update={"gateway": wanted.gateway.model_copy(update=lasting)})
        self._prepared = prepared = Prepared(self, tuple(differences(current, wanted)), InForce.text(config))
        try:
            prepared.gateway = await self._built(config)
        except BaseException:
            self._prepared = None
            raise
        return prepared

    async def commit(self, gateway: Gateway, text: bytes) -> None:
        """Let it take over; if it cannot, everything is as before."""
        before, serving = self.gateway, AsyncExitStack()
        try:
            with self._metrics.taken_over():
                await serving.enter_async_context(gateway.running(before))
        except BaseException:
            before.enter(gateway)
            before.plane.catalog.resume()
            raise
        finally:
            self._prepared = None
        self.gateway = gateway
        self._in_force.put(text)
        self.swapped(gateway)
        self._retiring.start(_retire(before, self._serving), "ending the gateway before")
        self._serving = serving
        log.info("a new configuration is in force")

    async def cancel(self, gateway: Gateway) -> None:
        """It does not take over."""
        self._prepared = None
        await gateway.holder.release()

    async def _built(self, config: Config) -> Gateway:
        holder = self._keeper.holder()
        try:
            built = await build_gateway(config, holder, demo=self._demo, metrics=self._metrics, control=self)
            self._admit(built)
            return built
        except BaseException:
            await holder.release()
            raise


class Prepared:
    """See `plugin.Prepared`."""

    gateway: Gateway

    def __init__(self, life: Life, differences: tuple[Difference, ...], text: bytes) -> None:
        self._life, self._text = life, text
        self.differences = differences

    async def commit(self) -> None:
        """See `plugin.Prepared`."""
        await self._life.commit(self.gateway, self._text)

    async def cancel(self) -> None:
        """See `plugin.Prepared`."""
        await self._life.cancel(self.gateway)


async def _retire(gateway: Gateway, serving: AsyncExitStack) -> None:
    try:
        await gateway.retire()
    finally:
        await serving.aclose()


def differences(old: Config, new: Config) -> Iterator[Difference]:
    """What a configuration adds, changes and removes, by path; never a value, which may be secret."""
    was, now = _leaves(old.model_dump(mode="json")), _leaves(new.model_dump(mode="json"))
    for path in sorted(was.keys() | now.keys()):
        if was.get(path) != now.get(path):
            section, _, rest = path.partition(".")
            lasts = section == "gateway" and rest.partition(".")[0] in LASTING
            yield Difference(path, "added" if path not in was else "changed" if path in now else "removed", lasts)


def _leaves(tables: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Every value by its path; upstreams and servers by name, each as a whole."""
    found: dict[str, Any] = {}
    for key, value in tables.items():
        where = f"{path}{key}"
        if where in ("upstreams", "servers"):
            found |= {f"{where}.{each.get('name')}": each for each in value}
        elif where == "plugins.enable":
            found |= {f"{where}.{name}": True for name in value} | {where: value}
        elif isinstance(value, dict):
            found |= _leaves(value, f"{where}.")
        else:
            found[where] = value
    return found
