"""Writing beside whoever writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from time import monotonic

import pytest

from toolway_json_logging.outlet import CHUNK
from toolway_json_logging.writer import Writer
from toolway_testing.polling import eventually_now


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        try:
            os.close(descriptor)
        except OSError:
            continue


def writer(descriptor: int, most: int = 1_000) -> Writer[str]:
    return Writer(descriptor, most, str, lambda dropped: f"{dropped} dropped")


def take(read: int, lines: list[str]) -> list[str]:
    """What can be read now, added to the lines."""
    os.set_blocking(read, False)
    try:
        while some := os.read(read, 1 << 20):
            lines.append(some.decode())
    except BlockingIOError:
        pass
    return "".join(lines).split("\n")


def test_lines_come_in_their_order(pipe: tuple[int, int]) -> None:
    made = writer(pipe[1])
    for number in range(500):
        made.put(str(number))
    made.close()

    assert take(pipe[0], []) == [*(str(number) for number in range(500)), ""]
    assert made.dropped == 0


@pytest.mark.parametrize(("waiting", "refused"), [([1] * 936, 0), ([64] * 14, 0), ([64] * 15, 64), ([1] * 937, 64)])
def test_lines_that_come_together_count_as_so_many(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, waiting: list[int], refused: int
) -> None:
    made = writer(pipe[1], most=1_000)
    with monkeypatch.context() as full:
        full.setattr(Thread, "start", _refused)
        for lines in [*waiting, 64]:
            made.put("\n".join("x" * lines), lines)

        assert made.dropped == refused
        made.close(0)

    assert made.dropped == sum(waiting) + 64


def test_what_came_together_leaves_room_once_it_is_written(pipe: tuple[int, int]) -> None:
    made, read = writer(pipe[1], most=100), list[str]()
    for _ in range(20):
        made.put("\n".join("x" * 64), 64)
        made.flush()
        take(pipe[0], read)
    made.close()

    assert made.dropped == 0
    assert take(pipe[0], read) == ["x"] * 20 * 64 + [""]


def _refused(thread: Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_without_a_thread_to_be_had_lines_wait(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    made = writer(pipe[1])

    with monkeypatch.context() as full:
        full.setattr(Thread, "start", _refused)
        made.put("first")
    made.put("second")
    made.close()

    assert take(pipe[0], []) == ["first", "second", ""]


def test_a_line_longer_than_a_pipe_takes_at_once_is_whole(pipe: tuple[int, int]) -> None:
    made, long = writer(pipe[1]), "x" * 4 * CHUNK
    made.put(long)
    made.put("next")
    made.flush()

    assert take(pipe[0], []) == [long, "next", ""]
    made.close()


def test_a_reader_who_is_too_slow_loses_lines_and_learns_how_many(pipe: tuple[int, int]) -> None:
    made, line, got = writer(pipe[1], most=100), "y" * 1_000, list[str]()
    slowest = 0.0
    for _ in range(1_000):
        began = monotonic()
        made.put(line)
        slowest = max(slowest, monotonic() - began)
    assert slowest < 0.5, "nobody waits"
    eventually_now(lambda: made.dropped > 0)

    dropped = made.dropped
    eventually_now(lambda: any(each.endswith(" dropped") for each in take(pipe[0], got)))
    lines = take(pipe[0], got)

    assert f"{dropped} dropped" in lines
    assert lines.count(line) == 1_000 - dropped
    made.put("again")
    eventually_now(lambda: "again" in take(pipe[0], got))
    made.close()


def test_a_pipe_that_stays_full_does_not_keep_the_process_from_ending(pipe: tuple[int, int]) -> None:
    made = writer(pipe[1])
    for _ in range(200):
        made.put("z" * 1_000)
    began = monotonic()

    made.close(0.2)

    assert monotonic() - began < 2
    assert made.dropped > 0


def test_nobody_who_reads_is_no_failure(pipe: tuple[int, int]) -> None:
    made = writer(pipe[1])
    os.close(pipe[0])

    made.put("lost")
    made.close()

    assert made.dropped == 1


def test_what_comes_after_the_end_is_written_at_once(pipe: tuple[int, int]) -> None:
    made = writer(pipe[1])
    made.put("before")
    made.close()

    made.put("after")

    assert take(pipe[0], []) == ["before", "after", ""]


def test_a_file_is_written_like_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        made = writer(descriptor)
        made.put("a line with \ud800")
        made.close()
    finally:
        os.close(descriptor)
    assert path.read_text() == "a line with \\ud800\n"
