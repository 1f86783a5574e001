"""What calls meet: learns from attempts, and makes their policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw

from toolway.hookspecs.attempts import Attempt, Policy
from toolway.hookspecs.routing import Call, Upstream
from toolway.plugin import Clock
from toolway_autotune.choices import NONE, Choice
from toolway_autotune.deciding import choose, decay, decide
from toolway_autotune.events import Heard
from toolway_autotune.plugin import AutotuneSettings
from toolway_autotune.tuned_upstream import TunedUpstream

LEAST_SECONDS = 0.001


class Tuner:
    """Upstreams are known from their first call on; `choices` gives what operators chose, as it is now.

    `heard` is told of each change.
    """

    name = "autotune"

    def __init__(self, clock: Clock, settings: AutotuneSettings, choices: Callable[[], Mapping[str, Choice]]) -> None:
        self.upstreams: dict[str, TunedUpstream] = {}
        self.heard: Heard = lambda event: None
        self._clock = clock
        self._settings = settings
        self._choices = choices
        self._seen: Mapping[str, Choice] = {}
        self._decayed = clock.monotonic()

    def adjust(self, policy: Policy, upstream: Upstream, call: Call) -> Policy:
        """See `PolicyAdjuster`."""
        if self._choices() is not self._seen:
            self.notice()
        known = self.upstreams.get(upstream.name) or self._begun(upstream.name, policy)
        policy = known.policy(policy, known.tool(_tool(call)))
        member = self._settings.deadline_meta
        if member and (said := call.meta.get(member)) is not None:
            policy = _no_longer(policy, said)
        return policy

    def begin(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        now = self._clock.monotonic()
        known = self.upstreams.get(attempt.upstream.name)
        if known is not None:
            known.begin(attempt, now)
        header, member = self._settings.deadline_header, self._settings.deadline_meta
        if header or member:
            left = str(max(0, int((attempt.call.deadline - now) * 1000)))
            if header:
                attempt.call.outgoing_headers[header] = left
            if member:
                attempt.call.outgoing_meta[member] = Raw(left.encode())

    def done(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        known = self.upstreams.get(attempt.upstream.name)
        if known is not None:
            is_hurried = bool(member := self._settings.deadline_meta) and member in attempt.call.meta
            tool = known.tool(_tool(attempt.call))
            known.done(attempt, tool, self._clock.monotonic(), is_hurried=is_hurried)

    def known(self, upstream: Upstream) -> TunedUpstream:
        """What is known of it, nothing perhaps."""
        settings = upstream.settings
        timeouts = settings.timeouts
        policy = Policy(timeouts.first_byte, timeouts.total, settings.retries, settings.in_flight)
        return self.upstreams.get(upstream.name) or self._begun(upstream.name, policy)

    def adopt(self, upstreams: dict[str, TunedUpstream]) -> None:
        """Go on with what was learned before."""
        self.upstreams, self._seen = upstreams, {}

    def notice(self) -> None:
        """See what operators chose meanwhile, here or on another node."""
        choices, at = self._choices(), self._clock.now()
        if choices is self._seen:
            return
        self._seen = choices
        for name, known in self.upstreams.items():
            if known.choice != (choice := choices.get(name, NONE)):
                choose(known, choice, at)

    def decide(self) -> None:
        """Let every value move that is to; called once per interval."""
        self.notice()
        now, at = self._clock.monotonic(), self._clock.now()
        factor = 0.5 ** ((now - self._decayed) / self._settings.half_life)
        self._decayed = now
        for known in self.upstreams.values():
            decide(known, now, at)
            decay(known, factor)

    def forget(self, existing: Mapping[str, object]) -> None:
        """Upstreams that do not exist any more are not known any more."""
        for name in self.upstreams.keys() - existing.keys():
            if not self.upstreams[name].in_flight:
                del self.upstreams[name]

    def _begun(self, name: str, declared: Policy) -> TunedUpstream:
        known = self.upstreams[name] = TunedUpstream(name, self._settings, declared, self.heard)
        known.choice = self._seen.get(name, NONE)
        return known


def _no_longer(policy: Policy, said: Raw) -> Policy:
    """With the time that a client still has, in milliseconds; what is no such number says nothing."""
    try:
        seconds = max(msgspec.json.decode(said, type=float) / 1000, LEAST_SECONDS)
    except msgspec.DecodeError:
        return policy
    if seconds >= policy.total:
        return policy
    return msgspec.structs.replace(policy, total=seconds, is_hurried=True)


def _tool(call: Call) -> str:
    """What is learned together: a tool or prompt; reads have too many names."""
    target = call.target
    if target is not None and target.item is not None and call.method in ("tools/call", "prompts/get"):
        return target.name
    return call.method
