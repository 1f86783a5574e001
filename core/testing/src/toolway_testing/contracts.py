"""What every backend of a provider must do: a test class per Protocol, which the backend's own test class inherits.

A backend writes `class TestValkey(KeyValueContract)` with the fixtures that the contract asks for. Two fixtures stand
for two nodes that share one state; a backend of a single process gives the same object twice.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from toolway.hookspecs.caching import KeyValueStore, PubSub
from toolway_testing.polling import eventually

MEBIBYTE = 1 << 20
SOON = 0.2
"""A time to live, in seconds, that is over soon and long enough for a slow machine to look before."""


class KeyValueContract:
    """Inherit with the fixtures `keyvalue` and `other_keyvalue`: two nodes on one empty store."""

    @pytest.fixture
    def keyvalue(self) -> KeyValueStore:
        """The store of one node."""
        raise NotImplementedError("give the contract a fixture 'keyvalue'")

    @pytest.fixture
    def other_keyvalue(self, keyvalue: KeyValueStore) -> KeyValueStore:
        """The store of another node; the same object where there is only one."""
        return keyvalue

    async def test_a_key_that_was_never_set_is_absent(self, keyvalue: KeyValueStore) -> None:
        assert await keyvalue.get("a") is None
        assert await keyvalue.delete("a") is False

    async def test_a_value_is_seen_by_every_node(self, keyvalue: KeyValueStore, other_keyvalue: KeyValueStore) -> None:
        await keyvalue.set("a", b"\x00\xff")
        assert await other_keyvalue.get("a") == b"\x00\xff"

    async def test_the_last_value_wins(self, keyvalue: KeyValueStore, other_keyvalue: KeyValueStore) -> None:
        await keyvalue.set("a", b"1")
        await other_keyvalue.set("a", b"2")
        assert await keyvalue.get("a") == b"2"

    async def test_an_empty_value_is_not_an_absent_one(self, keyvalue: KeyValueStore) -> None:
        await keyvalue.set("a", b"")
        assert await keyvalue.get("a") == b""
        assert not await keyvalue.compare_and_set("a", None, b"1")

    async def test_a_deleted_key_is_gone_everywhere(
        self, keyvalue: KeyValueStore, other_keyvalue: KeyValueStore
    ) -> None:
        await keyvalue.set("a", b"1")
        assert await other_keyvalue.delete("a") is True
        assert await keyvalue.get("a") is None

    async def test_the_longest_key_and_the_largest_value_fit(self, keyvalue: KeyValueStore) -> None:
        value = bytes(range(256)) * (MEBIBYTE // 256)
        await keyvalue.set("k" * 512, value)
        assert await keyvalue.get("k" * 512) == value

    async def test_a_value_is_gone_after_its_time(self, keyvalue: KeyValueStore) -> None:
        await keyvalue.set("a", b"1", ttl=SOON)
        assert await keyvalue.get("a") == b"1"
        await eventually(lambda: _is_gone(keyvalue, "a"))
        assert [key async for key in keyvalue.scan("a")] == []
        assert await keyvalue.delete("a") is False

    async def test_setting_again_without_a_time_keeps_the_value(self, keyvalue: KeyValueStore) -> None:
        await keyvalue.set("a", b"1", ttl=SOON)
        await keyvalue.set("a", b"2")
        await keyvalue.set("b", b"", ttl=SOON)
        await eventually(lambda: _is_gone(keyvalue, "b"))
        assert await keyvalue.get("a") == b"2"

    async def test_a_counter_starts_at_nothing_and_can_go_down(self, keyvalue: KeyValueStore) -> None:
        assert await keyvalue.increment("n") == 1
        assert await keyvalue.increment("n", 5) == 6
        assert await keyvalue.increment("n", -7) == -1
        assert await keyvalue.get("n") == b"-1"

    async def test_no_increment_is_lost_between_nodes(
        self, keyvalue: KeyValueStore, other_keyvalue: KeyValueStore
    ) -> None:
        results = await asyncio.gather(*(each.increment("n") for each in (keyvalue, other_keyvalue) * 10))
        assert sorted(results) == list(range(1, 21))

    async def test_the_time_of_a_counter_begins_when_it_is_made(self, keyvalue: KeyValueStore) -> None:
        await keyvalue.increment("n", ttl=SOON)
        await keyvalue.increment("n", ttl=3600)
        await eventually(lambda: _is_gone(keyvalue, "n"))
        assert await keyvalue.increment("n") == 1

    async def test_a_value_is_only_replaced_while_it_is_the_expected_one(self, keyvalue: KeyValueStore) -> None:
        assert await keyvalue.compare_and_set("a", None, b"1")
        assert not await keyvalue.compare_and_set("a", None, b"2")
        assert not await keyvalue.compare_and_set("a", b"0", b"2")
        assert await keyvalue.compare_and_set("a", b"1", b"2")
        assert await keyvalue.get("a") == b"2"

    async def test_of_equal_claims_exactly_one_wins(
        self, keyvalue: KeyValueStore, other_keyvalue: KeyValueStore
    ) -> None:
        nodes = (keyvalue, other_keyvalue) * 5
        claims = [each.compare_and_set("a", None, str(number).encode()) for number, each in enumerate(nodes)]
        won = await asyncio.gather(*claims)
        assert won.count(True) == 1
        assert await keyvalue.get("a") == str(won.index(True)).encode()

    async def test_an_expired_value_counts_as_absent_for_a_claim(self, keyvalue: KeyValueStore) -> None:
        await keyvalue.set("a", b"1", ttl=SOON)
        await eventually(lambda: keyvalue.compare_and_set("a", None, b"2"))
        assert await keyvalue.get("a") == b"2"

    async def test_a_claim_can_have_a_time(self, keyvalue: KeyValueStore) -> None:
        assert await keyvalue.compare_and_set("a", None, b"1", ttl=SOON)
        await eventually(lambda: _is_gone(keyvalue, "a"))

    async def test_keys_are_found_by_prefix_whatever_they_contain(self, keyvalue: KeyValueStore) -> None:
        for key in ("a%:1", "a%:2", "ab:3", "a_:4", "A%:5", "a*:6", "a[:7"):
            await keyvalue.set(key, b"")
        assert {key async for key in keyvalue.scan("a%:")} == {"a%:1", "a%:2"}
        assert {key async for key in keyvalue.scan("a_")} == {"a_:4"}
        assert {key async for key in keyvalue.scan("a*")} == {"a*:6"}
        assert {key async for key in keyvalue.scan("a[")} == {"a[:7"}

    async def test_a_lock_has_one_holder(self, keyvalue: KeyValueStore, other_keyvalue: KeyValueStore) -> None:
        async with keyvalue.lock("job", 60) as first, other_keyvalue.lock("job", 60) as second:
            assert first is not None
            assert second is None

    async def test_of_many_who_lock_at_once_one_holds(
        self, keyvalue: KeyValueStore, other_keyvalue: KeyValueStore
    ) -> None:
        async with _held([node.lock("job", 60) for node in (keyvalue, other_keyvalue) * 4]) as fences:
            assert sum(fence is not None for fence in fences) == 1

    async def test_a_lock_that_was_given_back_is_free_and_its_fence_grows(
        self, keyvalue: KeyValueStore, other_keyvalue: KeyValueStore
    ) -> None:
        async with keyvalue.lock("job", 60) as first:
            pass
        async with other_keyvalue.lock("job", 60) as second:
            assert first is not None
            assert second is not None
            assert second > first

    async def test_a_lock_is_given_back_when_its_work_fails(self, keyvalue: KeyValueStore) -> None:
        with pytest.raises(ZeroDivisionError):
            async with keyvalue.lock("job", 60):
                raise ZeroDivisionError
        async with keyvalue.lock("job", 60) as fence:
            assert fence is not None

    async def test_a_lock_whose_time_is_over_goes_to_the_next_who_keeps_it(
        self, keyvalue: KeyValueStore, other_keyvalue: KeyValueStore
    ) -> None:
        async with keyvalue.lock("job", SOON) as late:
            entered = await eventually(lambda: _entered(other_keyvalue))
            assert late is not None
            assert entered.fence > late
        async with keyvalue.lock("job", 60) as third:
            assert third is None
        await entered.leave()


class _Entered:
    """A held lock."""

    def __init__(self, fence: int, leave: Callable[[], Awaitable[object]]) -> None:
        self.fence, self.leave = fence, leave


async def _entered(keyvalue: KeyValueStore) -> _Entered | None:
    context = keyvalue.lock("job", 60)
    fence = await context.__aenter__()
    if fence is not None:
        return _Entered(fence, lambda: context.__aexit__(None, None, None))
    await context.__aexit__(None, None, None)
    return None


@asynccontextmanager
async def _held(locks: Sequence[AbstractAsyncContextManager[int | None]]) -> AsyncIterator[list[int | None]]:
    """All of them tried at once, in tasks of their own, left together."""
    done = asyncio.Event()
    fences: list[int | None] = []

    async def hold(lock: AbstractAsyncContextManager[int | None]) -> None:
        async with lock as fence:
            fences.append(fence)
            await done.wait()

    tasks = [asyncio.create_task(hold(lock)) for lock in locks]
    try:
        await eventually(lambda: len(fences) == len(locks) or any(task.done() for task in tasks))
        yield fences
    finally:
        done.set()
        await asyncio.gather(*tasks)


async def _is_gone(keyvalue: KeyValueStore, key: str) -> bool:
    return await keyvalue.get(key) is None


class PubSubContract:
    """Inherit with the fixtures `pubsub` and `other_pubsub`: two nodes that hear each other."""

    @pytest.fixture
    def pubsub(self) -> PubSub:
        """The messages of one node."""
        raise NotImplementedError("give the contract a fixture 'pubsub'")

    @pytest.fixture
    def other_pubsub(self, pubsub: PubSub) -> PubSub:
        """The messages of another node; the same object where there is only one."""
        return pubsub

    async def test_a_message_reaches_every_node_and_the_sender(self, pubsub: PubSub, other_pubsub: PubSub) -> None:
        here, there = _Inbox(), _Inbox()
        async with pubsub.subscribe("c", here), other_pubsub.subscribe("c", there):
            await pubsub.publish("c", b"\x00\xff")
            await eventually(lambda: here.got and there.got)
        assert here.got == there.got == [b"\x00\xff"]

    async def test_messages_come_in_order(self, pubsub: PubSub, other_pubsub: PubSub) -> None:
        sent = [str(number).encode() for number in range(50)]
        inbox = _Inbox()
        async with other_pubsub.subscribe("c", inbox):
            for message in sent:
                await pubsub.publish("c", message)
            await eventually(lambda: len(inbox.got) >= len(sent))
        assert inbox.got == sent

    async def test_nothing_is_heard_of_other_channels_or_of_the_time_before(
        self, pubsub: PubSub, other_pubsub: PubSub
    ) -> None:
        inbox = _Inbox()
        await pubsub.publish("c", b"too early")
        async with other_pubsub.subscribe("c", inbox):
            await pubsub.publish("d", b"not for you")
            await pubsub.publish("c", b"for you")
            await eventually(lambda: inbox.got)
        assert inbox.got == [b"for you"]

    async def test_many_who_subscribe_at_once_each_get_a_message_once(
        self, pubsub: PubSub, other_pubsub: PubSub
    ) -> None:
        inboxes = [_Inbox() for _ in range(8)]
        async with _listening([other_pubsub.subscribe("c", inbox) for inbox in inboxes]):
            await pubsub.publish("c", b"1")
            await pubsub.publish("c", b"2")
            await eventually(lambda: all(len(inbox.got) >= 2 for inbox in inboxes))
        assert [inbox.got for inbox in inboxes] == [[b"1", b"2"]] * 8

    async def test_a_failing_listener_does_not_keep_a_message_from_the_others(
        self, pubsub: PubSub, other_pubsub: PubSub
    ) -> None:
        async def fail(payload: bytes) -> None:
            raise ZeroDivisionError

        inbox = _Inbox()
        async with other_pubsub.subscribe("c", fail), other_pubsub.subscribe("c", inbox):
            await pubsub.publish("c", b"1")
            await pubsub.publish("c", b"2")
            await eventually(lambda: len(inbox.got) == 2)

    async def test_who_has_left_hears_nothing_more_and_may_come_back(
        self, pubsub: PubSub, other_pubsub: PubSub
    ) -> None:
        gone, back = _Inbox(), _Inbox()
        with pytest.raises(ZeroDivisionError):
            async with other_pubsub.subscribe("c", gone):
                raise ZeroDivisionError
        await pubsub.publish("c", b"1")
        async with other_pubsub.subscribe("c", back):
            await pubsub.publish("c", b"2")
            await eventually(lambda: back.got)
        assert (gone.got, back.got) == ([], [b"2"])

    async def test_the_largest_message_arrives(self, pubsub: PubSub, other_pubsub: PubSub) -> None:
        inbox = _Inbox()
        payload = bytes(range(256)) * (MEBIBYTE // 256)
        async with other_pubsub.subscribe("c", inbox):
            await pubsub.publish("c", payload)
            await eventually(lambda: inbox.got)
        assert inbox.got == [payload]


class _Inbox:
    """A listener that keeps what it got."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    async def __call__(self, payload: bytes) -> None:
        self.got.append(payload)


@asynccontextmanager
async def _listening(subscriptions: Sequence[AbstractAsyncContextManager[None]]) -> AsyncIterator[None]:
    """All of them entered at once."""
    ready, done = asyncio.Semaphore(0), asyncio.Event()

    async def listen(subscription: AbstractAsyncContextManager[None]) -> None:
        async with subscription:
            ready.release()
            await done.wait()

    tasks = [asyncio.create_task(listen(subscription)) for subscription in subscriptions]
    try:
        for _ in tasks:
            await ready.acquire()
        yield
    finally:
        done.set()
        await asyncio.gather(*tasks)
