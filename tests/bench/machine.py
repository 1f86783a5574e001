"""The machine of a run: which core does what, which programs must be there, and one measurement at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

LOAD_CORE, GATEWAY_CORE = 0, 1
AHEAD = -19
"""Niceness while something is measured: neighbours on the machine then disturb little."""

LOCK = Path(os.environ.get("TOOLWAY_BENCH_LOCK") or Path(tempfile.gettempdir()) / "bench.lock")
LUA_MODULES = Path("/usr/lib/nginx/modules")

_PROGRAMS = {"wrk": "wrk", "nginx": "nginx-light", "taskset": "util-linux"}
_SBIN = "/usr/sbin"


class Unprepared(Exception):
    """The benchmark cannot run here; the message says what to do."""


def check() -> None:
    """Raises Unprepared: with the Debian packages, or the core, that are missing."""
    packages = [package for program, package in _PROGRAMS.items() if not _find(program)]
    if not (LUA_MODULES / "ngx_http_lua_module.so").exists():
        packages.append("libnginx-mod-http-lua")
    if packages:
        raise Unprepared(f"the benchmark needs programs that are not here: apt-get install {' '.join(packages)}")
    if {LOAD_CORE, GATEWAY_CORE} - os.sched_getaffinity(0):
        raise Unprepared("the benchmark needs two cores: one for the load and the upstream, one for the gateway")


def program(name: str) -> str:
    """The path of a program that `check` has found."""
    return _find(name) or name


def pinned(core: int | str, *command: str | Path) -> list[str]:
    """The command on that core, or on a list such as `0,1`, in the process that is started: taskset replaces itself."""
    return [program("taskset"), "-c", str(core), *map(str, command)]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other run measures; hold that for one measurement, ahead of other work where we may say so."""
    with LOCK.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _prefer(AHEAD)
        try:
            yield
        finally:
            _prefer(0)


def describe(versions: Sequence[str]) -> dict[str, str]:
    """What the figures were measured on; `versions` are lines such as `toolway 1.0`."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": f"{len(models)} x {models[0] if models else platform.machine()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "software": ", ".join(versions),
    }


def load_average() -> float:
    """Of the last minute: above 2 others use the machine as well, and the figures are worth less."""
    return os.getloadavg()[0]


def _prefer(niceness: int) -> None:
    """The scheduler weighs sessions, not processes (sched(7), autogroup); only root may be preferred."""
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")


def _find(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_SBIN)


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
