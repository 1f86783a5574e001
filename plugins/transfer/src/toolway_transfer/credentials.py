"""Takes the credentials out of an object and puts them back, each at its JSON pointer (RFC 6901)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from toolway.hookspecs.definitions import HIDDEN
from toolway.plugin import InvalidInput, Kernel, SecretUnavailable

Values = Mapping[str, str]
"""Credentials of one object by pointer."""

MISSING = ":missing"
"""How what stands in place of a credential ends that nobody has sent yet."""

_STORED = ("sealed:", "literal:")
_USERINFO = re.compile(r"(?<=://)[^\s/?#@]*@")


def leaves(value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, with its pointer."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from leaves(entry, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from leaves(entry, f"{pointer}/{index}")
    elif isinstance(value, str):
        yield pointer, value


def replaced(value: Any, texts: Mapping[str, str], pointer: str = "") -> Any:
    """The JSON value with other texts at these pointers."""
    if isinstance(value, dict):
        steps = {key: f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}" for key in value}
        return {key: replaced(entry, texts, steps[key]) for key, entry in value.items()}
    if isinstance(value, list):
        return [replaced(entry, texts, f"{pointer}/{index}") for index, entry in enumerate(value)]
    return texts.get(pointer, value)


def without(text: str) -> str:
    """The text without its credential: as the API hides it, and URLs without user and password."""
    return HIDDEN if text.startswith(_STORED) else _USERINFO.sub("", text)


def hidden(value: Any) -> Any:
    """The JSON value without its credentials."""
    return replaced(value, {pointer: without(text) for pointer, text in leaves(value)})


async def taken_out(kernel: Kernel, value: Any) -> tuple[Any, dict[str, str]]:
    """An object without its credentials, and these as far as they can be opened."""
    found = {pointer: text for pointer, text in leaves(value) if without(text) != text}
    opened: dict[str, str] = {}
    for pointer, text in found.items():
        if text == HIDDEN or text.endswith(MISSING):
            continue
        try:
            opened[pointer] = await kernel.secrets.get(text) if text.startswith(_STORED) else text
        except SecretUnavailable:
            continue
    return hidden(value), opened


def put_back(kernel: Kernel, value: Any, credentials: Values) -> Any:
    """The object with credentials where it has none of its own.

    Raises:
        InvalidInput: one belongs somewhere else, or would be read as a reference to another secret.
    """
    at = dict(leaves(value))
    for pointer, text in credentials.items():
        if at.get(pointer) != without(text) and at.get(pointer) != HIDDEN:
            raise InvalidInput(f"there is no place for the credential {pointer}; export it anew")
        scheme, _, rest = text.partition(":")
        if at[pointer] == HIDDEN and rest and scheme in kernel.secrets.schemes():
            raise InvalidInput(f"the credential {pointer} begins as a secret reference does; enter it by hand")
    return replaced(value, credentials)


def missing(value: Any) -> list[str]:
    """Where it has a place for a credential and none in it."""
    return [pointer for pointer, text in leaves(value) if text.startswith("sealed:")]


def held_open(value: Any, name: str, pointers: list[str]) -> Any:
    """The object with what opens to nothing at these pointers, until somebody sends the credentials."""
    return replaced(value, dict.fromkeys(pointers, f"sealed:{name}{MISSING}"))
