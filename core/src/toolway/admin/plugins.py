"""The collection of plugins: installed, enabled and broken ones, as the plugin host reports them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from toolway.admin.operations import ANY, Incoming, operation, refuse
from toolway.admin.pages import PageQuery, page

READ = "plugins:read"


class PluginReport(BaseModel):
    """One plugin; what else is told is the host's matter."""

    model_config = ConfigDict(extra="allow")

    name: str


class PluginPage(BaseModel):
    """One page of plugins, sorted by name."""

    items: list[PluginReport]
    next_cursor: str | None


@operation("GET", "/api/v1/plugins", READ, filters=True)
async def plugins(incoming: Incoming, query: PageQuery) -> PluginPage:
    """List plugins."""
    reports = [PluginReport.model_validate(dict(report)) for report in incoming.context.plugins()]
    seen: dict[str, Any] = {report.name: report for report in reports if incoming.may(READ, report.name)}
    if not seen and not incoming.may(READ, ANY):
        refuse(incoming, READ)
    return PluginPage(**page(seen, query))
