"""TCP ports of 127.0.0.1 for servers that tests start."""

import fcntl
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

FIRST, LAST, BLOCK = 10_000, 32_000, 200
"""Below the ports that the system hands out itself (from 32768 on Linux), so that no connection takes one meanwhile."""


def free_port() -> int:
    """A port that nobody listens on, and that no other process which asks here is given.

    Raises:
        RuntimeError: other processes hold all of them.
    """
    return next(port for port in _ports if _is_free(port))


def _mine() -> Iterator[int]:
    """The ports of a block that this process holds until it ends, over and over, in the same order."""
    firsts = list(range(FIRST, LAST, BLOCK))
    random.shuffle(firsts)
    for first in firsts:
        if (lock := _locked(Path(tempfile.gettempdir()) / f"toolway-{os.getuid()}-ports-{first}")) is not None:
            with lock:
                yield from itertools.cycle(range(first, first + BLOCK))
    raise RuntimeError(f"other processes hold all ports from {FIRST} to {LAST}")


def _locked(path: Path) -> IO[bytes] | None:
    lock = path.open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_ports = _mine()
