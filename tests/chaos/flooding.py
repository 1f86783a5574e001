"""Starts the load of `flood.py`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from flood import Report


async def flood(url: str, **plan: float) -> Report:
    """What came of a load (see `flood.py`), which runs in a process of its own."""
    script = Path(__file__).with_name("flood.py")
    paths = os.pathsep.join(path for path in sys.path if path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        script,
        url,
        json.dumps(plan),
        env={**os.environ, "PYTHONPATH": paths},
        stdout=asyncio.subprocess.PIPE,
    )
    answer, _ = await process.communicate()
    assert process.returncode == 0
    return Report(**json.loads(answer))
