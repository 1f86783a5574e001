"""What plugin authors import: the plugin class, settings types, the hook marker, the kernel facade and the errors.

`toolway.plugin.http` has what belongs to the guarded HTTP client; it is apart because it loads an HTTP library.
"""

from toolway.errors import (
    ClientCannot,
    ConfigError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    SecretUnavailable,
    SessionLost,
    StoreUnavailable,
    ToolwayError,
    Unauthenticated,
    UpstreamError,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnreachable,
)
from toolway.hookspecs.definitions import Definition, Name, Seconds, SecretRef
from toolway.hookspecs.markers import hookimpl
from toolway.plugin.kernel import Clock, Database, Kernel, Seal, Secrets
from toolway.plugin.plugin import Plugin, Settings

__all__ = [
    "ClientCannot",
    "Clock",
    "ConfigError",
    "Conflict",
    "Database",
    "Definition",
    "Forbidden",
    "InvalidInput",
    "Kernel",
    "Name",
    "NotFound",
    "Overloaded",
    "Plugin",
    "Seal",
    "Seconds",
    "SecretRef",
    "SecretUnavailable",
    "Secrets",
    "SessionLost",
    "Settings",
    "StoreUnavailable",
    "ToolwayError",
    "Unauthenticated",
    "UpstreamError",
    "UpstreamProtocol",
    "UpstreamTimeout",
    "UpstreamUnauthorized",
    "UpstreamUnreachable",
    "hookimpl",
]
