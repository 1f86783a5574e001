"""The pytest plugin: every fixture that installing `toolway-testing` makes known."""

from toolway_testing.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]
