"""Ports for the servers of tests: free, and given to one process only."""

import socket
import subprocess
import sys

import pytest

from toolway_testing.ports import BLOCK, FIRST, LAST, free_port

ASK = f"""
from toolway_testing.ports import free_port
print(*[free_port() for _ in range({BLOCK // 4})], flush=True)
input()
"""


def test_a_free_port_can_be_bound_and_is_none_that_the_system_hands_out() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", port := free_port()))

    assert FIRST <= port < LAST


def test_a_port_on_which_somebody_listens_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", taken := free_port())):
        given = {free_port() for _ in range(BLOCK + 1)}

    assert taken not in given


@pytest.mark.slow
def test_processes_that_ask_at_the_same_time_are_given_different_ports() -> None:
    command = [sys.executable, "-c", ASK]
    asking = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    answers = [set(process.stdout.readline().split()) for process in asking if process.stdout]
    for process in asking:
        process.communicate("\n")

    assert len(set[str]().union(*answers)) == sum(map(len, answers)) == 4 * (BLOCK // 4)
