"""What a metaclass changes in a struct, and what it leaves."""

from __future__ import annotations

import msgspec
import pytest

from toolway.hookspecs.structs import Mutable


class Counted(msgspec.Struct, eq=False, metaclass=Mutable):
    """With a default and a container."""

    name: str
    count: int = 0
    seen: list[str] = []


def test_the_interpreter_assigns_the_fields_itself() -> None:
    assert Counted.__setattr__ is object.__setattr__
    counted = Counted("a")

    counted.count = 3
    counted.seen.append("b")

    assert (counted.name, counted.count, counted.seen) == ("a", 3, ["b"])
    assert Counted("c").seen == []


def test_it_is_a_struct_all_the_same() -> None:
    assert msgspec.json.encode(msgspec.structs.replace(Counted("a"), count=2)) == b'{"name":"a","count":2,"seen":[]}'
    with pytest.raises(AttributeError, match="other"):
        Counted("a").other = 1  # type: ignore[attr-defined]


def test_fields_can_be_deleted_as_of_any_object() -> None:
    counted = Counted("a")
    del counted.count

    with pytest.raises(AttributeError, match="count"):
        _ = counted.count
