"""From a document, ours or another program's, to the objects that are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from toolway.plugin import InvalidInput
from toolway_transfer.document import Document, check_size, digest, is_document, read
from toolway_transfer.envelope import unseal
from toolway_transfer.foreign.formats import translated
from toolway_transfer.plugin import TransferSettings
from toolway_transfer.schemas import ImportOrder


class Wanted(msgspec.Struct):
    """One object of a document: as it is there, with its credentials; or what is wrong with it.

    `name` is what the document calls it, `value["name"]` what it is to be called here.
    """

    kind: str
    name: str
    value: dict[str, Any]
    credentials: Mapping[str, str] = {}
    problem: str = ""
    is_renamed: bool = False


class Parsed(msgspec.Struct):
    """All of a document; `kinds` are the collections that it has whole, be it without objects."""

    source: str
    wanted: list[Wanted]
    notes: list[str] = []
    kinds: frozenset[str] = frozenset()


async def parse(order: ImportOrder, settings: TransferSettings) -> Parsed:
    """Read it; raises InvalidInput for what cannot be read at all."""
    check_size(order.document, settings.max_bytes, settings.max_objects)
    if is_document(order.document):
        found = await _own(read(order.document), order)
    else:
        foreign = translated(order.document, order.inputs)
        found = Parsed(foreign.source, [Wanted("upstreams", *each) for each in foreign.upstreams], foreign.notes)
        found.wanted += [Wanted("servers", value["name"], value) for value in foreign.servers]
    if len(found.wanted) > settings.max_objects:
        raise InvalidInput(f"the document has more than {settings.max_objects} objects (plugins.transfer.max_objects)")
    found.kinds = frozenset(one.kind for one in found.wanted)
    if is_document(order.document):
        found.kinds |= order.document["objects"].keys()
    if order.what:
        found.wanted = _selected(found.wanted, order.what)
        found.kinds = found.kinds.intersection(order.what)
    return found


async def _own(document: Document, order: ImportOrder) -> Parsed:
    envelope, opened = document.credentials, dict[str, Any]()
    notes = []
    if envelope is not None and order.credentials:
        opened = await asyncio.to_thread(unseal, envelope, order.passphrase)
    elif envelope is not None:
        notes.append("the credentials of the document were left out")
    wanted = [
        _with_credentials(kind, one.model_dump(), opened.get(f"{kind}/{one.name}"))
        for kind, objects in document.objects.items()
        for one in objects
    ]
    return Parsed("toolway export", wanted, notes)


def _with_credentials(kind: str, value: dict[str, Any], entry: Any) -> Wanted:
    """Credentials go with the object that they were exported with: nobody may send them elsewhere by editing it."""
    one = Wanted(kind, value["name"], value)
    if isinstance(entry, dict) and isinstance(entry.get("values"), dict):
        if entry.get("digest") != digest(value):
            one.problem = (
                "it was edited after its credentials were encrypted; leave the credentials out, or import it as it "
                "was and edit it here"
            )
        one.credentials = {str(key): str(text) for key, text in entry["values"].items()}
    return one


def _selected(wanted: list[Wanted], what: Sequence[str]) -> list[Wanted]:
    chosen = [
        one for one in wanted if {one.kind, f"{one.kind}/{one.name}"} & {*what, *(_plural(each) for each in what)}
    ]
    if not chosen:
        raise InvalidInput("the document has none of the objects that are to be imported; look at their names in it")
    return chosen


def _plural(selector: str) -> str:
    kind, slash, name = selector.partition("/")
    return f"{kind}s{slash}{name}"
