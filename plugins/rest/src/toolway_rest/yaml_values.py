"""Reads YAML as JSON would have it: flat however deep it nests, within bounds, with the types of YAML 1.2.

PyYAML's own loaders end the process on deep nesting, unfold merge keys without bound, take time without bound for
numbers such as `1:2:3`, and read `no` and `on` as booleans. Its events have none of that.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import yaml

MAX_UNFOLDED = 200_000
"""Values that a text may have by its aliases, beyond one for each of its bytes."""

MAX_DEPTH = 200

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
TAGS = {f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "map", "null", "seq", "str", "timestamp")}
TEXT = ("!", "tag:yaml.org,2002:str")

_NUMBER = re.compile(r"[-+]?(?:\.[0-9]{1,400}|[0-9]{1,400}(?:\.[0-9]{0,400})?)(?:[eE][-+]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")


class Node(msgspec.Struct, frozen=True):
    """A finished value, with how many values it has when all aliases are unfolded, and how deep it nests."""

    value: Any
    size: int = 1
    height: int = 0


class Container(msgspec.Struct):
    """An array, or an object, whose end has not come yet; `key` is what the next value of an object belongs to."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    key: str | None = None
    merged: list[Any] = []
    size: int = 1
    height: int = 1

    def add(self, node: Node) -> None:
        """Take a value in."""
        self.size += node.size
        self.height = max(self.height, node.height + 1)
        if isinstance(self.value, list):
            self.value.append(node.value)
        elif self.key == "<<":
            self.merged += node.value if isinstance(node.value, list) else [node.value]
        elif self.key is not None:
            self.value[self.key] = node.value
        self.key = None

    def finished(self) -> Node:
        """The value, with what merge keys bring where it says nothing itself."""
        if self.merged:
            found: dict[str, Any] = {}
            for each in (*reversed(self.merged), self.value):
                if not isinstance(each, dict):
                    raise ValueError("a merge key without an object")
                found.update(each)
            self.value = found
        return Node(self.value, self.size, self.height)


class Reader:
    """Puts the events of one text together."""

    def __init__(self, bound: int) -> None:
        """`bound` is the number of values at most, aliases unfolded."""
        self._bound = bound
        self._open: list[Container] = []
        self._anchors: dict[str, Node] = {}
        self._read: Node | None = None

    def read(self, data: bytes) -> Any:
        """The only document of the text.

        Raises:
            yaml.YAMLError: it is no YAML.
            ValueError: it is more than one document, too large, too deep, a circle, or has what JSON does not.
        """
        for event in yaml.parse(data, Loader=LOADER):
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._begin(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                container = self._open.pop()
                self._add(container.finished(), container.anchor)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event.anchor)
        return self._read.value if self._read is not None else None

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        if event.tag is not None and event.tag not in TAGS:
            raise ValueError("a tag that JSON does not have")
        if self._is_at_key() or len(self._open) >= MAX_DEPTH:
            raise ValueError("a key that is no text, or too deep")
        empty: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._open.append(Container(empty, event.anchor))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        is_plain = not event.style and event.tag not in TEXT
        if event.tag is not None and event.tag not in TAGS and event.tag not in TEXT:
            raise ValueError("a tag that JSON does not have")
        if self._is_at_key():
            self._open[-1].key = event.value
        else:
            self._add(Node(scalar(event.value) if is_plain else event.value), event.anchor)

    def _alias(self, anchor: str | None) -> None:
        if anchor is None or anchor not in self._anchors or self._is_at_key():
            raise ValueError("an alias of nothing, of what it is part of, or for a key")
        self._add(self._anchors[anchor], None)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            if self._read is not None:
                raise ValueError("more than one document")
            self._read = node
            return
        container = self._open[-1]
        container.add(node)
        if container.size > self._bound or container.height + len(self._open) > MAX_DEPTH:
            raise ValueError("too large or too deep")

    def _is_at_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None


def read_yaml(data: bytes) -> Any:
    """The value of a text; raises what `Reader.read` does."""
    return Reader(len(data) + MAX_UNFOLDED).read(data)


def scalar(text: str) -> Any:
    """What an unquoted text stands for (YAML 1.2.2 section 10.3.2); what JSON cannot say stays text."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
