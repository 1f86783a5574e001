"""Settings and the plugin class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from toolway.hookspecs.api import Operation
from toolway.hookspecs.attempts import AttemptWatcher, PolicyAdjuster
from toolway.hookspecs.system import MigrationSource, Service, SnapshotPart
from toolway.hookspecs.telemetry import Diagnostic
from toolway.plugin import Kernel, Name, Plugin, Seconds, Settings, hookimpl

if TYPE_CHECKING:
    from toolway_autotune.parts import Parts

Mode = Literal["observe", "apply"]


class UpstreamTuning(Settings):
    """What is different for one upstream; left out, what holds for all."""

    mode: Mode | None = Field(None, description="`observe` or `apply`.")
    min_timeout: Seconds | None = Field(None, gt=0, description="No timeout is set below this, in seconds.")
    min_in_flight: int | None = Field(None, ge=1, description="No limit of calls at the same time is set below this.")
    max_in_flight: int | None = Field(None, ge=1, description="No limit of calls at the same time is set above this.")


class AutotuneSettings(Settings):
    """How values are found, and how far they may move. What an upstream declares is the most in any case."""

    mode: Mode = Field("observe", description="`observe` tells what it would do, `apply` does it.")
    upstreams: dict[Name, UpstreamTuning] = Field({}, description="What is different for single upstreams, by name.")
    interval: Seconds = Field(10.0, gt=0, description="A value changes at most once in so many seconds.")
    hysteresis: float = Field(0.2, ge=0, le=1, description="A value changes by at least this part of itself.")
    min_samples: int = Field(50, ge=1, description="With fewer calls nothing changes.")
    half_life: Seconds = Field(300.0, gt=0, description="After so many seconds a call counts half.")
    max_tools: int = Field(200, ge=1, le=1000, description="Tools of one upstream that are looked at one by one.")
    percentile: float = Field(0.99, gt=0, lt=1, description="The share of calls whose time a timeout is made of.")
    factor: float = Field(3.0, ge=1, description="A timeout is so many times that.")
    min_timeout: Seconds = Field(1.0, gt=0, description="No timeout is set below this, in seconds.")
    max_retries: int = Field(2, ge=0, le=5, description="Further attempts at most.")
    retry_budget: float = Field(0.2, ge=0, le=1, description="Repetitions, as a part of the calls.")
    min_retries: int = Field(3, ge=0, description="So many repetitions in 10 s are always within the budget.")
    base_backoff: Seconds = Field(
        0.1, description="The wait before the first repetition is random up to at least this."
    )
    max_backoff: Seconds = Field(10.0, description="No wait before a repetition is longer, in seconds.")
    initial_in_flight: int | None = Field(
        None, ge=1, description="The limit of calls at the same time that learning starts from; by default the most."
    )
    min_in_flight: int = Field(20, ge=1, description="No limit of calls at the same time is set below this.")
    max_in_flight: int = Field(200, ge=1, description="No limit of calls at the same time is set above this.")
    smoothing: float = Field(0.2, gt=0, le=1, description="How much of a step the limit goes at once.")
    long_window: int = Field(600, ge=10, description="What is usual is an average over so many seconds with calls.")
    tolerance: float = Field(
        1.5, ge=1, description="Calls may take so many times what is usual before the limit shrinks."
    )
    hedge: bool = Field(
        False, description="Try what changes nothing on a second endpoint when it takes longer than usual."
    )
    hedge_after: Seconds = Field(
        0.0, description="The same after so many seconds, as long as nothing is learned; 0 is never."
    )
    min_hedge: Seconds = Field(0.01, gt=0, description="No second try begins sooner, in seconds.")
    deadline_header: str = Field(
        "", pattern=r"^[A-Za-z0-9-]{0,64}$", description="Tells upstreams the milliseconds left; empty for none."
    )
    deadline_meta: str = Field(
        "",
        pattern=r"^([a-z0-9.-]+/[A-Za-z0-9._-]+)?$",
        max_length=128,
        description="The same in `_meta`, such as example.com/timeoutMs; obeyed when clients send it. Empty for none.",
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> AutotuneSettings:
        if self.min_in_flight > self.max_in_flight:
            raise ValueError("min_in_flight is above max_in_flight; make it smaller")
        if self.base_backoff > self.max_backoff:
            raise ValueError("base_backoff is above max_backoff; make it smaller")
        return self


class AutotunePlugin(Plugin[AutotuneSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _parts: Parts | None = None

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The table of what operators chose."""
        from toolway_autotune.models import Table

        return [MigrationSource("autotune", "toolway_autotune:migrations", Table.metadata)]

    @hookimpl
    def toolway_policies(self, kernel: Kernel) -> Iterable[PolicyAdjuster]:
        """Tuned values in place of declared ones."""
        return [self._made(kernel).tuner]

    @hookimpl
    def toolway_attempt_watchers(self, kernel: Kernel) -> Iterable[AttemptWatcher]:
        """Learns from every attempt, and keeps the budget of repetitions."""
        return [self._made(kernel).tuner]

    @hookimpl
    def toolway_snapshot_parts(self, kernel: Kernel) -> Iterable[SnapshotPart]:
        """What operators chose."""
        return [self._made(kernel).choices]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/autotune`."""
        return self._made(kernel).operations.operations()

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Decides, once per interval."""
        return [self._made(kernel).rounds]

    @hookimpl
    def toolway_diagnostics(self, kernel: Kernel) -> Iterable[Diagnostic]:
        """What is tuned, and why."""
        return [self._made(kernel).operations]

    def _made(self, kernel: Kernel) -> Parts:
        from toolway_autotune.parts import Parts

        if self._parts is None or self._parts.kernel is not kernel:
            self._parts = Parts.of(kernel, self.settings)
        return self._parts
