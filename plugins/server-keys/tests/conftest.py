"""The fixtures of the tests; they are in `parts`, where the type checker sees them."""

from key_fixtures import clock, make_node, node, template

__all__ = ["clock", "make_node", "node", "template"]
