"""The configuration changes again and again under load, in every way there is: nothing is lost, nothing stays."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import pytest
from faults_page import IS_WHOLE, Figures
from recalling import Recalling, crowd
from reloading import Reloading, gateway

from toolway_testing.polling import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900 if IS_WHOLE else 240)]

ROUNDS = 10 if IS_WHOLE else 1
"""How often the twenty reloads are made."""
MORE_MEMORY = 20 * 1024
"""KiB (proportional set size) that a worker may have more than before: half of it comes with the load alone."""
BROKEN = "\nnothing of the kind\n"


@pytest.mark.parametrize("workers", [1, 2] if IS_WHOLE else [2])
async def test_twenty_reloads_under_load_lose_nothing_and_leave_nothing_behind(
    tmp_path: Path, figures: Figures, workers: int
) -> None:
    with gateway(tmp_path, workers) as (node, files, token):
        async with aiohttp.ClientSession() as http:
            operated = Reloading(node, files, token, http)
            await operated.recall("stdio")
            async with crowd(node.endpoint) as clients:
                await eventually(lambda: min(clients.seen["read"], clients.seen["call in one session"]) > 3)
                first = await Evidence.of(operated)
                await Story(operated, clients, 0).happens()
                after = await operated.census()
                for number in range(1, ROUNDS):
                    await Story(operated, clients, number).happens()
                last = await Evidence.of(operated)
                assert clients.seen["stream"] == 0, "no stream has ended"
                node.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(node.process.wait, 20) == 0

    assert clients.failures == {}
    assert clients.seen["stream"] == 2, "they end when the gateway does"
    last.follows(first)
    for before, end in zip(first.census, last.census, strict=True):
        assert end["memory"] - before["memory"] < MORE_MEMORY * (2 if IS_WHOLE else 1)
        assert abs(end["tasks"] - before["tasks"]) < 10
        assert end["files"] - before["files"] < 15
    memory = [round(sum(each["memory"] for each in every) / 1024) for every in (first.census, after, last.census)]
    outcomes = [each["outcome"] for each in operated.reports]
    figures.add(
        f"the configuration changes {len(outcomes)} times under load, {workers} worker{'s' * (workers > 1)}: by "
        "SIGHUP, saved files, the API and the command; upstreams, servers, rules, plugins, a credential; some broken",
        clients="nothing: calls, reads, sessions and streams go on",
        figures=f"0 of {clients.seen.total()} requests and streams failed, {outcomes.count('refused')} refused; "
        f"memory {memory[0]} MiB before, {memory[1]} MiB after 20, {memory[2]} MiB after {len(outcomes)}",
        recovery=f"in force after {operated.longest:.1f} s at most; the process of the stdio server, its sessions and "
        "what the cache keeps live on",
    )


@dataclass
class Evidence:
    """What would tell that something which did not change was begun anew."""

    census: list[Any]
    process: list[Any]
    http: Any

    @classmethod
    async def of(cls, operated: Reloading) -> Evidence:
        """As it is now."""
        processes, [http] = await operated.recall("stdio"), await operated.recall("http")
        return cls(await operated.census(), processes, http)

    def follows(self, before: Evidence) -> None:
        """Everything lives on; a worker reads the resource once, and begins its session, when a client first comes."""
        for earlier, now in zip(before.process, self.process, strict=True):
            assert (now["pid"], now["sessions"]) == (earlier["pid"], earlier["sessions"])
        assert {each["reads"] for each in self.process} in ({1}, {0, 1})
        assert self.http["sessions"] - before.http["sessions"] < len(self.process)


@dataclass
class Story:
    """Twenty reloads, as an operator makes them."""

    operated: Reloading
    clients: Recalling
    number: int

    async def happens(self) -> None:
        """All of them, in this order."""
        operated, files = self.operated, self.operated.files
        ways: list[Callable[[], Awaitable[Any]]] = [operated.hang_up, operated.save, operated.post, operated.command]
        for way in ways:
            files.notes = f"{self.number} {way.__name__}"
            assert [*await self.reload(way)] == ["upstreams.changing"]
        await self.a_plugin_comes_and_another_goes()
        await self.a_broken_file_changes_nothing()
        await self.a_credential_rotates()
        for way in ways[:2]:
            files.more = f'\n[[servers]]\nname = "more-{self.number}-{ways.index(way)}"\n'
            assert any(path.startswith("servers.more") for path in await self.reload(way))
        for way in ways[2:]:
            files.rate += 1
            assert [*await self.reload(way)] == ["plugins.rate-limit.rules"]
        files.threshold += 1
        assert [*await self.reload(ways[0])] == ["plugins.breaker.minimum_calls"]
        for way in ways[1:3]:
            files.page_size += 1
            assert [*await self.reload(way)] == ["gateway.page_size"]
        await self.what_needs_a_restart_is_told()
        await self.a_drop_in_comes_and_goes()
        await self.the_plugins_are_as_before()

    async def reload(self, way: Callable[[], Awaitable[Any]], outcome: str = "in force") -> dict[str, bool]:
        """What was different, and whether it needs a restart; clients of all sorts were answered meanwhile."""
        begun = perf_counter()
        report = await way()
        self.operated.longest = max(self.operated.longest, perf_counter() - begun)
        assert report["outcome"] == outcome, report
        assert len(report["nodes"]) == self.operated.files.workers
        return {each["path"]: each["needs_restart"] for each in report["differences"]}

    async def a_plugin_comes_and_another_goes(self) -> None:
        """Another one offers an API that was there, and metrics that were not."""
        operated, files = self.operated, self.operated.files
        await operated.api("GET", "/api/v1/tokens")
        files.enable = ["prometheus" if each == "tokens" else each for each in files.enable]
        different = await self.reload(operated.post)
        assert different.keys() >= {"plugins.enable.prometheus", "plugins.enable.tokens"}
        assert "toolway_reloads_total" in await operated.api("GET", "/metrics")
        with pytest.raises(AssertionError, match="404"):
            await operated.api("GET", "/api/v1/tokens")

    async def a_broken_file_changes_nothing(self) -> None:
        """It is told in the log, by every worker in the API and to the command, and counted; until it is mended."""
        operated, files = self.operated, self.operated.files
        before, files.more = files.more, BROKEN
        await self.reload(operated.save, "refused")
        await eventually(lambda: "is not TOML" in operated.node.log.read_text())
        await eventually(self._is_told_by_everyone)
        assert "is not TOML" in (await operated.toolway("status")).stdout
        counted = re.findall(
            r'toolway_reloads_total{[^}]*"refused"[^}]*} ([0-9]+)', await operated.api("GET", "/metrics")
        )
        assert counted == [str(self.number + 1)]
        files.more = before
        await self.reload(operated.hang_up)
        assert "is not TOML" not in (await operated.toolway("status")).stdout

    async def _is_told_by_everyone(self) -> bool:
        """Whether each worker says that the last one was refused; others than the one that led hear of it soon."""
        asked = [await self.operated.api("GET", "/api/v1/health") for _ in range(4 * self.operated.files.workers)]
        details = [each["detail"] for health in asked for each in health["checks"] if each["name"] == "reload"]
        return all("is not TOML" in detail for detail in details)

    async def a_credential_rotates(self) -> None:
        """The next call has the new one; the conversation with the upstream goes on."""
        operated = self.operated
        operated.files.rotate(f"secret-{self.number}")
        await self.reload(operated.post)
        async with aiohttp.ClientSession() as http:
            assert (await self.clients.recall(http, "http"))["credential"] == f"Bearer secret-{self.number}"

    async def what_needs_a_restart_is_told(self) -> None:
        """The rest is in force."""
        files = self.operated.files
        before, files.bind = files.bind, "127.0.0.1:1"
        assert await self.reload(self.operated.command) == {"gateway.bind": True}
        files.bind = before
        assert await self.reload(self.operated.post) == {}

    async def a_drop_in_comes_and_goes(self) -> None:
        """As a directory beside the file, with an upstream of its own."""
        operated, files = self.operated, self.operated.files
        url = files.upstreams["nap"]
        text = f'[[upstreams]]\nname = "late"\nkind = "http"\nendpoints = ["{url}"]\nallow_private = true\n'
        files.drop_in("late.toml", text)
        assert [*await self.reload(operated.save)] == ["upstreams.late"]
        (files.file.with_suffix(".d") / "late.toml").unlink()
        assert [*await self.reload(operated.save)] == ["upstreams.late"]

    async def the_plugins_are_as_before(self) -> None:
        """The swapped plugin works again."""
        operated, files = self.operated, self.operated.files
        files.enable = ["tokens" if each == "prometheus" else each for each in files.enable]
        await self.reload(operated.hang_up)
        await operated.api("GET", "/api/v1/tokens")
