"""Errors as `application/problem+json` (RFC 9457) with stable codes; never with the text of an unexpected exception."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from toolway.errors import InvalidInput, NotFound, ToolwayError, Unauthenticated

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What every error answer of the admin API looks like; some codes add members."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`urn:toolway:error:` and the code.")
    title: str = Field(description="The meaning of the HTTP status.")
    status: int = Field(description="The HTTP status.")
    code: str = Field(description="Stable code of the error.")
    detail: str = Field(description="What went wrong, where, and what to do next.")


class MethodNotAllowed(ToolwayError):
    """The path exists, but not with this HTTP method (RFC 9110 section 15.5.6)."""

    code = "method_not_allowed"
    status = 405


def problem(error: ToolwayError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for an expected error."""
    body = {
        **error.details,
        "type": f"urn:toolway:error:{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "code": error.code,
        "detail": error.message,
    }
    challenge = {"www-authenticate": 'Bearer realm="toolway"'} if isinstance(error, Unauthenticated) else {}
    retry = {"retry-after": "1"} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Response(msgspec.json.encode(body), error.status, {**challenge, **retry, **(headers or {})}, MEDIA_TYPE)


def unexpected(error: Exception) -> Response:
    """The answer for anything else: an error id that the log has too."""
    error_id = secrets.token_hex(8)
    log.error("request failed, error id %s", error_id, exc_info=error)
    message = f"the gateway failed to answer; its log has the reason under error id {error_id}"
    return problem(ToolwayError(message, error_id=error_id))


def answer_for(error: Exception, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for any exception."""
    return problem(error, headers) if isinstance(error, ToolwayError) else unexpected(error)


def document(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps."""
    body = msgspec.json.encode(value)
    return Response(body, status, {"cache-control": "no-store", **(headers or {})}, "application/json")


def problem_handlers() -> Mapping[Any, Callable[[Request, Any], Awaitable[Response]]]:
    """Exception handlers for Starlette: what no route answers becomes a problem document too."""

    async def refused(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.NOT_FOUND:
            return problem(NotFound(f"there is no {request.url.path}"))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            return problem(MethodNotAllowed(f"{request.method} is not possible here"), error.headers)
        return problem(InvalidInput("the request is not acceptable"), error.headers)

    async def failed(request: Request, error: Exception) -> Response:
        return answer_for(error)

    return {HTTPException: refused, ToolwayError: failed, Exception: failed}
