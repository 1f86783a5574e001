"""What plugin authors import: the plugin class, settings types, the hook marker, the kernel facade and the errors.

Every name is imported `as` itself, which marks it as public (PEP 484). `toolway.plugin.http` has what belongs to the
guarded HTTP client; it is apart because it loads an HTTP library.
"""

from toolway.background import beside as beside
from toolway.edge.heads import Heads as Heads
from toolway.edge.outbox import Outbox as Outbox, outbox as outbox
from toolway.errors import (
    CircuitOpen as CircuitOpen,
    ClientCannot as ClientCannot,
    ConfigError as ConfigError,
    Conflict as Conflict,
    Forbidden as Forbidden,
    InvalidInput as InvalidInput,
    NotFound as NotFound,
    Overloaded as Overloaded,
    PluginError as PluginError,
    PreconditionFailed as PreconditionFailed,
    RateLimited as RateLimited,
    SecretUnavailable as SecretUnavailable,
    SessionLost as SessionLost,
    StoreUnavailable as StoreUnavailable,
    ToolwayError as ToolwayError,
    TooManyFailures as TooManyFailures,
    Unauthenticated as Unauthenticated,
    UpstreamError as UpstreamError,
    UpstreamProtocol as UpstreamProtocol,
    UpstreamTimeout as UpstreamTimeout,
    UpstreamUnauthorized as UpstreamUnauthorized,
    UpstreamUnreachable as UpstreamUnreachable,
)
from toolway.hookspecs.definitions import (
    Definition as Definition,
    Name as Name,
    Owner as Owner,
    Seconds as Seconds,
    SecretRef as SecretRef,
    Visibility as Visibility,
)
from toolway.hookspecs.markers import hookimpl as hookimpl
from toolway.patterns import globs as globs
from toolway.plugin.hiding import hidden as hidden
from toolway.plugin.kernel import (
    Clock as Clock,
    Control as Control,
    Database as Database,
    Difference as Difference,
    Kernel as Kernel,
    Prepared as Prepared,
    Seal as Seal,
    Secrets as Secrets,
)
from toolway.plugin.plugin import Plugin as Plugin, Settings as Settings
from toolway.validation import refusal as refusal
