"""Settings of the door: TLS, proxies, names and drain (durations in seconds); the limits are shared with runners."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from toolway.hookspecs.serving import Limits

Network = IPv4Network | IPv6Network


def _is_origin(value: str) -> str:
    if not re.fullmatch(r"\*|[^/@]+://[^/@]+", value):
        raise ValueError(f'{value!r} is not an origin; write scheme and host only, such as "https://example.com"')
    return value.lower()


def _is_host(value: str) -> str:
    if "/" in value or not value:
        raise ValueError(f"{value!r} is not a host name; write it without scheme, port and path")
    return value.lower().strip("[]")


def _is_root_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError('root_path must begin with a slash, such as "/toolway"')
    return value.rstrip("/")


class GatewayLimits(Limits):
    """Bounds of one message, of one connection, and of what clients hold: `[gateway.limits]`."""

    calls: PositiveInt = Field(default=1_024, description="Most calls in flight of a node (503).")
    calls_per_principal: PositiveInt = Field(default=64, description="Most calls in flight of a principal (503).")
    streams: PositiveInt = Field(default=10_000, description="Most open event streams of a node (503).")
    streams_per_principal: PositiveInt = Field(default=100, description="Most open streams of a principal (503).")


class TlsSettings(BaseModel, extra="forbid", frozen=True):
    """Certificate of the gateway and, if wanted, the authority of client certificates: `[gateway.tls]`."""

    cert: Path = Field(description="PEM file with the certificate and its chain.")
    key: Path = Field(description="PEM file with the private key.")
    client_ca: Path | None = Field(default=None, description="PEM file; if set, clients must have a certificate of it.")
    handshake_timeout: PositiveFloat = Field(default=10.0, description="For the TLS handshake, in seconds.")


class EdgeSettings(BaseModel, extra="forbid", frozen=True):
    """What the door lets in, and how it closes."""

    limits: GatewayLimits = Field(
        default_factory=GatewayLimits, description="Bounds of messages, connections, calls and streams."
    )
    tls: TlsSettings | None = Field(default=None, description="Serve HTTPS with this certificate; default: plain HTTP.")
    trusted_proxies: tuple[Network, ...] = Field(
        default=(), description="Networks whose X-Forwarded-For and X-Forwarded-Proto are believed; nobody else's are."
    )
    allowed_hosts: tuple[Annotated[str, AfterValidator(_is_host)], ...] = Field(
        default=(),
        description='Names in Host besides loopback, bind and public_url; "*.example.com" covers subdomains, "*" all.',
    )
    allowed_origins: tuple[Annotated[str, AfterValidator(_is_origin)], ...] = Field(
        default=(),
        description='Browser origins besides public_url, and loopback ones while bound to loopback; "*" allows all.',
    )
    root_path: Annotated[str, AfterValidator(_is_root_path)] = Field(
        default="", description='Path under which a proxy publishes the gateway, such as "/toolway".'
    )
    drain_delay: NonNegativeFloat | None = Field(
        default=None, description="From /ready 503 to the end of accepting, in seconds; default: 5, on loopback 0."
    )
    drain_timeout: NonNegativeFloat = Field(default=25.0, description="For requests in flight after that, in seconds.")
    hard_stop: PositiveFloat = Field(default=35.0, description="For everything after the stop, in seconds.")
    hang_timeout: PositiveFloat = Field(
        default=60.0,
        description="A worker that does nothing for so long is replaced, where there are several; seconds.",
    )
