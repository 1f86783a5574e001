"""Child processes: real small programs, also ones that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from upstream_parts import opened

from toolway.bundled.upstreams.process import LineTooLong, Process, ProcessExited, ProcessNotStarted
from toolway_testing.polling import eventually

ECHO = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line); sys.stdout.flush()"
DEAF = "import time\nprint('ready', flush=True)\ntime.sleep(60)"
STUBBORN = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{DEAF}"
PARENT = """
import os, subprocess, sys, time
ready, done = os.pipe()
child = subprocess.Popen(
    [sys.executable, "-c", f"import os, signal, time; {ignore}; os.close({{done}}); time.sleep(60)"],
    pass_fds=[done], start_new_session={escapes},
)
os.close(done)
os.read(ready, 1)
print(child.pid, flush=True)
{end}
"""

Start = Callable[..., Awaitable[Process]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Starts Python programs; they are stopped afterwards."""
    async with AsyncExitStack() as stack:

        async def run(program: str, *arguments: str, **options: Any) -> Process:
            process = await Process.start("test", [sys.executable, "-c", program, *arguments], **options)
            stack.push_async_callback(process.stop)
            return process

        yield run


async def first_line(process: Process) -> bytes:
    async for line in process.lines():
        return line
    raise EOFError


def parent(end: str, ignore: str = "pass", *, escapes: bool = False) -> str:
    """A program that starts another one, which inherits its streams, and says its number."""
    return PARENT.format(ignore=ignore, end=end, escapes=escapes)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_lines_go_to_the_process_and_come_back(start: Start) -> None:
    process = await start(ECHO)
    await process.send(b'{"a":1}')
    assert await first_line(process) == b'{"a":1}'


async def test_line_breaks_between_tokens_become_spaces(start: Start) -> None:
    process = await start(ECHO)
    await process.send(b'{\r\n"a": 1\n}')
    assert await first_line(process) == b'{  "a": 1 }'


async def test_a_large_line_passes_in_both_directions(start: Start) -> None:
    process = await start(ECHO)
    large = b'"' + b"x" * 5_000_000 + b'"'
    sending = asyncio.create_task(process.send(large))
    assert await first_line(process) == large
    await sending


async def test_a_line_above_the_limit_is_an_error(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolway.bundled.upstreams.process.MAX_LINE", 10_000)
    process = await start("print('x' * 1_000_000)")
    with pytest.raises(LineTooLong):
        await first_line(process)


async def test_empty_lines_and_windows_line_ends_are_left_out(start: Start) -> None:
    process = await start("import sys; sys.stdout.buffer.write(b'\\n1\\r\\n\\r\\n2\\n3')")
    assert [line async for line in process.lines()] == [b"1", b"2"]


async def test_everything_written_before_the_end_is_read_and_the_code_is_known(start: Start) -> None:
    process = await start("import sys\nfor n in range(20_000): print(n)\nsys.exit(7)")
    assert len([line async for line in process.lines()]) == 20_000
    assert (await process.wait(), process.returncode) == (7, 7)


async def test_a_signal_is_a_negative_code(start: Start) -> None:
    process = await start(DEAF)
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL


async def test_sending_to_a_process_that_is_gone_says_that_nothing_was_sent(start: Start) -> None:
    process = await start("")
    await process.wait()
    with pytest.raises(ProcessExited) as raised:
        await process.send(b"{}")
    assert raised.value.sent is False


async def test_sending_to_a_process_that_does_not_read_waits(start: Start) -> None:
    process = await start(DEAF)
    await first_line(process)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.send(b"x" * 5_000_000), 0.3)


async def test_what_is_given_up_before_its_turn_is_never_sent(start: Start, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    program = f"""
import os, sys, time
while not os.path.exists({str(go_on)!r}): time.sleep(0.01)
for n, line in enumerate(sys.stdin.buffer):
    if line == b"last\\n": print(n, flush=True)
"""
    process = await start(program)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.send(b"x" * 1_000_000), 0.05)
    go_on.touch()
    await process.send(b"last")
    assert await first_line(process) == b"1"


async def test_a_sender_that_waits_learns_that_the_process_is_gone(start: Start) -> None:
    process = await start(DEAF)
    await first_line(process)
    sending = asyncio.create_task(process.send(b"x" * 5_000_000))
    await asyncio.sleep(0)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ProcessExited):
        await asyncio.wait_for(sending, 5)


async def test_a_process_that_is_not_read_is_held_back_instead_of_filling_memory(start: Start, tmp_path: Path) -> None:
    written = tmp_path / "written"
    program = "import sys\nfor n in range(400): print('x' * 10_000, flush=True); open(sys.argv[1], 'w').write(str(n))"
    process = await start(program, str(written))
    before = -1
    while not written.exists() or before != (before := int(written.read_text() or 0)):
        await asyncio.sleep(0.3)
    assert 0 < before < 200
    assert len([line async for line in process.lines()]) == 400


@pytest.mark.parametrize("command", [["no-such-program-anywhere"], ["/"], ["a\0b"]])
async def test_a_command_that_cannot_be_started_says_so(command: list[str]) -> None:
    with pytest.raises(ProcessNotStarted, match="check command"):
        await Process.start("test", command)


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProcessNotStarted, match="absent"):
        await Process.start("test", [sys.executable], cwd=tmp_path / "absent")


async def test_the_environment_is_scrubbed_and_extended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLWAY_SECRET", "s3cret")
    monkeypatch.setenv("LC_TIME", "C")
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    process = await start(program, environment={"MINE": "1", "HOME": "/nowhere"})
    line = (await first_line(process)).decode()
    assert "s3cret" not in line
    assert all(part in line for part in ('"MINE": "1"', '"LC_TIME": "C"', '"HOME": "/nowhere"', '"PATH"'))


async def test_not_even_an_inheritable_descriptor_is_inherited(start: Start) -> None:
    with socket.socket() as listening:
        listening.set_inheritable(True)
        process = await start("import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd')))")
        assert await first_line(process) == b"[0, 1, 2, 3]"  # 3 is the listing itself


async def test_a_process_that_ends_with_its_input_is_stopped_softly(start: Start) -> None:
    process = await start(ECHO)
    await process.stop()
    assert process.returncode == 0


async def test_a_process_that_ignores_its_input_is_terminated(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolway.bundled.upstreams.process.STOP_SECONDS", 0.3)
    process = await start(DEAF)
    await first_line(process)
    await process.stop()
    assert process.returncode == -signal.SIGTERM


async def test_a_process_that_ignores_sigterm_is_killed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolway.bundled.upstreams.process.STOP_SECONDS", 0.3)
    process = await start(STUBBORN)
    await first_line(process)
    await process.stop()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("ignore", ["pass", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
@pytest.mark.parametrize("end", ["time.sleep(60)", "sys.stdin.read()"])
async def test_grandchildren_end_with_the_process(
    ignore: str, end: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolway.bundled.upstreams.process.STOP_SECONDS", 0.5)
    process = await start(parent(end, ignore))
    grandchild = int(await first_line(process))
    assert is_running(grandchild)
    await process.stop()
    assert not is_running(process.pid)
    async with asyncio.timeout(5):
        while is_running(grandchild):
            await asyncio.sleep(0.01)


async def test_the_end_is_noticed_though_a_grandchild_holds_the_pipes(start: Start) -> None:
    process = await start(parent("sys.exit(3)", escapes=True))
    started = time.monotonic()
    (grandchild,) = [int(line) async for line in process.lines()]
    assert await process.wait() == 3
    assert time.monotonic() - started < 10
    await process.stop()
    os.kill(grandchild, signal.SIGKILL)


async def test_a_descendant_that_holds_the_input_and_does_not_read_it_keeps_nothing_open(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolway.bundled.upstreams.process.STOP_SECONDS", 0.1)
    await (await start("")).stop()  # what the loop opens once, it keeps
    before = opened()
    process = await start(parent("time.sleep(60)", escapes=True))
    grandchild = int(await first_line(process))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.send(b"x" * 1_000_000), 0.1)

    await process.stop()

    try:
        await eventually(lambda: opened() <= before)
    finally:
        os.kill(grandchild, signal.SIGKILL)


async def test_stopping_twice_and_while_being_cancelled_is_fine(start: Start) -> None:
    process = await start(ECHO)
    impatient = asyncio.create_task(process.stop())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(process.stop(), process.stop())
    assert process.returncode == 0


async def test_stderr_is_logged_until_the_last_word(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="toolway.bundled.upstreams.process")
    process = await start(
        "import sys; print('\\x1b[31mwhy\\x07 ä', file=sys.stderr); sys.stderr.write('last'); sys.exit(1)"
    )
    await process.wait()
    await process.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "stderr of upstream 'test': ?[31mwhy? ä",
        "stderr of upstream 'test': last",
    ]


async def test_a_flood_on_stderr_is_cut_and_said_to_be(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="toolway.bundled.upstreams.process")
    process = await start("import sys\nfor _ in range(1000): sys.stderr.write('x' * 10_000 + chr(10))")
    await process.wait()
    await process.stop()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 101
    assert max(map(len, messages)) < 2100
    assert messages[-1] == "stderr of upstream 'test': lines are left out, it writes too much"


@pytest.mark.parametrize("steps", range(8))
async def test_a_start_that_is_given_up_leaves_nothing_open(steps: int) -> None:
    await (await Process.start("test", [sys.executable, "-c", ECHO])).stop()  # what the loop opens once, it keeps
    before = opened()
    starting = asyncio.create_task(Process.start("test", [sys.executable, "-c", ECHO]))
    for _ in range(steps):
        await asyncio.sleep(0)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await (await starting).stop()

    await eventually(lambda: opened() <= before)
    gc.collect()  # a pipe that is not closed is an error then
