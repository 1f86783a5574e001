"""Waiting for a condition."""

from itertools import count

import pytest

from toolway_testing.polling import eventually, eventually_now


async def test_eventually_gives_the_first_true_value() -> None:
    numbers = count()

    assert await eventually(lambda: next(numbers), interval=0) == 1


async def test_eventually_awaits_a_coroutine_function() -> None:
    numbers = count()

    async def read() -> int:
        return next(numbers)

    assert await eventually(read, interval=0) == 1


async def test_eventually_gives_up_and_names_what_it_waited_for() -> None:
    def never() -> bool:
        return False

    with pytest.raises(AssertionError, match=r"still False after 0 s: .*never"):
        await eventually(never, timeout=0)


def test_without_a_loop_it_waits_the_same_way() -> None:
    numbers = count()

    assert eventually_now(lambda: next(numbers), interval=0) == 1
    with pytest.raises(AssertionError, match="still None"):
        eventually_now(lambda: None, timeout=0)
