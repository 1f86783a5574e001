"""What a prompt is: arguments, messages with their templates, and test cases."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from toolway.plugin import Definition

MOST_SOURCE = 64 * 1024
"""Characters of one template."""

MOST_DATA = 1024 * 1024
"""Characters of one image, sound or file, as base64."""

PromptName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Template = Annotated[str, Field(max_length=MOST_SOURCE)]
Kind = Literal["text", "image", "audio", "resource_link", "resource"]
NEEDS: dict[Kind, tuple[str, ...]] = {
    "text": ("text",),
    "image": ("data", "mime_type"),
    "audio": ("data", "mime_type"),
    "resource_link": ("uri", "name"),
    "resource": ("uri",),
}
TAKES: dict[Kind, tuple[str, ...]] = {
    "text": ("text",),
    "image": ("data", "mime_type"),
    "audio": ("data", "mime_type"),
    "resource_link": ("uri", "name", "title", "description", "mime_type"),
    "resource": ("uri", "text", "data", "mime_type"),
}
ALL = ("text", "data", "mime_type", "uri", "name", "title", "description")


class Argument(Definition):
    """One argument; clients send text, which is read as the schema's type."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$", description="Its name, and the variable in templates.")
    title: str = Field("", max_length=200, description="For people.")
    description: str = Field("", max_length=2000, description="What to put there.")
    required: bool = Field(False, description="Whether the prompt cannot be had without it.")
    json_schema: dict[str, Any] = Field(
        {"type": "string"}, description="JSON Schema (2020-12) of its value; `default` is used when it is not given."
    )


class Message(Definition):
    """One message. `text`, `uri` and `when` are templates; the members that `type` does not have are empty."""

    role: Literal["user", "assistant"] = Field("user", description="Who says it.")
    type: Kind = Field("text", description="What its content is.")
    text: Template = Field("", description="The text of a message or of an embedded resource.")
    data: str = Field("", max_length=MOST_DATA, description="An image, a sound or a binary resource, as base64.")
    mime_type: str = Field("", max_length=200, pattern=r"^([\w.+-]+/[\w.+-]+(;.*)?)?$", description="Its media type.")
    uri: str = Field("", max_length=4096, description="Of a resource that is linked or embedded.")
    name: str = Field("", max_length=200, description="Of a linked resource.")
    title: str = Field("", max_length=200, description="Of a linked resource, for people.")
    description: str = Field("", max_length=2000, description="Of a linked resource.")
    when: str = Field("", max_length=1000, description="An expression; the message is left out when it is false.")

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        missing = [key for key in NEEDS[self.type] if not getattr(self, key)]
        excess = [key for key in ALL if getattr(self, key) and key not in TAKES[self.type]]
        if missing or excess:
            what = f"lacks {', '.join(missing)}" if missing else f"has no {', '.join(excess)}"
            raise ValueError(f"a message of type {self.type!r} {what}")
        if self.type == "resource" and bool(self.text) == bool(self.data):
            raise ValueError("an embedded resource has either text or data")
        try:
            base64.b64decode(self.data, validate=True)
        except binascii.Error:
            raise ValueError("data must be base64") from None
        return self


class Case(Definition):
    """A test: arguments, and what must come of them."""

    name: str = Field(min_length=1, max_length=200, description="What it shows.")
    arguments: dict[str, Any] = Field({}, description="The arguments, as a client sends them.")
    contains: tuple[str, ...] = Field((), description="Texts that one of the messages must contain.")
    excludes: tuple[str, ...] = Field((), description="Texts that no message may contain.")
    texts: tuple[str, ...] | None = Field(None, description="The texts of all messages that have one, exactly.")
    messages: int | None = Field(None, ge=0, description="How many messages there must be.")
    error: str = Field("", description="Part of the sentence that it must be refused with; empty: it is not refused.")


class Prompt(Definition):
    """One version of a prompt."""

    name: PromptName = Field(description="Unique together with the version.")
    version: int = Field(1, ge=1, le=1_000_000, description="Of several, the highest is served unless one is chosen.")
    title: str = Field("", max_length=200, description="For people.")
    description: str = Field("", max_length=4000, description="What it is for.")
    arguments: tuple[Argument, ...] = Field(
        (), max_length=50, description="In the order in which clients ask for them."
    )
    messages: tuple[Message, ...] = Field(min_length=1, max_length=50, description="In their order.")
    tests: tuple[Case, ...] = Field((), max_length=100, description="Test cases.")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [argument.name for argument in self.arguments]
        if len(set(names)) < len(names):
            raise ValueError("two arguments have the same name")
        return self

    @cached_property
    def digest(self) -> str:
        """Of everything that a client gets, short; tests and the version do not count."""
        shown = self.model_dump(mode="json", exclude={"tests", "version"})
        return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


class Collection(Definition):
    """Prompts that are edited together; each collection is an upstream of the same name."""

    prompts: tuple[Prompt, ...] = Field((), max_length=200, description="All versions of all prompts.")
    serve: dict[str, int] = Field({}, description="Which version of a prompt is served, if not the highest.")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        known = [(prompt.name, prompt.version) for prompt in self.prompts]
        for name, version in known:
            if known.count((name, version)) > 1:
                raise ValueError(f"version {version} of prompt {name!r} is there twice; give one another version")
        return self

    def candidates(self) -> dict[str, list[Prompt]]:
        """The versions of each prompt that may be served, by name, the one that should be first."""
        found: dict[str, list[Prompt]] = {}
        for prompt in sorted(self.prompts, key=lambda each: (each.name, -each.version)):
            if self.serve.get(prompt.name, prompt.version) == prompt.version:
                found.setdefault(prompt.name, []).append(prompt)
        return found

    def served(self) -> dict[str, Prompt]:
        """The version of each prompt that clients should get, by name."""
        return {name: versions[0] for name, versions in self.candidates().items()}

    def version(self, name: str, version: int | None = None) -> Prompt | None:
        """One version; the one that is served if none is named."""
        if version is None:
            return self.served().get(name)
        return next((each for each in self.prompts if (each.name, each.version) == (name, version)), None)
