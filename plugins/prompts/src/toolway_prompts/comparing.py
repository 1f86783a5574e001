"""What is different between two versions of a prompt: as it is written, and as it is rendered."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from toolway_prompts.prompt import Prompt
from toolway_prompts.rendering import Renderer


def source_of(prompt: Prompt) -> str:
    """A prompt as text that is compared line by line: templates as they are, everything else as JSON."""
    return "".join(
        f"{line}\n" for line in _lines(prompt.model_dump(mode="json", exclude={"version"}, exclude_defaults=True))
    )


def _lines(value: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, entry in value.items():
        if isinstance(entry, list | tuple):
            for number, each in enumerate(entry):
                at = f"{prefix}{key}[{number}]"
                yield from _lines(each, f"{at}.") if isinstance(each, dict) else [f"{at} = {_json(each)}"]
        elif key == "text" and "\n" in entry:
            yield f"{prefix}{key} ="
            yield from (f"    {line}" for line in entry.split("\n"))
        elif key == "data":
            yield f"{prefix}{key} = {len(entry)} characters, sha256 {hashlib.sha256(entry.encode()).hexdigest()}"
        else:
            yield f"{prefix}{key} = {_json(entry)}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def difference(old: str, new: str, old_name: str, new_name: str) -> str:
    """A unified diff; empty when both are the same."""
    return "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), old_name, new_name, lineterm=""))


async def rendered_difference(renderer: Renderer, old: Prompt, new: Prompt, arguments: Mapping[str, Any]) -> str:
    """What the same arguments make of both; raises InvalidInput when one cannot be rendered with them."""
    before, after = [shown(await renderer.messages(each, arguments)) for each in (old, new)]
    return difference(before, after, label(old), label(new))


def source_difference(old: Prompt, new: Prompt) -> str:
    """What is written differently."""
    return difference(source_of(old), source_of(new), label(old), label(new))


def label(prompt: Prompt) -> str:
    """How a version is called."""
    return f"{prompt.name} version {prompt.version}"


def shown(messages: Sequence[Mapping[str, Any]]) -> str:
    """Messages as a person reads them."""
    return "\n".join(f"[{each['role']}]\n{_shown_content(each['content'])}\n" for each in messages)


def _shown_content(content: Mapping[str, Any]) -> str:
    if content["type"] == "text":
        return str(content["text"])
    inner = content.get("resource", content)
    size = len(inner.get("data", inner.get("blob", ""))) * 3 // 4
    told = " ".join(str(inner[key]) for key in ("uri", "name", "mimeType") if key in inner)
    text = f"\n{inner['text']}" if "text" in inner else ""
    return f"({content['type']} {told}{f', {size} bytes' if size else ''}){text}"
