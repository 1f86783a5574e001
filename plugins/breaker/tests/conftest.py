"""The fixtures of the tests; they are in `parts`, where the type checker sees them."""

from misbehaving import pair, processes, upstream

__all__ = ["pair", "processes", "upstream"]
