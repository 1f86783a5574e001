"""Interleaved rounds over several targets, and the medians of what they cost."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import checker
import load
import machine
import processes
from target import REQUEST_ID, Target

CHECKED_CALLS = 400
WARM_SECONDS = 1.0
SETTLE_SECONDS, QUIET_SECONDS, QUIET_SHARE = 20.0, 0.05, 0.2
SESSION_IDS = range(100, 400)
MIB = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    """One measurement, or the median of some: calls per second, microseconds, bytes per second, MiB."""

    rate: float
    p50: float
    p99: float
    cpu: float
    throughput: float
    rss: float
    pss: float


Requests = Mapping[str, Sequence[bytes]]
"""By name of the target, for those that are sent something else than one plain call."""


def verify(targets: Iterable[Target], concurrency: int = 16, calls: int = CHECKED_CALLS) -> None:
    """Every answer of some hundred calls is the right one; raises LoadFailed with the first that is not."""
    for target in targets:
        checked = checker.check([target], concurrency, calls=calls)
        if checked.wrong or not checked.count:
            raise load.LoadFailed(f"{target.name}: {checked.wrong}")


def rounds(
    targets: Sequence[Target],
    concurrency: int,
    *,
    seconds: float,
    count: int,
    requests: Requests | None = None,
    slack: int = 1,
) -> dict[str, list[Sample]]:
    """Each target in turn, `count` times, after one round that warms up; by name of the target.

    `slack` is how many bytes answers to the same request may differ. Raises LoadFailed.
    """
    samples: dict[str, list[Sample]] = defaultdict(list)
    for number in range(count + 1):
        with machine.alone():
            for target in targets:
                chosen = (requests or {}).get(target.name) or distinct([target])
                duration = target.patience * (seconds if number else WARM_SECONDS)
                sample = _measure(target, chosen, concurrency, duration, slack)
                if number:
                    samples[target.name].append(sample)
    return samples


def distinct(targets: Sequence[Target]) -> list[bytes]:
    """One call of each in turn; a session must not have two requests with one id in flight, so it gets many ids."""
    ids = SESSION_IDS if targets[0].session else (REQUEST_ID,)
    return [target.call(request_id=number) for number in ids for target in targets]


def median(samples: Sequence[Sample]) -> Sample:
    """Of each figure on its own."""
    names = [each.name for each in fields(Sample)]
    return Sample(**{name: statistics.median(getattr(one, name) for one in samples) for name in names})


def ratio(samples: Mapping[str, Sequence[Sample]], name: str, other: str, figure: str = "rate") -> float:
    """The median of the ratios within each round: neighbours in time saw the same machine."""
    pairs = zip(samples[name], samples[other], strict=True)
    return float(statistics.median(getattr(one, figure) / max(getattr(two, figure), 1e-9) for one, two in pairs))


def as_json(samples: Mapping[str, Sequence[Sample]]) -> dict[str, dict[str, float]]:
    """The medians by target."""
    medians = {name: asdict(median(seen)) for name, seen in samples.items()}
    return {name: {key: round(value, 3) for key, value in each.items()} for name, each in medians.items()}


def _measure(target: Target, requests: Sequence[bytes], concurrency: int, seconds: float, slack: int) -> Sample:
    before = _cpu(target)
    seen = load.run(target.url, requests, concurrency, seconds, slack)
    cpu, throughput = (_cpu(target) - before) / seen.count * 1e6, seen.bytes / seen.seconds
    resident, shared = (processes.resident(target.pid), processes.proportional(target.pid)) if target.pid else (0, 0)
    settle(target)
    return Sample(seen.rate, seen.p50, seen.p99, cpu, throughput, resident / MIB, shared / MIB)


def settle(target: Target) -> None:
    """Wait until it has ended what the load has left behind, so that the next one has the core for itself."""
    until = time.monotonic() + SETTLE_SECONDS
    before = _cpu(target)
    while time.monotonic() < until:
        time.sleep(QUIET_SECONDS)
        now = _cpu(target)
        if now - before < QUIET_SECONDS * QUIET_SHARE:
            return
        before = now


def _cpu(target: Target) -> float:
    return processes.cpu_seconds(target.pid) if target.pid else 0.0
