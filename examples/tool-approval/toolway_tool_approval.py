"""A call middleware in one file: some tools are refused, others need a yes from the person behind the client.

[plugins]
enable = ["tool-approval"]

[plugins.tool-approval]
refuse = ["files/delete_*"]
ask = ["files/write_*", "mail/*"]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import msgspec
from pydantic import Field

from toolway.hookspecs.routing import Call, CallNext, Reply, RequestMiddleware
from toolway.plugin import ClientCannot, Forbidden, Kernel, Plugin, Settings, hookimpl


class ToolApprovalSettings(Settings):
    """Patterns over canonical names `upstream/tool`; `*` matches anything."""

    refuse: tuple[str, ...] = Field(default=(), description="Tools that nobody may call.")
    ask: tuple[str, ...] = Field(default=(), description="Tools that are called only after a yes.")


class ToolApprovalPlugin(Plugin[ToolApprovalSettings]):
    """Registers the middleware."""

    @hookimpl
    def toolway_request_middleware(self, kernel: Kernel) -> Iterable[RequestMiddleware]:
        return [ToolApproval(self.settings)]


class ToolApproval:
    """Stands in front of every `tools/call`; a client that cannot be asked cannot call what needs a yes."""

    name = "tool-approval"
    methods: ClassVar[frozenset[str]] = frozenset({"tools/call"})

    def __init__(self, settings: ToolApprovalSettings) -> None:
        self._settings = settings

    async def __call__(self, call: Call, call_next: CallNext) -> Reply:
        """Refuse, ask, or pass on."""
        tool = f"{call.target.upstream}/{call.target.name}" if call.target else ""
        if _matches(tool, self._settings.refuse):
            raise Forbidden(f"calls of {tool} are refused here")
        if _matches(tool, self._settings.ask) and not await _is_approved(call, tool):
            return _declined(tool)
        return await call_next(call)


def _matches(tool: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(tool, pattern) for pattern in patterns)


async def _is_approved(call: Call, tool: str) -> bool:
    question = {
        "message": f"Allow the call of {tool}?",
        "requestedSchema": {"type": "object", "properties": {}},
    }
    try:
        answer = await call.ask("elicitation/create", _raw(question))
    except ClientCannot as error:
        raise Forbidden(f"calls of {tool} need a yes, and this client cannot be asked") from error
    return bool(msgspec.json.decode(answer).get("action") == "accept")


def _declined(tool: str) -> Reply:
    text = f"The person behind the client did not allow the call of {tool}."
    return Reply(result=_raw({"content": [{"type": "text", "text": text}], "isError": True}))


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
