"""The command as a person types it, and distributions that are installed as far as it can see."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolway.cli.app import run

Typed = Callable[..., int]
Install = Callable[..., None]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """`toolway` with these arguments; its exit code."""

    def type_in(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["toolway", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        return int(ended.value.code or 0)

    return type_in


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes `toolway-<name>` look installed, with these entry points of a group."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(name: str, version: str, group: str, *entries: str) -> None:
        info = tmp_path / f"toolway_{name}-{version}.dist-info"
        info.mkdir()
        about = f"Name: toolway-{name}\nVersion: {version}\nSummary: {name.capitalize()} that open doors."
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{about}\n")
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *entries, ""]))

    return installed
