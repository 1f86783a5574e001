"""The MCP inspector's command line: `python inspector.py URL [--mode legacy|modern] [--calls JSON]`.

The environment variable INSPECTOR is its command, `node …/index.js`. Prints the report of `exercise.py` as far as the
inspector can go: it makes one connection per command, answers no questions and follows no changes.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import exercise

COMMAND_SECONDS = 30


class Inspector:
    """Runs one command after another against the URL."""

    def __init__(self, url: str, mode: str, home: str) -> None:
        transport = "sse" if url.endswith("/sse") else "http"
        self._command = [
            *os.environ["INSPECTOR"].split(" "),
            "--cli",
            url,
            "--transport",
            transport,
        ]
        self._command += ["--protocol-era", mode, "--format", "json"]
        catalog = str(Path(home) / "catalog.json")
        self._environment = {**os.environ, "HOME": home, "MCP_CATALOG_PATH": catalog}

    def __call__(self, method: str, *arguments: str) -> Any:
        """The result of the method.

        Raises:
            RuntimeError: the command said no; the text is its standard error.
        """
        done = subprocess.run(
            [*self._command, "--method", method, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if not done.stdout.strip():
            raise RuntimeError(done.stderr.strip())
        output = json.loads(done.stdout)
        return output.get("result", output)

    def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        result = self("tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))
        return [result["content"][0]["text"], bool(result.get("isError"))]

    def names(self, method: str, items: str, key: str) -> list[str]:
        return sorted(item[key] for item in self(method)[items])


def report(inspector: Inspector, calls: dict[str, dict[str, Any]] | None) -> dict[str, Any]:
    steps = _steps(inspector) if calls is None else _told(inspector, calls)
    tools: Callable[[], Any] = partial(inspector.names, "tools/list", "tools", "name")
    return {"tools": _attempt(tools), **{name: _attempt(step) for name, step in steps.items()}}


def _told(inspector: Inspector, calls: dict[str, dict[str, Any]]) -> dict[str, Callable[[], Any]]:
    return {tool: partial(inspector.call, tool, arguments) for tool, arguments in calls.items()}


def _steps(inspector: Inspector) -> dict[str, Callable[[], Any]]:
    prompt = (
        "--prompt-name",
        "test_prompt_with_arguments",
        "--prompt-args",
        "arg1=one",
        "arg2=two",
    )
    return {
        "prompts": lambda: inspector.names("prompts/list", "prompts", "name"),
        "resources": lambda: inspector.names("resources/list", "resources", "uri"),
        "templates": lambda: inspector.names("resources/templates/list", "resourceTemplates", "uriTemplate"),
        "echo": lambda: json.loads(inspector.call("echo", exercise.ECHOED)[0]) == exercise.ECHOED,
        "failing": lambda: inspector.call("test_error_handling", {}),
        "prompt": lambda: inspector("prompts/get", *prompt)["messages"][0]["content"]["text"],
        "read": lambda: inspector("resources/read", "--uri", "test://static-text")["contents"][0]["text"],
        "template": lambda: inspector("resources/read", "--uri", "test://template/7/data")["contents"][0]["text"],
        "missing": lambda: _refusal(lambda: inspector("resources/read", "--uri", "test://no-such-resource")),
    }


def _refusal(act: Callable[[], Any]) -> str:
    try:
        answer = act()
    except RuntimeError as error:
        return f"refused: {error}"
    return f"refused: {answer['error']}" if "error" in answer else "not refused"


def _attempt(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except Exception as error:  # noqa: BLE001  a failing step is what the report is for
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    options = exercise.arguments("legacy", "modern", "auto")
    with tempfile.TemporaryDirectory() as home:
        outcome = report(Inspector(options.url, options.mode, home), options.calls)
    exercise.publish(f"inspector {options.mode}", outcome)
