"""The plugin in a gateway: who reads the page, where it is, and what is on it."""

from __future__ import annotations

import gzip
import random
import string
from pathlib import Path

import aiohttp
import pytest
from watched import OPENMETRICS, TRACE, page, tracing

from toolway.config.tables import PluginTables
from toolway.plugin import ConfigError
from toolway_testing import trusting
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually
from toolway_testing.ports import free_port
from toolway_testing.prometheus import checked, sample, series_of

CALLS = 'toolway_calls_total{method="tools/call",server="all",upstream="demo",outcome="ok"}'


async def started(gateway: StartGateway, *others: str, **settings: object) -> RunningGateway:
    """With the demo server's tools."""
    gate = await gateway(demo=True, enable=["prometheus", *others], plugins={"prometheus": settings})
    await gate.gateway.kernel.catalog.refresh("demo")
    return gate


async def status(url: str, token: str = "") -> int:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        return answer.status


async def test_calls_are_on_the_page_in_both_formats(gateway: StartGateway) -> None:
    gate = await started(gateway)
    await gate.call("demo__add", {"a": 1, "b": 2})

    plain, openmetrics = await page(gate), await page(gate, OPENMETRICS)

    assert sample(plain, CALLS) == sample(openmetrics, CALLS) == 1
    assert "# TYPE toolway_calls_total counter" in plain
    assert "# TYPE toolway_calls counter" in openmetrics and openmetrics.endswith("\n# EOF\n")


async def test_the_state_of_the_gateway_is_on_the_page(gateway: StartGateway) -> None:
    from toolway import __version__

    gate = await started(gateway)
    gate.gateway.kernel.metrics.sample()

    told = await page(gate)

    assert sample(told, f'toolway_build_info{{version="{__version__}"}}') == 1
    assert sample(told, 'toolway_upstream_up{upstream="demo"}') == 1
    assert sample(told, 'toolway_upstream_items{upstream="demo"}') > 3
    assert sample(told, "toolway_workers") == sample(told, "toolway_worker_starts_total") == 1
    for name in ("resident_memory_bytes", "open_fds", "max_fds", "cpu_seconds_total"):
        assert sample(told, f"toolway_process_{name}") > 0, name


@pytest.mark.server
async def test_promtool_finds_nothing_to_complain_of(gateway: StartGateway) -> None:
    gate = await started(gateway)
    await gate.call("demo__add", {"a": 1, "b": 2})
    gate.gateway.kernel.metrics.sample()

    assert checked("check", "metrics", given=await page(gate)) == ""


async def test_whoever_has_no_permission_reads_nothing(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(trusting.installed(tmp_path / "installed")))
    gate = await started(gateway, "trusting")
    await gate.api("POST", "/users", {"name": "fred"})

    assert await status(f"{gate.url}/metrics") == 401
    assert await status(f"{gate.url}/metrics", "wrong") == 401
    await eventually(lambda: _is(gate, "is-fred", 403))
    assert await status(f"{gate.url}/metrics", gate.token) == 200


async def _is(gate: RunningGateway, token: str, expected: int) -> bool:
    return await status(f"{gate.url}/metrics", token) == expected


async def test_a_public_page_is_for_everybody(gateway: StartGateway) -> None:
    gate = await started(gateway, public=True)

    assert await status(f"{gate.url}/metrics") == 200


async def test_an_address_of_its_own_is_in_place_of_the_gateway_s(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(trusting.installed(tmp_path / "installed")))
    bind = f"127.0.0.1:{free_port()}"
    gate = await started(gateway, "trusting", bind=bind)
    await gate.api("POST", "/users", {"name": "fred"})
    url = f"http://{bind}/metrics"

    assert [await status(url, token) for token in ("", "wrong", gate.token)] == [401, 401, 200]
    await eventually(lambda: _own(url, "is-fred", 403))
    assert await status(f"{gate.url}/metrics", gate.token) == 404
    assert await status(f"http://{bind}/api/v1/health", gate.token) == 404
    assert sample(await page(gate, OPENMETRICS, url=f"http://{bind}"), "toolway_metrics_lost_total") == 0


async def _own(url: str, token: str, expected: int) -> bool:
    return await status(url, token) == expected


async def test_its_own_address_stays_over_a_reload_and_moves_with_one(gateway: StartGateway) -> None:
    first, second = (f"127.0.0.1:{free_port()}" for _ in range(2))
    gate = await started(gateway, bind=first, public=True)
    await gate.call("demo__add", {"a": 1, "b": 2})

    await gate.reload(plugins=PluginTables.model_validate(_tables(bind=first, public=False)))
    assert await status(f"http://{first}/metrics") == 401
    assert sample(await page(gate, url=f"http://{first}"), CALLS) == 1

    await gate.reload(plugins=PluginTables.model_validate(_tables(bind=second, public=True)))
    assert sample(await page(gate, url=f"http://{second}"), CALLS) == 1
    await eventually(lambda: _is_closed(f"http://{first}/metrics"))


def _tables(**settings: object) -> dict[str, object]:
    return {"enable": ["prometheus"], "prometheus": settings}


async def _is_closed(url: str) -> bool:
    try:
        await status(url)
    except aiohttp.ClientConnectionError:
        return True
    return False


async def test_an_address_that_is_taken_is_told(gateway: StartGateway) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"free the port or change plugins\.prometheus\.bind"):
            await started(gateway, bind=bind)


@pytest.mark.parametrize("bind", ["9464", "http://127.0.0.1:9464", "127.0.0.1:0"])
async def test_an_address_that_is_none_is_refused(gateway: StartGateway, bind: str) -> None:
    with pytest.raises(ConfigError, match="bind"):
        await started(gateway, bind=bind)


async def test_the_page_is_compressed_for_those_who_like_it(gateway: StartGateway) -> None:
    gate = await started(gateway, public=True)
    gate.gateway.kernel.metrics.sample()
    await gate.call("demo__add", {"a": 1, "b": 2})
    likes = {"accept-encoding": "gzip"}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.get(f"{gate.url}/metrics", headers=likes) as answer,
    ):
        assert answer.headers["content-encoding"] == "gzip"
        assert b"toolway_sessions" in gzip.decompress(await answer.read())

    assert "toolway_sessions" in await page(gate)


async def test_times_of_calls_bear_the_trace_of_the_last_one(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tracing(tmp_path / "installed")))
    gate = await started(gateway, "tracing")
    await page(gate)
    await gate.call("demo__add", {"a": 1, "b": 2})

    lines = (await page(gate, OPENMETRICS)).splitlines()

    [marked] = [line for line in lines if "trace_id" in line]
    assert marked.startswith("toolway_call_seconds_bucket{")
    assert f'# {{trace_id="{TRACE}"}} ' in marked


async def test_names_that_clients_make_up_add_no_series(gateway: StartGateway) -> None:
    gate = await started(gateway)
    pick = random.Random(7)

    async def rummage() -> None:
        name = "".join(pick.choices(string.ascii_lowercase, k=12))
        await gate.call(f"demo__{name}")
        await gate.mcp(name)
        await gate.mcp("tools/list", server=name)
        async with gate.http.request(name.upper()[:7], f"{gate.url}/{name}") as answer:
            await answer.read()
        await gate.api("GET", f"/upstreams/{name}")

    await rummage()
    gate.gateway.kernel.metrics.sample()
    await page(gate)
    before = series_of(await page(gate))
    for _ in range(60):
        await rummage()

    assert series_of(await page(gate)) - before == set()


async def test_secrets_in_addresses_of_endpoints_are_not_told(
    gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLWAY_TEST_SECRET", "canary-4711")
    gate = await started(gateway, public=True)
    kernel = gate.gateway.kernel
    await kernel.secrets.get("env:TOOLWAY_TEST_SECRET")
    opened = kernel.metrics.counter("toolway_opened_total", "Opened.", {"endpoint": None})
    opened.add(2, "https://up.test/mcp?key=canary-4711")
    opened.add(3, "https://up.test/mcp?key=[redacted]")

    told = await page(gate)

    assert "canary" not in told
    assert sample(told, 'toolway_opened_total{endpoint="https://up.test/mcp?key=[redacted]"}') == 5
