"""What runs here: the program, its packages and the machine."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from toolway_diagnostics.process import limits


def about() -> dict[str, Any]:
    """Versions of what is beneath the packages, and what the process may use."""
    return {
        "python": sys.version,
        "executable": sys.executable,
        "system": platform.platform(),
        "distribution": _release(),
        "processors": os.cpu_count(),
        "process": os.getpid(),
        "user": os.getuid(),
        **limits(),
    }


def packages() -> dict[str, str]:
    """Versions of all installed packages by name."""
    return {name: each.version for name, each in sorted(_installed().items())}


def misfits() -> Iterator[str]:
    """Requirements of the gateway's packages that are not met."""
    installed = _installed()
    for name, package in installed.items():
        if name == "toolway" or name.startswith("toolway-") or _is_plugin(package):
            yield from (f"{name} {package.version} needs {each}" for each in _unmet(package, installed))


def _unmet(package: Distribution, installed: dict[str, Distribution]) -> Iterator[str]:
    for line in package.requires or ():
        try:
            needed = Requirement(line)
        except InvalidRequirement:
            yield f"what it says badly ({line!r})"
            continue
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        found = installed.get(canonicalize_name(needed.name))
        if found is None:
            yield f"{needed.name}, which is not installed"
        elif not needed.specifier.contains(found.version, prereleases=True):
            yield f"{needed.name}{needed.specifier}, installed is {found.version}"


def _is_plugin(package: Distribution) -> bool:
    return any(entry.group == "toolway.plugins" for entry in package.entry_points)


def _installed() -> dict[str, Distribution]:
    """The first on `sys.path` counts, as for imports."""
    found: dict[str, Distribution] = {}
    for each in distributions():
        if each.metadata["Name"]:
            found.setdefault(canonicalize_name(each.name), each)
    return found


def _release() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return next((line for line in _lines(Path("/etc/issue")) if line), "")


def _lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").splitlines() if file.exists() else []
