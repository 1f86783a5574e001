"""Secret references: resolved by their scheme, kept in memory until they want to be refreshed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from toolway.errors import SecretUnavailable
from toolway.hookspecs.secrets import Secret, SecretScheme
from toolway.plugin.kernel import Clock

REMEMBERED = 10_000


class SecretResolver:
    """Implements `plugin.Secrets`: one resolution at a time per reference; there is no fallback to old values."""

    def __init__(self, clock: Clock) -> None:
        self._schemes: dict[str, SecretScheme] = {}
        self._clock = clock
        self._current: dict[str, Secret] = {}
        self._resolving: dict[str, asyncio.Task[Secret]] = {}
        self._known: dict[str, None] = {}
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
        if secret is None:
            secret = await asyncio.shield(self._resolving.get(reference) or self._begin(reference))
        return secret.value

    def known(self) -> tuple[str, ...]:
        """Every value resolved so far, the last ones first."""
        return tuple(reversed(self._known))

    def remember(self, values: Sequence[str]) -> None:
        """Values of another one, which must not be told either."""
        self._known = dict.fromkeys(reversed(values)) | self._known

    def _fresh(self, reference: str) -> Secret | None:
        secret, now = self._current.get(reference), self._clock.monotonic()
        limits = (secret.refresh_at, secret.expires_at) if secret else ()
        return None if any(limit is not None and limit <= now for limit in limits) else secret

    def _begin(self, reference: str) -> asyncio.Task[Secret]:
        task = self._resolving[reference] = asyncio.create_task(self._resolve(reference))
        task.add_done_callback(lambda done: self._end(reference, done))
        return task

    def _end(self, reference: str, task: asyncio.Task[Secret]) -> None:
        del self._resolving[reference]
        if not task.cancelled():
            task.exception()  # everyone who waited may be gone; then nobody else looks at it

    async def _resolve(self, reference: str) -> Secret:
        name, _, rest = reference.partition(":")
        scheme = self._schemes.get(name)
        if scheme is None:
            known = ", ".join(sorted(self._schemes))
            raise SecretUnavailable(f"secret scheme {name!r} is not known; known: {known} (plugins add more)")
        outcome = "failed"
        try:
            secret = self._current[reference] = await scheme.resolve(rest)
            outcome = "ok"
        finally:
            self.told(name, outcome)
        self._known.pop(secret.value, None)
        self._known[secret.value] = None
        while len(self._known) > REMEMBERED:
            self._known.pop(next(iter(self._known)))
        return secret
