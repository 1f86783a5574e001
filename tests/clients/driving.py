"""Runs a client program against a URL and says how its report differs from what every client must see."""

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import programs

RUN_SECONDS = 180
CLIENTS: tuple[tuple[str, str], ...] = (
    ("python-sdk2", "auto"),
    ("python-sdk2", "legacy"),
    ("python-sdk1", "http"),
    ("typescript-sdk1", "http"),
    ("typescript-client2", "default"),
    ("typescript-client2", "auto"),
    ("fastmcp4", "auto"),
    ("fastmcp4", "legacy"),
    ("inspector", "legacy"),
    ("inspector", "modern"),
)
SSE_CLIENTS = (("python-sdk1", "sse"), ("typescript-sdk1", "sse"))
_PYTHON_DRIVERS = ("python-sdk2", "python-sdk1", "fastmcp4", "inspector")
_FACTS: dict[str, Any] = {
    "prompts": [
        "test_input_required_result_prompt",
        "test_prompt_with_arguments",
        "test_prompt_with_embedded_resource",
        "test_prompt_with_image",
        "test_simple_prompt",
    ],
    "resources": [
        "test://static-binary",
        "test://static-text",
        "test://watched-resource",
    ],
    "templates": ["test://template/{id}/data"],
    "echo": True,
    "failing": ["This tool intentionally returns an error for testing", True],
    "progress": [0, 50, 100],
    "logs": [
        "Tool execution started",
        "Tool processing data",
        "Tool execution completed",
    ],
    "prompt": "Prompt with arguments: arg1='one', arg2='two'",
    "read": "This is the content of the static text resource.",
    "template": '{"id":"7","templateTest":true,"data":"Data for ID: 7"}',
    "completion": ["paris", "park", "party"],
    "elicitation": {"action": "accept", "content": {"answer": "forty-two"}},
    "often": [{"answer": "forty-two"}] * 3,
    "cancellation": True,
    "updated": True,
    "list_changed": [True, True],
}
_INSPECTOR_LACKS = {
    "progress",
    "logs",
    "completion",
    "elicitation",
    "often",
    "sampling",
    "roots",
    "cancellation",
    "updated",
    "list_changed",
}


def run(client: str, mode: str, url: str, calls: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """The client's report, or the end of the test if the client is not installed.

    With `calls`, arguments by the tool's name, it has for each of them the text and whether that is an error, and all
    `tools`; without, what the whole exercise has.

    Raises:
        RuntimeError: it printed no report; the message has what it printed.
    """
    program = programs.need(client)
    told = [] if calls is None else [json.dumps(calls)]
    if client in _PYTHON_DRIVERS:
        arguments = [url, "--mode", mode, *(f"--calls={each}" for each in told)]
    else:
        arguments = [url, mode, *told]
    done = subprocess.run(
        [*program.command, *arguments],
        env={**os.environ, **program.environment},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"{client} {mode} ended with {done.returncode}: {done.stdout}{done.stderr}") from None
    return report


def differences(report: dict[str, Any], tools: set[str], upstream_is_legacy: bool = False) -> dict[str, Any]:
    """What the report should have said and did not, by step: {step: (seen, expected)}."""
    facts = {step: fact for step, fact in _FACTS.items() if not (_is_inspector(report) and step in _INSPECTOR_LACKS)}
    if upstream_is_legacy:
        facts["prompts"] = [name for name in _FACTS["prompts"] if "input_required" not in name]
    facts["tools"] = sorted(tools)
    wrong = {step: (report.get(step), fact) for step, fact in facts.items() if report.get(step) != fact}
    if not str(report.get("missing")).startswith("refused: "):
        wrong["missing"] = (report.get("missing"), "refused: …")
    if not _is_inspector(report):
        wrong |= _answers(report)
    return wrong


def _answers(report: dict[str, Any]) -> dict[str, Any]:
    """Sampling and roots, where clients differ in what they add."""
    wrong: dict[str, Any] = {}
    text = {"type": "text", "text": "a sampled text"}
    if report.get("sampling", {}).get("content") not in (text, [text]):
        wrong["sampling"] = (report.get("sampling"), text)
    uris = [root.get("uri") for root in report.get("roots", {}).get("roots", [])]
    if uris != ["file:///tmp/a-root"]:
        wrong["roots"] = (report.get("roots"), "file:///tmp/a-root")
    return wrong


def _is_inspector(report: dict[str, Any]) -> bool:
    return str(report["client"]).startswith("inspector")
