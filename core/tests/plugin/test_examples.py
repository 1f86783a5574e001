"""The example plugins, loaded by the host as if they were installed."""

from __future__ import annotations

import hashlib
import importlib
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from toolway.hookspecs.auth import ANONYMOUS, AuthContext, Credentials, toolway_authenticators
from toolway.hookspecs.routing import Call, ClientProfile, Reply, Target, toolway_request_middleware
from toolway.hookspecs.secrets import toolway_secret_schemes
from toolway.plugin import ClientCannot, Forbidden, SecretUnavailable, Unauthenticated
from toolway.plugin.host import Plugins

EXAMPLES = Path(__file__).parents[3] / "examples"
KEYS = f"alice:{hashlib.sha256(b'key of alice').hexdigest()}\nbob: {hashlib.sha256(b'key of bob').hexdigest()}\n"
CONTEXT = AuthContext(None, "127.0.0.1", "/mcp")


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every example on `sys.path` with the metadata that its pyproject.toml declares."""
    for example in (file.parent for file in EXAMPLES.glob("*/pyproject.toml")):
        project = tomllib.loads((example / "pyproject.toml").read_text())["project"]
        info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
        entries = project["entry-points"]["toolway.plugins"].items()
        (info / "entry_points.txt").write_text("[toolway.plugins]\n" + "".join(f"{n} = {t}\n" for n, t in entries))
        monkeypatch.syspath_prepend(str(example))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield
    for file in EXAMPLES.glob("*/*.py"):
        sys.modules.pop(file.stem, None)


class Clock:
    def __init__(self, value: float = 100.0) -> None:
        self.value = value

    def monotonic(self) -> float:
        return self.value

    now = monotonic


class Table:
    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    async def get(self, reference: str) -> str:
        return self._values[reference]


KERNEL: Any = SimpleNamespace(clock=Clock(), secrets=Table({"file:/keys": KEYS}))


def load(name: str, **settings: Any) -> Plugins:
    return Plugins.load([name], settings={name: settings})


def authenticator() -> Any:
    return load("header-keys", keys="file:/keys").collect(toolway_authenticators, KERNEL)[0]


async def test_a_known_key_is_the_service_of_its_line() -> None:
    verified = await authenticator().authenticate(Credentials("x-api-key", "key of bob"), CONTEXT)

    assert (verified.principal.name, verified.principal.kind) == ("bob", "service")
    assert verified.cache_until == 130.0
    assert verified.revoke_keys == ("header-keys:bob",)


async def test_an_unknown_key_is_refused_and_other_credentials_are_passed_on() -> None:
    with pytest.raises(Unauthenticated):
        await authenticator().authenticate(Credentials("x-api-key", "no key"), CONTEXT)

    assert await authenticator().authenticate(Credentials("bearer", "key of bob"), CONTEXT) is None


class Client:
    """The other end of a call: answers what it is asked with `action`, or cannot be asked."""

    def __init__(self, action: str | None) -> None:
        self.action = action
        self.asked: list[str] = []

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        return None

    async def ask(self, method: str, params: Raw) -> Raw:
        if self.action is None:
            raise ClientCannot("the client did not declare elicitation")
        self.asked.append(msgspec.json.decode(params)["message"])
        return Raw(msgspec.json.encode({"action": self.action}))


async def call_tool(tool: str, client: Client) -> Reply:
    middleware = load("tool-approval", refuse=["files/delete_*"], ask=["files/write*"]).collect(
        toolway_request_middleware, KERNEL
    )[0]
    upstream, _, name = tool.partition("/")
    profile = ClientProfile("2026-07-28")
    call = Call("tools/call", {}, {}, "all", ANONYMOUS, profile, client, 0.0, target=Target(upstream, name))

    async def call_next(_: Call) -> Reply:
        return Reply(result=Raw(b'{"content":[]}'))

    reply: Reply = await middleware(call, call_next)
    return reply


async def test_a_refused_tool_is_not_called_and_others_are_called_without_a_question() -> None:
    client = Client("accept")

    with pytest.raises(Forbidden, match="files/delete_all"):
        await call_tool("files/delete_all", client)

    assert (await call_tool("files/read", client)).result == Raw(b'{"content":[]}')
    assert client.asked == []


async def test_a_tool_that_needs_a_yes_is_called_after_a_yes_only() -> None:
    yes, no = Client("accept"), Client("decline")

    assert (await call_tool("files/write", yes)).result == Raw(b'{"content":[]}')
    declined = msgspec.json.decode((await call_tool("files/write", no)).result or b"")

    assert yes.asked == no.asked == ["Allow the call of files/write?"]
    assert declined["isError"] is True


async def test_a_client_that_cannot_be_asked_cannot_call_what_needs_a_yes() -> None:
    with pytest.raises(Forbidden, match="this client cannot be asked"):
        await call_tool("files/write", Client(None))


def scheme(path: Path) -> Any:
    return load("pass-file", path=str(path)).collect(toolway_secret_schemes, KERNEL)[0]


async def test_a_secret_is_the_line_of_its_name_and_is_read_again_later(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.touch(mode=0o600)
    file.write_text("OTHER=1\nTOKEN = a=b \n")

    secret = await scheme(file).resolve("TOKEN")

    assert (secret.value, secret.refresh_at) == ("a=b", 160.0)


async def test_a_missing_line_a_missing_file_and_a_readable_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    with pytest.raises(SecretUnavailable, match="cannot be read"):
        await scheme(file).resolve("TOKEN")
    file.touch(mode=0o600)
    with pytest.raises(SecretUnavailable, match="pass-file:TOKEN is not in"):
        await scheme(file).resolve("TOKEN")
    file.chmod(0o644)
    with pytest.raises(SecretUnavailable, match="chmod 600"):
        await scheme(file).resolve("TOKEN")


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*/*.py")), ids=lambda file: file.parent.name)
def test_examples_see_only_the_two_public_packages(file: Path) -> None:
    words = [
        line.split()[1] for line in file.read_text().splitlines() if line.startswith(("from toolway", "import toolway"))
    ]

    assert {word.partition(".")[2].partition(".")[0] for word in words} <= {"plugin", "hookspecs"}
