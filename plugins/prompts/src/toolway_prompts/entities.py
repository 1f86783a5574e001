"""The collection `prompt-collections` on its table, and the upstreams that it makes."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic import BaseModel, Field, ValidationError
from sqlmodel import select

from toolway.hookspecs.definitions import Name, Owner, Visibility
from toolway.hookspecs.routing import Desired
from toolway.hookspecs.system import Stored, Transaction
from toolway.plugin import Conflict, InvalidInput, Kernel, NotFound
from toolway_prompts.kind import KIND, PromptsKind, PromptsUpstream
from toolway_prompts.linting import errors_of, lint_collection, lint_prompt
from toolway_prompts.models import CollectionRow
from toolway_prompts.pool import Jobs
from toolway_prompts.prompt import Collection

log = logging.getLogger(__name__)

MOST_BYTES = 4 * 1024 * 1024
"""Of one collection as JSON."""

CHECK_SECONDS = 5.0
"""For all prompts of a collection: other changes wait for it."""

MOST_ERRORS = 20
"""So many are told."""

ENTITY = "prompt-collections"


class PromptCollection(Collection):
    """A collection of prompts, which is an upstream of the same name."""

    name: Name = Field(description="Unique name, among upstreams too.")
    description: str = Field("", max_length=1000, description="For people.")
    owner: Owner = Field("", description="Whose it is: `user:<name>`, `team:<name>`, or empty.")
    visibility: Visibility = Field(
        "public", description="Who may see it, of those with the permission: the owner, the owning team, everybody."
    )

    def upstream(self) -> PromptsUpstream:
        """As the catalog has it."""
        return PromptsUpstream.model_construct(**{**_OF_UPSTREAMS, **{key: getattr(self, key) for key in _SHARED}})


_SHARED = tuple(PromptCollection.model_fields)
_OF_UPSTREAMS: dict[str, Any] = {
    key: getattr(PromptsUpstream(name="any", kind=KIND), key) for key in PromptsUpstream.model_fields
}


class CollectionEntity:
    """Collections of the database, and of the configuration to look at; the former are a source of the catalog."""

    kind = ENTITY
    part = "catalog"
    schema = PromptCollection
    name = "the prompt collections"

    def __init__(self, kernel: Kernel, pool: Jobs, prompts: PromptsKind) -> None:
        self._kernel, self._pool, self._prompts = kernel, pool, prompts

    async def desired(self, tx: Transaction) -> Desired:
        """See `CatalogSource`."""
        rows = await tx.session.exec(select(CollectionRow))
        read = [(row.name, _read(row)) for row in rows]
        for name in (name for name, value in read if value is None):
            log.warning("the prompt collection %s cannot be read and is left out; send it anew or delete it", name)
        return Desired(tuple(value.upstream() for _, value in read if value is not None))

    async def list(self, tx: Transaction) -> Sequence[Stored]:
        """All collections, sorted by name."""
        found = {stored.name: stored for stored in await self._rows(tx)} | await self._filed()
        return [found[name] for name in sorted(found)]

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        """One collection, or None."""
        if (filed := (await self._filed()).get(name)) is not None:
            return filed
        row = await tx.session.get(CollectionRow, name)
        return None if row is None else _stored(row)

    async def put(self, tx: Transaction, value: BaseModel) -> None:
        """Create or replace it.

        Raises:
            Conflict: something else has the name.
            InvalidInput: some prompt could not be served.
        """
        settings = value.model_dump(mode="json", exclude_unset=True)
        name, document = settings["name"], msgspec.json.encode(settings)
        row = await tx.session.get(CollectionRow, name)
        self._refuse_taken(name, is_known=row is not None)
        if len(document) > MOST_BYTES:
            raise InvalidInput(f"the collection is larger than {MOST_BYTES} bytes; make several of it")
        await self._check(value)
        row = row or CollectionRow(name=name, revision=0, settings="{}")
        row.settings = document.decode()
        row.revision = max(row.revision + 1, getattr(tx, "revision", 0))
        tx.session.add(row)
        await tx.session.flush()

    async def delete(self, tx: Transaction, name: str) -> None:
        """Remove it; raises NotFound or Conflict."""
        row = await tx.session.get(CollectionRow, name)
        if row is None:
            if name in await self._filed():
                raise Conflict(f"{name!r} is declared in the configuration file; change it there")
            raise NotFound(f"{ENTITY} has no {name!r}")
        await tx.session.delete(row)
        await tx.session.flush()

    async def _check(self, value: Any) -> None:
        errors = errors_of(lint_collection(value))
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                for prompt in value.prompts:
                    if len(errors) < MOST_ERRORS:
                        errors += errors_of(await lint_prompt(self._pool, prompt))
        except TimeoutError:
            raise InvalidInput(
                f"the prompts take longer than {CHECK_SECONDS:g} s to check; make several collections of them"
            ) from None
        if errors:
            first = errors[0]
            at = f"{first.prompt} version {first.version}, {first.where}" + (
                f" line {first.line}" if first.line else ""
            )
            told = [each.model_dump(mode="json", exclude_defaults=True) for each in errors]
            raise InvalidInput(f"{at}: {first.message} ({len(errors)} errors in all)", findings=told)

    def _refuse_taken(self, name: str, *, is_known: bool) -> None:
        if not is_known and name in self._kernel.catalog.snapshot.upstreams:
            raise Conflict(f"there is an upstream {name!r} already, and a collection is one too; choose another name")

    async def _rows(self, tx: Transaction) -> builtins.list[Stored]:
        return [_stored(row) for row in await tx.session.exec(select(CollectionRow))]

    async def _filed(self) -> dict[str, Stored]:
        """Those of the configuration, with the prompts of their directories."""
        found = {}
        for settings in self._kernel.catalog.configured.upstreams:
            if isinstance(settings, PromptsUpstream):
                library = self._prompts.library(settings)
                await library.load()
                shown = {key: getattr(settings, key) for key in _SHARED}
                value = PromptCollection.model_construct(**{**shown, "prompts": library.collection.prompts})
                found[settings.name] = Stored(settings.name, value, 0, "file")
        return found


def _stored(row: CollectionRow) -> Stored:
    """One that cannot be read is shown without its prompts, so that it can be replaced or deleted by whom it is for."""
    raw = msgspec.json.decode(row.settings)
    kept = {key: str(raw.get(key, default)) for key, default in (("owner", ""), ("visibility", "private"))}
    value = _read(row) or PromptCollection.model_construct(name=row.name, description="cannot be read", **kept)  # type: ignore[arg-type]
    return Stored(row.name, value, row.revision)


def _read(row: CollectionRow) -> PromptCollection | None:
    try:
        return PromptCollection.model_validate_json(row.settings)
    except ValidationError:
        return None
