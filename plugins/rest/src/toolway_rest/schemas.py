"""JSON Schemas of tools, made of an OpenAPI document's: only what is used, within a bound of bytes, without cycles."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from toolway_rest.document import Document, Unresolved, sequence
from toolway_rest.writing import MAX_DEPTH, Direction, Mode, TooLong, Writer

DEPTHS = (MAX_DEPTH, 6, 4, 2, 1, 0)
"""How deep a schema is that must become shorter, from step to step."""

NOTHING = Raw(b"{}")


class Definition(msgspec.Struct, frozen=True):
    """One schema that others refer to, encoded, and what it refers to itself."""

    raw: Raw
    references: tuple[str, ...]


class Schemas:
    """Makes schemas of one document; what several of them refer to is made once."""

    def __init__(self, document: Document, limit: int) -> None:
        """`limit` is the bytes of one finished schema."""
        self._document = document
        self._limit = limit
        self._made: dict[tuple[str, Mode], Definition | None] = {}
        self._objects: dict[str, bool] = {}
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()

    def finished(self, schema: dict[str, Any], direction: Direction, *, loose: bool = False) -> dict[str, Any]:
        """The schema with its own `$defs`; shortened step by step until it fits.

        First prose goes, then depth, and of the definitions those first that are furthest from the top; what was there
        accepts anything. Definitions come encoded.
        """
        for terse, depth in ((False, MAX_DEPTH), *((True, depth) for depth in DEPTHS)):
            mode = Mode(direction, terse, loose, depth)
            writer = Writer(self._document, self.name, mode, self._limit)
            try:
                top = writer.schema(schema)
                left = self._limit - len(msgspec.json.encode(top)) - len(',"$defs":{}')
                definitions = self._definitions(writer.references, mode, left)
            except TooLong:
                continue
            return {**top, "$defs": definitions} if definitions else top
        return {"type": "object"}

    def is_object(self, schema: Any) -> bool:
        """Whether every value of a schema is an object, as far as it says so."""
        return self._is_object(schema, 0)

    def _is_object(self, schema: Any, depth: int) -> bool:
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str):
            return self._says_object(schema, depth)
        if reference not in self._objects:
            self._objects[reference] = False  # where it leads back to itself
            self._objects[reference] = self._says_object(schema, depth)
        return self._objects[reference]

    def _says_object(self, schema: Any, depth: int) -> bool:
        try:
            found = self._document.resolved(schema)
        except Unresolved:
            return False
        if depth > MAX_DEPTH or found.get("nullable") is True:
            return False
        if "type" in found or "properties" in found:
            return bool(found.get("type", "object") == "object")
        if parts := sequence(found.get("allOf")):
            return any(self._is_object(part, depth + 1) for part in parts)
        parts = sequence(found.get("oneOf")) or sequence(found.get("anyOf"))
        return bool(parts) and all(self._is_object(part, depth + 1) for part in parts)

    def name(self, pointer: str) -> str:
        """What a definition is called in `$defs`; raises Unresolved when the reference leads nowhere."""
        known = self._names.get(pointer)
        if known is None:
            self._document.at(pointer)
            known = re.sub(r"[^A-Za-z0-9_.-]", "_", pointer.rpartition("/")[2])[:64] or "schema"
            if known in self._taken:
                known += "_" + hashlib.blake2b(pointer.encode(), digest_size=4).hexdigest()
            self._taken.add(known)
            self._names[pointer] = known
        return known

    def _definitions(self, wanted: Iterable[str], mode: Mode, left: int) -> dict[str, Raw]:
        """What is referred to, the nearest first. Raises TooLong when it does not fit, and prose could go instead."""
        found: dict[str, Raw] = dict.fromkeys(map(self.name, wanted), NOTHING)
        left -= sum(map(_least, found))
        modes = [msgspec.structs.replace(mode, depth=depth) for depth in (DEPTHS if mode.terse else DEPTHS[:1])]
        if left < 0:
            raise TooLong
        queue = deque(wanted)
        while queue:
            pointer = queue.popleft()
            for each in modes:
                made = self._definition(pointer, each)
                if made is None:
                    continue
                new = {name: one for one in made.references if (name := self.name(one)) not in found}
                if (size := len(made.raw) + sum(map(_least, new))) <= left:
                    left -= size
                    found[self.name(pointer)] = made.raw
                    found.update(dict.fromkeys(new, NOTHING))
                    queue.extend(new.values())
                    break
            else:
                if not mode.terse:
                    raise TooLong
        return found

    def _definition(self, pointer: str, mode: Mode) -> Definition | None:
        """The schema that a reference names; None when it is too long."""
        key = pointer, mode
        if key not in self._made:
            writer = Writer(self._document, self.name, mode, self._limit)
            try:
                raw = Raw(msgspec.json.encode(writer.schema(self._document.at(pointer), 1)))
                self._made[key] = Definition(raw, tuple(writer.references))
            except TooLong:
                self._made[key] = None
        return self._made[key]


def _least(name: str) -> int:
    """The bytes that a definition takes besides its schema."""
    return len(name) + len('"":{},')
