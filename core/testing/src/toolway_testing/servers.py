"""Decides whether a test may run without a program that it needs."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRE = "TOOLWAY_REQUIRE_SERVERS"


def require_server(name: str, reason: str) -> NoReturn:
    """End the test because `name` is missing: skipped, or failed where nothing may be skipped.

    Raises:
        pytest.skip.Exception: usually.
        pytest.fail.Exception: with `TOOLWAY_REQUIRE_SERVERS=1` in the environment, as in the continuous integration.
    """
    message = f"{name} is missing: {reason}"
    if os.environ.get(REQUIRE, "0") not in ("", "0"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def require_program(name: str, *, also_in: Sequence[str] = (), package: str | None = None) -> Path:
    """Where the program `name` is: on the `PATH`, else below a directory that matches a pattern of `also_in`.

    The patterns are absolute; the last match in sorted order wins, so the newest version does. Without the program the
    test ends as `require_server` says, naming the Debian `package` to install.
    """
    found = shutil.which(name) or _newest(name, also_in)
    if found is None:
        require_server(name, f"install the package {package or name}")
    return Path(found).resolve()


def _newest(name: str, patterns: Sequence[str]) -> Path | None:
    root = Path("/")
    found = [path for pattern in patterns for path in sorted(root.glob(f"{pattern.lstrip('/')}/{name}"))]
    return found[-1] if found else None
