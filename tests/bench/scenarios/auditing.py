"""What an audit trail of all calls costs: noticing a call on its way, and writing its record beside the requests."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
from bench import Bench
from outcome import Outcome, Table, Verdict

from toolway.catalog.store import Store
from toolway.clock import SystemClock
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, ClientProfile, Reply, Target
from toolway.hookspecs.system import MigrationSource
from toolway.keyring import open_ring
from toolway.migrations.run import kernel_history, migrate
from toolway.redaction import Redaction

CALLS, BATCH = 2_000, 500
NOTICE_GOAL, WRITE_GOAL = 5.0, 60.0
MICROSECONDS = 1e6
SECRETS = frozenset(f"secret-number-{number}" for number in range(10))

Samples = dict[str, list[float]]


def run(bench: Bench) -> Outcome:
    """Measure in this process, as the gateway does it in its own."""
    outcome, samples = Outcome("auditing"), Samples()
    for _ in range(bench.rounds):
        with machine.alone():
            for name, seconds in asyncio.run(_measure()):
                samples.setdefault(name, []).append(seconds * MICROSECONDS)
    lines = [[name, f"{statistics.median(seen):.3f}", f"{max(seen):.3f}"] for name, seen in samples.items()]
    outcome.tables.append(Table("µs each", [["", "median", "worst"], *lines]))
    outcome.figures = dict(samples)
    noticed, written = (statistics.median(samples[name]) for name in ("noticed", "written, SQLite"))
    outcome.verdicts = [
        Verdict("a call that is noticed", noticed, "at most", NOTICE_GOAL, " µs"),
        Verdict("its record that is written", written, "at most", WRITE_GOAL, " µs"),
    ]
    return outcome


async def _measure() -> list[tuple[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.connect(f"sqlite+aiosqlite:///{Path(folder) / 'toolway.db'}")
        try:
            return [each async for each in _measured(store)]
        finally:
            await store.close()


async def _measured(store: Store) -> Any:
    from toolway_audit.buffer import Buffer
    from toolway_audit.calls import Calls
    from toolway_audit.chain import Chain
    from toolway_audit.marks import Marks
    from toolway_audit.models import Table as AuditTable
    from toolway_audit.verifying import Verifier
    from toolway_audit.writing import Scribe

    await migrate(store, [kernel_history(), MigrationSource("audit", "toolway_audit:migrations", AuditTable.metadata)])
    clock = SystemClock()
    scribe, marks = Scribe("node", Redaction(lambda: SECRETS), tuple), Marks(await open_ring(store, "r" * 40, clock))
    chain, buffer = Chain(store, marks, scribe), Buffer(CALLS)
    watcher, calls = Calls(buffer, clock, only_failed=False), list(_calls())
    began = time.perf_counter()
    for call in calls:
        watcher.begin(call)
    watcher.done(iter(calls))
    yield "noticed", (time.perf_counter() - began) / CALLS
    began = time.perf_counter()
    entries = [scribe.entry(event) for event in buffer.take(CALLS)]
    yield "prepared", (time.perf_counter() - began) / CALLS
    began = time.process_time()
    for start in range(0, CALLS, BATCH):
        async with store.write() as tx:
            await chain.append(tx, entries[start : start + BATCH], clock.now())
    yield "written, SQLite", (time.process_time() - began) / CALLS
    began = time.process_time()
    verdict = await Verifier(store, chain, marks).verify()
    yield "verified, SQLite", (time.process_time() - began) / verdict.checked


def _calls() -> Iterator[Call]:
    client, ended = ClientProfile("2026-07-28"), time.monotonic()
    for number in range(CALLS):
        principal = Principal(f"user:u{number % 100}", credential=f"credential-{number % 100}")
        target = Target("up", f"tool{number % 50}")
        call = Call("tools/call", {}, {}, "all", principal, client, None, 0.0, target=target)  # type: ignore[arg-type]
        call.reply, call.outcome, call.ended, call.seconds = Reply(), "ok", ended, 0.001
        yield call
