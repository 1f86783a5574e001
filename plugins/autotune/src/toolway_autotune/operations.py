"""The API: what is tuned, why, and what stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from toolway.hookspecs.api import Incoming, Operation, Page, PageQuery, listing
from toolway.plugin import InvalidInput, Kernel, NotFound
from toolway_autotune.choices import OF_TOOLS, VALUES, Choice, Choices, key_of
from toolway_autotune.deciding import keys
from toolway_autotune.schemas import EventQuery, EventView, Pin, Selection, TunedView, event_view, view
from toolway_autotune.tuned_upstream import TunedUpstream
from toolway_autotune.tuner import Tuner

READ, WRITE = "autotune:read", "autotune:write"
PATH = "/api/v1/autotune"

Pins = dict[str, float | None]


class AutotuneOperations:
    """An upstream is a matter of whoever has the permission on it and may see it."""

    name = "autotune"

    def __init__(self, kernel: Kernel, choices: Choices, tuner: Tuner) -> None:
        self._kernel = kernel
        self._choices = choices
        self._tuner = tuner

    def operations(self) -> Iterable[Operation]:
        """All of them."""
        one = f"{PATH}/{{name}}"
        return [
            Operation("GET", PATH, READ, self.list, query=PageQuery, answer=Page[TunedView], filters=True),
            Operation("GET", one, READ, self.get, answer=TunedView, filters=True),
            Operation("DELETE", one, WRITE, self.forget, answer=TunedView, filters=True),
            Operation(
                "GET", f"{one}/events", READ, self.events, query=EventQuery, answer=Page[EventView], filters=True
            ),
            Operation("POST", f"{one}/apply", WRITE, self.apply, answer=TunedView, filters=True),
            Operation("POST", f"{one}/observe", WRITE, self.observe, answer=TunedView, filters=True),
            Operation("POST", f"{one}/pin", WRITE, self.pin, Pin, answer=TunedView, filters=True),
            Operation("POST", f"{one}/revert", WRITE, self.revert, Selection, answer=TunedView, filters=True),
            Operation("POST", f"{one}/unpin", WRITE, self.unpin, Selection, answer=TunedView, filters=True),
        ]

    async def list(self, incoming: Incoming) -> Page[TunedView]:
        """List upstreams with what is declared, tuned and in force, as this node sees it."""
        self._tuner.notice()
        names = {name: name for name in self._kernel.catalog.snapshot.upstreams}
        return listing(
            incoming,
            READ,
            names,
            lambda name: view(self._known(name)),
            lambda name: incoming.describe("upstreams:read", name),
        )

    async def collect(self) -> Sequence[TunedView]:
        """See `Diagnostic`."""
        self._tuner.notice()
        return [view(self._known(name)) for name in self._kernel.catalog.snapshot.upstreams]

    async def get(self, incoming: Incoming) -> TunedView:
        """Show one upstream with what is declared, tuned and in force, as this node sees it."""
        return view(self._found(incoming, READ))

    async def events(self, incoming: Incoming) -> Page[EventView]:
        """List what changed and why, newest first."""
        newest = reversed(self._found(incoming, READ).journal.events)
        shown = [event_view(event) for event, _ in zip(newest, range(incoming.query.limit), strict=False)]
        return Page(items=shown, next_cursor=None)

    async def apply(self, incoming: Incoming) -> TunedView:
        """Use tuned values, whatever the configuration says."""
        return await self._change(incoming, "apply", lambda _, choice: msgspec.structs.replace(choice, mode="apply"))

    async def observe(self, incoming: Incoming) -> TunedView:
        """Only tell what tuning would do, whatever the configuration says."""
        mode = "observe"
        return await self._change(incoming, mode, lambda _, choice: msgspec.structs.replace(choice, mode=mode))

    async def forget(self, incoming: Incoming) -> TunedView:
        """Forget what was chosen: the mode is that of the configuration, and nothing is pinned."""
        return await self._change(
            incoming, "forget", lambda _, choice: msgspec.structs.replace(choice, mode="", pins={})
        )

    async def pin(self, incoming: Incoming) -> TunedView:
        """Keep values as they are, or set one, until they are unpinned."""
        body: Pin = incoming.body
        if body.to is not None and body.value is None:
            raise InvalidInput("to is for one value; name it as value")

        def pinned(known: TunedUpstream, choice: Choice) -> Choice:
            chosen = _chosen(body, known)
            if body.to is not None:
                return _with(choice, {key: _within(key, body.to, known) for key in chosen})
            each = [key for key in keys(known) if any(_covers(one, key) for one in chosen)] or chosen
            return _with(choice, {key: known.in_force(key, known.declared) for key in each})

        return await self._change(incoming, "pin", pinned)

    async def revert(self, incoming: Incoming) -> TunedView:
        """Go back to what the upstream declares, until it is unpinned."""
        body: Selection = incoming.body
        return await self._change(
            incoming, "revert", lambda known, choice: _with(choice, dict.fromkeys(_chosen(body, known)))
        )

    async def unpin(self, incoming: Incoming) -> TunedView:
        """Let values be tuned again that were pinned or reverted."""
        body: Selection = incoming.body

        def unpinned(known: TunedUpstream, choice: Choice) -> Choice:
            chosen = _chosen(body, known)
            left = {key: pin for key, pin in choice.pins.items() if not any(_covers(one, key) for one in chosen)}
            return msgspec.structs.replace(choice, pins=left)

        return await self._change(incoming, "unpin", unpinned)

    async def _change(
        self, incoming: Incoming, action: str, change: Callable[[TunedUpstream, Choice], Choice]
    ) -> TunedView:
        known, actor = self._found(incoming, WRITE), incoming.principal.id

        def changed(choice: Choice) -> Choice:
            return msgspec.structs.replace(change(known, choice), actor=actor)

        await self._choices.change(known.name, actor, action, changed)
        await self._kernel.catalog.reload()  # this node knows before the answer
        self._tuner.notice()
        return view(known)

    def _found(self, incoming: Incoming, action: str) -> TunedUpstream:
        """The upstream; what one may not read looks like one that does not exist."""
        self._tuner.notice()
        incoming.demand(action, incoming.describe("upstreams:read", incoming.name))
        return self._known(incoming.name)

    def _known(self, name: str) -> TunedUpstream:
        found = self._kernel.catalog.snapshot.upstreams.get(name)
        if found is None:
            raise NotFound(f"autotune has no {name!r}")
        return self._tuner.known(found.upstream)


def _chosen(body: Selection, known: TunedUpstream) -> list[str]:
    """The names of the values that are asked for."""
    if body.tool and body.value not in OF_TOOLS:
        raise InvalidInput(f"tool is for the values {' and '.join(OF_TOOLS)}; leave it out for others")
    if body.tool and body.tool not in known.tools:
        raise NotFound(f"{known.name} has no calls of {body.tool!r} to tune by; see what there is in /api/v1/autotune")
    return list(VALUES) if body.value is None else [key_of(body.value, body.tool)]


def _covers(chosen: str, key: str) -> bool:
    """Whether one is the other, or is that of all tools and the other that of one of them."""
    return chosen == key or key.startswith(f"{chosen}:")


def _with(choice: Choice, pins: Pins) -> Choice:
    """With these pins; one for all timeouts replaces those of single tools."""
    left = {key: pin for key, pin in choice.pins.items() if not any(_covers(one, key) for one in pins)}
    return msgspec.structs.replace(choice, pins={**left, **pins})


def _within(key: str, to: float, known: TunedUpstream) -> float:
    bounds = known.bounding.of(key, known.declared)
    if not bounds.low <= to <= bounds.high:
        what = f"{key} of {known.name} can be {bounds.low:g} to {bounds.high:g}"
        raise InvalidInput(f"{what}; declare something else at the upstream, or set other bounds in [plugins.autotune]")
    return to
