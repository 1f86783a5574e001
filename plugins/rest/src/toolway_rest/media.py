"""Media types of bodies and answers, and how the members of forms are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from toolway_rest.document import Document, mapping, text
from toolway_rest.operations import BodyKind, Encoding
from toolway_rest.styles import STYLES

RANK: dict[BodyKind, int] = {"json": 0, "form": 1, "multipart": 2, "text": 3, "binary": 4}
"""Which of several media types is taken."""

MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+")


def is_json_media(media: str) -> bool:
    """Whether a media type of an answer is JSON, or may be."""
    return kind(media) == "json"


def kind(media: str) -> BodyKind:
    """How a body of that media type is written."""
    name = media.partition(";")[0].strip().lower()
    if name in ("application/json", "*/*", "application/*") or name.endswith("+json"):
        return "json"
    if name == "application/x-www-form-urlencoded":
        return "form"
    if name.startswith("multipart/"):
        return "multipart"
    return "text" if name.startswith("text/") or name.endswith(("xml", "yaml")) else "binary"


def written_media(written: BodyKind, media: str) -> str:
    """The media type that is sent for one of the document, which may be a range."""
    if "*" not in media:
        return media.partition(";")[0].strip()
    return {"json": "application/json", "text": "text/plain"}.get(written, "application/octet-stream")


def encodings(described: Mapping[str, Any]) -> dict[str, Encoding]:
    """How each member of a form is written, of those that the document says it of."""
    found: dict[str, Encoding] = {}
    for name, each in described.items():
        raw = mapping(each)
        style = text(raw.get("style")) or "form"
        explode = raw.get("explode")
        media = text(raw.get("contentType")).partition(",")[0].strip()
        found[name] = Encoding(
            style if style in STYLES["query"] else "form",
            explode if isinstance(explode, bool) else style in ("form", "deepObject"),
            media if MEDIA_TYPE.fullmatch(media) and "*" not in media else "",
        )
    return found


def is_binary(document: Document, schema: Any) -> bool:
    """Whether a member of a form is octets, or an array of them."""
    found = document.resolved(schema)
    if found.get("type") == "array" and isinstance(found.get("items"), dict):
        found = document.resolved(found["items"])
    is_octets = found.get("contentMediaType") == "application/octet-stream"
    return found.get("format") in ("binary", "byte") or found.get("contentEncoding") == "base64" or is_octets
