"""The operation that answers why somebody may do something, or may not."""

from __future__ import annotations

import msgspec
from pydantic import Field

from toolway.hookspecs.api import ANY, SIGNED_IN, Incoming, NoQuery, Operation
from toolway.hookspecs.auth import ANONYMOUS, Principal, Resource
from toolway.hookspecs.permissions import ITEM_AREAS
from toolway.plugin import Forbidden, Kernel, NotFound, Unauthenticated
from toolway_rbac.authorizer import team_of
from toolway_rbac.definitions import NOBODY
from toolway_rbac.explanation import Explanation, explain, unseen
from toolway_rbac.part import PART
from toolway_rbac.policy import Policy
from toolway_rbac.vocabulary import CONNECT

READ_BINDINGS = "bindings:read"


class Question(NoQuery):
    """Who, what, and about which object."""

    user: str = Field("", max_length=128, description="user:<name>, service:<name> or anonymous; empty for yourself.")
    action: str = Field(
        max_length=128, pattern=r"^[a-z][a-z-]*:[a-z][a-z-]*$", description="Such as tools:call or upstreams:write."
    )
    resource: str = Field(
        max_length=2048, min_length=1, description="Name of the object: upstream/item for items, * for a collection."
    )
    server: str = Field("", max_length=48, description="The server through which an item is used; matters if public.")


class Explainer:
    """Answers for whoever asks what they may know: all, or what they see themselves."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def operations(self) -> list[Operation]:
        """What the API offers."""
        path = "/api/v1/rbac/explain"
        return [Operation("GET", path, SIGNED_IN, self.explain, query=Question, answer=Explanation)]

    async def explain(self, incoming: Incoming) -> Explanation:
        """Explain why somebody may do something, or may not: everybody for themselves, others need bindings:read."""
        question: Question = incoming.query
        user = question.user or incoming.principal.id
        is_everything = self._may_know_all(incoming)
        if not is_everything:
            self._check_user(incoming.principal, user)
        resource = self._resource(question)
        if not is_everything and not (
            self._is_entered(incoming, question.server) and await self._is_seen(incoming, question, resource)
        ):
            return unseen(user, question.action, question.resource)
        is_all_told = is_everything or user == incoming.principal.id
        return self._answer(incoming, user, question.action, resource, is_all_told=is_all_told)

    def _answer(
        self, incoming: Incoming, user: str, action: str, resource: Resource, *, is_all_told: bool
    ) -> Explanation:
        asking, kernel, now = incoming.principal, self._kernel, self._kernel.clock.now()
        own = {binding.name for binding in self._policy.bound(asking, now)}

        def is_told(binding: str) -> bool:
            return is_all_told or binding in own or incoming.may(READ_BINDINGS, binding)

        try:
            principal = asking if user == asking.id else self._principal(user)
        except Unauthenticated:
            found = unseen(user, action, resource.name)
            return found.model_copy(update={"reason": f"{user} is disabled; nothing is allowed until it is enabled"})
        found = explain(self._policy, principal, action, resource, now, kernel.describe, is_told)
        if found.allowed != kernel.authorized(principal, action, resource):
            found.allowed = not found.allowed
            found.reason = "what the credential is limited to, or another plugin, decides otherwise"
        return found

    def _principal(self, user: str) -> Principal:
        if user == NOBODY:
            return ANONYMOUS
        if self._kernel.accounts.get(user) is None:
            raise NotFound(f"there is no account {user!r}; write user:<name>, service:<name> or anonymous")
        return self._kernel.accounts.principal(user, "explain")

    def _resource(self, question: Question) -> Resource:
        """What the decision is about; through a server it is also about that server's setting `access`."""
        found = self._kernel.describe(question.action, question.resource)
        server = question.resource if question.action == CONNECT else question.server
        shown = self._kernel.catalog.snapshot.servers.get(server)
        return msgspec.structs.replace(found, server=server, access=shown.settings.access) if shown else found

    def _may_know_all(self, incoming: Incoming) -> bool:
        """Whether whoever asks may read every binding; the administrator of a team may read that team's."""
        rights = self._policy.rights(incoming.principal, self._kernel.clock.now())
        return rights.rules.verdict(READ_BINDINGS, ANY) is True and incoming.may(READ_BINDINGS, Resource(ANY))

    def _check_user(self, asking: Principal, user: str) -> None:
        """Refuse questions about somebody else, who may exist or not."""
        rights = self._policy.rights(asking, self._kernel.clock.now())
        if user != asking.id and not team_of(self._policy, rights, user):
            raise Forbidden(f"permission {READ_BINDINGS!r} is needed to ask about others", permission=READ_BINDINGS)

    def _is_entered(self, incoming: Incoming, server: str) -> bool:
        """Whether whoever asks gets into the server through which an item is used; without one there is no question."""
        if not server:
            return True
        return server in self._kernel.catalog.snapshot.servers and incoming.may(CONNECT, server)

    async def _is_seen(self, incoming: Incoming, question: Question, resource: Resource) -> bool:
        """Whether the object exists and whoever asks may do this with it, or read it."""
        area, name = question.action.partition(":")[0], resource.name
        if name == ANY:
            return True
        reading = "items:read" if area in ITEM_AREAS else f"{area}:read"
        is_visible = incoming.may(question.action, resource) or incoming.may(reading, resource)
        return is_visible and await self._exists(area, name)

    async def _exists(self, area: str, name: str) -> bool:
        if area in ITEM_AREAS or area == "items":
            upstream = self._kernel.catalog.snapshot.upstreams.get(name.partition("/")[0])
            discovery = upstream.discovery if upstream else None
            return discovery is not None and any(item.canonical == name for item in discovery.items)
        entity = next((each for each in self._kernel.entities if each.kind == area), None)
        if entity is None:
            return True  # nobody else can tell; whoever asks may read them all
        async with self._kernel.database.read() as tx:
            return await entity.get(tx, name) is not None

    @property
    def _policy(self) -> Policy:
        policy: Policy = self._kernel.parts[PART]
        return policy
