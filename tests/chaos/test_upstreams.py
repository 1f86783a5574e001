"""Upstreams die, hang, lie and come back, while clients go on calling."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Awaitable
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from time import perf_counter

import pytest
from callers import Outcome, callers, median_ms
from fault_proxy import Fault, FaultProxy
from faults_page import IS_WHOLE, Figures
from stage import Replica, replicas, stage

from toolway_testing.polling import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

TOOL = "test_simple_text"
CALL = ("tools/call", {"name": TOOL, "arguments": {}})
DEADLINE = "timeouts = { first_byte = 2, total = 2 }"
SHORT = DEADLINE if IS_WHOLE else "timeouts = { first_byte = 0.5, total = 0.5 }"


async def test_all_replicas_are_down_and_come_back(tmp_path: Path, figures: Figures) -> None:
    with replicas(tmp_path, 2) as pair, stage(tmp_path, pair, tool=TOOL) as scene:
        async with callers(scene.endpoint) as clients:
            for each in pair:
                each.kill()
            await eventually(lambda: _is(clients.call(TOOL), "circuit_open"))
            refused = [await clients.call(TOOL) for _ in range(200)]
            others = [await clients.call("now") for _ in range(50)]
            listed = await clients.ask("tools/list")
            async with clients.busy(
                CALL, each=1
            ):  # they find it down again and again, so its circuit stays open longer
                await asyncio.to_thread(pair[0].start)
            begun = perf_counter()
            await eventually(lambda: _is(clients.call(TOOL), "good"), timeout=60)
            back = perf_counter() - begun

    assert {each.code for each in refused} == {"circuit_open"} and {each.code for each in others} == {"good"}
    assert listed.code == "good" and back < 60
    figures.add(
        "all replicas of an upstream are down",
        clients="its calls: `circuit_open` with `Retry-After`; its tools stay listed; other upstreams: nothing",
        figures=f"refused in {median_ms(refused):.1f} ms, calls to others take {median_ms(others):.1f} ms (medians)",
        recovery=f"{back:.1f} s after the return of one; at most 60 s",
    )


async def test_an_upstream_hangs_and_goes_on(tmp_path: Path, figures: Figures) -> None:
    with replicas(tmp_path, 1) as one, stage(tmp_path, one, tool=TOOL, settings=SHORT) as scene:
        async with callers(scene.endpoint) as clients:
            one[0].send(SIGSTOP)
            waited = await asyncio.gather(*[clients.call(TOOL) for _ in range(8)])
            refused = [await clients.call(TOOL) for _ in range(100)]
            one[0].send(SIGCONT)
            begun = perf_counter()
            await eventually(lambda: _is(clients.call(TOOL), "good"), timeout=60)
            back = perf_counter() - begun

    assert {each.code for each in waited} == {"upstream_timeout"} and max(each.seconds for each in waited) < 4
    assert {each.code for each in refused} == {"circuit_open"}
    figures.add(
        "an upstream hangs (SIGSTOP)",
        clients="calls in flight: `upstream_timeout` at the deadline, and never repeated; then `circuit_open`",
        figures=f"calls ended after {median_ms(waited) / 1000:.2f} s, later ones in {median_ms(refused):.1f} ms",
        recovery=f"{back:.1f} s after it goes on",
    )


LIES = ("bad_json", "foreign_id", "null_id", "both_outcomes", "html", "drop_in_body", "huge")


async def test_an_upstream_lies(tmp_path: Path, figures: Figures) -> None:
    with (
        replicas(tmp_path, 1, "raw_upstream.py") as one,
        stage(tmp_path, one, tool="echo_raw", breaker="faults = 1000\nminimum_calls = 1000") as scene,
    ):
        before, seen = scene.memory(), dict[str, list[Outcome]]()
        async with callers(scene.endpoint) as clients:
            for lie in LIES:
                await asyncio.to_thread(_order, one[0], lie)
                seen[lie] = [await clients.call("echo_raw") for _ in range(4)]
                await asyncio.to_thread(_order, one[0], None)
                assert (await clients.call("echo_raw")).code == "good"
        grown = scene.memory() - before

    assert {each.code for outcomes in seen.values() for each in outcomes} <= {"upstream_protocol", "upstream_failed"}
    assert grown < 64
    every = [each for outcomes in seen.values() for each in outcomes]
    figures.add(
        f"an upstream lies ({', '.join(LIES)})",
        clients="an error; each counts as a fault (circuits are kept closed in this test)",
        figures=f"{len(every)} lies, {len(every)} errors, in {median_ms(every):.1f} ms (median); "
        f"{grown:.0f} MiB more memory at most, with answers of 64 MiB",
        recovery="the next good answer",
    )


NETWORK: dict[Fault, tuple[set[str], str]] = {
    "latency": ({"good"}, "50 ms later"),
    "jitter": ({"good"}, "0 to 200 ms later"),
    "slow": ({"good", "upstream_timeout"}, "16 bytes every 50 ms"),
    "cut": ({"upstream_failed", "upstream_protocol", "circuit_open"}, "cut after 40 bytes"),
    "reset": ({"upstream_failed", "upstream_unreachable", "circuit_open"}, "reset after each request"),
    "hang": ({"upstream_timeout", "circuit_open"}, "requests are swallowed"),
    "refuse": ({"upstream_unreachable", "upstream_failed", "circuit_open"}, "connections are refused"),
    "garbage": ({"upstream_failed", "upstream_protocol", "upstream_unreachable", "circuit_open"}, "noise as answers"),
}


@pytest.mark.parametrize("fault", NETWORK)
async def test_the_network_fails(tmp_path: Path, figures: Figures, fault: Fault) -> None:
    expected, what = NETWORK[fault]
    with replicas(tmp_path, 1, "raw_upstream.py") as one:
        async with FaultProxy(one[0].port).running() as proxy:
            opening = stage(tmp_path, one, proxy.url, tool="echo_raw", settings=DEADLINE if fault == "slow" else SHORT)
            scene = await asyncio.to_thread(opening.__enter__)
            try:
                async with callers(scene.endpoint) as clients:
                    await proxy.set(fault)
                    outcomes = [await clients.call("echo_raw") for _ in range(7)]
                    others = [await clients.call("now") for _ in range(20)]
                    await proxy.set("")
                    begun = perf_counter()
                    await eventually(lambda: _is(clients.call("echo_raw"), "good"), timeout=60)
                    back = perf_counter() - begun
            finally:
                await asyncio.to_thread(opening.__exit__, None, None, None)

    codes = {each.code for each in outcomes}
    told = ", then ".join(f"`{code}`" for code in dict.fromkeys(each.code for each in outcomes))
    assert codes <= expected and {each.code for each in others} == {"good"}
    figures.add(
        f"network: {what}",
        clients="good answers, late" if codes == {"good"} else told,
        figures=f"first call {outcomes[0].seconds * 1000:.0f} ms, last one {outcomes[-1].seconds * 1000:.1f} ms, "
        f"calls to others {median_ms(others):.1f} ms",
        recovery="at once" if back < 1 else f"{back:.1f} s after it ends",
    )


async def _is(outcome: Awaitable[Outcome], code: str) -> bool:
    return (await outcome).code == code


def _order(replica: Replica, trick: str | None) -> None:
    body = json.dumps({"trick": trick, "method": "tools/call"}).encode()
    address = replica.url.removesuffix("/mcp") + "/_order"
    with urllib.request.urlopen(urllib.request.Request(address, body, method="PUT"), timeout=10):
        pass
