"""Parts of the snapshot that plugins offer, and revocations, on one node and on several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from toolway.catalog import store as store_module
from toolway.catalog.catalog import Catalog
from toolway.catalog.parts import EVERY_KEY, Revoked
from toolway.catalog.store import REVOCATIONS
from toolway.hookspecs.system import Transaction


class Counter:
    """A part whose value is how often it was loaded."""

    def __init__(self, name: str, *after: str) -> None:
        self.name, self.after = name, after
        self.seen: list[Mapping[str, Any]] = []
        self.is_broken = False

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> int:
        if self.is_broken:
            raise RuntimeError("a row cannot be read")
        self.seen.append(dict(parts))
        known: int = parts.get(self.name, 0)
        return known + 1


@pytest.fixture
def roles(shelf: Any) -> Counter:
    shelf.parts += [people := Counter("people"), roles := Counter("roles", "people")]
    roles.people = people  # type: ignore[attr-defined]
    return roles


async def change(shelf: Any, part: str, *revoked: str) -> None:
    async with shelf.store.change(part, "u1", "put", part) as tx:
        await tx.revoke(*revoked)


def counts(catalog: Catalog) -> tuple[int, int]:
    return catalog.snapshot.parts["people"], catalog.snapshot.parts["roles"]


async def test_a_part_is_made_anew_when_it_or_one_before_it_changed(shelf: Any, roles: Counter) -> None:
    catalog = shelf.node()
    await catalog.reload()
    assert counts(catalog) == (1, 1)
    assert roles.seen[0]["people"] == 1

    for part, expected in (("roles", (1, 2)), ("people", (2, 3)), ("catalog", (2, 3))):
        number = catalog.snapshot.number
        await change(shelf, part)
        await catalog.reload()
        assert counts(catalog) == expected
        assert (catalog.snapshot.number > number) == (part != "catalog"), "listeners hear of it"
    assert roles.seen[-1]["roles"] == 2, "what it was until now is told"


async def test_parts_that_fail_to_load_stay_as_they_are_together(shelf: Any, roles: Counter) -> None:
    catalog = shelf.node()
    await catalog.reload()
    roles.is_broken = True
    await change(shelf, "people")

    await catalog.reload()

    assert counts(catalog) == (1, 1)
    assert "the previous one stays in force: RuntimeError" in catalog.problems[0]
    roles.is_broken = False
    await catalog.reload()
    assert counts(catalog) == (2, 2)
    assert not catalog.problems


@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
async def test_every_node_hears_once_what_was_revoked_since_it_started(shelf: Any) -> None:
    await change(shelf, "people", "token:before")
    nodes = [shelf.node(), shelf.node()]
    heard: list[list[frozenset[str]]] = [[], []]
    for node, told in zip(nodes, heard, strict=True):
        await node.reload()
        node.on_swap(lambda old, new, told=told: told.append(new.parts[REVOCATIONS].keys))

    await change(shelf, "people", "token:1", "token:1", "user:alice")
    await nodes[0].reload()
    await change(shelf, "people", "token:2")
    for node in nodes:
        await node.reload()

    assert heard == [[{"token:1", "user:alice"}, {"token:2"}], [{"token:1", "token:2", "user:alice"}]]


async def test_a_node_that_starts_hears_what_was_revoked_before(shelf: Any) -> None:
    await change(shelf, "people", "token:1", "user:alice")
    await change(shelf, "people", "token:2")
    catalog = shelf.node()

    await catalog.reload()

    assert catalog.snapshot.parts[REVOCATIONS].keys == {"token:1", "user:alice", "token:2"}


async def test_what_was_rolled_back_is_not_revoked(shelf: Any) -> None:
    catalog = shelf.node()
    await catalog.reload()

    async def fail() -> None:
        async with shelf.store.change("people", "u1", "put", "x") as tx:
            await tx.revoke("token:1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    await catalog.reload()
    assert catalog.snapshot.parts[REVOCATIONS] == Revoked(0)


async def test_a_node_that_missed_revocations_forgets_everything(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "KEPT_REVOCATIONS", 2)
    catalog = shelf.node()
    await catalog.reload()
    for number in range(4):
        await change(shelf, "people", f"token:{number}")

    await catalog.reload()

    assert catalog.snapshot.parts[REVOCATIONS].keys == {EVERY_KEY}
    await change(shelf, "people", "token:9")
    await catalog.reload()
    assert catalog.snapshot.parts[REVOCATIONS].keys == {"token:9"}
