"""The API of the trail."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response, StreamingResponse

from toolway.hookspecs.api import Incoming, Operation, Page, document
from toolway_audit.marks import Mark
from toolway_audit.schemas import AuditQuery, AuditRecord, Complaint, ExportQuery, Verification, VerifyQuery, view
from toolway_audit.search import Search
from toolway_audit.verifying import Verifier

READ, VERIFY = "audit:read", "audit:verify"
PATH = "/api/v1/audit"
LINES = "application/jsonl"


class AuditOperations:
    """Searching, exporting and verifying; nothing changes the trail."""

    def __init__(self, search: Search, verifier: Verifier) -> None:
        self._search = search
        self._verifier = verifier

    def operations(self) -> Iterable[Operation]:
        """All of them."""
        return [
            Operation("GET", PATH, READ, self.list, query=AuditQuery, answer=Page[AuditRecord]),
            Operation("GET", f"{PATH}/export", READ, self.export, query=ExportQuery, answer=LINES),
            Operation("GET", f"{PATH}/verify", VERIFY, self.verify, query=VerifyQuery, answer=Verification),
        ]

    async def list(self, incoming: Incoming) -> Response:
        """Search the records, newest first."""
        query: AuditQuery = incoming.query
        before = int(query.cursor) if query.cursor else None
        found = await self._search.newest(query.wanted(), before, query.limit + 1)
        shown = found[: query.limit]
        more = str(shown[-1].seq) if len(found) > query.limit else None
        return document({"items": [view(record) for record in shown], "next_cursor": more})

    async def export(self, incoming: Incoming) -> Response:
        """Stream the records as JSON lines, oldest first; the last line is the end of the trail."""
        query: ExportQuery = incoming.query
        headers = {"cache-control": "no-store", "content-disposition": 'attachment; filename="audit.jsonl"'}
        return StreamingResponse(self._search.lines(query.wanted()), 200, headers, LINES)

    async def verify(self, incoming: Incoming) -> Verification:
        """Verify a part of the trail: hashes, order, and both ends."""
        query: VerifyQuery = incoming.query
        at = Mark.read(query.cursor) if query.cursor else None
        verdict = await self._verifier.verify(at, Mark.read(query.known) if query.known else None)
        return Verification(
            is_intact=not verdict.problems,
            checked=verdict.checked,
            problems=[Complaint(seq=each.seq, what=each.what) for each in verdict.problems],
            end=str(verdict.end),
            next_cursor=None if verdict.next_at is None else str(verdict.next_at),
        )
