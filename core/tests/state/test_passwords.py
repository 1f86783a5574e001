"""Local passwords and the bounds of guessing them."""

from __future__ import annotations

import asyncio
import threading
from typing import Literal

import pytest
from argon2 import PasswordHasher
from hypothesis import given, settings, strategies as st
from sqlmodel import select

from toolway.bundled.accounts.definitions import User
from toolway.bundled.accounts.entities import UserEntity
from toolway.bundled.accounts.lockout import FREE, LOCK_SECONDS, PER_SOURCE, WINDOW_SECONDS, Lockout
from toolway.bundled.accounts.models import PasswordRow
from toolway.bundled.accounts.passwords import AT_ONCE, LocalVerifier, Passwords, set_password
from toolway.bundled.stores.keyvalue_database import DatabaseKeyValue
from toolway.bundled.stores.keyvalue_memory import MemoryKeyValue
from toolway.catalog.store import Store
from toolway.errors import Overloaded, StoreUnavailable, TooManyFailures
from toolway.hookspecs.auth import UNKNOWN, WRONG, Identity
from toolway_testing.clock import MovedClock

PASSWORD = "correct horse battery"
QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


async def keep(store: Store, passwords: Passwords, password: str = PASSWORD) -> str:
    hashed = await passwords.hash(password)
    async with store.change("accounts", "admin", "test", "test") as tx:
        await UserEntity().put(tx, User(name="alice"))
        await set_password(tx, "user:alice", hashed)
    return hashed


async def kept(store: Store) -> str:
    async with store.read() as tx:
        return (await tx.session.exec(select(PasswordRow))).one().hash


async def test_only_the_right_password_of_a_user_that_has_one_is_accepted(store: Store) -> None:
    passwords = Passwords(QUICK)
    hashed = await keep(store, passwords)
    verifier = LocalVerifier(store, passwords)
    assert hashed.startswith("$argon2id$")
    assert PASSWORD not in hashed
    assert await verifier.verify("alice", PASSWORD) == Identity("local", "user:alice", "alice")
    assert await verifier.verify("alice", PASSWORD + "!") is WRONG
    assert await verifier.verify("bob", PASSWORD) is UNKNOWN
    assert await kept(store) == hashed


async def test_a_password_is_hashed_anew_when_the_parameters_changed(store: Store) -> None:
    old = await keep(store, Passwords(QUICK))
    newer = Passwords(PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    verifier = LocalVerifier(store, newer)
    assert await verifier.verify("alice", "something else") is WRONG
    assert await kept(store) == old
    assert isinstance(await verifier.verify("alice", PASSWORD), Identity)
    assert await kept(store) != old
    assert isinstance(await verifier.verify("alice", PASSWORD), Identity)


async def test_for_who_is_not_there_the_same_work_is_done_as_for_a_wrong_password(store: Store) -> None:
    compared: list[str] = []

    class Watched(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            compared.append(str(hash))
            return super().verify(hash, password)

    passwords = Passwords(Watched(time_cost=1, memory_cost=64, parallelism=1))
    await keep(store, passwords)
    for name in ("alice", "bob"):
        await LocalVerifier(store, passwords).verify(name, "something else")
    known, nobody = (each.split("$") for each in compared)
    assert known[:4] == nobody[:4]
    assert [len(part) for part in known[4:]] == [len(part) for part in nobody[4:]]


async def test_two_passwords_are_hashed_at_once_off_the_event_loop_and_too_many_are_refused() -> None:
    at_work, most, gate = 0, 0, threading.Event()

    class Slow(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            gate.wait(5)
            at_work -= 1
            return ""

    passwords = Passwords(Slow())
    waiting = [asyncio.create_task(passwords.hash("x")) for _ in range(64)]
    while most < AT_ONCE:
        await asyncio.sleep(0.001)
    with pytest.raises(Overloaded):
        await passwords.hash("x")
    gate.set()
    await asyncio.gather(*waiting)
    assert most == AT_ONCE


async def test_the_same_letters_typed_in_another_way_are_the_same_password() -> None:
    passwords = Passwords(QUICK)
    assert await passwords.matches(await passwords.hash("caf\u00e9 au lait, 2"), "cafe\u0301 au lait, 2")


class Guesser:
    """Tries passwords; knows how long to wait."""

    def __init__(self, lockout: Lockout) -> None:
        self.lockout = lockout
        self.tried = 0

    async def guess(self, username: str = "alice", address: str = "192.0.2.1", *, good: bool = False) -> int:
        """0 when the password was looked at, else the seconds to wait."""

        async def verify() -> str | None:
            self.tried += 1
            return username if good else None

        try:
            found = await self.lockout.attempt(username, address, verify)
        except TooManyFailures as refused:
            return int(refused.details["retry_after"])
        assert found == (username if good else None)
        return 0


@pytest.fixture
def guesser(clock: MovedClock) -> Guesser:
    return Guesser(Lockout(MemoryKeyValue(clock), clock))


async def test_after_five_failures_each_next_one_waits_twice_as_long_and_ten_lock(
    guesser: Guesser, clock: MovedClock
) -> None:
    waits = []
    for _ in range(10):
        while wait := await guesser.guess():
            waits.append(wait)
            clock.time += wait
    assert waits == [1, 2, 4, 8, 16]
    assert await guesser.guess(good=True) == LOCK_SECONDS
    clock.time += LOCK_SECONDS
    assert await guesser.guess(good=True) == 0
    assert [await guesser.guess() for _ in range(FREE + 1)] == [0] * FREE + [1]


async def test_a_success_forgets_the_failures_before_it(guesser: Guesser) -> None:
    for _ in range(10):
        assert [await guesser.guess() for _ in range(FREE - 1)] == [0] * (FREE - 1)
        assert await guesser.guess(good=True) == 0


async def test_a_lock_is_for_that_user_from_that_address_only(guesser: Guesser) -> None:
    for _ in range(20):
        await guesser.guess()
    assert await guesser.guess() > 0
    assert await guesser.guess("ALICE") > 0
    assert await guesser.guess(address="192.0.2.2") == 0
    assert await guesser.guess("bob") == 0


async def test_fifty_failures_close_an_address_for_strangers_but_not_for_who_signed_in_from_there(
    guesser: Guesser, clock: MovedClock
) -> None:
    clock.time = 1000 * WINDOW_SECONDS
    assert await guesser.guess("bob", good=True) == 0
    for number in range(PER_SOURCE):
        assert await guesser.guess(f"user-{number}") == 0
    assert await guesser.guess("stranger", good=True) == WINDOW_SECONDS
    assert await guesser.guess("bob") == 0
    assert await guesser.guess("bob", good=True) == 0
    assert await guesser.guess("stranger", address="192.0.2.2", good=True) == 0
    clock.time += WINDOW_SECONDS
    assert await guesser.guess("stranger", good=True) == 0


async def test_an_ipv6_network_is_one_source(guesser: Guesser) -> None:
    for number in range(20):
        await guesser.guess(address=f"2001:db8::{number:x}")
    assert await guesser.guess(address="2001:db8::ffff") > 0
    assert await guesser.guess(address="2001:db8:0:1::1") == 0
    assert await guesser.guess(address="::ffff:192.0.2.1") == 0


async def test_what_could_not_be_verified_is_not_held_against_anybody(guesser: Guesser) -> None:
    async def fail() -> None:
        raise StoreUnavailable("the directory does not answer")

    for _ in range(3 * PER_SOURCE):
        with pytest.raises(StoreUnavailable):
            await guesser.lockout.attempt("alice", "192.0.2.1", fail)
    assert await guesser.guess() == 0


async def test_many_guesses_at_once_on_two_nodes_are_hardly_more_than_five(
    nodes: tuple[Store, Store], clock: MovedClock
) -> None:
    both = [Guesser(Lockout(DatabaseKeyValue(node, clock), clock)) for node in nodes]
    await asyncio.gather(*(each.guess() for each in both * 6))
    assert FREE <= sum(each.tried for each in both) <= FREE + 1
    assert [await each.guess() > 0 for each in both] == [True, True]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["alice", "bob"]), st.booleans(), st.floats(0, 400)), max_size=40))
def test_whoever_waits_as_told_is_let_try(steps: list[tuple[str, bool, float]]) -> None:
    asyncio.run(_follow(steps))


async def _follow(steps: list[tuple[str, bool, float]]) -> None:
    clock = MovedClock(1000 * WINDOW_SECONDS)
    guesser = Guesser(Lockout(MemoryKeyValue(clock), clock))
    for username, good, pause in steps:
        clock.time += pause
        wait = await guesser.guess(username, good=good)
        clock.time += wait
        if wait:
            assert await guesser.guess(username, good=good) == 0
