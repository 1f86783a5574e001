"""An upstream in a process of its own that takes as long as it is told to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port

Process = subprocess.Popen[bytes]
PROGRAM = Path(__file__).with_name("parts") / "slow_upstream.py"


@pytest.fixture
def slow_upstream(tmp_path: Path) -> Iterator[str]:
    """Its address."""
    with _serving(tmp_path) as (url, _):
        yield url


@pytest.fixture
def endpoints(tmp_path: Path) -> Iterator[list[tuple[str, Process]]]:
    """The addresses and processes of two."""
    with _serving(tmp_path) as one, _serving(tmp_path) as two:
        yield [one, two]


@contextmanager
def _serving(directory: Path) -> Iterator[tuple[str, Process]]:
    port = free_port()
    log = directory / f"upstream-{port}.log"
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, str(PROGRAM), str(port)], stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually_now(lambda: "listening" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(10)
