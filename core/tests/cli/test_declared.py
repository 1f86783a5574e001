"""Objects as files, single requests, profiles and what is watched, typed against a running gateway."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

TOOLWAY = Path(sys.executable).with_name("toolway")
FILE = """
[[servers]]
name = "some"
include = ["demo/*"]

[[teams]]
name = "a-team"

[[upstreams]]
name = "billing"
kind = "http"
endpoints = ["http://127.0.0.1:9/mcp"]
allow_private = true
auth = { type = "bearer", token = "very-secret" }
"""

Typed = Callable[..., Awaitable[tuple[int | None, str, str]]]


@pytest.fixture
async def gate(gateway: StartGateway) -> RunningGateway:
    return await gateway(demo=True)


@pytest.fixture
def typed(gate: RunningGateway, tmp_path: Path) -> Typed:
    """The exit code and the outputs of a command."""

    async def run(*arguments: str, given: str = "", **variables: str) -> tuple[int | None, str, str]:
        process = await started(gate, tmp_path, *arguments, **variables)
        async with asyncio.timeout(30):
            out, err = await process.communicate(given.encode())
        return process.returncode, out.decode(), err.decode()

    return run


async def started(gate: RunningGateway, home: Path, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
    environ = {**os.environ, "XDG_CONFIG_HOME": str(home), "COLUMNS": "200"}
    environ |= {"TOOLWAY_URL": gate.url, "TOOLWAY_TOKEN": gate.token, **variables}
    pipe = asyncio.subprocess.PIPE
    streams = {"stdin": pipe, "stdout": pipe, "stderr": pipe}
    return await asyncio.create_subprocess_exec(TOOLWAY, *arguments, env=environ, preexec_fn=_interruptible, **streams)  # type: ignore[arg-type]


def _interruptible() -> None:
    """Tests that run in the background of a shell ignore Ctrl-C, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def applied(typed: Typed, *arguments: str) -> dict[str, str]:
    """What happened to each object."""
    _, out, _ = await typed("apply", "--json", *arguments)
    return {f"{row['kind']}/{row['name']}": row["action"] for row in json.loads(out)}


async def test_the_objects_of_a_file_are_made_and_stay_as_they_are(typed: Typed, tmp_path: Path) -> None:
    file = tmp_path / "objects.toml"
    file.write_text(FILE)

    names = ("servers/some", "teams/a-team", "upstreams/billing")
    assert await applied(typed, "-f", str(file), "--dry-run") == dict.fromkeys(names, "would create")
    assert await applied(typed, "-f", str(file)) == dict.fromkeys(names, "created")

    _, shown, _ = await typed("get")
    assert "very-secret" not in shown
    copy = tmp_path / "copy.json"
    copy.write_text(shown)
    assert await applied(typed, "-f", str(copy)) == dict.fromkeys(names, "unchanged")
    copy.write_text(shown.replace("demo/*", "demo/echo"))
    assert (await applied(typed, "-f", str(copy), "--dry-run"))["servers/some"] == "would change"
    assert (await applied(typed, "-f", str(copy)))["servers/some"] == "changed"


async def test_what_files_do_not_have_is_removed_if_wanted(typed: Typed, gate: RunningGateway, tmp_path: Path) -> None:
    for name, include in (("one", "demo/*"), ("two", "demo/echo")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"servers": [{"name": name, "include": [include]}]}))
    assert set((await applied(typed, "-f", str(tmp_path))).values()) == {"created"}
    (tmp_path / "two.json").unlink()

    assert (await applied(typed, "-f", str(tmp_path), "--prune", "--dry-run"))["servers/two"] == "would remove"
    assert (await applied(typed, "-f", str(tmp_path), "--prune")) == {
        "servers/one": "unchanged",
        "servers/two": "removed",
    }
    assert (await gate.api("GET", "/servers/two")).status == 404


async def test_what_needs_something_else_comes_after_it_and_what_is_refused_is_named(
    typed: Typed, gate: RunningGateway
) -> None:
    program = {"name": "robot", "owner": "team:later"}
    wanted = {"service-accounts": [program], "teams": [{"name": "later"}], "servers": [{"name": "x", "nonsense": 1}]}

    code, out, _ = await typed("apply", "-f", "-", given=json.dumps(wanted))

    rows = {line.split()[1]: line.split()[2:] for line in out.splitlines()[2:]}
    assert code == 1
    assert rows["later"][0] == rows["robot"][0] == "created"
    assert rows["x"][0] == "failed"
    assert "nonsense" in " ".join(rows["x"])
    assert (await gate.api("GET", "/service-accounts/robot")).status == 200


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "standard input is not JSON"),
        ("[1]", "standard input is not of the form"),
        ('{"things": [{"name": "a"}]}', "there are no 'things'; the gateway has servers, "),
        ('{"servers": [{"include": []}]}', "standard input: servers has an object without a name"),
        ('{"servers": [{"name": "a"}, {"name": "a"}]}', "standard input: servers has 'a' for the second time"),
    ],
)
async def test_files_that_cannot_be_used_change_nothing(typed: Typed, content: str, complaint: str) -> None:
    code, out, err = await typed("apply", "-f", "-", given=content)

    assert code in (2, 5)
    assert out == ""
    assert err.startswith(f"toolway: {complaint}")


async def test_any_request_can_be_sent(typed: Typed) -> None:
    body = json.dumps({"name": "by-request", "include": []})
    assert (await typed("api", "post", "servers", "--data", "@-", given=body))[0] == 0
    code, out, _ = await typed("api", "GET", "/api/v1/servers/by-request")
    assert (code, json.loads(out)["name"]) == (0, "by-request")
    assert await typed("api", "delete", "/servers/by-request") == (0, "", "done\n")
    assert (await typed("api", "get", "/servers/by-request"))[0] == 5


async def test_profiles_are_saved_chosen_and_forgotten(typed: Typed, gate: RunningGateway) -> None:
    nothing = {"TOOLWAY_URL": "", "TOOLWAY_TOKEN": ""}
    for name in ("first", "second"):
        code, _, err = await typed("login", "--url", gate.url, "--token", gate.token, "--profile", name, **nothing)
        assert code == 0, err

    code, out, _ = await typed("profiles", "list", "--json", **nothing)
    assert [(each["name"], each["in_use"]) for each in json.loads(out)] == [("first", ""), ("second", "yes")]
    assert (await typed("profiles", "use", "first", **nothing))[0] == 0
    assert json.loads((await typed("whoami", **nothing))[1])["url"] == gate.url
    assert (await typed("profiles", "remove", "first", **nothing))[0] == 0
    assert (await typed("profiles", "use", "first", **nothing))[0] == 5
    assert (await typed("whoami", "--profile", "second", **nothing))[0] == 0
    assert (await typed("whoami", TOOLWAY_URL=gate.url, TOOLWAY_TOKEN=""))[0] == 4


async def test_a_profile_that_is_not_saved_is_no_other_one(typed: Typed) -> None:
    complaint = "toolway: there is no profile 'nope'; save one with: toolway login --profile nope\n"

    assert await typed("--profile", "nope", "status") == (5, "", complaint)
    assert await typed("whoami", TOOLWAY_PROFILE="nope") == (5, "", complaint)
    assert (await typed("stdio", "--profile", "nope"))[::2] == (5, complaint)
    assert (await typed("logout", "--profile", "nope"))[::2] == (5, complaint)


async def test_logging_out_of_another_profile_leaves_the_one_in_use(typed: Typed, gate: RunningGateway) -> None:
    nothing = {"TOOLWAY_URL": "", "TOOLWAY_TOKEN": ""}
    for name in ("other", "default"):
        await typed("login", "--url", gate.url, "--token", gate.token, "--profile", name, **nothing)

    assert (await typed("logout", "--profile", "other", **nothing))[0] == 0

    saved = json.loads((await typed("profiles", "list", "--json", **nothing))[1])
    assert [(each["name"], each["in_use"], each["token"]) for each in saved] == [
        ("default", "yes", "saved"),
        ("other", "", ""),
    ]
    assert (await typed("whoami", **nothing))[0] == 0


async def test_the_status_is_told(typed: Typed) -> None:
    code, out, _ = await typed("status")

    assert code == 0
    assert "is serving and ready" in out
    assert (await typed("status", TOOLWAY_URL="http://127.0.0.1:1"))[0] == 3


async def test_a_command_that_only_looks_can_be_watched(gate: RunningGateway, tmp_path: Path) -> None:
    process = await started(gate, tmp_path, "upstreams", "list", "--watch")
    assert process.stdout is not None
    seen = ""

    async def twice() -> bool:
        nonlocal seen
        assert process.stdout is not None
        seen += (await process.stdout.readline()).decode()
        return seen.count("managed by") == 2

    await eventually(twice)
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 130

    changing = await started(gate, tmp_path, "servers", "remove", "any", "--watch")
    _, err = await changing.communicate()
    assert (changing.returncode, b"only look" in err) == (2, True)


async def test_what_is_watched_ends_with_ctrl_c_also_while_it_waits_for_an_answer(
    gate: RunningGateway, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = await started(gate, tmp_path, "upstreams", "list", "--watch", TOOLWAY_URL=url)
        connection, _ = await asyncio.get_running_loop().sock_accept(silent)
        with connection:
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(10):
                await process.communicate()

    assert process.returncode == 130


async def test_the_shell_completes_live_names(typed: Typed) -> None:
    def asked(line: str) -> dict[str, Any]:
        words = line.split(" ")
        return {"_TOOLWAY_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}

    assert (await typed(**asked("toolway upstreams get ")))[1].split() == ["demo"]
    assert (await typed(**asked("toolway call demo")))[1].split() == ["demo__add", "demo__echo", "demo__now"]
    assert (await typed(**{**asked("toolway upstreams get "), "TOOLWAY_URL": "http://127.0.0.1:1"}))[1].split() == []
