"""Several worker processes behave like one gateway that cannot be killed by half."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port

REQUEST = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PATIENCE = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Gateway:
    """`toolway serve` with its workers."""

    def __init__(self, directory: Path, *settings: str) -> None:
        self.port = free_port()
        self.log = directory / "log"
        file = directory / "toolway.toml"
        lines = [f'bind = "127.0.0.1:{self.port}"', f'data_dir = "{directory / "data"}"', *settings]
        file.write_text("\n".join(["[gateway]", *lines, ""]))
        command = [sys.executable, "-c", "from toolway.cli import main; main()", "serve", "--config", str(file)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    @property
    def workers(self) -> list[int]:
        pid = self.process.pid
        try:
            return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except FileNotFoundError:
            return []

    @property
    def serving(self) -> list[int]:
        """Workers that accept connections: each has a listening socket that the kernel gives its share."""
        return self.workers if self.log.read_text().count("Ctrl-C stops it.") else []

    def ask(self, path: bytes = b"/health") -> str:
        """The outcome of one new connection: a status, or the name of what went wrong."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
                client.sendall(REQUEST % path)
                answer = b""
                while data := client.recv(65536):
                    answer += data
        except OSError as error:
            return type(error).__name__
        return answer[9:12].decode() or "nothing"


class Load:
    """Clients in threads that open one connection after another until it is left."""

    def __init__(self, gateway: Gateway, clients: int = 4) -> None:
        self.outcomes: Counter[str] = Counter()
        self._gateway = gateway
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self) -> None:
        while not self._is_over.is_set():
            self.outcomes[self._gateway.ask()] += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, more: int = 100) -> None:
        """Wait for so many more answers."""
        wanted = self.outcomes["200"] + more
        eventually_now(lambda: self.outcomes["200"] >= wanted, timeout=PATIENCE)


Start = Callable[..., Gateway]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway with lines of `[gateway]` and waits until as many workers as expected run."""
    started: list[Gateway] = []

    def run(*settings: str, workers: int = 2) -> Gateway:
        gateway = Gateway(tmp_path, f"workers = {workers}", *settings)
        started.append(gateway)
        eventually_now(lambda: len(gateway.serving) == workers or gateway.process.poll() is not None, timeout=PATIENCE)
        return gateway

    yield run
    for gateway in started:
        gateway.process.terminate()
        try:
            gateway.process.wait(timeout=PATIENCE)
        finally:
            gateway.process.kill()


def test_all_workers_get_connections_and_one_says_where(start: Start) -> None:
    gateway = start(workers=3)
    answered = eventually_now(lambda: Counter(gateway.ask() for _ in range(30)), timeout=PATIENCE)

    assert answered == {"200": 30}
    text = gateway.log.read_text()
    assert text.count("Toolway serves") == text.count("first admin token") == 1
    assert len(gateway.workers) == 3


def test_a_killed_worker_is_replaced_and_no_connection_refused(start: Start) -> None:
    gateway = start()

    with Load(gateway) as load:
        load.goes_on()
        for _ in range(2):
            victim = gateway.workers[0]
            os.kill(victim, signal.SIGKILL)
            eventually_now(lambda victim=victim: victim not in gateway.workers and len(gateway.workers) == 2, PATIENCE)  # type: ignore[misc]
            load.goes_on()

    in_flight = load.outcomes["ConnectionResetError"] + load.outcomes["nothing"]
    assert set(load.outcomes) <= {"200", "ConnectionResetError", "nothing"}, load.outcomes
    assert in_flight <= 2 * 4, "only what the killed worker had accepted may break"
    assert "a worker ended unexpectedly with -9" in gateway.log.read_text()


def test_a_worker_that_hangs_is_replaced(start: Start) -> None:
    gateway = start("hang_timeout = 4")
    hanging, other = gateway.workers

    os.kill(hanging, signal.SIGSTOP)
    eventually_now(lambda: len(gateway.workers) == 2 and hanging not in gateway.workers, timeout=PATIENCE)

    assert other in gateway.workers
    assert f"worker {hanging} hangs" in gateway.log.read_text()
    assert all(gateway.ask() == "200" for _ in range(20))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_was_accepted_and_leaves_nobody(start: Start, number: signal.Signals) -> None:
    gateway = start()

    with Load(gateway) as load:
        load.goes_on()
        workers = gateway.workers
        gateway.process.send_signal(number)
        assert gateway.process.wait(timeout=PATIENCE) == 0

    assert load.outcomes["nothing"] == 0
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    gateway = start("drain_delay = 60", "hard_stop = 90")

    gateway.process.terminate()
    eventually_now(lambda: {gateway.ask(b"/ready") for _ in range(20)} == {"503"}, PATIENCE)  # all of them drain
    gateway.process.terminate()

    assert gateway.process.wait(timeout=PATIENCE) == 0


def test_workers_end_with_their_supervisor(start: Start) -> None:
    gateway = start()
    workers = gateway.workers

    gateway.process.kill()

    eventually_now(lambda: not [pid for pid in workers if _lives(pid)], timeout=PATIENCE)


def test_what_stays_in_one_process_is_refused_for_several(start: Start) -> None:
    gateway = start('keyvalue = "memory"')

    assert gateway.process.wait(timeout=PATIENCE) == 1
    assert 'gateway.keyvalue is "memory", which no other worker' in gateway.log.read_text()


def test_a_taken_address_is_an_error_although_workers_share_theirs(tmp_path: Path, start: Start) -> None:
    gateway = start()
    (tmp_path / "other").mkdir()
    file = tmp_path / "other" / "toolway.toml"
    file.write_text(f'[gateway]\nworkers = 2\nbind = "127.0.0.1:{gateway.port}"\ndata_dir = "{file.parent}"\n')
    command = [sys.executable, "-c", "from toolway.cli import main; main()", "serve", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{gateway.port}" in done.stderr


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
