"""A secret scheme in one file: `pass-file:NAME` is a line `NAME=value` of a file that only its owner may read.

[plugins]
enable = ["pass-file"]

[plugins.pass-file]
path = "/etc/toolway/passwords"

[[upstreams]]
name = "issues"
endpoints = ["https://issues.example.com/mcp"]
auth = { type = "bearer", token = "pass-file:ISSUES_TOKEN" }
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from toolway.hookspecs.secrets import Secret, SecretScheme
from toolway.plugin import Clock, Kernel, Plugin, Seconds, SecretUnavailable, Settings, hookimpl


class PassFileSettings(Settings):
    """Where the secrets are."""

    path: Path = Field(description="File of lines NAME=value, mode 0600 or stricter.")
    refresh: Seconds = Field(default=60.0, gt=0, description="How long a value is kept before the file is read again.")


class PassFilePlugin(Plugin[PassFileSettings]):
    """Registers the scheme."""

    @hookimpl
    def toolway_secret_schemes(self, kernel: Kernel) -> Iterable[SecretScheme]:
        return [PassFile(self.settings, kernel.clock)]


class PassFile:
    """Reads the file whenever a value is due, so that a changed file is rotation enough."""

    scheme = "pass-file"

    def __init__(self, settings: PassFileSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def resolve(self, reference: str) -> Secret:
        """The value of the line that begins with `reference=`."""
        for line in (await asyncio.to_thread(self._read)).splitlines():
            name, separator, value = line.partition("=")
            if separator and name.strip() == reference:
                return Secret(value.strip(), refresh_at=self._clock.monotonic() + self._settings.refresh)
        raise SecretUnavailable(f"pass-file:{reference} is not in {self._settings.path}; add a line {reference}=…")

    def _read(self) -> str:
        path = self._settings.path
        try:
            if path.stat().st_mode & 0o077:
                raise SecretUnavailable(f"others may read {path}; run: chmod 600 {path}")
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SecretUnavailable(f"{path} cannot be read ({type(error).__name__}); check path and rights") from error
