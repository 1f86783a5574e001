"""A listening socket that is about to be closed lets nobody in who has not begun, and loses nobody who has."""

from __future__ import annotations

import socket
import sys
import threading

import pytest

from toolway.edge.newcomers import turn_away

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has filters on sockets")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_handshake_does_not_begin_any_more_and_connections_go_on(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        address = listener.getsockname()[:2]
        with socket.create_connection(address) as before:
            turn_away(listener)
            with socket.socket(family) as late:
                late.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    late.connect(address)
            accepted, _ = listener.accept()
            with accepted:
                before.sendall(b"question")
                assert accepted.recv(100) == b"question"
                accepted.sendall(b"answer")
                assert before.recv(100) == b"answer"

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_nobody_who_could_connect_is_reset_when_the_socket_is_closed() -> None:
    for _ in range(10):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        listener.setblocking(False)
        lost = list[OSError]()
        crowd = [threading.Thread(target=_come_again, args=(listener.getsockname(), lost)) for _ in range(8)]
        for each in crowd:
            each.start()
        served = 0
        while served < 300:
            served += _serve(listener)
        turn_away(listener)
        while _serve(listener):
            pass
        listener.close()
        for each in crowd:
            each.join()

        assert lost == []


def _serve(listener: socket.socket) -> int:
    """Answer everybody who is in the backlog."""
    served = 0
    while True:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return served
        with client:
            client.settimeout(5)
            client.sendall(client.recv(1))
        served += 1


def _come_again(address: tuple[str, int], lost: list[OSError]) -> None:
    """Connect and ask, again and again, until nobody listens."""
    while True:
        try:
            client = socket.create_connection(address, timeout=10)
        except OSError:
            return
        with client:
            try:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
            except OSError as error:
                lost.append(error)
