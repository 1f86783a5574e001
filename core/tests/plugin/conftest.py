"""Fake installed distributions: real files on `sys.path`, as `pip install` would leave them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Protocol

import pytest

_numbers = count()

HEADER = """
from toolway.hookspecs.auth import ANONYMOUS, Authenticated
from toolway.hookspecs.secrets import Secret
from toolway.plugin import Plugin, Settings, Kernel, SecretRef, hookimpl

class Named:
    def __init__(self, name): self.name = name
class Policy(Named):
    def adjust(self, policy, upstream, call): return policy
class Balancer(Named):
    def pick(self, endpoints, call): return endpoints[0]
    def done(self, attempt): ...
class Authenticator(Named):
    async def authenticate(self, credentials, context): return None
class Scheme:
    def __init__(self, scheme): self.scheme = scheme
    async def resolve(self, reference): return Secret(reference)
"""


class Install(Protocol):
    def __call__(
        self, plugin: str, source: str, *, distribution: str = "", version: str = "1.0", target: str = "P"
    ) -> str:
        """Write a distribution with one module and one entry point; returns the module's name."""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    monkeypatch.syspath_prepend(str(tmp_path))
    modules: list[str] = []

    def write(plugin: str, source: str, *, distribution: str = "", version: str = "1.0", target: str = "P") -> str:
        name, module = distribution or f"toolway-{plugin}", f"fake_plugin_{next(_numbers)}"
        (tmp_path / f"{module}.py").write_text(HEADER + dedent(source))
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[toolway.plugins]\n{plugin} = {module}:{target}\n")
        importlib.invalidate_caches()
        modules.append(module)
        return module

    yield write
    for module in modules:
        sys.modules.pop(module, None)
