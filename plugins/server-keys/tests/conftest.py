"""The fixtures of the tests; they are in `parts`, where the type checker sees them."""

from key_fixtures import clock, database_url, make_node, node, sqlite_url, template

__all__ = ["clock", "database_url", "make_node", "node", "sqlite_url", "template"]
