"""Turns new connections away before their handshake begins, while those whose handshake is under way come in.

Closing a listening socket resets what is in its backlog, and the handshakes under way. Their clients believe that they
are connected, and have perhaps sent a request. A filter on the socket that drops SYN packets makes the backlog run dry
first (socket(7), SO_ATTACH_FILTER; tcp(7)); the client's system repeats a SYN after a second and is refused then.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys

_SO_ATTACH_FILTER = getattr(socket, "SO_ATTACH_FILTER", 26)
_FLAGS, _SYN, _SYN_OR_ACK = 13, 0x02, 0x12
"""The flags of a TCP header, which is where the filter's view of a packet begins (RFC 9293 section 3.1)."""
_LOAD_BYTE, _AND, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06
_NOTHING, _EVERYTHING = 0, 0xFFFF_FFFF

_PROGRAM = (
    (_LOAD_BYTE, 0, 0, _FLAGS),
    (_AND, 0, 0, _SYN_OR_ACK),
    (_JUMP_IF_EQUAL, 0, 1, _SYN),
    (_RETURN, 0, 0, _NOTHING),
    (_RETURN, 0, 0, _EVERYTHING),
)


def turn_away(listener: socket.socket) -> None:
    """From now on; where the system has no such filter, nothing happens."""
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("HBBI", *each) for each in _PROGRAM)
    memory = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(_PROGRAM), ctypes.addressof(memory))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
