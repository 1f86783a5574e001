"""What is read from Vault, and where: the mount of a path decides how, its answer whether there is a lease."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from toolway.plugin import Clock
from toolway_vault.failures import Absent, Denied, Refused
from toolway_vault.settings import MountKind
from toolway_vault.tokens import Tokens


class Lease(msgspec.Struct, frozen=True):
    """For how long dynamic credentials are good; `seconds` is what was first granted, `ends` is monotonic."""

    id: str
    seconds: float
    renewable: bool
    granted: float
    ends: float


class Reading(msgspec.Struct, frozen=True):
    """The fields of one path, as they were `at` (monotonic seconds)."""

    data: Mapping[str, Any]
    version: str
    at: float
    lease: Lease | None = None

    def __repr__(self) -> str:
        return f"Reading(version={self.version!r})"


class Reader:
    """Reads paths and renews leases."""

    def __init__(self, tokens: Tokens, mounts: Mapping[str, MountKind], clock: Clock) -> None:
        self._tokens = tokens
        self._configured = mounts
        self._found: dict[str, MountKind] = {}
        self._clock = clock

    async def read(self, path: str, known: Reading | None) -> Reading:
        """What is there now; its version is that of `known` while nothing has changed.

        Raises:
            VaultDown: Vault does not answer.
            Refused: it does, but not with a value.
        """
        mount, kind = await self._mount(path)
        place = f"{mount}/data{path.removeprefix(mount)}" if kind == "kv-v2" else path
        try:
            answer = await self._tokens.request("get", place)
        except Absent:
            self._found.clear()  # it may have become a mount of another kind
            raise Absent("there is no such secret, or it was deleted") from None
        except Denied:
            raise Denied(f"the token may not read {place}; see the policies of the login") from None
        return self._reading(answer, kind, known)

    async def renewed(self, reading: Reading, lease: Lease) -> Reading:
        """The same with more time, or with less than was asked for when its maximum is near."""
        body = {"lease_id": lease.id, "increment": int(lease.granted)}
        answer = await self._tokens.request("put", "sys/leases/renew", body)
        seconds, now = float(answer.get("lease_duration", 0)), self._clock.monotonic()
        renewable = bool(answer.get("renewable"))
        longer = msgspec.structs.replace(lease, seconds=seconds, renewable=renewable, ends=now + seconds)
        return msgspec.structs.replace(reading, at=now, lease=longer)

    async def revoke(self, lease: Lease) -> None:
        """End it before its time."""
        await self._tokens.request("put", "sys/leases/revoke", {"lease_id": lease.id})

    def _reading(self, answer: Mapping[str, Any], kind: MountKind, known: Reading | None) -> Reading:
        now, found = self._clock.monotonic(), answer.get("data")
        data = found.get("data") if kind == "kv-v2" and isinstance(found, dict) else found
        if not isinstance(data, dict) or not data:
            raise Absent("there is no such secret, or it was deleted")
        if lease_id := answer.get("lease_id"):
            seconds = float(answer.get("lease_duration", 0))
            lease = Lease(lease_id, seconds, bool(answer.get("renewable")), seconds, now + seconds)
            return Reading(data, _next(known), now, lease)
        if kind == "kv-v2" and isinstance(found, dict):
            return Reading(data, str((found.get("metadata") or {}).get("version", "")), now)
        return Reading(data, known.version if known is not None and known.data == data else _next(known), now)

    async def _mount(self, path: str) -> tuple[str, MountKind]:
        """The mount that the path is in."""
        for table in (self._configured, self._found):
            inside = [mount for mount in table if path.startswith(f"{mount}/")]
            if inside:
                mount = max(inside, key=len)
                return mount, table[mount]
        try:
            answer = await self._tokens.request("get", f"sys/internal/ui/mounts/{path}")
        except (Absent, Denied):
            raise Refused(
                "there is no such mount, or the token may not see it; see the policies of the login, or name the mount "
                "in plugins.vault.mounts"
            ) from None
        data = answer.get("data") or {}
        mount, kind = str(data.get("path", "")).strip("/"), _kind(data)
        if not mount or not path.startswith(f"{mount}/"):
            raise Refused("it does not tell what kind of mount that is; name it in plugins.vault.mounts")
        self._found[mount] = kind
        return mount, kind


def _kind(mount: Mapping[str, Any]) -> MountKind:
    if mount.get("type") not in ("kv", "generic"):
        return "other"
    return "kv-v2" if str((mount.get("options") or {}).get("version", "1")) == "2" else "kv-v1"


def _next(known: Reading | None) -> str:
    """The version of what has none of its own: how often it changed."""
    return str(int(known.version) + 1 if known is not None and known.version.isdecimal() else 1)
