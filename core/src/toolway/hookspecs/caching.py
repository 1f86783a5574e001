"""Shared state between nodes: key-value stores and publish/subscribe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from toolway.hookspecs.markers import hookspec

if TYPE_CHECKING:
    from toolway.plugin import Kernel


class KeyValueStore(Protocol):
    """Small values with expiry, shared by all nodes. Keys are ASCII, at most 512 characters; values at most 1 MiB."""

    name: str

    async def get(self, key: str) -> bytes | None:
        """The value, or None when absent or expired."""

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Store `value` for `ttl` seconds (None: without end)."""

    async def delete(self, key: str) -> bool:
        """Remove the key; True when it was there."""

    async def increment(self, key: str, by: int = 1, ttl: float | None = None) -> int:
        """Add to a counter atomically and return the new value; `ttl` applies when the key is made."""

    async def compare_and_set(self, key: str, old: bytes | None, new: bytes, ttl: float | None = None) -> bool:
        """Replace `old` (None: absent) by `new` atomically; False when the current value differs."""

    def scan(self, prefix: str) -> AsyncIterator[str]:
        """All live keys that start with `prefix`, in no order."""

    def lock(self, key: str, ttl: float) -> AbstractAsyncContextManager[int | None]:
        """Try once to hold a lease for `ttl` seconds; yields a growing fencing token, or None when held elsewhere."""


Listener = Callable[[bytes], Awaitable[None]]


class PubSub(Protocol):
    """Messages to every node, at most once, in order per publisher. Payloads are at most 1 MiB."""

    name: str

    async def publish(self, channel: str, payload: bytes) -> None:
        """Send to every subscriber of `channel`, on this node too."""

    def subscribe(self, channel: str, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Call `listener` for each message while the context is open; when it opens the subscription is in force."""


@hookspec
def toolway_keyvalue_stores(kernel: Kernel) -> Iterable[KeyValueStore]:
    """Offer key-value stores; one acts, chosen by `gateway.keyvalue`.

    Called: once, when the gateway is built.
    Used: for session records, locks and whatever plugins share between nodes.
    On error: the operation that needed it fails with 503.
    Since: 1.0
    """


@hookspec
def toolway_pubsubs(kernel: Kernel) -> Iterable[PubSub]:
    """Offer publish/subscribe; one acts, chosen by `gateway.pubsub`.

    Called: once, when the gateway is built.
    Used: for catalog changes, revocations and the relay between nodes.
    On error: nodes fall back to polling revisions (at most 1 s behind); relayed messages fail.
    Since: 1.0
    """
