"""Errors as `application/problem+json` (RFC 9457) with stable codes; never with the text of an unexpected exception."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from toolway.hookspecs.api import PROBLEM_TYPE
from toolway.hookspecs.challenge import Challenges
from toolway.plugin import InvalidInput, NotFound, ToolwayError

log = logging.getLogger(__name__)


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


def answer_for(
    error: Exception, challenges: Challenges, redact: Callable[[str], str], *, presented: bool = False
) -> Response:
    """The answer for any exception; the text of an unexpected one is only in the log, under an error id.

    `presented` says whether the request had a credential; `redact` goes over what the error says.
    """
    if not isinstance(error, ToolwayError):
        error_id = secrets.token_hex(8)
        log.error("request failed, error id %s", error_id, exc_info=error)
        message = f"the gateway failed to answer; its log has the reason under error id {error_id}"
        error = ToolwayError(message, error_id=error_id)
    body = {
        **{name: redact(each) if isinstance(each, str) else each for name, each in error.details.items()},
        "type": f"urn:toolway:error:{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "code": error.code,
        "detail": redact(error.message),
    }
    headers = _headers(error)
    if challenge := challenges.header(error, presented=presented):
        headers["www-authenticate"] = challenge
    return Response(msgspec.json.encode(body), error.status, headers, PROBLEM_TYPE)


def _headers(error: ToolwayError) -> dict[str, str]:
    if isinstance(error, MethodNotAllowed):
        return {"allow": error.allow}
    return error.headers


def problem_handlers(
    challenges: Challenges, redact: Callable[[str], str]
) -> Mapping[Any, Callable[[Request, Any], Awaitable[Response]]]:
    """Exception handlers for Starlette: paths that no route has are answered with a problem document too."""

    async def missing(request: Request, error: HTTPException) -> Response:
        what = f"there is no {request.scope['path']}; /api/v1/openapi.json lists what there is"
        return answer_for(NotFound(what), challenges, redact)

    return {HTTPStatus.NOT_FOUND: missing}
