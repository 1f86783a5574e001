"""Whatever happens in whatever order: a secret that was revoked, replaced or has expired is never accepted again."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from key_node import Node
from sqlmodel import select

from toolway.catalog.models import RevocationRow
from toolway.catalog.store import Store
from toolway.plugin import Conflict
from toolway_server_keys.key import Key
from toolway_testing.clock import MovedClock

ENDS = {"1h": 3600, "1d": 86400}
GRACES = {"0s": 0, "30s": 30, "1h": 3600}


class Made(msgspec.Struct):
    """A key as the model has it: which secrets there were, and when each ends."""

    id: str
    lifetime: int
    ends: list[tuple[str, float]] = []
    is_revoked: bool = False

    def accepted(self, now: float) -> set[str]:
        """The secrets that let somebody in: of the two newest."""
        return set() if self.is_revoked else {value for value, end in self.ends[-2:] if now < end}


class Keys(RuleBasedStateMachine):
    """Two nodes as the gateway has them: each remembers verified credentials and hears of revocations."""

    template: Path
    folder: Path
    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = MovedClock()
        self.keys: list[Made] = []
        self.over: set[str] = set()
        self.nodes: list[Node] = self.run(self._nodes())

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    async def _nodes(self) -> list[Node]:
        file = self.folder / "toolway.db"
        shutil.copy(self.template, file)
        return [Node(Store.connect(f"sqlite+aiosqlite:///{file}"), self.clock) for _ in range(2)]

    def teardown(self) -> None:
        for node in self.nodes:
            self.run(node.database.close())
        self.runner.close()
        (self.folder / "toolway.db").unlink()

    @rule(target=made, ttl=st.sampled_from(sorted(ENDS)), node=st.integers(0, 1))
    def make(self, ttl: str, node: int) -> Made:
        key, value = self.run(self.nodes[node].make(ttl=ttl))
        self.keys.append(Made(key.id, ENDS[ttl], [(value, self.clock.time + ENDS[ttl])]))
        return self.keys[-1]

    @rule(made=made, grace=st.sampled_from(sorted(GRACES)), node=st.integers(0, 1))
    def rotate(self, made: Made, grace: str, node: int) -> None:
        key = self.run(self.nodes[node].parts.store.find(made.id))
        if key is None:
            return
        is_over = made.is_revoked or self.clock.time >= made.ends[-1][1]
        try:
            _, value = self.run(self.nodes[node].rotate(key, grace=grace))
        except Conflict:
            assert is_over
            return
        assert not is_over
        old, end = made.ends[-1]
        made.ends[-1] = old, min(end, self.clock.time + GRACES[grace])
        made.ends.append((value, self.clock.time + made.lifetime))
        self.hear()

    @rule(made=made, node=st.integers(0, 1))
    def revoke(self, made: Made, node: int) -> None:
        key: Key | None = self.run(self.nodes[node].parts.store.find(made.id))
        if key is not None:
            self.run(self.nodes[node].revoke(key))
            made.is_revoked = True
            self.hear()

    @rule(seconds=st.sampled_from([1, 29, 30, 59, 60, 3599, 3600, 86400]))
    def wait(self, seconds: int) -> None:
        self.clock.time += seconds

    @rule(days=st.sampled_from([1, 31]))
    def prune(self, days: int) -> None:
        self.clock.time += days * 86400
        self.run(self.nodes[0].parts.upkeep.prune())

    @invariant()
    def exactly_the_secrets_that_are_not_over_are_accepted(self) -> None:
        for made in self.keys:
            accepted = made.accepted(self.clock.time)
            for value, _ in made.ends:
                for node in self.nodes:
                    is_open = self.run(node.is_open(value))
                    assert is_open == (value in accepted)
                    assert not (is_open and value in self.over)
                if value not in accepted:
                    self.over.add(value)

    def hear(self) -> None:
        """What was revoked just now comes to both nodes, in the way that the catalog tells them."""
        for node in self.nodes:
            node.access.revoke(frozenset(self.run(_revoked(node))))


async def _revoked(node: Node) -> set[str]:
    async with node.database.read() as tx:
        rows = list(await tx.session.exec(select(RevocationRow)))
    newest = max(row.number for row in rows)
    return {row.key for row in rows if row.number == newest}


def test_what_is_over_stays_over(template: Path, tmp_path: Path) -> None:
    Keys.template, Keys.folder = template, tmp_path
    run_state_machine_as_test(
        Keys,
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
