"""Structs whose fields are assigned often."""

from __future__ import annotations

from typing import Any

import msgspec


class Mutable(msgspec.StructMeta):
    """Metaclass: the interpreter assigns fields by itself, in a quarter of the time that msgspec's own function takes.

    That function shows an object to the garbage collector once it holds a container. So this is for structs that hold
    one from the beginning, or are never part of a reference cycle.
    """

    def __init__(cls, *args: Any, **options: Any) -> None:  # noqa: N805 - a metaclass
        super().__init__(*args, **options)
        cls.__setattr__ = object.__setattr__  # type: ignore[assignment]
        cls.__delattr__ = object.__delattr__  # type: ignore[assignment]  # both share one slot of the type
