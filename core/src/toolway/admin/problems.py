"""Errors as `application/problem+json` (RFC 9457) with stable codes; never with the text of an unexpected exception."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
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

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allow = ", ".join(sorted(allowed))
        super().__init__(f"this method is not possible here; use one of {self.allow}")


class UnsupportedMediaType(InvalidInput):
    """The body is announced as something else than JSON (RFC 9110 section 15.5.16)."""

    code = "unsupported_media_type"
    status = 415


def answer_for(error: Exception) -> Response:
    """The answer for any exception; the text of an unexpected one is only in the log, under an error id."""
    if not isinstance(error, ToolwayError):
        error_id = secrets.token_hex(8)
        log.error("request failed, error id %s", error_id, exc_info=error)
        message = f"the gateway failed to answer; its log has the reason under error id {error_id}"
        error = ToolwayError(message, error_id=error_id)
    body = {
        **error.details,
        "type": f"urn:toolway:error:{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "code": error.code,
        "detail": error.message,
    }
    return Response(msgspec.json.encode(body), error.status, _headers(error), MEDIA_TYPE)


def _headers(error: ToolwayError) -> dict[str, str]:
    if isinstance(error, MethodNotAllowed):
        return {"allow": error.allow}
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": 'Bearer realm="toolway"'}
    return {"retry-after": "1"} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else {}


def document(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps; `value` is JSON or a model."""
    body = msgspec.json.encode(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)
    return Response(body, status, {"cache-control": "no-store", **(headers or {})}, "application/json")


def problem_handlers() -> Mapping[Any, Callable[[Request, Any], Awaitable[Response]]]:
    """Exception handlers for Starlette: paths that no route has are answered with a problem document too."""

    async def missing(request: Request, error: HTTPException) -> Response:
        return answer_for(NotFound(f"there is no {request.scope['path']}; /api/v1/openapi.json lists what there is"))

    return {HTTPStatus.NOT_FOUND: missing}
