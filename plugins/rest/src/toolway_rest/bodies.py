"""Bodies of requests: JSON, forms, multipart, text and octets."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import aiohttp
import msgspec

from toolway_rest.operations import Body, Encoding
from toolway_rest.styles import Refused, deep_pairs, plain, query_pairs

Payload = bytes | aiohttp.MultipartWriter

_NAME = re.compile(r"[^\x00-\x1f\x7f\"\\]{1,256}")
_DEFAULT = Encoding()
_DEEP = Encoding("deepObject")


def written(body: Body, value: Any) -> tuple[Payload, str]:
    """The body of a request and its `Content-Type`; raises Refused for a value that it cannot have."""
    if body.kind == "json":
        return msgspec.json.encode(value), body.content_type
    if body.kind == "form":
        return _form(body, _object(value)), body.content_type
    if body.kind == "multipart":
        writer = _multipart(body, _object(value))
        return writer, writer.headers["Content-Type"]
    if body.kind == "binary":
        return _octets(value), body.content_type
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text.encode(), f"{body.content_type}; charset=utf-8"


def _form(body: Body, value: dict[str, Any]) -> bytes:
    pairs: list[tuple[str, str]] = []
    for name, each in value.items():
        encoding = body.encodings.get(name) or (_DEEP if _is_nested(each) else _DEFAULT)
        is_json = encoding.content_type.endswith("json")
        member = msgspec.json.encode(each).decode() if is_json else each
        pairs += query_pairs(member, name, encoding.style, explode=encoding.explode)
    return "&".join(f"{key}={text}" for key, text in pairs).encode()


def _is_nested(value: Any) -> bool:
    """Whether pairs of plain values could not say it."""
    if isinstance(value, list):
        return any(isinstance(each, list | dict) for each in value)
    return isinstance(value, dict)


def _multipart(body: Body, value: dict[str, Any]) -> aiohttp.MultipartWriter:
    writer = aiohttp.MultipartWriter("form-data")
    for name, each in value.items():
        is_binary, encoding = name in body.binary, body.encodings.get(name, _DEFAULT)
        if encoding.style == "deepObject" and isinstance(each, list | dict):
            for path, text in deep_pairs(each, name):
                _append(writer, path, text.encode(), "text/plain; charset=utf-8")
            continue
        is_json = encoding.content_type.endswith("json")
        for one in each if isinstance(each, list) and not is_json else [each]:
            data, media = _part(one, encoding.content_type, is_binary=is_binary)
            _append(writer, name, data, media, filename="file" if is_binary else "")
    return writer


def _append(writer: aiohttp.MultipartWriter, name: str, data: bytes, media: str, *, filename: str = "") -> None:
    if not _NAME.fullmatch(name):
        raise Refused("has a member whose name no form can have")
    part = writer.append(data, {"Content-Type": media})
    parameters = {"name": name, **({"filename": filename} if filename else {})}
    part.set_content_disposition("form-data", quote_fields=True, **parameters)


def _part(value: Any, media: str, *, is_binary: bool) -> tuple[bytes, str]:
    if is_binary:
        return _octets(value), media or "application/octet-stream"
    if isinstance(value, list | dict):
        return msgspec.json.encode(value), media or "application/json"
    return plain(value).encode(), media or "text/plain; charset=utf-8"


def _octets(value: Any) -> bytes:
    if not isinstance(value, str):
        raise Refused("must be base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("must be base64 text") from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused("must be an object")
    return value
