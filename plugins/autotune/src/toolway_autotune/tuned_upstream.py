"""What is known of one upstream, and the policy that follows from it."""

from __future__ import annotations

import msgspec

from toolway.hookspecs.attempts import Attempt, Policy
from toolway.plugin import CircuitOpen, SessionLost, UpstreamError, UpstreamTimeout, UpstreamUnauthorized
from toolway_autotune.bounding import Bounding
from toolway_autotune.choices import BACKOFF, HEDGE, IN_FLIGHT, NONE, RETRIES, TIMEOUT, Choice, key_of
from toolway_autotune.concurrency import Gradient2
from toolway_autotune.events import Heard, Journal
from toolway_autotune.histogram import Histogram
from toolway_autotune.knob import Knob
from toolway_autotune.plugin import AutotuneSettings
from toolway_autotune.retry_budget import RetryBudget

OTHERS = "*"
"""In place of the tools that are too many to be looked at one by one."""
NOT_ITS_FAULT = (CircuitOpen, SessionLost, UpstreamUnauthorized)


class Made(msgspec.Struct, frozen=True):
    """The policy made of `base`, and the one while the budget of repetitions is exhausted."""

    base: Policy
    policy: Policy
    throttled: Policy


class TunedUpstream:
    """Everything in memory; `declared` is the policy without tuning, as the last call had it."""

    def __init__(
        self, name: str, settings: AutotuneSettings, declared: Policy, heard: Heard = lambda event: None
    ) -> None:
        self.name = name
        self.settings = settings
        self.declared = declared
        self.choice: Choice = NONE
        self.bounding = Bounding(name, settings)
        self.tools: dict[str, Histogram] = {}
        self.knobs: dict[str, Knob] = {}
        self.journal = Journal(heard)
        self.budget = RetryBudget(settings.retry_budget, settings.min_retries)
        bounds = self.bounding.of(IN_FLIGHT, declared)
        self.gradient = Gradient2(
            initial=settings.initial_in_flight or int(bounds.high),
            minimum=int(bounds.low),
            maximum=int(bounds.high),
            smoothing=settings.smoothing,
            long_window=settings.long_window,
            tolerance=settings.tolerance,
        )
        self.refused = 0
        self._running: set[Attempt] = set()
        self._made: dict[str, Made] = {}

    @property
    def mode(self) -> str:
        """`observe` or `apply`."""
        return self.choice.mode or self.bounding.mode

    @property
    def in_flight(self) -> int:
        """Attempts that are running."""
        return len(self._running)

    def tool(self, wanted: str) -> str:
        """What that tool is looked at as."""
        if wanted not in self.tools:
            if len(self.tools) >= self.settings.max_tools:
                wanted = OTHERS
            self.tools.setdefault(wanted, Histogram())
        return wanted

    def policy(self, declared: Policy, tool: str) -> Policy:
        """The policy to use; the same object as `declared` while nothing is tuned."""
        made = self._made.get(tool)
        if made is None or made.base is not declared:
            self.declared = declared
            made = self._made[tool] = self._make(declared, tool)
        return made.throttled if self.budget.is_exhausted else made.policy

    def in_force(self, key: str, declared: Policy) -> float:
        """The value that is used."""
        own, bounds = self.bounding.declared(key, declared), self.bounding.of(key, declared)
        if self.choice.holds(key):
            pin = self.choice.pin(key)
            return own if pin is None else bounds.clamp(pin)
        if self.mode != "apply":
            return own
        knob = self.knobs.get(key)
        return bounds.clamp(own) if key == RETRIES else knob.present(own, bounds) if knob is not None else own

    def changed(self) -> None:
        """Policies are made anew."""
        self._made.clear()

    def begin(self, attempt: Attempt, now: float) -> None:
        """See `AttemptWatcher`."""
        if attempt.is_hedge and not self.budget.spend(now):
            raise UpstreamError("a second try would be above the budget of repetitions", sent=False)
        self._running.add(attempt)
        if attempt.number == 1:
            self.budget.began(now)

    def done(self, attempt: Attempt, tool: str, now: float, *, is_hurried: bool = False) -> None:
        """See `AttemptWatcher`; what was refused before it began, or ran out of the client's time, teaches nothing."""
        if attempt not in self._running:
            return
        in_flight = len(self._running)
        self._running.discard(attempt)
        error, reply, among = attempt.error, attempt.reply, attempt.upstream.endpoints
        if error is None and reply is not None:
            self.budget.ended(attempt.endpoint, among, failed=False)
            if reply.fault is None and reply.kind == "complete":
                self._learn(tool, attempt.seconds, in_flight, now)
            return
        is_late = now >= attempt.call.deadline and not is_hurried
        has_timed_out = is_late if error is None else isinstance(error, UpstreamTimeout)
        was_sent = error is None or getattr(error, "sent", True)
        if has_timed_out and was_sent:
            self._learn(tool, attempt.seconds, in_flight, now)
        if has_timed_out or (isinstance(error, UpstreamError) and not isinstance(error, NOT_ITS_FAULT)):
            self.budget.ended(attempt.endpoint, among, failed=True)
        goes_elsewhere = not was_sent and attempt.number < len(among)  # no endpoint gets it twice
        if attempt.is_repeated and not goes_elsewhere and not self.budget.spend(now):
            self.refused += 1
            if self.mode == "apply" and not self.choice.holds(RETRIES):
                attempt.is_repeated = False

    def _learn(self, tool: str, seconds: float, in_flight: int, now: float) -> None:
        self.tools[tool].add(seconds)
        self.gradient.sample(tool, seconds, in_flight, now)

    def _make(self, declared: Policy, tool: str) -> Made:
        if self.mode != "apply" and not self.choice.pins and not self.settings.hedge_after:
            return Made(declared, declared, declared)
        timeout, backoff, hedge = (
            self.in_force(key, declared) for key in (key_of(TIMEOUT, tool), BACKOFF, key_of(HEDGE, tool))
        )
        retries = int(self.in_force(RETRIES, declared))
        total = declared.total
        if timeout < declared.first_byte:
            total = min(total, timeout * (1 + retries) + backoff * (2**retries - 1))
        policy = msgspec.structs.replace(
            declared,
            first_byte=timeout,
            total=total,
            retries=retries,
            backoff=backoff,
            in_flight=int(self.in_force(IN_FLIGHT, declared)),
            hedge_after=hedge,
        )
        is_budgeted = self.mode == "apply" and not self.choice.holds(RETRIES)
        return Made(declared, policy, msgspec.structs.replace(policy, retries=0) if is_budgeted else policy)
