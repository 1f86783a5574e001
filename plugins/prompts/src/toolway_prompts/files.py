"""Prompts as files: one TOML file for each version of a prompt, long templates and media beside it."""

from __future__ import annotations

import base64
import mimetypes
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from toolway.plugin import InvalidInput, refusal
from toolway_prompts.prompt import Prompt

SUFFIX = ".toml"
MOST_FILES = 500
MOST_BYTES = 1024 * 1024
"""Of one file."""

Signature = tuple[tuple[str, int, int], ...]


class Origin(msgspec.Struct, frozen=True):
    """Where a template begins: the file, and how many lines and characters are before it."""

    file: str
    lines: int = 0
    characters: int = 0


class PromptFile(msgspec.Struct, frozen=True):
    """A file with the prompt in it, or what is wrong with it; `origins` tells where its templates are, by member."""

    path: Path
    prompt: Prompt | None = None
    problem: str = ""
    origins: dict[str, Origin] = {}


def signature(directory: Path) -> Signature:
    """Changes when a file in the directory does; raises OSError."""
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
    return tuple(sorted((name, told.st_mtime_ns, told.st_size) for name, told in found))


def read_files(target: Path) -> list[PromptFile]:
    """The prompts of a directory, or of one file, sorted by file name; raises InvalidInput when it is not there."""
    if target.is_file():
        return [read_file(target)]
    if not target.is_dir():
        raise InvalidInput(f"there is no directory {str(target)!r}; prompts are files in it that end with {SUFFIX}")
    paths = sorted(path for path in target.iterdir() if path.suffix == SUFFIX and path.is_file())
    if len(paths) > MOST_FILES:
        raise InvalidInput(
            f"{str(target)!r} has {len(paths)} prompts; {MOST_FILES} is the most, use several directories"
        )
    return [read_file(path) for path in paths]


def read_file(path: Path) -> PromptFile:
    """One prompt; it is called as the file if it does not say how."""
    try:
        source = _content(path).decode()
        raw = tomllib.loads(source)
        name, _, version = path.stem.partition("@")
        named = {"name": name, **({"version": int(version)} if version.isdigit() else {})}
        table = {**named, **raw, "messages": [*_messages(path.parent, raw.get("messages", []))]}
        return PromptFile(path, Prompt.model_validate(table), origins=_origins(path.name, source, raw))
    except tomllib.TOMLDecodeError as error:
        return PromptFile(path, None, f"is not TOML: {error}")
    except ValidationError as error:
        return PromptFile(path, None, refusal(error, Prompt).message)
    except InvalidInput as error:
        return PromptFile(path, None, error.message)
    except UnicodeDecodeError:
        return PromptFile(path, None, "is not UTF-8")
    except OSError as error:
        return PromptFile(path, None, f"cannot be read: {error.strerror}")


def _origins(name: str, source: str, raw: Mapping[str, Any]) -> dict[str, Origin]:
    """Of the templates that are written in the file as they are, and of those in files of their own."""
    found, at = {}, 0
    for number, message in enumerate(raw.get("messages", [])):
        for key in ("text", "uri", "when"):
            if key == "text" and "file" in message:
                found[f"messages[{number}].text"] = Origin(str(message["file"]))
            elif (text := message.get(key)) and (begins := source.find(text, at)) >= 0:
                lines = source.count("\n", 0, begins)
                found[f"messages[{number}].{key}"] = Origin(name, lines, begins - source.rfind("\n", 0, begins) - 1)
        at = max(at, source.find("[[messages]]", at) + 1)
    return found


def _messages(directory: Path, raw: Any) -> Iterator[Any]:
    """With the content of the files that they name."""
    for message in raw if isinstance(raw, list) else []:
        if not isinstance(message, Mapping) or "file" not in message:
            yield message
            continue
        rest = {key: value for key, value in message.items() if key != "file"}
        yield {**rest, **_from_file(directory, str(message["file"]), rest)}


def _from_file(directory: Path, name: str, message: Mapping[str, Any]) -> dict[str, str]:
    """A template, or data with its media type."""
    if name != Path(name).name or name.startswith("."):
        raise InvalidInput(f"file {name!r} must be the name of a file in the directory of the prompt")
    content, guessed = _content(directory / name), mimetypes.guess_type(name)[0] or ""
    kind = message.get("type", "text")
    if kind == "text":
        return {"text": content.decode()}
    mime = {} if "mime_type" in message else {"mime_type": guessed}
    if kind == "resource" and (guessed.startswith("text/") or not guessed):
        return {"text": content.decode(), **mime}
    return {"data": base64.b64encode(content).decode(), **mime}


def _content(path: Path) -> bytes:
    with path.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InvalidInput(f"{path.name} is larger than {MOST_BYTES} bytes")
    return content
