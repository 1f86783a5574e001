"""The sections of a report."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from toolway.plugin import Kernel
from toolway_diagnostics.bundle import COLLECT_SECONDS, Collector, contributed, in_thread, of, rows
from toolway_diagnostics.checks import of_running
from toolway_diagnostics.configuration import told
from toolway_diagnostics.database import statistics
from toolway_diagnostics.metrics import MetricSnapshot
from toolway_diagnostics.slow_calls import SlowCalls
from toolway_diagnostics.stacks import tasks, threads
from toolway_diagnostics.versions import about, packages
from toolway_diagnostics.watch import Watch


def sections(kernel: Kernel, watch: Watch, metrics: MetricSnapshot, slow: SlowCalls) -> dict[str, Collector]:
    """What helps most comes first."""
    lines = watch.memory.lines

    async def findings() -> Any:
        return [each.model_dump() for each in await of_running(kernel, watch, COLLECT_SECONDS * 0.9)]

    async def stored() -> Any:
        return await statistics(kernel.database)

    return {
        "checks": findings,
        "gateway": in_thread(lambda: gateway(kernel, watch)),
        "upstreams": of(lambda: upstreams(kernel)),
        "errors": of(lines.errors.lines),
        "slow calls": of(lambda: list(slow.rows)),
        "configuration": in_thread(lambda: told(kernel.config, kernel.control.files())),
        "plugins": of(lambda: list(kernel.plugins)),
        **contributed(kernel),
        "database": stored,
        "metrics": of(metrics.rows),
        "tasks": tasks,
        "threads": of(threads),
        "packages": in_thread(lambda: rows(packages(), "package", "version")),
        "logs": of(lines.logs.lines),
    }


def gateway(kernel: Kernel, watch: Watch) -> dict[str, Any]:
    """What runs, and where."""
    snapshot = kernel.catalog.snapshot
    return {
        "toolway": version("toolway"),
        "phase": kernel.phase,
        "seconds_since_start": round(watch.age),
        "snapshot": snapshot.number,
        "servers": {name: len(server.listed("tool")) for name, server in snapshot.servers.items()},
        "worst_lag_of_the_last_minute": round(watch.worst_lag, 4),
        **about(),
    }


def upstreams(kernel: Kernel) -> list[dict[str, Any]]:
    """How each is."""
    return [
        {
            "upstream": name,
            "kind": view.upstream.kind,
            "status": view.status,
            "since": view.since,
            "error": view.error,
            "items": len(view.discovery.items) if view.discovery else 0,
            "problems": list(view.discovery.problems) if view.discovery else [],
        }
        for name, view in sorted(kernel.catalog.snapshot.upstreams.items())
    ]
