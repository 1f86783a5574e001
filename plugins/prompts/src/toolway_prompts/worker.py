"""The processes that templates run in, apart from the gateway: one that only forks, and the workers that it makes.

`python -I -m toolway_prompts.worker <descriptor> …` loads what rendering needs once and then makes a worker whenever it
is told to, within a millisecond or two. A worker is held by the operating system: to so many seconds of processor time
for a job, after which it is ended by a signal that no code of ours has to handle, to so much memory, and to the
descriptors that it has. It gets no environment and never sees a secret.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import struct
import sys
from pathlib import Path

import msgspec

from toolway_prompts.execution import Executor
from toolway_prompts.jobs import Found, Job, Outcome, Refused

COMMAND = struct.Struct("!cq")
"""What is told to the process that forks: `F` with a socket's descriptor beside it, or `K` and the process to end."""

ANSWER = struct.Struct("!qqd")
"""The new process; or how the old one ended (as `os.waitpid` tells), its most memory in KiB and its processor time."""

LENGTH = struct.Struct("!I")
LIFETIME_SECONDS = 120
"""Processor time of one worker, in all."""

_read = msgspec.json.Decoder(Job)
_write = msgspec.json.Encoder()


def main(descriptor: int, seconds: float, memory: int) -> None:
    """Fork as told until the gateway is gone."""
    control = socket.socket(fileno=descriptor)
    executor = Executor()
    executor.warm_up()
    gc.collect()
    gc.freeze()
    control.sendall(ANSWER.pack(0, 0, 0))
    while command := _command(control):
        verb, process, given = command
        if verb == b"F":
            control.sendall(ANSWER.pack(_forked(control, given, executor, seconds, memory), 0, 0))
        else:
            control.sendall(ANSWER.pack(*_ended(process)))


def _command(control: socket.socket) -> tuple[bytes, int, int] | None:
    """The next one, with the descriptor that came along."""
    data, descriptors, _, _ = socket.recv_fds(control, COMMAND.size, 1)
    while data and len(data) < COMMAND.size:
        data += control.recv(COMMAND.size - len(data))
    if not data:
        return None
    verb, process = COMMAND.unpack(data)
    return verb, process, descriptors[0] if descriptors else -1


def _forked(control: socket.socket, descriptor: int, executor: Executor, seconds: float, memory: int) -> int:
    process = os.fork()
    if process == 0:
        try:
            control.close()
            confine(memory)
            work(socket.socket(fileno=descriptor), executor, seconds)
        finally:
            os._exit(0)
    os.close(descriptor)
    return process


def _ended(process: int) -> tuple[int, int, float]:
    try:
        os.kill(process, signal.SIGKILL)
        _, status, usage = os.wait4(process, 0)
    except (ProcessLookupError, ChildProcessError):
        return 0, 0, 0
    return status, usage.ru_maxrss, usage.ru_utime + usage.ru_stime


def confine(memory: int) -> None:
    """Give up what rendering does not need: processor time, memory beyond so many more bytes, files and processes."""
    _lower(resource.RLIMIT_CPU, LIFETIME_SECONDS)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    if (held := _address_space()) is not None:
        _lower(resource.RLIMIT_AS, held + memory)
    _lower(resource.RLIMIT_NOFILE, 0)
    _lower(resource.RLIMIT_NPROC, 0)


def _lower(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (lowest, lowest))


def _address_space() -> int | None:
    """Bytes of it in use; None where nobody tells."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
    except OSError:
        return None


def work(connection: socket.socket, executor: Executor, seconds: float) -> None:
    """Do one job after the other until nobody wants one."""
    while head := _exactly(connection, LENGTH.size):
        body = _exactly(connection, LENGTH.unpack(head)[0])
        signal.setitimer(signal.ITIMER_PROF, seconds)
        outcome = _outcome(executor, body)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answer = _write.encode(outcome)
        connection.sendall(LENGTH.pack(len(answer)) + answer)
        if isinstance(outcome, Refused) and outcome.is_spent:
            return


def _outcome(executor: Executor, body: bytes) -> Outcome:
    try:
        return executor.run(_read.decode(body))
    except MemoryError:
        executor.forget()
        return Refused(Found(0, 0, 0, "memory", "takes more memory than a prompt may have"), is_spent=True)


def _exactly(connection: socket.socket, size: int) -> bytes:
    """So many bytes, or nothing once the other end is closed."""
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            return b""
        parts += part
    return bytes(parts)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the gateway, which then ends this
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
