"""What plugin authors import: the plugin class, settings types, the hook marker, the kernel facade and the errors."""

from toolway.errors import (
    ClientCannot,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    SecretUnavailable,
    ToolwayError,
    Unauthenticated,
    UpstreamError,
)
from toolway.hookspecs.definitions import Name, Seconds, SecretRef
from toolway.hookspecs.markers import hookimpl
from toolway.plugin.kernel import Clock, Kernel, Secrets
from toolway.plugin.plugin import Plugin, Settings

__all__ = [
    "ClientCannot",
    "Clock",
    "Conflict",
    "Forbidden",
    "InvalidInput",
    "Kernel",
    "Name",
    "NotFound",
    "Plugin",
    "Seconds",
    "SecretRef",
    "SecretUnavailable",
    "Secrets",
    "Settings",
    "ToolwayError",
    "Unauthenticated",
    "UpstreamError",
    "hookimpl",
]
