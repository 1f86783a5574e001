"""The fixtures of the tests; they are in `parts`, where the type checker sees them."""

from behind import process, upstream

__all__ = ["process", "upstream"]
