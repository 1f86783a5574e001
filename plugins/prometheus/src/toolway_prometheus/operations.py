"""`GET /metrics` on the gateway's own port."""

from __future__ import annotations

from starlette.responses import Response

from toolway.hookspecs.api import PUBLIC, Incoming, Operation
from toolway_prometheus.page import Page

READ = "metrics:read"
PATH = "/metrics"
TYPES = "text/plain, application/openmetrics-text"


def operations(page: Page, *, is_public: bool) -> list[Operation]:
    """The one there is."""

    async def read(incoming: Incoming) -> Response:
        """Tell what was counted, in the OpenMetrics or Prometheus text format."""
        headers = incoming.headers
        written = await page.write(headers.get("accept", ""), headers.get("accept-encoding", ""))
        return Response(written.body, headers=written.headers)

    return [Operation("GET", PATH, PUBLIC if is_public else READ, read, answer=TYPES)]
