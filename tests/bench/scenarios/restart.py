"""An upstream that is killed and started again: the time until calls of the same client session reach it."""

from __future__ import annotations

import statistics
import time

import gateways
import machine
import nginx
from bench import Bench
from gateways import echo_table, with_session
from outcome import Outcome, Table, Verdict
from target import Target

from toolway_testing.ports import free_port

GOAL = 1.0
DOWN_SECONDS, LONGEST_WAIT, POLL_SECONDS = 1.0, 60.0, 0.02


def run(bench: Bench) -> Outcome:
    """Kill it once per round."""
    outcome = Outcome("restart")
    port = free_port()
    folder = bench.folder / "mortal"
    folder.mkdir()
    with bench.closing():
        with nginx.upstream(folder, port) as direct:
            gateway = bench.toolway(bench.fastest("restarted", tables=echo_table(direct)))
            clients = {"legacy session": with_session(gateway), "modern": gateway}
            _require(clients.values())
        waits: dict[str, list[float]] = {name: [] for name in clients}
        for name, client in clients.items():
            for _ in range(bench.rounds):
                _fail_for_a_while(client)
                with machine.alone(), nginx.upstream(folder, port):
                    waits[name].append(_until_answered(client))
    lines = [[name, f"{statistics.median(each):.3f}", f"{max(each):.3f}"] for name, each in waits.items()]
    outcome.tables.append(Table("from a restarted upstream to its next answer, s", [["", "median", "worst"], *lines]))
    outcome.figures = dict(waits)
    for name, each in waits.items():
        outcome.verdicts.append(Verdict(f"used again, {name}, worst", max(each), "at most", GOAL, " s"))
    return outcome


def _fail_for_a_while(client: Target) -> None:
    """Calls while nobody is there, so that everything that remembers failures has something to remember."""
    until = time.monotonic() + DOWN_SECONDS
    while time.monotonic() < until:
        _is_answered(client)
        time.sleep(POLL_SECONDS)


def _until_answered(client: Target) -> float:
    begin = time.perf_counter()
    while not _is_answered(client) and time.perf_counter() - begin < LONGEST_WAIT:
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - begin


def _is_answered(client: Target) -> bool:
    return b'"structuredContent"' in gateways.answer_to(client, client.call())


def _require(clients: object) -> None:
    for client in clients:  # type: ignore[attr-defined]
        if not _is_answered(client):
            raise RuntimeError(f"{client.name} is not answered while the upstream is up")
