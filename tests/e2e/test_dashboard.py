"""The alert rules and the dashboard of contrib/, against a real Prometheus that scrapes a real gateway under load."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import running

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually
from toolway_testing.ports import free_port
from toolway_testing.prometheus import Prometheus, checked, prometheus

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
RULES, RULE_TESTS = CONTRIB / "prometheus/toolway.rules.yml", CONTRIB / "prometheus/toolway.test.yml"
DASHBOARD = json.loads((CONTRIB / "grafana/toolway.json").read_text(encoding="utf-8"))
HOW_TO = Path(__file__).resolve().parents[2] / "docs/how-to/prometheus.md"
PLUGINS = ("tokens", "server-keys", "rate-limit", "autotune", "breaker", "balancer", "prometheus")
SETTINGS: dict[str, Any] = {
    "rate-limit": {"rules": [{"name": "anybody", "by": ["global"], "rate": "100/s", "burst": 5}]},
    "autotune": {"interval": 1, "min_samples": 3},
    "breaker": {"faults": 2},
    "balancer": {"fault_limit": 2, "strategy": "round-robin"},
}
VARIABLES = {"$__rate_interval": "10s", "$job": ".*", "$instance": ".*", "$upstream": ".*"}
HISTOGRAMS = ("toolway_call_seconds", "toolway_attempt_seconds")
SECONDS = 45.0


def queries() -> Iterator[tuple[str, str]]:
    """Every query of the dashboard with the panel that it is in; variables have values as Grafana gives them."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression


def named(text: str) -> set[str]:
    """The metrics that expressions name, without the endings of histograms."""
    return {re.sub(r"_bucket$", "", each) for each in re.findall(r"\btoolway_\w+", text)}


def test_every_alert_is_told_in_words_and_has_a_test() -> None:
    rules, tests = RULES.read_text(encoding="utf-8"), RULE_TESTS.read_text(encoding="utf-8")
    alerts = re.findall(r"- alert: (\w+)", rules)

    assert len(alerts) == rules.count("summary:") == rules.count("description:") == rules.count("severity: ") - 1
    assert [alert for alert in alerts if f'"{alert}"' not in tests] == []


@pytest.mark.server
def test_promtool_runs_the_tests_of_the_rules() -> None:
    assert "SUCCESS" in checked("test", "rules", str(RULE_TESTS))


def test_what_rules_and_dashboard_name_is_in_the_how_to() -> None:
    documented = {f"toolway_{each}" for each in re.findall(r"`(\w+)`", HOW_TO.read_text(encoding="utf-8"))}

    assert named(RULES.read_text(encoding="utf-8")) - documented == set()
    assert named(" ".join(expression for _, expression in queries())) - documented == set()


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_query_is_answered_with_data_while_there_is_load(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLWAY_TEST_TOKEN", "a token for the upstream")
    with running.raw_upstream(tmp_path) as url:
        gate = await started(gateway, url)
        with prometheus(tmp_path, gate.url.removeprefix("http://"), gate.token, [RULES]) as server:
            async with load(gate):
                unanswered = list(queries())
                with suppress(TimeoutError, AssertionError):
                    await eventually(lambda: all_answered(server, unanswered), SECONDS)
            rules = await asyncio.to_thread(server.rules)
            missing = [name for name in named(RULES.read_text("utf-8")) if not await asked(server, name)]

    assert unanswered == []
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} == {("ok", "")}
    assert missing == []


async def all_answered(server: Prometheus, unanswered: list[tuple[str, str]]) -> bool:
    """Forget the queries that have data."""
    for each in list(unanswered):
        if await asked(server, each[1]):
            unanswered.remove(each)
    return not unanswered


async def asked(server: Prometheus, expression: str) -> bool:
    """Whether there is a number in the answer; of a histogram, in that for its counts."""
    is_histogram = expression in HISTOGRAMS
    found = await asyncio.to_thread(server.query, f"{expression}_count" if is_histogram else expression)
    return any(each["value"][1] != "NaN" for each in found)


async def started(gateway: StartGateway, url: str) -> RunningGateway:
    """One of the upstream's endpoints is dead, so that calls are repeated and its circuit opens."""
    dead = f"http://127.0.0.1:{free_port()}/mcp"
    auth = {"type": "bearer", "token": "env:TOOLWAY_TEST_TOKEN"}
    pair = {"name": "pair", "kind": "http", "endpoints": [url, dead], "allow_private": True, "auth": auth}
    everything = {"name": "all", "include": ["*/*"], "access": "public"}
    gate = await gateway(demo=True, enable=PLUGINS, plugins=SETTINGS, upstreams=[pair], servers=[everything])
    names = {"demo__echo", "pair__echo_raw"}
    await eventually(lambda: names <= {each.name for each in gate.gateway.plane.view("all").listed("tool")})
    return gate


@asynccontextmanager
async def load(gate: RunningGateway) -> AsyncIterator[None]:
    """Calls of several kinds until the context ends."""

    async def forever() -> None:
        while True:
            both = gate.call("pair__echo_raw", {"a": 1}), gate.call("pair__unknown")
            await asyncio.gather(*both, *(gate.call("demo__echo", {"text": "hello"}) for _ in range(10)))
            await gate.api("GET", "/upstreams", token="a.bad.token")
            await asyncio.sleep(0.2)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
