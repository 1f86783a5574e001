"""However many names clients make up, the meters have no series of them."""

from __future__ import annotations

from collections.abc import Iterator

from toolway.bundled.meters.meters import Calls, Requests
from toolway.edge.metrics import Instruments
from toolway.hookspecs.auth import ANONYMOUS
from toolway.hookspecs.routing import Call, ClientProfile
from toolway.hookspecs.telemetry import Served

NAMES = 100_000
PROFILE = ClientProfile("2026-07-28")


def series(metrics: Instruments) -> int:
    return sum(len(each.series) for each in metrics.collect())


def made_up() -> Iterator[str]:
    yield from (f"name-{number}" for number in range(NAMES))


async def test_a_hundred_thousand_tools_and_methods_that_nobody_has_are_one_series_of_each() -> None:
    metrics = Instruments()
    calls = Calls(metrics)
    for name in made_up():
        call = Call(
            method="tools/call" if name[-1] == "7" else name,
            params={"name": name.encode()},  # type: ignore[dict-item]
            meta={},
            server="all",
            principal=ANONYMOUS,
            client=PROFILE,
            peer=None,  # type: ignore[arg-type]
            deadline=0.0,
            target=None,
        )
        calls.done(iter([call]))

    assert series(metrics) <= 6


async def test_a_hundred_thousand_paths_and_verbs_that_nobody_has_are_a_few_series() -> None:
    metrics = Instruments()
    requests = Requests(metrics)
    for name in made_up():
        requests.done(iter([Served({"method": name.upper(), "path": f"/{name}"}, [], status=404)]))

    assert series(metrics) <= 4
