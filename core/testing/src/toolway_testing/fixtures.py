"""The pytest plugin: every fixture that installing `toolway-testing` makes known."""

from toolway_testing.databases import database_url, sqlite_url
from toolway_testing.gateway import gateway
from toolway_testing.postgres import postgres_server, postgres_url

__all__ = ["database_url", "gateway", "postgres_server", "postgres_url", "sqlite_url"]
