"""The file descriptor that lines are written to, in pieces that do not mix with those of other processes."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import sys
import termios
import time
from time import monotonic

CHUNK = 4_096
"""So much a pipe takes as a whole or not at all (POSIX `PIPE_BUF`): lines of several workers do not mix."""
LARGE = 1_048_576
"""Of a file."""
PATIENCE = 0.1


class Outlet:
    """Every piece is a system call, after which other threads go first: the fewer there are, the less a line costs."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._room = CHUNK

    def room(self) -> int:
        """So many bytes can be written at once now: a pipe that is nearly empty takes more than one that is not."""
        self._room = _room(self._descriptor)
        return self._room

    def write(self, batch: bytes | bytearray, until: float) -> bool:
        """Write it; False when that is not possible, at all or until that time (monotonic seconds)."""
        view = memoryview(batch)
        try:
            self._poll.register(self._descriptor, select.POLLOUT)
            while view:
                if self._room > CHUNK or self._poll.poll(PATIENCE * 1_000):
                    view = view[self._some_of(view) :]
                elif monotonic() > until:
                    return False
        except OSError:
            return False
        return True

    def _some_of(self, view: memoryview) -> int:
        size, self._room = max(self._room, CHUNK), CHUNK
        try:
            return os.write(self._descriptor, view[:size])
        except BlockingIOError:
            time.sleep(PATIENCE / 10)
            return 0


def _room(descriptor: int) -> int:
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return LARGE
        if not stat.S_ISFIFO(mode) or sys.platform != "linux":
            return CHUNK
        capacity = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
        waiting = int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:
        return CHUNK
    return capacity // 2 if waiting <= capacity // 4 else CHUNK
