"""Prompts and gateways with prompts, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolway_testing.gateway import RunningGateway

REVIEW = """
description = "Review a change."

[[arguments]]
name = "code"
description = "The change."
required = true

[[arguments]]
name = "language"
description = "Its language."
json_schema = { enum = ["python", "rust", "perl"] }

[[arguments]]
name = "points"
description = "How many points."
json_schema = { type = "integer", minimum = 1, maximum = 5, default = 3 }

[[messages]]
file = "review.md"

[[messages]]
role = "assistant"
text = "I look at {{ points }} points."
when = "points > 1"

[[messages]]
type = "image"
file = "dot.png"

[[messages]]
type = "resource_link"
name = "guide"
uri = "guide://{{ language|default('any')|urlencode }}"

[[messages]]
type = "resource"
uri = "notes://review"
text = "Notes for {{ language|default('any') }}"
mime_type = "text/plain"

[[tests]]
name = "says the language"
arguments = { code = "x = 1", language = "python" }
contains = ["python", "3 points"]
messages = 5

[[tests]]
name = "refuses other languages"
arguments = { code = "x", language = "cobol" }
error = "does not fit"
"""
TEMPLATE = "Review this{% if language %} {{ language }}{% endif %} change:\n\n{{ code }}\n"


def written(directory: Path) -> Path:
    """A directory with the prompt `review`."""
    directory.mkdir()
    (directory / "review.toml").write_text(REVIEW)
    (directory / "review.md").write_text(TEMPLATE)
    (directory / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return directory


def prompt(name: str = "greet", text: str = "Hello {{ who }}.", **more: Any) -> dict[str, Any]:
    """A small prompt as the API takes it."""
    arguments = [{"name": "who", "description": "Who is greeted.", "required": True}]
    return {"name": name, "description": "A greeting.", "arguments": arguments, "messages": [{"text": text}], **more}


async def got(gate: RunningGateway, name: str, **arguments: str) -> Any:
    """`prompts/get`: the texts of its messages, or the error."""
    answer = (await gate.mcp("prompts/get", {"name": name, "arguments": arguments})).content
    if "error" in answer:
        return answer["error"]
    return [each["content"].get("text") for each in answer["result"]["messages"]]


async def listed(gate: RunningGateway) -> dict[str, Any]:
    """`prompts/list` by name."""
    answer = (await gate.mcp("prompts/list")).content
    return {each["name"]: each for each in answer["result"]["prompts"]}
