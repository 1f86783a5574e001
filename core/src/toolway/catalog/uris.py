"""Resource URIs of one server: how they are listed, and which upstream a URI leads back to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from toolway.catalog.naming import Collision, own_uri, parse_own_uri, unexpand
from toolway.catalog.patterns import Selection
from toolway.errors import NotFound
from toolway.hookspecs.routing import Item, ItemKind, Target
from toolway.mcp import templates


class UnknownUri(NotFound):
    """No upstream, or more than one, answers for a resource URI; `candidates` are canonical names or upstreams."""

    code = "unknown_uri"

    def __init__(self, uri: str, candidates: Iterable[str] = ()) -> None:
        self.uri = uri
        self.candidates = tuple(sorted(candidates))
        which = f"; it could be any of {', '.join(self.candidates)}" if self.candidates else ""
        super().__init__(f"resource {uri!r} leads to no single upstream{which}", uri=uri, candidates=self.candidates)


class Claim(msgspec.Struct, frozen=True):
    """An upstream answers for a URI or URI template; `item` is what it lists under it, if it does."""

    kind: ItemKind
    upstream: str
    uri: str
    item: Item | None = None


class UriTable:
    """The URIs and URI templates of a server's upstreams."""

    def __init__(self, selection: Selection, claims: Iterable[Claim], resource_upstreams: tuple[str, ...]) -> None:
        """`resource_upstreams` are those that offer resources, listed or not."""
        self._selection = selection
        self._upstreams = resource_upstreams
        self._owners: dict[tuple[ItemKind, str], dict[str, Claim]] = defaultdict(dict)
        for claim in claims:
            self._owners[claim.kind, claim.uri].setdefault(claim.upstream, claim)
        self._templates = [
            (templates.compile(claim.uri), claim)
            for (kind, _), owners in self._owners.items()
            for claim in owners.values()
            if kind == "template"
        ]

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
        if owners := self._owners.get(("resource", uri)):
            return self._only(uri, list(owners.values()))
        matching = [claim for template, claim in self._templates if template.match(uri)]
        if matching:
            return self._only(uri, [Claim("resource", claim.upstream, uri) for claim in matching])
        readable = [name for name in self._upstreams if self._selection.selects(f"{name}/{uri}")]
        if len(readable) != 1:
            raise UnknownUri(uri, readable)
        return Target(readable[0], uri)

    def _own_form(self, uri: str) -> Target:
        upstream, original = parse_own_uri(uri) or ("", "")
        if owner := self._owners.get(("resource", original), {}).get(upstream):
            return self._target(uri, owner)
        for _, claim in self._templates:
            if len(self._owners["template", claim.uri]) > 1 and (expanded := unexpand(claim.upstream, claim.uri, uri)):
                return self._target(uri, Claim("resource", claim.upstream, expanded))
        is_templated = any(claim.upstream == upstream and each.match(original) for each, claim in self._templates)
        if not is_templated and not (upstream in self._upstreams and self._selection.selects(f"{upstream}/{original}")):
            raise UnknownUri(uri)
        return self._target(uri, Claim("resource", upstream, original))

    def _only(self, uri: str, claims: list[Claim]) -> Target:
        if len({claim.upstream for claim in claims}) > 1:
            raise UnknownUri(uri, {f"{claim.upstream}/{uri}" for claim in claims})
        return self._target(uri, claims[0])

    def _target(self, uri: str, claim: Claim) -> Target:
        """The target of a claim; a URI that is excluded is not readable by any other way either."""
        if self._selection.excludes(f"{claim.upstream}/{claim.uri}"):
            raise UnknownUri(uri)
        return Target(claim.upstream, claim.uri, claim.item)
