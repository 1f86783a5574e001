"""Secret references: resolved by their scheme, kept in memory until they want to be refreshed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from toolway.errors import SecretUnavailable
from toolway.hookspecs.secrets import Secret, SecretScheme
from toolway.plugin.kernel import Clock

REMEMBERED = 2_000
"""Values that are current no more, or were received, which must not be told either."""


class SecretResolver:
    """Implements `plugin.Secrets`: one resolution at a time per reference; there is no fallback to old values."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._schemes = clock, dict[str, SecretScheme]()
        self._current, self._resolving = dict[str, Secret](), dict[str, asyncio.Task[Secret]]()
        self._recent, self._known = list[str](), frozenset[str]()
        self.told: Callable[[str, str], None] = lambda scheme, outcome: None

    def use(self, schemes: Sequence[SecretScheme]) -> None:
        """Resolve with these."""
        self._schemes = {scheme.scheme: scheme for scheme in schemes}

    def schemes(self) -> tuple[str, ...]:
        """Names of all schemes."""
        return tuple(self._schemes)

    async def get(self, reference: str) -> str:
        """See `plugin.Secrets.get`."""
        secret = self._fresh(reference)
        return (secret if secret is not None else await asyncio.shield(self._begin(reference))).value

    def known(self) -> frozenset[str]:
        """See `plugin.Secrets.known`; the same object as long as nothing is new."""
        return self._known

    def know(self, *values: str) -> None:
        """See `plugin.Secrets.know`."""
        if not self._known.issuperset(values):
            self._recent = [*self._recent, *values][-REMEMBERED:]
            self._known = frozenset((*self._recent, *(each.value for each in self._current.values())))

    def _fresh(self, reference: str) -> Secret | None:
        secret, now = self._current.get(reference), self._clock.monotonic()
        limits = (secret.refresh_at, secret.expires_at) if secret else ()
        return None if any(limit is not None and limit <= now for limit in limits) else secret

    def _begin(self, reference: str) -> asyncio.Task[Secret]:
        if (task := self._resolving.get(reference)) is None:
            task = self._resolving[reference] = asyncio.create_task(self._resolve(reference))
            task.add_done_callback(lambda done: self._resolving.pop(reference).cancelled() or done.exception())
        return task  # its exception is looked at, for everyone who waited may be gone

    async def _resolve(self, reference: str) -> Secret:
        name, _, rest = reference.partition(":")
        if (scheme := self._schemes.get(name)) is None:
            known = f"{', '.join(sorted(self._schemes))} (plugins add more); write env:NAME, or literal: and the value"
            raise SecretUnavailable(f"secret scheme {name!r} is not known; known: {known}")
        secret: Secret | None = None
        try:
            secret = self._current[reference] = await scheme.resolve(rest)
        finally:
            self.told(name, "failed" if secret is None else "ok")
        self.know(secret.value)
        return secret
