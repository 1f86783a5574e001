"""An upstream in a process of its own that takes as long as it is told to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolway_testing.polling import eventually_now
from toolway_testing.servers import free_port

PROGRAM = Path(__file__).with_name("parts") / "slow_upstream.py"


@pytest.fixture
def slow_upstream(tmp_path: Path) -> Iterator[str]:
    """Its address."""
    port, log = free_port(), tmp_path / "upstream.log"
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, str(PROGRAM), str(port)], stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually_now(lambda: "listening" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
