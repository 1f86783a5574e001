"""The gateway's process is killed, its disk is full, its configuration is broken: what calls and writes see of it."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import aiohttp
import fronts
import pytest
import running
from faults_page import Figures
from keepalive import Lost, Wire
from node import NAPPING, Node, in_front_of
from stage import Replica
from yarl import URL

from toolway_testing.polling import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PLAIN = "drain_delay = 0"
UNLIMITED = resource.RLIM_INFINITY


async def test_the_process_is_killed_while_it_writes(tmp_path: Path, figures: Figures) -> None:
    replica = Replica(NAPPING, tmp_path)
    with replica.stack:
        replica.start()
        with in_front_of(replica, PLAIN) as gateway:
            token = _token(gateway)
            async with _writing(gateway, token) as written:
                await eventually(lambda: len(written) > 60)
                gateway.process.send_signal(signal.SIGKILL)
                await asyncio.to_thread(gateway.process.wait, 10)
        begun = perf_counter()
        with in_front_of(replica, PLAIN) as gateway:
            lasted = perf_counter() - begun
            async with aiohttp.ClientSession() as http:
                found = {name for name in written if await _has(http, gateway, token, name)}

    assert found == set(written)
    figures.add(
        "the gateway's process is killed (kill -9) while it writes, and started again",
        clients="what is in flight is cut; then no connection until it is back; tokens and objects are still there",
        figures=f"0 of {len(written)} acknowledged writes lost",
        recovery=f"serves {lasted:.1f} s after its start, with every tool",
    )


async def test_the_disk_is_full(tmp_path: Path, figures: Figures) -> None:
    replica = Replica(NAPPING, tmp_path)
    with replica.stack:
        replica.start()
        with in_front_of(replica, PLAIN) as gateway:
            token, wire, pid = _token(gateway), Wire(URL(gateway.endpoint)), gateway.process.pid
            async with aiohttp.ClientSession() as http:
                assert await _put(http, gateway, token, "before") < 300
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, UNLIMITED))
                refused = [await _put(http, gateway, token, f"while-{number}") for number in range(5)]
                for _ in range(200):
                    await wire.call(0)
                await wire.close()
                assert await asyncio.to_thread(running.answers, f"{gateway.url}/health")
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
                begun = perf_counter()
                await eventually(lambda: _is_written(http, gateway, token, "after"))
                back = perf_counter() - begun
                found = [await _has(http, gateway, token, name) for name in ("before", "while-0", "after")]
        with sqlite3.connect(tmp_path / "data" / "toolway.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    assert all(status >= 500 for status in refused)
    assert found == [True, False, True]
    figures.add(
        "the disk is full (no file can be written)",
        clients="administrative writes: "
        + ", ".join(f"{status}" for status in sorted(set(refused)))
        + "; calls: nothing",
        figures="0 of 200 calls failed, 5 of 5 writes refused, none of them half done; the database is intact",
        recovery=f"{back:.1f} s after there is room again",
    )


async def test_the_configuration_changes_and_is_broken_under_load(tmp_path: Path, figures: Figures) -> None:
    replica, reload = Replica(NAPPING, tmp_path), 'enable = ["reload"]\n[plugins.reload]\nwatch = false'
    with replica.stack:
        replica.start()
        with in_front_of(replica, PLAIN, plugins=reload) as gateway:
            file = tmp_path / "toolway.toml"
            good = file.read_text()
            async with _calling(gateway) as seen:
                for number in range(5):
                    file.write_text(f'{good}\n[[servers]]\nname = "more-{number}"\n')
                    before = _reloads(gateway)
                    gateway.process.send_signal(signal.SIGHUP)
                    await eventually(lambda before=before: _reloads(gateway) > before, timeout=30)  # type: ignore[misc]
                file.write_text(good + "\n[nonsense\n")
                gateway.process.send_signal(signal.SIGHUP)
                await eventually(
                    lambda: "nonsense" in gateway.log.read_text() or "toolway.toml" in gateway.log.read_text(),
                    timeout=30,
                )
                calls = seen["good"]
                await eventually(lambda: seen["good"] > calls + 100)
                assert await asyncio.to_thread(running.answers, f"{gateway.url}/ready")

    assert set(seen) == {"good"}
    figures.add(
        "the configuration changes 5 times under load, then cannot be read",
        clients="nothing; the last good one stays",
        figures=f"0 of {seen['good']} calls failed",
        recovery="with the next good one",
    )


def _reloads(gateway: Node) -> int:
    return gateway.log.read_text().count("a new configuration is in force")


@asynccontextmanager
async def _calling(gateway: Node) -> AsyncIterator[Counter[str]]:
    """While the context lasts, clients on keep-alive connections call: what came of it."""
    seen, stop = Counter[str](), asyncio.Event()

    async def repeat() -> None:
        wire = Wire(URL(gateway.endpoint))
        while not stop.is_set():
            try:
                await wire.call(0.01)
            except (Lost, OSError, AssertionError) as error:
                seen[repr(error)] += 1
            else:
                seen["good"] += 1
        await wire.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(repeat())
        try:
            yield seen
        finally:
            stop.set()


@asynccontextmanager
async def _writing(gateway: Node, token: str) -> AsyncIterator[list[str]]:
    """While the context lasts, upstreams are added: those that the gateway said were."""
    written = list[str]()

    async def repeat(who: int) -> None:
        async with aiohttp.ClientSession() as http:
            for number in range(1000):
                name = f"upstream-{who}-{number}"
                try:
                    if await _put(http, gateway, token, name) < 300:
                        written.append(name)
                except aiohttp.ClientError:
                    return

    async with asyncio.TaskGroup() as group:
        for who in range(4):
            group.create_task(repeat(who))
        yield written


async def _put(http: aiohttp.ClientSession, gateway: Node, token: str, name: str) -> int:
    """The status of adding an upstream."""
    body = {"name": name, "kind": "http", "endpoints": ["http://127.0.0.1:9/mcp"], "allow_private": True}
    async with http.put(f"{gateway.url}/api/v1/upstreams/{name}", json=body, headers=_bearer(token)) as answer:
        await answer.read()
        return answer.status


async def _is_written(http: aiohttp.ClientSession, gateway: Node, token: str, name: str) -> bool:
    return await _put(http, gateway, token, name) < 300


async def _has(http: aiohttp.ClientSession, gateway: Node, token: str, name: str) -> bool:
    async with http.get(f"{gateway.url}/api/v1/upstreams/{name}", headers=_bearer(token)) as answer:
        await answer.read()
        return answer.status == 200


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _token(gateway: Node) -> str:
    return fronts.admin_token(running.Gateway(gateway.url, gateway.log))
