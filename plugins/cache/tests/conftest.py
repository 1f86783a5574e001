"""The fixtures of the tests; they are in `parts`, where the type checker sees them."""

from behind import process, upstream
from two_nodes import nodes, two_nodes

__all__ = ["nodes", "process", "two_nodes", "upstream"]
