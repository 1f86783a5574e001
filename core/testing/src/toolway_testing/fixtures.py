"""The pytest plugin: every fixture that installing `toolway-testing` makes known."""

from toolway_testing.gateway import gateway
from toolway_testing.postgres import postgres_server, postgres_url

__all__ = ["gateway", "postgres_server", "postgres_url"]
