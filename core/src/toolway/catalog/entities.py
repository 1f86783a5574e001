"""The collections `upstreams` and `servers` on their tables; credentials sent as values are stored encrypted."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, cast

import msgspec
from pydantic import BaseModel, ConfigDict, TypeAdapter, WrapValidator
from sqlmodel import select

from toolway.catalog.credentials import credential_purpose
from toolway.catalog.definitions import DEFAULT_KIND, Definitions
from toolway.catalog.models import ServerRow, UpstreamRow
from toolway.errors import Conflict, InvalidInput, NotFound
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.system import Stored, Transaction
from toolway.plugin.kernel import Seal

PART = "catalog"
HIDDEN = "sealed:hidden"
"""How a stored credential looks when it is read back; sent again it means: keep it."""

_VALUES = ("sealed:", "literal:")

Tag = tuple[str, str]
"""`("kind", "http")` or `("type", "bearer")`: which model of a body is meant."""


class Rowed:
    """What both collections do alike."""

    kind = ""
    part = PART
    row: Any

    def __init__(self, definitions: Definitions, declared: Collection[str]) -> None:
        self._definitions = definitions
        self._declared = frozenset(declared)

    async def list(self, tx: Transaction) -> Sequence[Stored]:
        """All objects of the database, sorted by name."""
        rows = await tx.session.exec(select(self.row).order_by(self.row.name))
        return [self._stored(row) for row in rows]

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        """One object, or None."""
        row = await tx.session.get(self.row, name)
        return None if row is None else self._stored(row)

    async def put(self, tx: Transaction, value: BaseModel) -> None:
        """Create or replace; raises Conflict for what the configuration file declares."""
        named = cast(ServerSettings | UpstreamSettings, value)
        self._check(named.name)
        text = msgspec.json.encode(await self._kept(tx, named)).decode()
        row = await tx.session.get(self.row, named.name) or self.row(name=named.name, revision=0)
        row.settings = text
        row.revision = max(row.revision + 1, getattr(tx, "revision", 0))  # a name that comes back has a new ETag
        tx.session.add(row)
        await tx.session.flush()

    async def delete(self, tx: Transaction, name: str) -> None:
        """Remove it; raises NotFound, or Conflict for what the configuration file declares."""
        self._check(name)
        row = await tx.session.get(self.row, name)
        if row is None:
            raise NotFound(f"{self.kind} has no {name!r}")
        await tx.session.delete(row)
        await tx.session.flush()

    def _check(self, name: str) -> None:
        if name in self._declared:
            raise Conflict(f"{name!r} is declared in the configuration file; change it there")

    async def _kept(self, tx: Transaction, value: BaseModel) -> dict[str, Any]:
        return value.model_dump(mode="json", exclude_unset=True)

    def _stored(self, row: UpstreamRow | ServerRow) -> Stored:
        raise NotImplementedError


class ServerEntity(Rowed):
    """Virtual servers."""

    kind = "servers"
    row = ServerRow

    def __init__(self, definitions: Definitions, declared: Collection[str]) -> None:
        super().__init__(definitions, declared)
        self.schema: Any = ServerSettings

    def _stored(self, row: UpstreamRow | ServerRow) -> Stored:
        return Stored(row.name, self._definitions.server(msgspec.json.decode(row.settings)), row.revision)


class UnreadUpstream(UpstreamSettings):
    """A stored upstream as it is, without checks."""

    model_config = ConfigDict(extra="allow")


class UpstreamEntity(Rowed):
    """Upstreams. `schemes` are the known secret schemes: a text that begins with none of them is a value."""

    kind = "upstreams"
    row = UpstreamRow

    def __init__(
        self, definitions: Definitions, declared: Collection[str], seal: Seal, schemes: Collection[str]
    ) -> None:
        super().__init__(definitions, declared)
        self._seal = seal
        self._reference = re.compile(f"(?:{'|'.join(map(re.escape, schemes))}):.+", re.DOTALL)
        schema = definitions.schema()
        self._secrets = _secret_fields(schema.json_schema())
        accepted: Any = Annotated[_type_of(schema), WrapValidator(self._read)]
        self.schema: Any = TypeAdapter(accepted)

    def _read(self, value: Any, inner: Callable[[Any], Any]) -> Any:
        """Seal the credentials of a body before anything else looks at it."""
        return inner(self._sealed(value) if isinstance(value, dict) else value)

    def _sealed(self, body: dict[str, Any]) -> dict[str, Any]:
        name, auth = body.get("name"), body.get("auth")
        if not isinstance(name, str):
            return body
        sealed = self._with_sealed(name, ("kind", str(body.get("kind", DEFAULT_KIND))), body)
        if isinstance(auth, dict):
            sealed["auth"] = self._with_sealed(name, ("type", str(auth.get("type"))), auth)
        return sealed

    def _with_sealed(self, name: str, tag: Tag, table: dict[str, Any]) -> dict[str, Any]:
        secret = self._secrets.get(tag, frozenset())
        return {key: self._sealed_value(name, value) if key in secret else value for key, value in table.items()}

    def _sealed_value(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._sealed_value(name, entry) for key, entry in value.items()}
        if not isinstance(value, str) or not value or self._reference.fullmatch(value):
            return value
        return f"sealed:{name}:{self._seal.seal(credential_purpose(name), value.encode())}"

    async def _kept(self, tx: Transaction, value: BaseModel) -> dict[str, Any]:
        """The new settings; credentials shown as hidden are taken from the old ones."""
        new = await super()._kept(tx, value)
        row = await tx.session.get(UpstreamRow, new["name"])
        old = msgspec.json.decode(row.settings) if row is not None else {}
        kept: dict[str, Any] = _with_old_credentials(new, old, ())
        return kept

    def _stored(self, row: UpstreamRow | ServerRow) -> Stored:
        raw = msgspec.json.decode(row.settings)
        try:
            return Stored(row.name, self._definitions.settings(raw), row.revision)
        except InvalidInput:  # its kind or auth came from a plugin that is gone; whoever uses it gets the reason
            return Stored(row.name, UnreadUpstream.model_construct(**raw), row.revision)


def hidden(value: Any) -> Any:
    """A JSON value with every credential hidden that is in the value itself, for whoever reads it."""
    if isinstance(value, dict):
        return {key: hidden(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [hidden(entry) for entry in value]
    return HIDDEN if isinstance(value, str) and value.startswith(_VALUES) else value


def _with_old_credentials(new: Any, old: Any, path: tuple[str, ...]) -> Any:
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        return {key: _with_old_credentials(entry, known.get(key), (*path, key)) for key, entry in new.items()}
    if new != HIDDEN:
        return new
    if not isinstance(old, str):
        where = ".".join(path)
        raise Conflict(f"{where} is shown as hidden, but there is no stored credential to keep; send its value")
    return old


def _secret_fields(schema: dict[str, Any]) -> dict[Tag, frozenset[str]]:
    """Which fields of each kind and auth type hold secret references, alone or in a table."""
    found = {}
    for model in (schema, *schema.get("$defs", {}).values()):
        fields = model.get("properties", {})
        for tag in ("kind", "type"):
            if isinstance(value := fields.get(tag, {}).get("const"), str):
                secret = (name for name, field in fields.items() if _holds_secrets(field))
                found[tag, value] = frozenset(secret)
    return found


def _holds_secrets(schema: Any) -> bool:
    if isinstance(schema, dict):
        return schema.get("format") == "secret-reference" or any(map(_holds_secrets, schema.values()))
    return isinstance(schema, list) and any(map(_holds_secrets, schema))


def _type_of(adapter: TypeAdapter[Any]) -> Any:
    return adapter._type
