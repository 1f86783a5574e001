"""Upstreams of kind `prompts`: what is asked of an MCP server is answered here, from a library of prompts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast
from weakref import WeakValueDictionary

import msgspec
from msgspec import Raw
from pydantic import Field, ValidationInfo, field_validator

from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import (
    Discovery,
    Endpoint,
    Eras,
    Item,
    Leg,
    Reply,
    RpcFault,
    Upstream,
    UpstreamRequest,
    Wants,
)
from toolway.plugin import InvalidInput, UpstreamTimeout
from toolway_prompts.arguments import completed, entry
from toolway_prompts.library import Library
from toolway_prompts.prompt import Collection, Prompt
from toolway_prompts.rendering import Renderer

log = logging.getLogger(__name__)

KIND = "prompts"
VERSION = "2026-07-28"
CAPABILITIES: dict[str, Any] = {"prompts": {"listChanged": True}, "completions": {}}
METHOD_NOT_FOUND, INVALID_PARAMS = -32601, -32602
LOOK_SECONDS = 1.0
"""How often it is looked at whether the files of a directory have changed."""


class PromptsUpstream(UpstreamSettings, Collection):
    """A collection of prompts: files of a directory, prompts that are given here, or both."""

    kind: Literal["prompts"] = Field("prompts", description="A collection of prompts.")
    directory: Path | None = Field(
        None, description="Where the files of prompts are (*.toml); in the configuration file only."
    )

    @field_validator("directory")
    @classmethod
    def _is_for_the_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.context is not None:
            raise ValueError("can be set in the configuration file only; send the prompts themselves in prompts")
        return value


class PromptsKind:
    """Provider of the kind."""

    kind = KIND
    settings: type[UpstreamSettings] = PromptsUpstream
    file_only = False

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._libraries: WeakValueDictionary[str, Library] = WeakValueDictionary()
        self._settings: dict[str, PromptsUpstream] = {}

    def endpoints(self, settings: UpstreamSettings) -> tuple[Endpoint, ...]:
        """The one that is here."""
        return (Endpoint("local"),)

    async def probe(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Eras:
        """It answers as modern servers do."""
        return Eras(modern=VERSION)

    def connect(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> PromptsConnection:
        """All connections to an upstream share its library."""
        return PromptsConnection(leg, self.library(cast(PromptsUpstream, upstream.settings)), self._renderer)

    def library(self, settings: PromptsUpstream) -> Library:
        """What is served of an upstream."""
        known = self._libraries.get(settings.name)
        if known is not None and self._settings.get(settings.name) == settings:
            return known
        made = Library(settings.name, self._renderer.pool, settings, settings.directory)
        self._libraries[settings.name], self._settings[settings.name] = made, settings
        return made


class PromptsConnection:
    """See `Connection`: nothing is sent, what is asked for is rendered."""

    def __init__(self, leg: Leg, library: Library, renderer: Renderer) -> None:
        self._leg, self._library, self._renderer = leg, library, renderer
        self._looking: asyncio.Task[None] | None = None

    async def discover(self) -> Discovery:
        """The prompts that are served."""
        library = self._library
        await library.refresh()
        items = [
            Item(library.name, "prompt", name, msgspec.json.encode(entry(each)))
            for name, each in library.served.items()
        ]
        about = {"name": library.name, "version": "1"}
        return Discovery(Eras(modern=VERSION), CAPABILITIES, about, None, tuple(items), library.problems)

    async def request(self, request: UpstreamRequest) -> Reply:
        """Answer `prompts/get` and `completion/complete`."""
        try:
            async with asyncio.timeout_at(request.deadline):
                return await self._answered(request)
        except InvalidInput as error:
            return Reply(fault=RpcFault(INVALID_PARAMS, error.message))
        except msgspec.DecodeError as error:
            return Reply(
                fault=RpcFault(INVALID_PARAMS, f"the params of {request.method} are not as they should be: {error}")
            )
        except TimeoutError:
            raise UpstreamTimeout(f"upstream {self._library.name!r} did not answer in time", sent=False) from None

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Nobody hears it."""

    async def watch(self, wants: Wants) -> None:
        """Look at the directory again and again as long as somebody wants to know."""
        await self.close()
        if wants.prompts and self._library.directory is not None:
            self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Look no more."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if await self._library.changed():
                self._leg.peer.notify("notifications/prompts/list_changed", {})

    async def _answered(self, request: UpstreamRequest) -> Reply:
        await self._library.load()
        if request.method == "prompts/get":
            return _reply(await self._got(request))
        if request.method == "completion/complete":
            return _reply(self._completed(request))
        return Reply(fault=RpcFault(METHOD_NOT_FOUND, f"Method not found: {request.method}"))

    async def _got(self, request: UpstreamRequest) -> dict[str, Any]:
        prompt = self._prompt(_read(request, "name", str))
        given = _read(request, "arguments", dict[str, Any] | None) or {}
        messages = await self._renderer.messages(prompt, given)
        meta = {"toolway/version": prompt.version, "toolway/digest": prompt.digest}
        described = {"description": prompt.description} if prompt.description else {}
        return {**described, "messages": messages, "_meta": meta}

    def _completed(self, request: UpstreamRequest) -> dict[str, Any]:
        class Ref(msgspec.Struct):
            name: str = ""

        class Typed(msgspec.Struct):
            name: str
            value: str = ""

        prompt = self._prompt(_read(request, "ref", Ref).name)
        argument = _read(request, "argument", Typed)
        return completed(prompt, argument.name, argument.value)

    def _prompt(self, name: str) -> Prompt:
        prompt = self._library.served.get(name)
        if prompt is None:
            raise InvalidInput(f"Unknown prompt: {name}")
        return prompt


def _read(request: UpstreamRequest, key: str, shape: Any) -> Any:
    return msgspec.json.decode(request.params.get(key, Raw(b"null")), type=shape)


def _reply(result: dict[str, Any]) -> Reply:
    return Reply(Raw(msgspec.json.encode({"resultType": "complete", **result})))
