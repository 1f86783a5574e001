"""What every client does to a server that offers the fixture's items, or what it is told; the report that it prints.

Standard library only, because each client runs in an environment of its own. Each step has a deadline; a step that
fails leaves `{"error": ...}` in the report, and the others still run.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

STEP_SECONDS = 15.0
POLL_SECONDS = 0.05
WATCHED = "test://watched-resource"
ANSWER = {"answer": "forty-two"}
SAMPLED = "a sampled text"
ROOT = "file:///tmp/a-root"
ECHOED = {
    "text": "héllo 😀",
    "big": 9007199254740991,
    "nested": {"empty": [], "null": None},
}


class Client(Protocol):
    """One connected client. `events` and `logs` grow as notifications arrive."""

    protocol: str
    events: list[str]
    """`tools/list_changed`, `resources/updated URI` and the like, without `notifications/`."""
    logs: list[Any]

    async def tools(self) -> list[str]: ...
    async def prompts(self) -> list[str]: ...
    async def resources(self) -> list[str]: ...
    async def templates(self) -> list[str]: ...
    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[str, bool]:
        """Text of the first content block, and whether it is an error."""
        ...

    async def prompt(self, name: str, arguments: dict[str, str]) -> str: ...
    async def read(self, uri: str) -> str: ...
    async def complete(self, prompt: str, argument: str, value: str) -> list[str]: ...
    async def follow(self, uri: str) -> None:
        """Begin to receive list changes and updates of `uri`."""
        ...

    async def call_and_cancel(self, name: str, arguments: dict[str, Any], when: Callable[[], Awaitable[None]]) -> None:
        """Start the call, cancel it after `when` has returned."""
        ...


class Exercise:
    """The steps, in order; `run` gives the report.

    With `calls`, arguments by the tool's name, they are: list the tools, and call these.
    """

    def __init__(self, client: Client, calls: dict[str, dict[str, Any]] | None = None) -> None:
        self._client = client
        self._calls = calls

    async def run(self) -> dict[str, Any]:
        report: dict[str, Any] = {"protocol": self._client.protocol}
        steps = self._steps() if self._calls is None else self._told(self._calls)
        for name, step in steps.items():
            try:
                report[name] = await asyncio.wait_for(step(), STEP_SECONDS)
            except Exception as error:  # noqa: BLE001  a failing step is what the report is for
                report[name] = {"error": f"{type(error).__name__}: {error}"}
        return report

    def _steps(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        client = self._client
        return {
            "tools": client.tools,
            "prompts": client.prompts,
            "resources": client.resources,
            "templates": client.templates,
            "echo": self._echo,
            "failing": lambda: client.call("test_error_handling", {}),
            "progress": self._progress,
            "logs": self._logs,
            "prompt": lambda: client.prompt("test_prompt_with_arguments", {"arg1": "one", "arg2": "two"}),
            "read": lambda: client.read("test://static-text"),
            "template": lambda: client.read("test://template/7/data"),
            "missing": self._missing,
            "completion": lambda: client.complete("test_prompt_with_arguments", "arg1", "pa"),
            "elicitation": lambda: self._asked("ask_elicitation", {"message": "what?"}),
            "often": lambda: self._asked("ask_often", {"times": 3}),
            "sampling": lambda: self._asked("ask_sampling", {"prompt": "say"}),
            "roots": lambda: self._asked("ask_roots", {}),
            "cancellation": self._cancellation,
            "updated": self._updated,
            "list_changed": self._list_changed,
        }

    def _told(self, calls: dict[str, dict[str, Any]]) -> dict[str, Callable[[], Awaitable[Any]]]:
        told = {tool: partial(self._client.call, tool, arguments) for tool, arguments in calls.items()}
        return {"tools": self._client.tools, **told}

    async def _text(self, name: str, arguments: dict[str, Any]) -> str:
        return (await self._client.call(name, arguments))[0]

    async def _echo(self) -> bool:
        return bool(json.loads(await self._text("echo", ECHOED)) == ECHOED)

    async def _asked(self, name: str, arguments: dict[str, Any]) -> Any:
        return json.loads(await self._text(name, arguments))

    async def _progress(self) -> list[float]:
        seen: list[float] = []
        await self._client.call("test_tool_with_progress", {}, seen.append)
        await _until(lambda: len(seen) >= 3)
        return seen

    async def _logs(self) -> list[Any]:
        self._client.logs.clear()
        await self._client.call("test_tool_with_logging", {})
        await _until(lambda: len(self._client.logs) >= 3)
        return self._client.logs

    async def _missing(self) -> str:
        try:
            await self._client.read("test://no-such-resource")
        except Exception as error:  # noqa: BLE001  each client has its own error class
            return f"refused: {error}"
        return "not refused"

    async def _cancellation(self) -> bool:
        before = int(await self._text("cancelled_count", {}))

        async def running() -> None:
            while int(await self._text("running_count", {})) == 0:
                await asyncio.sleep(POLL_SECONDS)

        await self._client.call_and_cancel("slow", {"seconds": 60}, running)
        while int(await self._text("cancelled_count", {})) == before:
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _updated(self) -> bool:
        await self._client.follow(WATCHED)
        return await self._provoke("bump_resource", f"resources/updated {WATCHED}")

    async def _list_changed(self) -> list[bool]:
        appeared = await self._provoke("add_tool", "tools/list_changed")
        while "added_tool" not in await self._client.tools():
            await asyncio.sleep(POLL_SECONDS)
        gone = await self._provoke("remove_tool", "tools/list_changed")
        while "added_tool" in await self._client.tools():
            await asyncio.sleep(POLL_SECONDS)
        return [appeared, gone]

    async def _provoke(self, tool: str, event: str) -> bool:
        """Call `tool` until `event` arrives: a notification stream may open late, and nothing is replayed."""
        self._client.events.clear()
        while event not in self._client.events:
            await self._text(tool, {})
            await _until(lambda: event in self._client.events, seconds=2.0)
        return True


def arguments(*modes: str) -> argparse.Namespace:
    """The command line of a client: URL, calls as JSON and, if it has several, the mode."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--calls", type=json.loads)
    if modes:
        parser.add_argument("--mode", choices=modes, default=modes[0])
    return parser.parse_args()


def publish(name: str, report: dict[str, Any]) -> None:
    json.dump({"client": name, **report}, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")


async def _until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    """Poll until `holds` or the time is over; the caller looks at what there is."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not holds() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(POLL_SECONDS)
