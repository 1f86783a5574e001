"""What came from outside and is plain: redactors left it as it is, so it is not given to them again in that second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolway.hookspecs.telemetry import Served
from toolway_json_logging.access import Access
from toolway_json_logging.request_fields import timestamp

if TYPE_CHECKING:
    from toolway_json_logging.json_lines import AccessFields

SHORT = 512
"""Characters."""


class Plain:
    """Item, method and principal of requests of the second that it is; what is secret may be different in the next one.

    `begin` is what timestamps of that second begin with. Belongs to one thread.
    """

    def __init__(self) -> None:
        self.second, self.begin = 0, ""
        self.known: set[tuple[str, str, str]] = set()

    def learn(self, access: Access, fields: AccessFields) -> None:
        """These fields were told of it: perhaps the same as it came with."""
        served, second = access.served, int(access.at)
        if access.phase != "request" or not is_short(served):
            return  # in another thread
        if not 0 <= self.second - second <= 1:  # a later one, or the clock was set back
            self.second, self.known = second, set()
            self.begin = timestamp(second).partition(".")[0] + "."
        told = fields.item, fields.method, fields.principal
        if told == (served.item, served.method, "" if served.principal is None else served.principal.id):
            self.known.add(told)


def is_short(served: Served) -> bool:
    """Whether it takes next to no time to look for secrets in what came from outside."""
    return len(served.request_id) + len(served.item) + len(served.method) + len(served.scope["path"]) <= SHORT
