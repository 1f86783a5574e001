"""The plugin in a whole gateway, before an upstream whose latency changes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from tuned_gateway import behave, seen, started, value

from toolway.app import build_gateway
from toolway.config import Config
from toolway.keep import Keeper
from toolway.plugin import ConfigError
from toolway_autotune.tuner import Tuner
from toolway_testing.counted import counted
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually


async def call(gate: RunningGateway, tool: str = "echo", times: int = 1) -> list[bool]:
    """Whether each of them was answered."""
    answers = await asyncio.gather(*(gate.call(f"slow__{tool}", server="open") for _ in range(times)))
    return ["result" in answer.content for answer in answers]


async def tuned(gate: RunningGateway, low: float, high: float, tool: str = "echo") -> float:
    """The timeout once it is within these; meanwhile calls go on."""

    async def within() -> float | None:
        await call(gate, tool, 10)
        found = await value(gate, "timeout", tool)
        return found["tuned"] if found is not None and low < found["tuned"] < high else None

    return await eventually(within)


async def act(gate: RunningGateway, action: str, **body: Any) -> Any:
    answer = await gate.api("POST", f"/autotune/slow/{action}", body)
    assert answer.status == 200, answer.content
    return answer.content


async def events(gate: RunningGateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await gate.api("GET", "/autotune/slow/events")).content["items"]
    return found


async def test_a_timeout_follows_an_upstream_whose_latency_changes(
    gateway: StartGateway, slow_upstream: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "toolway_autotune")
    gate = await started(gateway, slow_upstream)
    await behave(gate, slow_upstream, seconds=0.03)
    before = await tuned(gate, 0.09, 1.5)

    await behave(gate, slow_upstream, seconds=before / 2)

    after = await tuned(gate, before * 1.2, 10)
    assert (await value(gate, "timeout", "echo"))["in_force"] > before
    told = [each for each in await events(gate) if each["value"] == "timeout"]
    assert told[0]["after"] >= after and "p99 is" in told[0]["reason"] and told[0]["mode"] == "apply"
    assert any("timeout of slow/echo is" in record.message for record in caplog.records)


async def test_a_tuned_timeout_cuts_calls_that_hang_and_grows_when_all_do(
    gateway: StartGateway, slow_upstream: str
) -> None:
    gate = await started(gateway, slow_upstream)
    before = await tuned(gate, 0.04, 1, "write")

    await behave(gate, slow_upstream, seconds=before * 1.2)

    assert await call(gate, "write") == [False]
    await tuned(gate, before * 2, 30, "write")
    assert await call(gate, "write", 3) == [True] * 3


async def test_observing_changes_nothing_and_applying_does(gateway: StartGateway, slow_upstream: str) -> None:
    gate = await started(gateway, slow_upstream, "observe")
    await tuned(gate, 0.04, 5)
    shown = await value(gate, "timeout", "echo")
    assert shown["in_force"] == shown["declared"] == 30
    assert (await events(gate))[0]["mode"] == "observe"

    assert (await act(gate, "apply"))["mode"] == "apply"

    shown = await value(gate, "timeout", "echo")
    assert shown["in_force"] == shown["tuned"] < 5
    assert (await act(gate, "observe"))["mode"] == "observe"
    assert [each["after"] for each in await events(gate) if each["value"] == "mode"] == ["observe", "apply"]


async def test_what_is_reverted_or_pinned_stays_until_it_is_unpinned_also_after_a_restart(
    gateway: StartGateway, slow_upstream: str
) -> None:
    gate = await started(gateway, slow_upstream)
    await tuned(gate, 0.04, 5)

    await act(gate, "revert", value="timeout", tool="echo")
    await act(gate, "pin", value="in_flight", to=30)

    assert (await value(gate, "timeout", "echo"))["in_force"] == 30
    assert (await value(gate, "in_flight"))["in_force"] == 30
    another = await started(gateway, slow_upstream, "observe")
    another.token = gate.token
    assert (await value(another, "in_flight"))["in_force"] == 30
    await call(another)
    assert (await value(another, "timeout", "echo"))["pinned"]
    await act(gate, "unpin", value="timeout", tool="echo")
    await tuned(gate, 0.04, 5)
    assert not (await value(gate, "timeout", "echo"))["pinned"]
    shown = (await gate.api("DELETE", "/autotune/slow")).content
    assert not any(each["pinned"] for each in shown["values"])


async def test_what_nothing_is_declared_of_is_within_its_bounds_and_pinned_as_it_is(
    gateway: StartGateway, slow_upstream: str
) -> None:
    gate = await started(gateway, slow_upstream, hedge=True, min_samples=1_000_000)
    await call(gate)
    for name, tool in (("backoff", ""), ("hedge_after", "echo")):
        shown = await value(gate, name, tool)
        assert shown["low"] == shown["in_force"] == shown["tuned"] == shown["declared"] == 0 < shown["high"]

    await act(gate, "pin")

    for name, tool in (("backoff", ""), ("hedge_after", "echo")):
        shown = await value(gate, name, tool)
        assert (shown["pinned"], shown["in_force"]) == (True, 0)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
async def test_what_one_node_chooses_holds_on_the_other(
    gateway: StartGateway, slow_upstream: str, database: str, request: pytest.FixtureRequest
) -> None:
    where = {"database": f"literal:{request.getfixturevalue('postgres_url')}"} if database == "postgres" else {}
    one, two = [await started(gateway, slow_upstream, "observe", where) for _ in range(2)]
    two.token = one.token
    await call(two)

    await act(one, "pin", value="backoff", to=0.5)

    async def known() -> bool:
        return bool((await value(two, "backoff"))["in_force"] == 0.5)

    await eventually(known)
    assert (await events(two))[0]["actor"] == "admin"


async def test_failing_upstreams_are_not_flooded_with_repetitions(gateway: StartGateway, slow_upstream: str) -> None:
    gate = await started(gateway, slow_upstream)
    await behave(gate, slow_upstream, status=500)

    assert await call(gate, times=30) == [False] * 30

    assert (await seen(gate, slow_upstream))["calls"] <= 30 + 6
    shown = (await gate.api("GET", "/autotune/slow")).content
    assert shown["exhausted"]

    async def told() -> bool:
        return any("above the budget" in each["reason"] for each in await events(gate))

    await eventually(told)


async def test_no_read_fails_when_one_of_two_endpoints_is_killed(
    gateway: StartGateway, endpoints: list[tuple[str, Popen[bytes]]]
) -> None:
    gate = await started(gateway, " ".join(url for url, _ in endpoints), min_timeout=10)
    assert all(await call(gate, times=60) + await call(gate, times=60))
    for url, _ in endpoints:
        await behave(gate, url, seconds=0.3)
    calls = asyncio.create_task(call(gate, times=30))

    async def begun() -> bool:
        return bool(sum([(await seen(gate, url))["calls"] for url, _ in endpoints]) >= 150)

    await eventually(begun)
    endpoints[0][1].kill()

    assert all(await calls)
    assert all(await call(gate, times=30))


async def test_upstreams_are_told_how_much_time_is_left(gateway: StartGateway, slow_upstream: str) -> None:
    gate = await started(gateway, slow_upstream, deadline_header="X-Milliseconds-Left")

    await call(gate)

    left = (await seen(gate, slow_upstream))["headers"]["X-Milliseconds-Left"]
    assert 50_000 < int(left) <= 60_000


@pytest.mark.parametrize(
    ("action", "body", "sentence"),
    [
        ("pin", {"to": 3}, "name it as value"),
        ("pin", {"value": "in_flight", "to": 1000}, "in_flight of slow can be 20 to 64"),
        ("pin", {"value": "in_flight", "tool": "echo"}, "leave it out for others"),
        ("revert", {"value": "timeout", "tool": "absent"}, "no calls of 'absent'"),
        ("unpin", {"value": "colour"}, "value"),
    ],
)
async def test_what_cannot_be_chosen_is_said(
    gateway: StartGateway, slow_upstream: str, action: str, body: dict[str, Any], sentence: str
) -> None:
    gate = await started(gateway, slow_upstream)

    answer = await gate.api("POST", f"/autotune/slow/{action}", body)

    assert answer.status in (400, 404) and sentence in str(answer.content)


async def test_unknown_upstreams_and_a_missing_plugin_are_not_found(gateway: StartGateway, slow_upstream: str) -> None:
    gate = await started(gateway, slow_upstream)
    assert (await gate.api("GET", "/autotune/absent")).status == 404
    listed = (await gate.api("GET", "/autotune")).content["items"]
    assert [each["name"] for each in listed] == ["slow"] and listed[0]["mode"] == "apply"

    other = await gateway()

    assert (await other.api("GET", "/autotune")).status == 404


async def test_settings_that_contradict_each_other_are_told_at_the_start(gateway: StartGateway) -> None:
    with pytest.raises(ConfigError, match="min_in_flight is above max_in_flight"):
        await gateway(enable=["autotune"], plugins={"autotune": {"min_in_flight": 300}})


async def test_what_was_learned_outlives_a_reload_with_the_same_settings(tmp_path: Path) -> None:
    keeper, tuners = Keeper(), list[Tuner]()
    async with AsyncExitStack() as stack:
        for settings in ({}, {}, {"factor": 4}):
            plugins = {"enable": ["autotune"], "autotune": settings}
            config = Config(gateway={"data_dir": tmp_path}, plugins=plugins)
            built = await build_gateway(config, keeper.holder(), demo=True)
            await stack.enter_async_context(built.running())
            attempts: Any = built.plane.dispatch._chains["tools/call"]
            tuners += [link for link in attempts.__self__.policies if isinstance(link, Tuner)]

        assert tuners[0].upstreams is tuners[1].upstreams
        assert tuners[0].upstreams is not tuners[2].upstreams


async def test_changes_are_counted(gateway: StartGateway, slow_upstream: str) -> None:
    gate = await started(gateway, slow_upstream, "observe")
    await tuned(gate, 0.04, 5)
    await act(gate, "apply")

    changes = "toolway_autotune_changes_total"
    assert (counted(gate, changes, "slow", "timeout", "observed") or 0) >= 1
    assert counted(gate, changes, "slow", "mode", "chosen") == 1
