"""A conversation with a REST API: each `tools/call` is one HTTP request."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec
from msgspec import Raw

from toolway.hookspecs.routing import Discovery, Endpoint, Eras, Reply, RpcFault, UpstreamRequest, Wants
from toolway.hookspecs.secrets import Challenge
from toolway.plugin import Secrets, UpstreamProtocol, UpstreamTimeout, UpstreamUnreachable
from toolway.plugin.http import CONNECT_SECONDS, ClientTls, OutgoingHttp, check_url, dial_error, read_body
from toolway_rest.answers import Answer, error, failed, succeeded
from toolway_rest.failures import ApiFailed, ApiRefused
from toolway_rest.fitting import mismatch
from toolway_rest.library import Library
from toolway_rest.operations import Book, Operation
from toolway_rest.requests import BadArgument, Prepared, authenticate, prepare
from toolway_rest.settings import RestUpstream
from toolway_rest.shaping import ShapeFailed
from toolway_rest.styles import Refused

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602

Authorize = Callable[[Challenge | None], Awaitable[Mapping[str, str]]]

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
_SECONDS = re.compile(r"[0-9]{1,9}")


class Sender:
    """Sends prepared requests to one endpoint, with the gateway's credentials."""

    def __init__(
        self,
        settings: RestUpstream,
        endpoint: Endpoint,
        outgoing: OutgoingHttp,
        secrets: Secrets,
        authorize: Authorize | None,
    ) -> None:
        self._settings = settings
        self._base = check_url(endpoint.id)
        self._who = f"upstream {settings.name!r}"
        self._outgoing = outgoing
        self._secrets = secrets
        self._authorize = authorize

    async def secret(self, scheme: str) -> str:
        """The secret of a security scheme."""
        return await self._secrets.get(self._settings.credentials[scheme])

    async def send(self, request: Prepared, seconds: float) -> Answer:
        """The whole answer, whose head has to come in time. After a 401 or 403, new credentials are tried once.

        Raises:
            UpstreamError: not reachable, not in time, redirected, compressed or too large.
        """
        own = {name.lower(): await self._secrets.get(each) for name, each in self._settings.headers.items()}
        if self._authorize is None:
            return await self._ask(request, own, seconds)
        credentials = await self._authorize(None)
        answer = await self._ask(request, {**own, **_lower(credentials)}, seconds)
        if answer.status in (401, 403):
            challenge = Challenge(answer.status, answer.headers.get("www-authenticate", ""))
            renewed = await self._authorize(challenge)
            if renewed != credentials:
                answer = await self._ask(request, {**own, **_lower(renewed)}, seconds)
        return answer

    async def _ask(self, request: Prepared, own: Mapping[str, str], seconds: float) -> Answer:
        cookie = "; ".join(f"{name}={value}" for name, value in request.cookies)
        headers = {**request.headers, **({"cookie": cookie} if cookie else {}), **own}
        key, settings = f"calls of upstream {self._settings.name}", self._settings
        session = self._outgoing.session(key, allow_private=settings.allow_private, tls=settings.tls or ClientTls())
        try:
            async with asyncio.timeout(seconds):
                response = await session.request(
                    request.method,
                    request.url(self._base),
                    data=request.body,
                    headers=headers,
                    allow_redirects=False,
                    timeout=_TIMEOUT,
                )
            async with response:
                self._check(response)
                fields = response.headers
                names = {name.lower(): ", ".join(fields.getall(name)) for name in fields}
                return Answer(response.status, names, await read_body(response, settings.max_answer))
        except TimeoutError as failure:
            if isinstance(failure, aiohttp.ClientError):
                raise dial_error(failure, self._who) from None
            raise UpstreamTimeout(f"{self._who} did not answer in time; the outcome is unknown") from None
        except (aiohttp.ClientError, OSError) as failure:
            raise dial_error(failure, self._who) from None
        except ValueError:
            raise UpstreamUnreachable(f"a header for {self._who} has a line break") from None

    def _check(self, response: aiohttp.ClientResponse) -> None:
        if 300 <= response.status < 400:
            what = "answered with a redirect, which is never followed; register the new URL"
            raise UpstreamProtocol(f"{self._who} {what}")
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise UpstreamProtocol(f"{self._who} compressed its answer although that was not accepted")


class RestConnection:
    """`Connection` of a REST API."""

    def __init__(self, settings: RestUpstream, library: Library, sender: Sender, version: str) -> None:
        self._settings = settings
        self._library = library
        self._sender = sender
        self._version = version

    async def discover(self) -> Discovery:
        """The tools of the document as it is now; raises UpstreamError when it cannot be loaded or used."""
        book = await self._library.read(self._settings)
        return Discovery(Eras(self._version), {"tools": {}}, book.info, None, book.items, book.problems)

    async def request(self, request: UpstreamRequest) -> Reply:
        """Make the HTTP request of a `tools/call`; raises UpstreamError."""
        if request.method != "tools/call":
            return Reply(fault=RpcFault(METHOD_NOT_FOUND, f"a REST API has no {request.method}"))
        book = await self._library.known(self._settings)
        name = msgspec.json.decode(request.params.get("name", b'""'), type=str)
        operation = book.operations.get(name)
        if operation is None:
            return Reply(fault=RpcFault(INVALID_PARAMS, "there is no such tool any more; list the tools again"))
        try:
            arguments = _arguments(operation, request.params.get("arguments", Raw(b"{}")))
            prepared = prepare(operation, arguments)
        except (BadArgument, ShapeFailed, Refused) as problem:
            return error(f"Nothing was sent: {problem}")
        prepared.headers = {**_free(request.headers), **prepared.headers}
        if isinstance(prepared.body, aiohttp.MultipartWriter):  # as bytes it can be sent once more
            prepared.body = await prepared.body.as_bytes()
        await self._authenticate(prepared, operation, book)
        return self._told(operation, await self._sender.send(prepared, request.first_byte))

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """A REST API hears nothing."""

    async def watch(self, wants: Wants) -> None:
        """A REST API reports nothing."""

    async def close(self) -> None:
        """The connections belong to the gateway."""

    async def _authenticate(self, prepared: Prepared, operation: Operation, book: Book) -> None:
        for name in operation.credentials:
            authenticate(prepared, book.schemes[name], await self._sender.secret(name))

    def _told(self, operation: Operation, answer: Answer) -> Reply:
        """The result; raises ApiFailed and ApiRefused for what is the API's or the gateway's failure."""
        who, status = f"upstream {self._settings.name!r}", answer.status
        if status < 400:
            return succeeded(operation, answer)
        reply = failed(answer)
        if status == 401:
            raise ApiRefused(f"{who} refused the gateway's credential with 401", reply)
        if status == 429 or status >= 500:
            wait = retry_after(answer.headers.get("retry-after", ""))
            message = f"{who} answered with HTTP status {status}"
            raise ApiFailed(message, reply, sent=status != 429, status=status, retry_after=wait)
        return reply


def _arguments(operation: Operation, raw: Raw) -> dict[str, Any]:
    """The arguments of the HTTP request; raises BadArgument when they are not what the schema says."""
    try:
        arguments = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise BadArgument("the arguments are no object") from None
    if operation.shapers.request is not None:
        shaped = operation.shapers.request(arguments)
        if not isinstance(shaped, dict):
            raise BadArgument("the request's shape makes no object of these arguments")
        arguments = shaped
    if fault := mismatch(operation.input_schema, arguments) if operation.input_schema else "":
        raise BadArgument(f"the arguments do not fit the tool's schema: {fault}")
    return arguments


def _free(headers: Mapping[str, str]) -> dict[str, str]:
    """What middleware wants to send along, without what is a matter of MCP."""
    lower = _lower(headers)
    return {name: value for name, value in lower.items() if not name.startswith("mcp-")}


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def retry_after(said: str) -> int | None:
    """Seconds, of a `Retry-After` that is a number of them or a date (RFC 9110, section 10.2.3)."""
    if _SECONDS.fullmatch(said):
        return int(said)
    try:
        left = parsedate_to_datetime(said) - datetime.now(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0, math.ceil(left.total_seconds()))
