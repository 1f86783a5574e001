"""The clock of the machine jumps: whoever is connected notices nothing."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import pytest
from faults_page import IS_WHOLE, Figures
from node import NAPPING, Node, busy, in_front_of
from stage import Replica

from toolway_testing.polling import eventually
from toolway_testing.servers import require_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

LIBRARY = Path("/usr/lib")
JUMPS = (50, 0, -50, 600, -600, 3600, -3600, 0) if IS_WHOLE else (50, 3600, -3600)
"""Seconds from the true time, one after the other."""


async def test_the_clock_jumps_under_load(tmp_path: Path, figures: Figures) -> None:
    offset, replica = tmp_path / "offset", Replica(NAPPING, tmp_path)
    offset.write_text("+0")
    with replica.stack:
        replica.start()
        with in_front_of(replica, "drain_delay = 0", environment=_faked(offset)) as gateway:
            async with busy(gateway.endpoint, each=3, streams=3) as clients, aiohttp.ClientSession() as http:
                headers = await clients.initialized(http)
                for seconds in JUMPS:
                    offset.write_text(f"{seconds:+}")
                    await eventually(lambda wanted=seconds: _is_at(http, gateway, wanted))  # type: ignore[misc]
                    calls = clients.seen["call"]
                    await eventually(lambda calls=calls: clients.seen["call"] > calls + 20)  # type: ignore[misc]
                    await clients.call_in_session(http, headers, 0)
                assert not clients.seen["stream"], "no stream ended meanwhile"
                gateway.process.terminate()

    assert not clients.failures
    figures.add(
        f"the clock jumps {len(JUMPS)} times under load, by up to 2 h, forwards and back",
        clients="nothing: calls, sessions and streams go on",
        figures=f"0 of {clients.seen.total()} requests and streams failed",
        recovery="at once",
    )


def _faked(offset: Path) -> dict[str, str]:
    """The environment of a process whose clock is wrong by what that file says (faketime(1)); timers are right."""
    found = next(LIBRARY.glob("*/faketime/libfaketimeMT.so.1"), None)
    if found is None:
        require_server("libfaketime", "install the package faketime")
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


async def _is_at(http: aiohttp.ClientSession, gateway: Node, seconds: int) -> bool:
    """Whether the gateway's clock is wrong by that much."""
    async with http.get(f"{gateway.url}/health") as answer:
        told = parsedate_to_datetime(answer.headers["date"]).timestamp()
    return abs(told - time.time() - seconds) < 5
