"""Without a plugin that authenticates, the gateway serves this machine only, and says why before it listens."""

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import running
import wire

from toolway_testing.ports import free_port

ANYWHERE = "0.0.0.0"
KEY = "0123456789abcdef0123456789abcdef"
TOOLWAY = str(Path(sys.executable).with_name("toolway"))
one_process_or_two = pytest.mark.parametrize("workers", [1, 2])


@pytest.mark.parametrize(("host", "workers"), [(ANYWHERE, 1), (ANYWHERE, 2), ("[::]", 1)])
def test_a_gateway_that_lets_anybody_in_does_not_serve_other_machines(tmp_path: Path, host: str, workers: int) -> None:
    bind = f"{host}:{free_port()}"

    refused = serve(configure(tmp_path, bind, workers))

    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [f"toolway: {sentence(bind)}"]
    assert refused.stdout == ""


@one_process_or_two
def test_it_refuses_before_it_listens(tmp_path: Path, workers: int) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        bind = f"{ANYWHERE}:{taken.getsockname()[1]}"

        refused = serve(configure(tmp_path, bind, workers))

    assert refused.stderr.splitlines() == [f"toolway: {sentence(bind)}"]


def test_an_optional_plugin_that_failed_authenticates_nobody(tmp_path: Path) -> None:
    bind = f"{ANYWHERE}:{free_port()}"
    table = '[plugins]\nenable = ["uvicorn"]\noptional = ["uvicorn"]\nuvicorn = { colour = "red" }\n'

    refused = serve(configure(tmp_path, bind, plugins=table))

    assert refused.returncode == 1
    assert f"gateway.bind is {bind}, but no enabled plugin authenticates clients" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_check_without_a_start_says_the_same(tmp_path: Path) -> None:
    file = configure(tmp_path, f"{ANYWHERE}:4440")

    checked = subprocess.run([TOOLWAY, "check", "--config", str(file), "--json"], capture_output=True, text=True)

    assert checked.returncode == 1
    assert sentence(f"{ANYWHERE}:4440") in checked.stdout


@one_process_or_two
def test_a_plugin_that_authenticates_opens_the_door_to_those_it_knows(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path, workers) as url:
        known = wire.ModernClient(f"{url}/mcp", headers={"X-API-Key": KEY})

        assert known.request("tools/list").status == 200
        assert wire.ModernClient(f"{url}/mcp").request("tools/list").status == 401


def sentence(bind: str) -> str:
    return (
        f"gateway.bind is {bind}, but no enabled plugin authenticates clients, so anybody who reaches this address "
        "could use every upstream; bind to 127.0.0.1 or enable a plugin that authenticates"
    )


def configure(directory: Path, bind: str, workers: int = 1, plugins: str = "") -> Path:
    """A configuration file with nothing but an address."""
    file = directory / "toolway.toml"
    gateway = f'[gateway]\nbind = "{bind}"\nworkers = {workers}\ndata_dir = "{directory / "data"}"\ndrain_delay = 0\n'
    file.write_text(gateway + plugins)
    return file


def serve(file: Path) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    return subprocess.run([TOOLWAY, "serve", "--config", str(file)], capture_output=True, text=True, timeout=20)


@contextmanager
def serving(directory: Path, workers: int) -> Iterator[str]:
    """A gateway on every address that knows `KEY`; gives its address on this machine."""
    keys = directory / "keys"
    keys.touch(mode=0o600)
    keys.write_text(f"alice:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    port, log = free_port(), directory / "gateway.log"
    plugins = f'[plugins]\nenable = ["header-keys"]\nheader-keys = {{ keys = {json.dumps(f"file:{keys}")} }}\n'
    file = configure(directory, f"{ANYWHERE}:{port}", workers, plugins)
    url = f"http://127.0.0.1:{port}"
    with running.child([TOOLWAY, "serve", "--config", str(file)], log, lambda: running.answers(f"{url}/ready")):
        yield url
