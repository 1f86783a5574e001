"""The collections `upstreams` and `servers` on their tables; credentials sent as values are stored encrypted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict
from sqlmodel import select

from toolway.bundled.registry.credentials import BROUGHT, credential_purpose, unknown
from toolway.bundled.registry.models import ServerRow, UpstreamRow
from toolway.hookspecs.catalog import Definitions
from toolway.hookspecs.definitions import HIDDEN, ServerSettings, UpstreamSettings
from toolway.hookspecs.system import Stored, Transaction
from toolway.plugin import Conflict, InvalidInput, Kernel, NotFound

OWN_SCHEMES = frozenset({"sealed", "literal"})
"""With every other secret scheme, whoever may change upstreams could send what the gateway can read anywhere."""

_OWN = {
    ("servers", "all"): "is built in, unless the configuration file declares it",
    ("upstreams", "demo"): "comes with --demo or is declared in the configuration file",
}


class Rowed:
    """What both collections do alike; what is declared elsewhere is shown here, and not changed."""

    kind = ""
    part = "catalog"
    row: Any
    schema: Any

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @property
    def definitions(self) -> Definitions:
        """Checks what is declared."""
        return self.kernel.definitions

    @property
    def filed(self) -> Mapping[str, Stored]:
        """What the configuration declares."""
        declared: Sequence[Any] = getattr(self.kernel.catalog.configured, self.kind)
        return {one.name: Stored(one.name, one, 0, "file") for one in declared}

    async def rows(self, tx: Transaction) -> Sequence[Stored]:
        """All objects of the database."""
        return [self._stored(row) for row in await tx.session.exec(select(self.row))]

    async def list(self, tx: Transaction) -> Sequence[Stored]:
        """All objects, sorted by name."""
        found = {stored.name: stored for stored in await self.rows(tx)} | {**self.filed}
        return [found[name] for name in sorted(found)]

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        """One object, or None."""
        if (filed := self.filed.get(name)) is not None:
            return filed
        row = await tx.session.get(self.row, name)
        return None if row is None else self._stored(row)

    async def put(self, tx: Transaction, value: BaseModel) -> None:
        """Create or replace; raises Conflict for what is declared elsewhere."""
        settings = value.model_dump(mode="json", exclude_unset=True)
        name = settings["name"]
        self._refuse_filed(name)
        row = await tx.session.get(self.row, name) or self.row(name=name, revision=0, settings="{}")
        row.settings = msgspec.json.encode(_with_old_credentials(settings, msgspec.json.decode(row.settings))).decode()
        row.revision = max(row.revision + 1, getattr(tx, "revision", 0))  # a name that comes back has a new ETag
        tx.session.add(row)
        await tx.session.flush()

    async def delete(self, tx: Transaction, name: str) -> None:
        """Remove it; raises NotFound, or Conflict for what is declared elsewhere."""
        self._refuse_filed(name)
        row = await tx.session.get(self.row, name)
        if row is None:
            raise NotFound(f"{self.kind} has no {name!r}")
        await tx.session.delete(row)
        await tx.session.flush()

    def _refuse_filed(self, name: str) -> None:
        if name in self.filed:
            raise Conflict(
                f"{name!r} {_OWN.get((self.kind, name), 'is declared in the configuration file')}; change it there"
            )

    def _stored(self, row: Any) -> Stored:
        raw = msgspec.json.decode(row.settings)
        return Stored(row.name, self._read(raw), row.revision)

    def _read(self, raw: dict[str, Any]) -> BaseModel:
        raise NotImplementedError


class ServerEntity(Rowed):
    """Virtual servers."""

    kind = "servers"
    row = ServerRow
    schema = ServerSettings

    def _read(self, raw: dict[str, Any]) -> BaseModel:
        return self.definitions.server(raw)


class UnreadUpstream(UpstreamSettings):
    """A stored upstream as it is, without checks."""

    model_config = ConfigDict(extra="allow")


class UpstreamEntity(Rowed):
    """Upstreams. A text that begins with none of the known secret schemes is a value, as what is after `literal:` is.

    Bodies may refer to secrets of other schemes than `OWN_SCHEMES` only as far as `gateway.api_references` allows them.
    """

    kind = "upstreams"
    row = UpstreamRow

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._schemes = frozenset(kernel.secrets.schemes())
        self._refused = self._schemes - OWN_SCHEMES.union(kernel.api_references)
        self.schema = kernel.definitions.schema(self._accepted)

    def _accepted(self, upstream: str, text: str) -> str:
        """A reference as it is, a value encrypted."""
        scheme, _, rest = text.partition(":")
        if "[redacted]" in text:
            what = "must not have [redacted] in it, which stands where a credential was removed"
            raise ValueError(f"{what}; send the credential itself, or {HIDDEN!r} to keep what is stored")
        if rest and scheme in BROUGHT - self._schemes:
            raise unknown(scheme)
        if rest and scheme == "literal":
            scheme, text = "", rest
        if text and not (scheme in self._schemes and rest):
            return f"sealed:{upstream}:{self.kernel.seal.seal(credential_purpose(upstream), text.encode())}"
        if scheme in self._refused:
            raise ValueError(
                f"must not be a reference of the scheme {scheme!r}, which reads the gateway's secrets; send the secret "
                "itself, which is stored encrypted, or list the scheme in gateway.api_references"
            )
        return text

    def _read(self, raw: dict[str, Any]) -> BaseModel:
        try:
            return self.definitions.settings(raw)
        except InvalidInput:  # its kind or auth came from a plugin that is gone; whoever uses it gets the reason
            return UnreadUpstream.model_construct(**raw)


def _with_old_credentials(new: Any, old: Any, where: str = "") -> Any:
    """The new settings; credentials shown as hidden are taken from the old ones."""
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        return {key: _with_old_credentials(entry, known.get(key), f"{where}.{key}") for key, entry in new.items()}
    if new != HIDDEN:
        return new
    if not isinstance(old, str):
        raise Conflict(f"{where[1:]} is shown as hidden, but there is no stored credential to keep; send its value")
    return old
