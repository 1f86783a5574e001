"""Settings of the door: limits, TLS, proxies, names and drain (durations in seconds, sizes in bytes)."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

KIB = 1024
MIB = 1024 * KIB

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(ge=256)]
Count = Annotated[int, Field(ge=1)]
Network = IPv4Network | IPv6Network


class Limits(BaseModel):
    """Bounds of one message and of one connection: `[gateway.limits]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    body: Bytes = Field(default=4 * MIB, description="Largest request body, in bytes (413).")
    request_line: Bytes = Field(default=8 * KIB, description="Longest request line and longest URL, in bytes (414).")
    header_field: Bytes = Field(default=8 * KIB, description="Longest single header field, in bytes (431).")
    headers: Bytes = Field(default=16 * KIB, description="All header fields of a request together, in bytes (431).")
    header_count: Count = Field(default=100, description="Most header fields of a request (431).")
    first_byte: Seconds = Field(
        default=10.0, description="A new connection that stays silent this long is cut, in seconds."
    )
    head: Seconds = Field(
        default=10.0, description="From the first byte of a request to the end of its head, in seconds (408)."
    )
    body_total: Seconds = Field(default=30.0, description="For a whole request body, in seconds (408).")
    body_gap: Seconds = Field(default=10.0, description="Between two pieces of a request body, in seconds (408).")
    keep_alive: Seconds = Field(default=75.0, description="Idle time between two requests of a connection, in seconds.")
    stalled_write: Seconds = Field(
        default=30.0, description="A client that reads nothing this long is cut, in seconds."
    )
    write_buffer: Bytes = Field(
        default=1 * MIB, description="Unsent answer bytes held per connection before the sender waits."
    )
    linger: Seconds = Field(
        default=2.0, description="Time to read an answer before a refused connection is closed, in seconds."
    )
    connections: Count = Field(default=10_000, description="Most open connections of a node (503).")
    connections_per_source: Count = Field(
        default=256, description="Most open connections of one address or IPv6 /64, trusted proxies excepted (429)."
    )


class TlsSettings(BaseModel):
    """Certificate of the gateway and, if wanted, the authority of client certificates: `[gateway.tls]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cert: Path = Field(description="PEM file with the certificate and its chain.")
    key: Path = Field(description="PEM file with the private key.")
    client_ca: Path | None = Field(
        default=None, description="PEM file; if set, clients must show a certificate signed by it."
    )
    handshake_timeout: Seconds = Field(default=10.0, description="For the TLS handshake, in seconds.")


class EdgeSettings(BaseModel):
    """What the door lets in, and how it closes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limits: Limits = Field(default_factory=Limits, description="Bounds of one message and of one connection.")
    tls: TlsSettings | None = Field(
        default=None, description="Serve HTTPS with this certificate; plain HTTP if absent."
    )
    trusted_proxies: tuple[Network, ...] = Field(
        default=(), description="Networks whose X-Forwarded-For and X-Forwarded-Proto are believed; nobody else's are."
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Names accepted in Host besides the loopback names, the bind address and the host of public_url; "
        '"*.example.com" covers subdomains, "*" everything.',
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(),
        description="Origins of browser clients accepted besides the gateway's own (and loopback ones while bound to "
        'loopback), such as "https://app.example.com"; "*" allows all.',
    )
    root_path: str = Field(
        default="", description='Path under which a proxy publishes the gateway, such as "/toolway".'
    )
    drain_delay: float = Field(
        default=5.0, ge=0, description="From /ready turning 503 to the end of accepting connections, in seconds."
    )
    drain_timeout: float = Field(default=25.0, ge=0, description="For requests in flight after that, in seconds.")
    hard_stop: Seconds = Field(
        default=35.0, description="Everything still open is cut this long after the stop, in seconds."
    )

    @field_validator("root_path")
    @classmethod
    def _begins_with_a_slash(cls, value: str) -> str:
        trimmed = value.rstrip("/")
        if trimmed and not trimmed.startswith("/"):
            raise ValueError('root_path must begin with a slash, such as "/toolway"')
        return trimmed

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _looks_like_an_origin(origin):
                raise ValueError(
                    f'{origin!r} is not an origin; write scheme and host only, such as "https://example.com"'
                )
        return tuple(origin.lower() for origin in value)

    @field_validator("allowed_hosts")
    @classmethod
    def _are_host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if "/" in host or not host:
                raise ValueError(f"{host!r} is not a host name; write it without scheme, port and path")
        return tuple(host.lower().strip("[]") for host in value)


def _looks_like_an_origin(value: str) -> bool:
    scheme, separator, host = value.partition("://")
    return bool(scheme and separator and host) and "/" not in host and "@" not in host
