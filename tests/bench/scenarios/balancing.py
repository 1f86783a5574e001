"""One of three endpoints ten times slower: what clients wait with and without the plugin, and what a choice costs."""

from __future__ import annotations

import statistics
import time
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import checker
import machine
import nginx
from bench import Bench
from checker import Checked
from gateways import Setup
from load import LoadFailed
from msgspec import Raw
from outcome import Outcome, Table, Verdict
from running import upstream_table

from toolway.clock import SystemClock
from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import Call, ClientProfile, Endpoint, Reply, Target, Upstream

FAST, SLOW = ("after40-a", "after40-b"), "after400"
CONCURRENCY = 8
WARM_SECONDS = 1.0
PLUGIN = "balancer"
SLOWDOWN_GOAL, COST_GOAL = 1.5, 10.0
CHOICES = 20_000
STRATEGIES = ("peak-ewma", "least-request", "round-robin", "weighted", "hash")


def run(bench: Bench) -> Outcome:
    """Compare p99 with that of a gateway that has the two healthy endpoints only."""
    outcome = Outcome("balancing")
    setups = {"healthy": (True, FAST), "balanced": (True, (*FAST, SLOW)), "in turn": (False, (*FAST, SLOW))}
    with bench.closing():
        targets = {name: bench.toolway(_setup(bench, name, *what)) for name, what in setups.items()}
        seen: dict[str, list[Checked]] = {name: [] for name in targets}
        for number in range(bench.rounds + 1):
            with machine.alone():
                for name, target in targets.items():
                    checked = checker.check([target], CONCURRENCY, seconds=bench.seconds if number else WARM_SECONDS)
                    if checked.wrong:
                        raise LoadFailed(f"{name}: {checked.wrong}")
                    if number:
                        seen[name].append(checked)
    outcome.tables.append(_table(seen))
    outcome.figures["p99"] = {name: [each.p99 for each in found] for name, found in seen.items()}
    balanced, in_turn = (_slowdown(seen[name], seen["healthy"]) for name in ("balanced", "in turn"))
    outcome.verdicts = [
        Verdict("p99 with a slow endpoint, of that without", balanced, "at most", SLOWDOWN_GOAL, "x"),
        Verdict("p99 with a slow endpoint, in turn", in_turn, "at least", SLOWDOWN_GOAL, "x"),
    ]
    _judge_cost(bench, outcome)
    return outcome


def _median(seen: list[Checked], figure: str) -> float:
    return float(statistics.median(getattr(each, figure) for each in seen))


def _slowdown(seen: list[Checked], healthy: list[Checked]) -> float:
    """How much longer p99 is: the median of the ratios within each round."""
    return statistics.median(one.p99 / other.p99 for one, other in zip(seen, healthy, strict=True))


def _setup(bench: Bench, name: str, is_balanced: bool, endpoints: tuple[str, ...]) -> Setup:
    table = upstream_table("echo", *(nginx.endpoint(bench.direct, each) for each in endpoints))
    return Setup(name, plugins=(*bench.runner, *([PLUGIN] if is_balanced else [])), tables=table)


def _table(seen: dict[str, list[Checked]]) -> Table:
    """One line per gateway."""
    lines = [["", "req/s", "p50 ms", "p99 ms"]]
    for name, found in seen.items():
        p50, p99 = (f"{_median(found, figure) / 1000:.1f}" for figure in ("p50", "p99"))
        lines.append([name, f"{_median(found, 'rate'):.0f}", p50, p99])
    return Table(f"tools/call of 40 ms, one of three endpoints 400 ms, {CONCURRENCY} connections", lines)


def _judge_cost(bench: Bench, outcome: Outcome) -> None:
    """In this process, as the gateway does it in its own."""
    costs: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    for _ in range(bench.rounds):
        with machine.alone():
            for name, seen in costs.items():
                seen.append(_cost(name))
    lines = [[name, f"{statistics.median(seen):.2f}", f"{max(seen):.2f}"] for name, seen in costs.items()]
    outcome.tables.append(Table("choice, begin and end of an attempt, µs", [["", "median", "worst"], *lines]))
    outcome.figures["cost"] = costs
    cost = statistics.median(costs[STRATEGIES[0]])
    outcome.verdicts.append(Verdict("choice, begin and end of an attempt", cost, "at most", COST_GOAL, " µs"))


def _cost(strategy: str) -> float:
    """Microseconds of one attempt in the balancer."""
    from toolway_balancer.balancer import AdaptiveBalancer
    from toolway_balancer.settings import BalancerSettings

    endpoints = tuple(Endpoint(f"http://{name}.example/mcp") for name in "abc")
    upstream = Upstream("echo", "http", UpstreamSettings(name="echo", kind="http"), endpoints)
    catalog: Any = SimpleNamespace(snapshot=SimpleNamespace(upstreams={"echo": UpstreamView(upstream)}))
    settings = BalancerSettings.model_validate({"strategy": strategy})
    balancer = AdaptiveBalancer(catalog, SystemClock(), settings, Random(1))
    client, who, to = ClientProfile("2026-07-28"), Principal("user:u1"), Target("echo", "echo")
    call, reply = Call("tools/call", {}, {}, "all", who, client, cast(Any, None), 0.0, target=to), Reply(Raw(b"{}"))
    began = time.perf_counter()
    for _ in range(CHOICES):
        attempt = Attempt(call, upstream, balancer.pick(endpoints, call))
        balancer.begin(attempt)
        attempt.seconds, attempt.reply = 0.01, reply
        balancer.done(attempt)
        balancer.done(attempt)
    return (time.perf_counter() - began) / CHOICES * 1e6
