"""Answers of a REST API as results of tools: JSON as structured content, failures as errors with their status."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Raw

from toolway.hookspecs.routing import Reply
from toolway_rest.fitting import mismatch
from toolway_rest.operations import Operation
from toolway_rest.shaping import ShapeFailed

NEXT = "toolway/next"
"""The member of a result's `_meta` that has the arguments of the next page."""

MAX_ERROR = 20_000
"""Characters of an error's body that are passed on."""

_LINK = re.compile(r"<([^<>]{0,4096})>((?:\s*;\s*[^,;=]{1,32}=(?:\"[^\"]{0,256}\"|[^,;\"]{1,256})){1,8})")
_REL = re.compile(r";\s*rel=\"?(?:[^\"]*\s)?next(?:[\s\"]|$)", re.IGNORECASE)


class Answer(msgspec.Struct, frozen=True):
    """What came: names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media(self) -> str:
        """The media type without parameters; empty when there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        """Whether it says that it is JSON."""
        return self.media == "application/json" or self.media.endswith("+json")


def failed(answer: Answer) -> Reply:
    """A result that `isError`, with the status and what the API says of it."""
    value = _value(answer)
    body = value if value is not None else answer.body[: 4 * MAX_ERROR].decode("utf-8", "replace")[:MAX_ERROR]
    told = body if isinstance(body, str) else msgspec.json.encode(body).decode()[:MAX_ERROR]
    structured = {"status": answer.status, "body": body if len(told) < MAX_ERROR else told}
    return error(f"HTTP {answer.status} {phrase(answer.status)}\n{told}".strip(), structured)


def error(message: str, structured: dict[str, Any] | None = None) -> Reply:
    """A result that `isError`."""
    extra = {} if structured is None else {"structuredContent": structured}
    return _reply({"content": [_text(message)], **extra, "isError": True})


def succeeded(operation: Operation, answer: Answer) -> Reply:
    """The result of a call that went well."""
    value = _value(answer)
    if operation.method == "HEAD":
        return _structured(operation, {"status": answer.status, "headers": _shown(answer.headers)}, {}, is_raw=False)
    if not answer.body:
        told = f"HTTP {answer.status} {phrase(answer.status)}"
        return _checked(operation, {"content": [_text(told)], **_nothing(operation)})
    if value is None and not (answer.is_json and answer.body.strip() == b"null"):
        return _checked(operation, {"content": [_unstructured(operation, answer)], **_nothing(operation)})
    try:
        following = _next_page(operation, answer, value)
        if operation.shapers.response is None:
            return _structured(operation, value, following, is_raw=True, body=answer.body)
        return _structured(operation, operation.shapers.response(value), following, is_raw=False)
    except ShapeFailed as problem:
        return error(f"The call succeeded with HTTP {answer.status}, but its answer cannot be shown: {problem}")


def _nothing(operation: Operation) -> dict[str, Any]:
    """Structured content of an answer without any, for a tool that promises some."""
    if not operation.output_schema:
        return {}
    return {"structuredContent": {"result": None} if operation.wraps else {}}


def _structured(
    operation: Operation, value: Any, following: Mapping[str, Any], *, is_raw: bool, body: bytes = b""
) -> Reply:
    """A JSON value as structured content, and as text for clients that read no other."""
    try:
        told = body.decode() if is_raw else msgspec.json.encode(value).decode()
    except (UnicodeDecodeError, RecursionError):
        return error("The call succeeded, but its answer cannot be shown: it is no JSON in UTF-8")
    shown = Raw(body) if is_raw else value
    content = [_text(told)]
    result: dict[str, Any] = {"content": content, "structuredContent": _wrapped(operation, shown, value)}
    if following:
        said = ", ".join(f"{name} = {msgspec.json.encode(each).decode()}" for name, each in following.items())
        content.append(_text(f"There is more: call again with {said}."))
        result["_meta"] = {NEXT: following}
    return _checked(operation, result, _wrapped(operation, value, value))


def _wrapped(operation: Operation, shown: Any, value: Any = None) -> Any:
    """Structured content is always an object: everything else is the member `result` of one."""
    is_object = isinstance(shown if value is None and not isinstance(shown, Raw) else value, dict)
    return {"result": shown} if operation.wraps or not is_object else shown


def _checked(operation: Operation, result: dict[str, Any], value: Any = None) -> Reply:
    """The result, unless it breaks what the tool's schema promises: then clients would refuse all of it."""
    if operation.output_schema:
        told = result.get("structuredContent") if value is None else value
        fault = mismatch(operation.output_schema, told)
        if fault:
            what = f"The call succeeded, but its answer is not what the document of the API promises: {fault}"
            return _reply({"content": [_text(what), *result["content"]], "isError": True})
    return _reply(result)


def _unstructured(operation: Operation, answer: Answer) -> dict[str, Any]:
    """Text, an image, a sound, or a resource of bytes."""
    kind = answer.media.partition("/")[0]
    if kind in ("image", "audio"):
        return {"type": kind, "data": base64.b64encode(answer.body).decode(), "mimeType": answer.media}
    if kind == "text" or answer.media.endswith(("xml", "json", "yaml", "javascript")) or not answer.media:
        return _text(answer.body.decode(_charset(answer), "replace"))
    blob = base64.b64encode(answer.body).decode()
    resource = {"uri": f"rest:///{operation.name}", "mimeType": answer.media, "blob": blob}
    return {"type": "resource", "resource": resource}


def _charset(answer: Answer) -> str:
    said = re.search(r"charset=\"?([A-Za-z0-9_-]+)", answer.headers.get("content-type", ""))
    return "latin-1" if said and said[1].lower() in ("iso-8859-1", "latin-1", "latin1") else "utf-8"


def _value(answer: Answer) -> Any:
    if not answer.is_json:
        return None
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None


def _next_page(operation: Operation, answer: Answer, value: Any) -> dict[str, Any]:
    """The arguments of the next page: of the expression for it, or of `Link: <…>; rel="next"` (RFC 8288)."""
    if operation.shapers.next is not None:
        said = operation.shapers.next(value)
        return {k: v for k, v in said.items() if v not in (None, "")} if isinstance(said, dict) else {}
    url = next((m[1] for m in _LINK.finditer(answer.headers.get("link", "")) if _REL.search(m[2])), "")
    names = {each.name: each.argument for each in operation.parameters if each.place == "query"}
    try:
        pairs = parse_qsl(urlsplit(url).query, max_num_fields=64)
    except ValueError:
        return {}
    return {names[name]: _number(text) for name, text in pairs if name in names}


def _number(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 and str(int(text)) == text else text


def _shown(headers: Mapping[str, str]) -> dict[str, str]:
    hidden = ("set-cookie", "www-authenticate", "authorization", "proxy-")
    return {name: value for name, value in headers.items() if not name.startswith(hidden)}


def phrase(status: int) -> str:
    """The reason phrase of a status; empty for an unknown one."""
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _reply(result: dict[str, Any]) -> Reply:
    return Reply(Raw(msgspec.json.encode({"resultType": "complete", **result})))
