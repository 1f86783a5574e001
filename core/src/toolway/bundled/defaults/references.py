"""The built-in schemes of secret references: `env:`, `file:` and `literal:`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from toolway.hookspecs.secrets import Secret
from toolway.plugin import Clock, SecretUnavailable

FILE_SECONDS = 5.0
"""How long a file's content is used before it is looked at again."""


class EnvironmentScheme:
    """`env:NAME`."""

    scheme = "env"

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    async def resolve(self, reference: str) -> Secret:
        """The variable's value."""
        value = self._environ.get(reference)
        if value is None:
            raise SecretUnavailable(f"environment variable {reference} is not set; set it before starting the gateway")
        return Secret(value)


class FileScheme:
    """`file:/path`: the content without trailing line breaks, read again after a few seconds."""

    scheme = "file"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def resolve(self, reference: str) -> Secret:
        """The file's content now."""
        path = Path(reference)
        try:
            value = (await asyncio.to_thread(path.read_text, "utf-8")).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise SecretUnavailable(f"secret file {reference} cannot be read: {reason}") from None
        return Secret(value, refresh_at=self._clock.monotonic() + FILE_SECONDS)


class LiteralScheme:
    """`literal:value`, for tests; `toolway check` reports it."""

    scheme = "literal"

    async def resolve(self, reference: str) -> Secret:
        """The value itself."""
        return Secret(reference)
