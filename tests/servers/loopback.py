"""A network of its own for a program: it has loopback and nothing else, so nothing that the program does leaves it."""

from __future__ import annotations

import fcntl
import shutil
import socket
import struct
import subprocess
import sys

from toolway_testing.servers import require_server

SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
"""See netdevice(7)."""


def alone(*command: str) -> list[str]:
    """The command in a network of its own; the test ends as `require_server` says where there can be none."""
    unshare = shutil.which("unshare") or require_server("unshare", "install the package util-linux")
    apart = [unshare, "--map-root-user", "--net"]
    tried = subprocess.run([*apart, sys.executable, __file__], capture_output=True, text=True, timeout=30, check=False)
    if tried.returncode:
        reason = (tried.stderr.strip().splitlines() or ["no reason is given"])[-1]
        require_server("a network namespace", f"the system refuses to make one ({reason})")
    return [*apart, *command]


def raise_loopback() -> None:
    """Make 127.0.0.1 reachable in a network that is new.

    Raises:
        OSError: it is not ours to change.
        RuntimeError: there is more than loopback here, so this is a network that is used.
    """
    names = {name for _, name in socket.if_nameindex()}
    if names != {"lo"}:
        raise RuntimeError(f"there is {', '.join(sorted(names - {'lo'}))} here; start this with alone()")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))


if __name__ == "__main__":
    raise_loopback()
