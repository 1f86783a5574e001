"""Once per interval: which values of an upstream move, and why."""

from __future__ import annotations

from collections.abc import Iterator

from toolway_autotune.choices import BACKOFF, HEDGE, IN_FLIGHT, OF_TOOLS, RETRIES, TIMEOUT, VALUES, Choice, key_of
from toolway_autotune.events import Event
from toolway_autotune.histogram import Histogram
from toolway_autotune.knob import Knob, Manner
from toolway_autotune.tuned_upstream import TunedUpstream

Wish = tuple[str, str, float, str]
"""Value, tool, what it should be, and why."""
HEDGE_PERCENTILE = 0.95
DIGITS = ".3g"
"""Times are rounded to so many digits: more are noise."""


def decide(upstream: TunedUpstream, now: float, at: float) -> None:
    """Move what is to be moved; `now` is monotonic seconds, `at` is since 1970."""
    declared, settings = upstream.declared, upstream.settings
    manner = Manner(settings.hysteresis, settings.interval)
    bounds = upstream.bounding.of(IN_FLIGHT, declared)
    upstream.gradient.bound(int(bounds.low), int(bounds.high))
    _keep_pins(upstream)
    for value, tool, wanted, reason in wishes(upstream):
        key = key_of(value, tool)
        if upstream.choice.holds(key):
            continue
        own, bounds = upstream.bounding.declared(key, declared), upstream.bounding.of(key, declared)
        knob = upstream.knobs.setdefault(key, Knob())
        before = knob.present(own, bounds)
        if knob.wish(wanted, own, bounds, manner, now):
            after = knob.present(own, bounds)
            upstream.journal.add(Event(at, upstream.name, value, before, after, reason, upstream.mode, tool))
            upstream.changed()
    if upstream.refused:
        reason = f"{upstream.refused} repetitions were above the budget of {settings.retry_budget:.0%} of the calls"
        high = upstream.bounding.of(RETRIES, declared).high
        upstream.journal.add(Event(at, upstream.name, RETRIES, high, 0, reason, upstream.mode))
        upstream.refused = 0


def wishes(upstream: TunedUpstream) -> Iterator[Wish]:
    """What the values should be by what was learned; nothing of what too little is known of."""
    settings, everything = upstream.settings, Histogram()
    share = f"p{settings.percentile * 100:g}"
    for tool, histogram in upstream.tools.items():
        everything.merge(histogram)
        if histogram.total >= settings.min_samples:
            seconds = histogram.percentile(settings.percentile)
            reason = f"{share} is {seconds:.3g} s in about {histogram.total:.0f} calls, times {settings.factor:g}"
            yield TIMEOUT, tool, _rounded(seconds * settings.factor), reason
            if settings.hedge:
                seconds = histogram.percentile(HEDGE_PERCENTILE)
                reason = f"only one of twenty calls takes longer than {seconds:.3g} s, of about {histogram.total:.0f}"
                yield HEDGE, tool, _rounded(max(settings.min_hedge, seconds)), reason
    if everything.total >= settings.min_samples:
        seconds = everything.percentile(0.5)
        yield BACKOFF, "", _rounded(max(settings.base_backoff, seconds)), f"half of the calls take {seconds:.3g} s"
    gradient = upstream.gradient
    if gradient.samples >= settings.min_samples:
        reason = f"calls take {gradient.ratio:.3g} times as long as usual, {upstream.in_flight} are running"
        yield IN_FLIGHT, "", int(gradient.limit), reason


def decay(upstream: TunedUpstream, factor: float) -> None:
    """Everything that was learned so far counts less; tools that were not used for long are forgotten."""
    for tool, histogram in list(upstream.tools.items()):
        histogram.decay(factor)
        if not histogram.total:
            upstream.tools.pop(tool)
            for value in OF_TOOLS:
                upstream.knobs.pop(key_of(value, tool), None)
            upstream.gradient.forget(tool)
            upstream.changed()


def choose(upstream: TunedUpstream, choice: Choice, at: float) -> None:
    """Somebody chose something else: it is in force at once, and every difference is an event."""
    before, upstream.choice = upstream.choice, choice
    _keep_pins(upstream)
    upstream.changed()
    what = f"chosen by {choice.actor or 'an operator'}"
    if before.mode != choice.mode:
        old, new = before.mode or None, choice.mode or None
        upstream.journal.add(Event(at, upstream.name, "mode", old, new, what, upstream.mode, actor=choice.actor))
    for key in sorted(before.pins.keys() | choice.pins.keys()):
        if key in before.pins and key in choice.pins and before.pins[key] == choice.pins[key]:
            continue
        value, _, tool = key.partition(":")
        state = "unpinned" if key not in choice.pins else "reverted" if choice.pins[key] is None else "pinned"
        reason, pins = f"{state}, {what}", (before.pins.get(key), choice.pins.get(key))
        upstream.journal.add(Event(at, upstream.name, value, *pins, reason, upstream.mode, tool, choice.actor))


def keys(upstream: TunedUpstream) -> list[str]:
    """Every value that there is now, those of its tools too."""
    is_hedged = upstream.settings.hedge or upstream.settings.hedge_after
    of_tools = OF_TOOLS if is_hedged else (TIMEOUT,)
    own = (value for value in VALUES if value not in OF_TOOLS)
    return [*(key_of(value, tool) for tool in sorted(upstream.tools) for value in of_tools), *own]


def _keep_pins(upstream: TunedUpstream) -> None:
    """Tuning goes on from what is pinned, once it is no longer."""
    if upstream.choice.pins:
        for key in keys(upstream):
            if upstream.choice.holds(key):
                upstream.knobs.setdefault(key, Knob()).value = upstream.choice.pin(key)


def _rounded(seconds: float) -> float:
    return float(format(seconds, DIGITS))
