"""Signing keys: made once for all nodes, by reference, rotated with an overlap."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from token_node import ADMIN_PRINCIPAL, MakeNode, Node

from toolway.bundled.defaults.references import FileScheme
from toolway.plugin import ConfigError, Conflict, Unauthenticated
from toolway_testing.clock import MovedClock
from toolway_tokens.keys import Algorithm, UnusableKey, generated, signing_key


@pytest.mark.parametrize(("algorithm", "alg"), [("ES256", "ES256"), ("RS256", "RS256"), ("EdDSA", "Ed25519")])
async def test_every_algorithm_signs_and_verifies(make_node: MakeNode, algorithm: Algorithm, alg: str) -> None:
    node = await make_node(algorithm=algorithm)
    _, value = await node.make(subject="user:alice")

    assert await node.ask(value) is not None
    assert [(key["alg"], key["use"], "d" in key) for key in await node.parts.keys.jwks()] == [(alg, "sig", False)]


async def test_two_nodes_that_start_together_make_one_key(node: Node, make_node: MakeNode) -> None:
    other = await make_node()

    await asyncio.gather(node.parts.keys.ensure(), other.parts.keys.ensure())

    assert len(await node.parts.keys.jwks()) == 1
    _, value = await node.make(subject="user:alice")
    assert await other.ask(value) is not None


async def test_after_a_rotation_old_tokens_go_on_until_the_last_is_over(
    node: Node, make_node: MakeNode, clock: MovedClock
) -> None:
    other = await make_node()
    _, old = await node.make(subject="user:alice", ttl="1d")
    await other.ask(old)

    await node.parts.keys.rotate("admin")

    _, new = await node.make(subject="user:alice", ttl="3d")
    clock.time += 1
    for value in (old, new):
        assert await other.ask(value) is not None
    assert len(await other.parts.keys.jwks()) == 2
    clock.time += 86400 + 60
    assert len(await other.parts.keys.jwks()) == 1
    assert await other.ask(new) is not None


async def test_the_private_key_is_given_up_with_the_rotation(node: Node) -> None:
    await node.parts.keys.ensure()
    await node.parts.keys.rotate("admin")

    async with node.database.read() as tx:
        from sqlmodel import select

        from toolway_tokens.models import KeyRow

        rows = list(await tx.session.exec(select(KeyRow)))
    assert sorted(row.sealed is None for row in rows) == [False, True]


async def test_an_unknown_key_is_not_looked_for_with_every_request(
    node: Node, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.parts.keys.verifying()
    reads: list[int] = []
    read: Callable[[], Any] = node.database.read

    def counting() -> Any:
        reads.append(1)
        return read()

    monkeypatch.setattr(node.database, "read", counting)

    for _ in range(20):
        await node.parts.keys.verifying("unknown")
    assert reads == []
    clock.time += 1
    for _ in range(20):
        await node.parts.keys.verifying("unknown")
    assert len(reads) == 1


async def test_another_algorithm_in_the_settings_is_another_key(node: Node, make_node: MakeNode) -> None:
    _, old = await node.make(subject="user:alice")

    other = await make_node(algorithm="EdDSA")
    await other.parts.keys.ensure()

    assert [key["alg"] for key in await other.parts.keys.jwks()] == ["Ed25519", "ES256"]
    assert await other.ask(old) is not None


async def test_a_key_by_reference_signs_and_is_rotated_by_changing_the_secret(
    make_node: MakeNode, tmp_path: Path, clock: MovedClock
) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(generated("ES256").key.as_pem(private=True))
    node = await make_node(signing_key=f"file:{file}")
    node.secrets.use([FileScheme(clock)])
    await node.parts.keys.ensure()
    _, old = await node.make(subject="user:alice")
    with pytest.raises(Conflict, match="is still the same; change the secret, then rotate"):
        await node.parts.keys.rotate("admin")

    file.write_bytes(generated("EdDSA").key.as_pem(private=True))
    clock.time += 600
    await node.parts.keys.rotate("admin")

    _, new = await node.make(ADMIN_PRINCIPAL, subject="user:alice")
    for value in (old, new):
        assert await node.ask(value) is not None
    assert [key["alg"] for key in await node.parts.keys.jwks()] == ["Ed25519", "ES256"]


async def test_a_secret_that_is_no_key_is_refused_without_showing_it(make_node: MakeNode, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("hunter2")
    node = await make_node(signing_key=f"file:{file}")
    node.secrets.use([FileScheme(node.clock)])

    with pytest.raises(ConfigError, match="cannot be used: it is no private key in PEM") as failed:
        await node.parts.keys.ensure()

    assert "hunter2" not in str(failed.value)


def test_keys_say_nothing_of_themselves() -> None:
    key = generated("ES256")
    assert repr(key) == f"SigningKey(kid={key.kid!r})"
    assert repr(signing_key(key.private.decode())) == repr(key)
    with pytest.raises(UnusableKey, match="it is a public key"):
        signing_key(key.key.as_pem(private=False).decode())


async def test_a_key_that_is_over_verifies_nothing(node: Node, clock: MovedClock) -> None:
    _, old = await node.make(subject="user:alice", ttl="1d")
    await node.parts.keys.rotate("admin")
    clock.time += 86400 + 61

    with pytest.raises(Unauthenticated):
        await node.ask(old)
