"""What the API of the trail takes and answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field

from toolway.hookspecs.api import NoQuery, PageQuery
from toolway_audit.marks import Mark
from toolway_audit.record import JSON_MEMBERS, Record
from toolway_audit.search import Wanted


def _mark(text: str) -> str:
    Mark.read(text)
    return text


def _dated(text: Any) -> Any:
    """A number would be taken as seconds since 1970, which nobody means who writes `2026`."""
    if isinstance(text, str) and text.strip("+-.0123456789eE_") == "" and text.count("-") < 2:
        raise ValueError("write a time as in RFC 3339, such as 2026-11-28T12:00:00Z")
    return text


Time = Annotated[AwareDatetime, BeforeValidator(_dated)]
Place = Annotated[str, AfterValidator(_mark), Field(max_length=100)]
Text = Annotated[str, Field(max_length=1024)]


class Filters(BaseModel):
    """Which records."""

    actor: Text = Field("", description="Of this principal; with `*` at the end, of those that begin so.")
    action: Text = Field("", description="This action, or `tokens.*`.")
    object: Text = Field("", description="About this object, or `upstreams/*`.")
    outcome: Text = Field("", description="With this outcome.")
    since: Time | None = Field(None, description="Not before this time (RFC 3339).")
    until: Time | None = Field(None, description="Before this time.")

    def wanted(self) -> Wanted:
        """For the search."""
        texts = (self.actor, self.action, self.object, self.outcome)
        return Wanted(*texts, _time(self.since), _time(self.until))


class AuditQuery(Filters, PageQuery):
    """Which records, newest first."""

    cursor: str = Field("", pattern=r"^[0-9]{0,18}$", description="`next_cursor` of the page before.")


class ExportQuery(Filters, NoQuery):
    """Which records, oldest first."""


class VerifyQuery(NoQuery):
    """Which part of the trail."""

    cursor: Place | None = Field(None, description="`next_cursor` of the page before.")
    known: Place | None = Field(None, description="A place, `number:hash`, that was the end earlier.")


class AuditRecord(BaseModel):
    """One record."""

    seq: int = Field(description="Its number; there are no gaps.")
    at: datetime
    node: str = Field(description="The process that wrote it.")
    actor: str = Field(description="The id of the principal.")
    credential: str = Field(description="The name of the credential that was used, where one was.")
    address: str = Field(description="The client's address.")
    request_id: str = Field(description="The id of the request, where a plugin gives them.")
    action: str
    object: str
    outcome: str
    before: Any
    after: Any
    details: Any
    previous: str = Field(description="The hash of the record before.")
    hash: str


class Complaint(BaseModel):
    """Something that is wrong with the trail."""

    seq: int
    what: str


class Verification(BaseModel):
    """What a part of the trail is like; there is more to look at while there is a `next_cursor`."""

    is_intact: bool
    checked: int
    problems: list[Complaint]
    end: str = Field(description="The end of the trail, `number:hash`; keep it elsewhere to compare later.")
    next_cursor: str | None


def view(record: Record) -> dict[str, Any]:
    """The members of an `AuditRecord`, unchecked: what somebody altered is shown as far as it can be."""
    members = msgspec.structs.asdict(record)
    return {**members, **{name: _shown(members[name]) for name in JSON_MEMBERS}}


def _shown(text: object) -> Any:
    try:
        return msgspec.json.decode(text if isinstance(text, str) else repr(text))
    except (ValueError, RecursionError):
        return str(text)


def _time(time: datetime | None) -> str:
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
