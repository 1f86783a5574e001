"""A prompt with arguments becomes the messages that a client gets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolway.plugin import InvalidInput
from toolway_prompts.arguments import read_arguments
from toolway_prompts.jobs import Render
from toolway_prompts.pool import Jobs, TemplateRefused
from toolway_prompts.prompt import Message, Prompt

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x1f\x7f<>\"{}|\\^`]+")

Part = tuple[int, str]
"""A template of a prompt: of which message, and which member of it."""


def templates(prompt: Prompt) -> list[Part]:
    """All templates of a prompt, in the order in which they are rendered."""
    parts = []
    for number, message in enumerate(prompt.messages):
        parts += [(number, key) for key in ("text", "uri") if getattr(message, key)]
        if message.when and not (message.text or message.uri):
            parts.append((number, "text"))  # an empty one, so that there is something to leave out
    return parts


def job_of(prompt: Prompt, given: Mapping[str, Any], most: int) -> Render:
    """What is to be rendered; raises InvalidInput if the arguments do not fit."""
    values, absent = read_arguments(prompt, given)
    parts = templates(prompt)
    sources = tuple(getattr(prompt.messages[number], key) for number, key in parts)
    conditions = {at: prompt.messages[number].when for at, (number, _) in enumerate(parts)}
    return Render(sources, values, absent, {at: when for at, when in conditions.items() if when}, most)


class Renderer:
    """Renders prompts with the workers of a pool; `most` is the most text that a prompt makes, in characters."""

    def __init__(self, pool: Jobs, most: int = 1024 * 1024) -> None:
        self.pool, self._most = pool, most

    async def messages(self, prompt: Prompt, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The messages as MCP has them; raises InvalidInput that says which message and line is wrong."""
        job = job_of(prompt, given, self._most)
        try:
            rendered = await self.pool.render(job)
        except TemplateRefused as refused:
            raise self._placed(prompt, refused) from None
        texts = dict(zip(templates(prompt), rendered.texts, strict=True))
        return list(_messages(prompt.messages, texts))

    def _placed(self, prompt: Prompt, refused: TemplateRefused) -> TemplateRefused:
        found = refused.found
        number = templates(prompt)[found.template][0] + 1
        where = f" of message {number}, line {found.line}," if found.line else ""
        refused.message = f"prompt {prompt.name!r} cannot be rendered: the template{where} {_clause(found.message)}"
        return refused


def _clause(message: str) -> str:
    """After `the template`."""
    return message if message.startswith(("takes ", "makes ", "is ", "ended ", "could ")) else f"is refused: {message}"


def _messages(messages: Sequence[Message], texts: Mapping[Part, str | None]) -> Iterator[dict[str, Any]]:
    for number, message in enumerate(messages):
        own = {key: texts.get((number, key), "") for key in ("text", "uri")}
        if None in own.values():
            continue
        yield {"role": message.role, "content": _content(message, own["text"] or "", own["uri"] or "")}


def _content(message: Message, text: str, uri: str) -> dict[str, Any]:
    if uri and not _URI.fullmatch(uri):
        raise InvalidInput("the URI of a resource is no URI with these arguments; filter them with urlencode")
    if message.type == "text":
        return {"type": "text", "text": text}
    if message.type in ("image", "audio"):
        return {"type": message.type, "data": message.data, "mimeType": message.mime_type}
    more = {"mimeType": message.mime_type, "title": message.title, "description": message.description}
    fields = {"uri": uri, **{key: value for key, value in more.items() if value}}
    if message.type == "resource_link":
        return {"type": "resource_link", "name": message.name, **fields}
    return {"type": "resource", "resource": {**fields, **({"blob": message.data} if message.data else {"text": text})}}
