"""Whatever happens in whatever order: what was revoked, used up or has expired is never accepted again."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from token_node import ACCOUNTS, ROOT_KEY, Node

from toolway.catalog.store import Store
from toolway.gateway.access import Access
from toolway.hookspecs.auth import AuthContext, Visit
from toolway.keyring import open_ring
from toolway.plugin import Unauthenticated
from toolway_testing.clock import MovedClock
from toolway_tokens.claims import LEEWAY

ENDS = {"hour": 3600, "day": 86400}


class Tokens(RuleBasedStateMachine):
    """Two nodes as the gateway has them: each remembers verified credentials and hears of revocations."""

    template: Path
    folder: Path
    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = MovedClock()
        self.ends: dict[str, float] = {}
        self.over: set[str] = set()
        self.disabled = False
        self.nodes, self.accesses = self.run(self._nodes())

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    async def _nodes(self) -> tuple[list[Node], list[Access]]:
        file = self.folder / "toolway.db"
        shutil.copy(self.template, file)
        nodes = []
        for _ in range(2):
            store = Store.connect(f"sqlite+aiosqlite:///{file}")
            nodes.append(Node(store, await open_ring(store, ROOT_KEY, self.clock), self.clock))
        return nodes, [Access([node.parts.authenticator], [], self.clock) for node in nodes]

    def teardown(self) -> None:
        for node in self.nodes:
            self.run(node.database.close())
        self.runner.close()
        (self.folder / "toolway.db").unlink()

    @precondition(lambda self: not self.disabled)
    @rule(target=made, ttl=st.sampled_from(sorted(ENDS)), single_use=st.booleans(), node=st.integers(0, 1))
    def make(self, ttl: str, single_use: bool, node: int) -> str:
        token, value = self.run(self.nodes[node].make(subject="user:alice", ttl=f"{ENDS[ttl]}s", single_use=single_use))
        self.ends[value] = token.expires_at
        return str(value)

    @rule(value=made, node=st.integers(0, 1))
    def use(self, value: str, node: int) -> None:
        self.present(value, node)

    @rule(value=made, node=st.integers(0, 1))
    def use_up(self, value: str, node: int) -> None:
        catalog, jti = self.nodes[node].parts.catalog, self.credential(value).removeprefix("token:")
        token = self.run(catalog.find(jti))
        if token is None or not token.single_use:
            return
        claimed = self.run(catalog.claim(jti))
        assert not (claimed and (value in self.over or self.clock.time >= self.ends[value] + LEEWAY))
        self.run(catalog.end(jti))
        self.over.add(value)

    @rule(value=made, node=st.integers(0, 1))
    def revoke(self, value: str, node: int) -> None:
        key = self.credential(value)
        self.run(self.nodes[node].parts.catalog.revoke(key.removeprefix("token:"), "admin"))
        for access in self.accesses:
            access.revoke(frozenset({key}))
        self.over.add(value)

    @rule(node=st.integers(0, 1))
    def rotate(self, node: int) -> None:
        self.clock.time += 1
        self.run(self.nodes[node].parts.keys.rotate("admin"))

    @rule(seconds=st.sampled_from([1, 59, 60, 3599, 3600, 86400]))
    def wait(self, seconds: int) -> None:
        self.clock.time += seconds

    @rule(days=st.integers(1, 40))
    def prune(self, days: int) -> None:
        self.clock.time += days * 86400
        self.run(self.nodes[0].parts.upkeep.prune())

    @rule()
    def disable_or_enable(self) -> None:
        self.disabled = not self.disabled
        for node, access in zip(self.nodes, self.accesses, strict=True):
            node.accounts = type(ACCOUNTS)({}) if self.disabled else ACCOUNTS
            access.revoke(frozenset({"user:alice"}))

    @invariant()
    def what_is_over_is_refused_and_what_is_not_is_accepted(self) -> None:
        for value in self.ends:
            for node in (0, 1):
                self.present(value, node)

    def present(self, value: str, node: int) -> None:
        is_over = value in self.over or self.clock.time >= self.ends[value] + LEEWAY or self.disabled
        visit = Visit(f"Bearer {value}".encode(), None, AuthContext("s", "192.0.2.1", "/mcp"))
        try:
            self.run(self.accesses[node].authenticate(visit))
        except Unauthenticated:
            assert is_over
        else:
            assert not is_over

    def credential(self, value: str) -> str:
        import json
        from base64 import urlsafe_b64decode

        return f"token:{json.loads(urlsafe_b64decode(value.split('.')[1] + '=='))['jti']}"


def test_what_is_over_stays_over(template: Path, tmp_path: Path) -> None:
    Tokens.template, Tokens.folder = template, tmp_path
    run_state_machine_as_test(
        Tokens,
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
