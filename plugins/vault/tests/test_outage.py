"""Vault is down: what is known is used for a while, then there is a clear error; and nobody waits long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from openbao import OpenBao
from reading import complaint, value

from toolway_testing.polling import eventually
from toolway_vault.vault import Vault

pytestmark = pytest.mark.server
MakeVault = Callable[..., Vault]


@pytest.fixture
def raft(openbao_raft: OpenBao) -> Iterator[OpenBao]:
    """Usable again after the test."""
    yield openbao_raft
    openbao_raft.unseal()


@pytest.fixture
def reference(openbao_raft: OpenBao) -> str:
    mount = openbao_raft.kv()
    openbao_raft.put(mount, "app", password="first")
    return f"{mount}/app#password"


async def test_a_known_value_is_used_while_vault_is_sealed_and_a_new_one_after(
    raft: OpenBao, vault: MakeVault, reference: str
) -> None:
    opened = vault(raft.settings())
    assert await value(opened, reference) == "first"

    raft.seal()
    await eventually(lambda: down(opened), 5.0)
    assert await value(opened, reference) == "first"
    assert "sealed" in await opened.state()
    assert "known values (1 paths) are used for" in await opened.state()
    await asyncio.to_thread(raft.unseal)
    raft.put(reference.partition("/")[0], "app", password="second")

    async def is_new() -> bool:
        return await value(opened, reference) == "second"

    await eventually(is_new, 20.0)
    assert await opened.state() == ""


async def test_a_value_that_is_too_old_is_not_used(raft: OpenBao, vault: MakeVault, reference: str) -> None:
    opened = vault(raft.settings(stale_for=0.3))
    assert await value(opened, reference) == "first"

    raft.seal()

    async def is_over() -> bool:
        return "sealed" in await complaint(opened, reference)

    await eventually(is_over, 5.0)


async def test_under_load_sealing_and_unsealing_fails_no_call_that_has_a_known_value(
    raft: OpenBao, vault: MakeVault, reference: str
) -> None:
    opened = vault(raft.settings())
    assert await value(opened, reference) == "first"
    stop, slowest, served = asyncio.Event(), 0.0, 0

    async def calls() -> None:
        nonlocal slowest, served
        while not stop.is_set():
            begun = time.perf_counter()
            assert await value(opened, reference) in ("first", "second")
            slowest, served = max(slowest, time.perf_counter() - begun), served + 1
            await asyncio.sleep(0.001)

    running = [asyncio.create_task(calls()) for _ in range(8)]
    await asyncio.to_thread(raft.seal)
    await eventually(lambda: down(opened), 5.0)
    await asyncio.to_thread(raft.unseal)
    await asyncio.to_thread(raft.put, reference.partition("/")[0], "app", password="second")

    async def is_new() -> bool:
        return await value(opened, reference) == "second"

    await eventually(is_new, 20.0)
    stop.set()
    await asyncio.gather(*running)
    assert served > 100
    assert slowest < 1.0


async def test_a_vault_that_hangs_delays_nobody_who_has_a_known_value(
    raft: OpenBao, vault: MakeVault, reference: str
) -> None:
    opened = vault(raft.settings(timeout=0.5))
    assert await value(opened, reference) == "first"

    raft.stop()
    try:
        begun = time.monotonic()
        said = await complaint(opened, reference.replace("app", "other"))
        assert time.monotonic() - begun < 2.0
        assert "does not answer within 0.5 s" in said or "no answer" in said
        assert await value(opened, reference) == "first"
    finally:
        raft.go_on()


async def test_a_vault_that_is_not_there_is_a_clear_error(vault: MakeVault) -> None:
    login = {"method": "token", "token": "literal:token"}
    opened = vault({"address": "http://127.0.0.1:9", "login": login})

    assert "there is no answer (ConnectionError)" in await complaint(opened, "kv/app#password")


async def down(vault: Vault) -> bool:
    return await vault.state() != ""
