"""Real upstreams that tests can order about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import running

Replicas = Callable[[int], list[str]]


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    """Starts so many processes of the scripted upstream; their URLs."""
    with ExitStack() as stack:

        def start(count: int) -> list[str]:
            folders = [tmp_path / f"replica{number}" for number in range(count)]
            for folder in folders:
                folder.mkdir()
            with ThreadPoolExecutor(count) as pool:  # all at once: each takes a second
                return list(pool.map(lambda folder: stack.enter_context(running.raw_upstream(folder)), folders))

        yield start
