"""Resource URIs of one server: how they are listed, and which upstream a URI leads back to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from urllib.parse import quote, unquote

from toolway.catalog.patterns import Selection
from toolway.errors import NotFound
from toolway.hookspecs.catalog import Collision
from toolway.hookspecs.routing import Item, ItemKind, Target
from toolway.mcp import templates

_OWN_URI = re.compile(r"toolway://([a-z0-9-]+)/(.*)", re.DOTALL)
_EXPRESSION = re.compile(r"(\{[^{}]*\})")


class UnknownUri(NotFound):
    """No upstream, or more than one, answers for a resource URI; `candidates` are canonical names or upstreams."""

    code = "unknown_uri"

    def __init__(self, uri: str, candidates: Iterable[str] = ()) -> None:
        self.candidates = tuple(sorted(candidates))
        which = f"; it could be any of {', '.join(self.candidates)}" if self.candidates else ""
        super().__init__(f"resource {uri!r} leads to no single upstream{which}", uri=uri, candidates=self.candidates)


class UriTable:
    """The URIs and URI templates of a server's upstreams."""

    def __init__(self, selection: Selection, resource_upstreams: Iterable[str]) -> None:
        """`resource_upstreams` are those that offer resources, listed or not."""
        self._selection, self._upstreams = selection, tuple(resource_upstreams)
        self._owners: dict[tuple[ItemKind, str], dict[str, Item | None]] = defaultdict(dict)
        self._templates: list[tuple[templates.Matcher, str, str]] = []

    def claim(self, kind: ItemKind, upstream: str, uri: str, item: Item | None = None) -> None:
        """An upstream answers for a URI or URI template; `item` is what it lists under it, if it does."""
        owners = self._owners[kind, uri]
        if kind == "template" and upstream not in owners:
            self._templates.append((templates.compile(uri), upstream, uri))
        owners[upstream] = owners.get(upstream) or item

    def exposed(self, kind: ItemKind, upstream: str, uri: str) -> str:
        """How the server shows it: unchanged, or in the gateway's own form when several upstreams claim it."""
        return own_uri(upstream, uri) if len(self._owners.get((kind, uri), ())) > 1 else uri

    def collisions(self, server: str) -> list[Collision]:
        """The URIs and templates that several upstreams claim."""
        return [
            Collision(server, kind, uri, tuple(f"{upstream}/{uri}" for upstream in sorted(owners)), "uri")
            for (kind, uri), owners in sorted(self._owners.items())
            if len(owners) > 1
        ]

    def resolve(self, uri: str) -> Target:
        """Own form, exact URI, matching template, the only upstream with resources; upstreams are never tried in turn.

        Raises:
            UnknownUri: nobody, or more than one upstream, answers for it.
        """
        if uri.startswith("toolway://"):
            return self._own_form(uri)
        listed = self._owners.get(("resource", uri))
        owners = listed or {upstream: None for template, upstream, _ in self._templates if template.match(uri)}
        if not owners:
            owners = {name: None for name in self._upstreams if self._selection.selects(f"{name}/{uri}")}
            if len(owners) != 1:
                raise UnknownUri(uri, owners)
        if len(owners) > 1:
            raise UnknownUri(uri, {f"{upstream}/{uri}" for upstream in owners})
        [(upstream, item)] = owners.items()
        return self._target(uri, upstream, uri, item)

    def _own_form(self, uri: str) -> Target:
        upstream, original = parse_own_uri(uri) or ("", "")
        owners = self._owners.get(("resource", original), {})
        if upstream in owners:
            return self._target(uri, upstream, original, owners[upstream])
        for _, owner, template in self._templates:
            if len(self._owners["template", template]) > 1 and (expanded := unexpand(owner, template, uri)):
                return self._target(uri, owner, expanded)
        is_templated = any(owner == upstream and each.match(original) for each, owner, _ in self._templates)
        if not is_templated and not (upstream in self._upstreams and self._selection.selects(f"{upstream}/{original}")):
            raise UnknownUri(uri)
        return self._target(uri, upstream, original)

    def _target(self, uri: str, upstream: str, original: str, item: Item | None = None) -> Target:
        """What is excluded is not readable by any other way either."""
        if self._selection.excludes(f"{upstream}/{original}"):
            raise UnknownUri(uri)
        return Target(upstream, original, item)


def own_uri(upstream: str, uri: str) -> str:
    """The gateway's own form of a URI or URI template; expressions `{…}` stay as they are (RFC 6570)."""
    parts = _EXPRESSION.split(uri)
    encoded = "".join(part if at % 2 else quote(part, safe="") for at, part in enumerate(parts))
    return f"toolway://{upstream}/{encoded}"


def parse_own_uri(uri: str) -> tuple[str, str] | None:
    """Upstream and original URI of the own form, or None when `uri` has another form."""
    found = _OWN_URI.fullmatch(uri)
    return (found[1], unquote(found[2])) if found else None


def unexpand(upstream: str, template: str, uri: str) -> str | None:
    """The original of `uri`, which a client expanded from the own form of `template`; None when it was not.

    What the client put in for expressions stays as it is, only the literal parts are decoded.
    """
    parts = _EXPRESSION.split(template)
    literals = [quote(part, safe="") for part in parts[::2]]
    at = len(f"toolway://{upstream}/{literals[0]}")
    if not uri.startswith(f"toolway://{upstream}/{literals[0]}"):
        return None
    original = [parts[0]]
    for position, literal in enumerate(literals[1:], start=1):
        is_last = position == len(literals) - 1
        end = uri.rfind(literal, at) if is_last else uri.find(literal, at)
        if end < 0 or (is_last and end + len(literal) != len(uri)):
            return None
        original += [uri[at:end], parts[2 * position]]
        at = end + len(literal)
    return "".join(original) if at == len(uri) else None
