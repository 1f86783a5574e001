"""JSON-RPC errors: codes of the specification, and how the gateway's own errors look to a client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from toolway.errors import CallLost, ClientCannot, InvalidInput, NotFound, ToolwayError
from toolway.hookspecs.routing import RpcFault

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND_LEGACY = -32002
HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022
URL_ELICITATION_LEGACY = -32042

RPC_STATUS = {-32700: 400, -32600: 400, -32601: 404, -32602: 400, -32020: 400, -32021: 400, -32022: 400}
"""HTTP status of a modern error reply (MCP 2026-07-28, transports); 200 for all others."""


class RpcError(ToolwayError):
    """A JSON-RPC error answer: `rpc_code` of the specification, `data` raw JSON, `status` for HTTP (200: by code)."""

    code = "rpc_error"

    def __init__(self, rpc_code: int, message: str, *, data: Raw | UnsetType = UNSET, status: int = 200) -> None:
        super().__init__(message)
        self.rpc_code = rpc_code
        self.data = data
        self.status = status  # type: ignore[misc]


def fault_of(error: Exception, error_id: str) -> RpcFault:
    """The fault that a client sees: never the text of an unexpected exception, always an id that the log has too."""
    if isinstance(error, RpcError):
        return RpcFault(error.rpc_code, error.message, error.data)
    if isinstance(error, ClientCannot):
        return _missing_capability(error)
    if isinstance(error, ToolwayError):
        rpc_code = INVALID_PARAMS if isinstance(error, NotFound | InvalidInput | CallLost) else INTERNAL_ERROR
        wait = {"retryAfter": error.details["retry_after"]} if "retry_after" in error.details else {}
        return RpcFault(rpc_code, error.message, _data(code=error.code, errorId=error_id, **wait))
    data = _data(code="internal_error", errorId=error_id)
    return RpcFault(INTERNAL_ERROR, f"internal error (error id {error_id})", data)


def redacted(fault: RpcFault, redact: Callable[[str], str]) -> RpcFault:
    """What a client may be told of a fault, which may quote what the gateway has sent; data that breaks is left out."""
    data = fault.data
    if isinstance(data, Raw) and (told := redact(text := bytes(data).decode())) != text:
        try:
            data = Raw(msgspec.json.encode(msgspec.json.decode(told)))
        except msgspec.DecodeError:
            data = UNSET
    return RpcFault(fault.code, redact(fault.message), data)


def _missing_capability(error: ClientCannot) -> RpcFault:
    capability = str(error.details.get("capability", ""))
    if not capability:
        return RpcFault(INTERNAL_ERROR, error.message, _data(code=error.code))
    required: dict[str, Any] = {}
    for part in reversed(capability.split(".")):
        required = {part: required}
    return RpcFault(MISSING_CAPABILITY, error.message, _data(requiredCapabilities=required))


def _data(**fields: Any) -> Raw:
    return Raw(msgspec.json.encode(fields))
