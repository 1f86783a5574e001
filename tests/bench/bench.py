"""What every scenario gets: a folder, the upstream, and how long to measure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import gateways
import nginx
from gateways import Setup
from target import Target


@dataclass
class Bench:
    """One run; targets that a scenario starts through it end with `closing`."""

    folder: Path
    output: Path
    direct: Target
    seconds: float = 3.0
    rounds: int = 5
    concurrency: tuple[int, ...] = (1, 16, 64)
    extra: frozenset[str] = frozenset()
    plugins: tuple[str, ...] = ()
    stack: ExitStack = field(default_factory=ExitStack)

    @contextlib.contextmanager
    def closing(self) -> Iterator[ExitStack]:
        """What is started inside ends with the block."""
        with ExitStack() as stack:
            self.stack = stack
            yield stack

    def nginx(self) -> Target:
        """`proxy_pass`."""
        return self.stack.enter_context(nginx.proxy(self.folder, self.direct))

    def reference(self, server: str, client: str = "raw", variant: str = "") -> Target:
        """The limit reference, perhaps to a variant of the upstream."""
        upstream = self.direct.on(url=nginx.endpoint(self.direct, variant)) if variant else self.direct
        return self.stack.enter_context(gateways.reference(self.folder, upstream, server, client))

    def toolway(self, setup: Setup, tools: int = 1) -> Target:
        """A gateway that lists its tools."""
        target = self.stack.enter_context(gateways.toolway(self.folder, setup))
        gateways.wait_for_tools(target, tools)
        return target

    @property
    def runner(self) -> tuple[str, ...]:
        """The plugin of the fast runner, where it is installed."""
        return (gateways.FAST_RUNNER,) if gateways.has_fast_runner() else ()

    def fastest(self, name: str = "toolway", **fields: object) -> Setup:
        """A gateway on the fast runner, or on hypercorn while there is no other."""
        tables = str(fields.pop("tables", gateways.echo_table(self.direct)))
        return Setup(name, plugins=self.runner, tables=tables, **fields)  # type: ignore[arg-type]
