"""Imports a document in one transaction: as a whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence

from toolway.hookspecs.api import Incoming
from toolway.hookspecs.system import Change, Stored
from toolway.plugin import (
    Conflict,
    Forbidden,
    InvalidInput,
    Kernel,
    NotFound,
    ToolwayError,
    Unauthenticated,
)
from toolway_transfer.exporter import about
from toolway_transfer.placing import Adapters, Placer
from toolway_transfer.plugin import TransferSettings
from toolway_transfer.reading import Wanted, parse
from toolway_transfer.renames import Renamed, follow, free_name, unclear
from toolway_transfer.schemas import ImportedObject, ImportOrder, ImportReport

REFUSALS = (Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated)
"""What can be wrong with one object; anything else is wrong with the gateway."""

FIRST_SECONDS = 5.0
"""How long the answer waits for the first discoveries."""
AT_ONCE = 20
MOST_ROUNDS = 12
"""References lead that deep at most; each round tries all that is left."""


class _Undone(Exception):
    """Nothing is to stay."""


class Importer:
    """Imports for one principal."""

    def __init__(self, kernel: Kernel, settings: TransferSettings) -> None:
        self._kernel, self._settings, self._adapters = kernel, settings, Adapters(kernel)

    async def run(self, incoming: Incoming, order: ImportOrder) -> ImportReport:
        """What became of everything; raises InvalidInput for a document that cannot be read."""
        parsed = await parse(order, self._settings)
        placer = Placer(self._kernel, self._settings, self._adapters, incoming, order)
        problems = [(one, one.problem or placer.unknown(one)) for one in parsed.wanted]
        rows = [_failed(one, problem) for one, problem in problems if problem]
        known = [one for one, problem in problems if not problem]
        left_out = [_left_out(one) for one in known if placer.is_left_out(one.kind)]
        wanted = [one for one in known if not placer.is_left_out(one.kind)]
        whole = {kind for kind in parsed.kinds & placer.entities.keys() if not placer.is_left_out(kind)}
        report = ImportReport(outcome="done", source=parsed.source, objects=[], notes=parsed.notes)
        removing = whole if order.mode == "replace" else set()
        every = rows + await self._placed(placer, wanted, removing, report.notes, is_off=bool(rows)) + left_out
        places = {(one.kind, one.name): place for place, one in enumerate(parsed.wanted)}
        report.objects = sorted(every, key=lambda row: places.get((row.kind, row.name), len(places)))
        if any(row.action == "failed" for row in report.objects):
            report.outcome = "refused"
        elif order.dry_run:
            report.outcome = "only checked"
        if report.outcome == "done":
            await self._begin(report)
        return report

    async def _placed(
        self, placer: Placer, wanted: Sequence[Wanted], whole: Collection[str], notes: list[str], *, is_off: bool
    ) -> list[ImportedObject]:
        """The rows of all, and `notes` on them; nothing stays when one of them failed, or nothing is to stay.

        What collections have that come `whole` and the document does not is removed.
        """
        parts = sorted({placer.entities[kind].part for kind in {*whole, *(one.kind for one in wanted)}})
        if not parts:
            return []
        rows: list[ImportedObject] = []
        actor = placer.incoming.principal.id
        with contextlib.suppress(_Undone):
            async with self._kernel.database.change(" ".join(parts), actor, "import", "import") as tx:
                renamed = await _renamed(placer, tx, wanted, notes) if placer.on_conflict == "rename" else wanted
                rows += await _in_rounds(placer, tx, renamed)
                is_off = is_off or any(row.action == "failed" for row in rows)
                rows += [] if is_off else await _removed(placer, tx, renamed, whole)
                if is_off or placer.order.dry_run or not tx.single or any(row.action == "failed" for row in rows):
                    raise _Undone
        return rows

    async def _begin(self, report: ImportReport) -> None:
        """Let the changes count on this node, and ask new upstreams what they offer."""
        if all(row.action in ("unchanged", "skipped") for row in report.objects):
            return
        await self._kernel.catalog.reload()
        limit = asyncio.Semaphore(AT_ONCE)

        async def refresh(name: str) -> None:
            async with limit:
                with contextlib.suppress(ToolwayError):  # it is there anyway; the upstream's status says how it is
                    await self._kernel.catalog.refresh(name)

        made = [
            row.new_name or row.name
            for row in report.objects
            if row.kind == "upstreams" and row.action in ("created", "changed", "renamed")
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await asyncio.gather(*map(refresh, made))


async def _renamed(placer: Placer, tx: Change, wanted: Sequence[Wanted], notes: list[str]) -> list[Wanted]:
    """The same objects, those with another name that exist and are different; references follow, or are noted."""
    renamed: dict[str, dict[str, str]] = {}
    for one in wanted:
        with contextlib.suppress(*REFUSALS):
            placed = await placer.prepare(tx, one)
            if placed.stored is not None and not placed.is_same:
                own = renamed.setdefault(one.kind, {})
                taken = {each.name for each in await placer.entities[one.kind].list(tx)}
                names = {each.value["name"] for each in wanted if each.kind == one.kind}
                own[one.value["name"]] = free_name(one.value["name"], taken | names | {*own.values()})
    notes += [note for one in wanted for note in unclear(one.kind, one.value, renamed)]
    return [_moved(one, renamed) for one in wanted]


def _moved(one: Wanted, renamed: Renamed) -> Wanted:
    new = renamed.get(one.kind, {}).get(one.value["name"])
    value = follow(one.kind, one.value, renamed)
    return Wanted(one.kind, one.name, {**value, "name": new} if new else value, one.credentials, is_renamed=bool(new))


async def _in_rounds(placer: Placer, tx: Change, wanted: Sequence[Wanted]) -> list[ImportedObject]:
    """Put all: what is refused is tried again as long as others come in, for it may need those.

    When nothing comes in any more, drafts do: a team whose member is a service account that the team owns.
    """
    rows: list[ImportedObject] = []
    left, drafted = list(wanted), False
    for tries_left in reversed(range(MOST_ROUNDS)):
        if not left:
            break
        refused: list[tuple[Wanted, ToolwayError]] = []
        for one in left:
            try:
                async with tx.session.begin_nested():
                    rows.append(await placer.place(tx, one))
            except REFUSALS as error:
                refused.append((one, error))
        if not tries_left or (refused and len(refused) == len(left)):
            if drafted or not tries_left or not await _drafted(placer, tx, left):
                return rows + [_failed(one, error.message) for one, error in refused]
            drafted = True
        left = [one for one, _ in refused]
    return rows


async def _drafted(placer: Placer, tx: Change, left: Sequence[Wanted]) -> bool:
    """Whether one of them came in as a draft."""
    came = False
    for one in left:
        with contextlib.suppress(*REFUSALS):
            async with tx.session.begin_nested():
                row = await placer.place(tx, one, draft=True)
                came = came or row.action in ("created", "renamed")
    return came


async def _removed(
    placer: Placer, tx: Change, wanted: Sequence[Wanted], whole: Collection[str]
) -> list[ImportedObject]:
    """Remove what the collections of the document have and the document does not, in rounds too."""
    names = {(one.kind, one.value["name"]) for one in wanted}
    left: list[tuple[str, Stored]] = []
    for kind in sorted(whole):
        for stored in await placer.entities[kind].list(tx):
            is_ours = stored.managed_by == "api" and placer.incoming.may(f"{kind}:read", about(stored))
            if is_ours and (kind, stored.name) not in names:
                left.append((kind, stored))
    rows: list[ImportedObject] = []
    while left:
        refused = []
        for kind, stored in left:
            try:
                async with tx.session.begin_nested():
                    rows.append(await placer.remove(tx, kind, stored))
            except REFUSALS as error:
                refused.append((kind, stored, error.message))
        if len(refused) == len(left):
            return rows + [
                ImportedObject(kind=kind, name=stored.name, action="failed", reason=reason)
                for kind, stored, reason in refused
            ]
        left = [(kind, stored) for kind, stored, _ in refused]
    return rows


def _left_out(one: Wanted) -> ImportedObject:
    reason = "it is about who may do what; if the file is your own, import it with --trusted"
    return ImportedObject(kind=one.kind, name=one.name, action="skipped", reason=reason)


def _failed(one: Wanted, reason: str) -> ImportedObject:
    return ImportedObject(kind=one.kind, name=one.name, action="failed", reason=reason)
