"""Shell completion of names, asked of the gateway of the saved profile."""

from __future__ import annotations

from collections.abc import Callable

from toolway.cli.client import Failure, client


def names(path: str, member: str = "name", **filters: str) -> Callable[[str], list[str]]:
    """Completes what the objects of a collection are called; with nothing when the gateway cannot be asked."""

    def complete(incomplete: str) -> list[str]:
        try:
            found = [str(one[member]) for one in client().pages(path, **filters)]
        except Failure:
            return []
        return [name for name in found if name.startswith(incomplete)]

    return complete
