"""Stopping: not ready first, then no new connections, then calls end, then streams, and never a hang."""

from __future__ import annotations

import asyncio
import gc
import resource
from typing import Any

import pytest

from toolway.edge.edge import Edge
from toolway.edge.serve import listen, raise_file_limit, run, settle_memory
from toolway.edge.settings import EdgeSettings
from toolway.errors import ConfigError


async def _never(*_: Any) -> None:
    raise LookupError("the application must not be reached")


async def _until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("bind", "delay"), [("127.0.0.1:1", 0), ("[::1]:1", 0), ("0.0.0.0:1", 5), ("10.1.2.3:1", 5)])
def test_only_a_node_that_a_load_balancer_can_reach_waits_for_it(bind: str, delay: float) -> None:
    assert Edge(_never, EdgeSettings(), bind=bind).drain_delay == delay
    assert Edge(_never, EdgeSettings(drain_delay=2), bind=bind).drain_delay == 2


def test_a_taken_port_is_an_error_that_says_what_to_do() -> None:
    (taken,) = listen("127.0.0.1:0")
    port = taken.getsockname()[1]

    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
        listen(f"127.0.0.1:{port}")
    taken.close()


def test_an_unknown_bind_address_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"gateway\.bind"):
        listen("nowhere.invalid:1")


def test_the_limit_of_open_files_is_raised_and_main_runs_on_uvloop() -> None:
    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    raise_file_limit()

    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256
    assert run(main()) == "uvloop"


def test_settled_memory_is_out_of_sight_of_the_collector() -> None:
    before = gc.get_threshold()

    settle_memory()

    assert gc.get_freeze_count() > 0
    gc.unfreeze()
    gc.set_threshold(*before)
