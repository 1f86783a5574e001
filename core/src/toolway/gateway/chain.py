"""Middleware compiled to one callable per method, so that what is not enabled costs nothing."""

from __future__ import annotations

from collections.abc import Sequence

from toolway.hookspecs.routing import Call, CallNext, Reply, RequestMiddleware


def compile_chain(middleware: Sequence[RequestMiddleware], method: str, final: CallNext) -> CallNext:
    """Wrap `final` in every middleware that wants `method`; the first one is outermost."""
    chain = final
    for link in reversed([link for link in middleware if method in link.methods]):
        chain = _wrap(link, chain)
    return chain


def _wrap(link: RequestMiddleware, call_next: CallNext) -> CallNext:
    async def linked(call: Call) -> Reply:
        return await link(call, call_next)

    return linked
