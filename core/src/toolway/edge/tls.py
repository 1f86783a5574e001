"""TLS of the listening side: the context from the settings, and what the application learns of a client certificate."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from toolway.edge.settings import TlsSettings
from toolway.errors import ConfigError


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """TLS 1.2 or later, HTTP/1.1 only; raises `ConfigError` if a file cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.cert, settings.key)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        raise ConfigError(
            f"gateway.tls cannot be used ({error}); cert, key and client_ca must be readable PEM files "
            "and the key must belong to the certificate"
        ) from error
    return context


def tls_extension(writer: asyncio.StreamWriter) -> dict[str, Any] | None:
    """The ASGI `tls` extension, as far as the standard library knows it; None on a plain connection."""
    link: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    if link is None:
        return None
    peer = link.getpeercert(binary_form=True)
    subject = (link.getpeercert() or {}).get("subject", ())
    return {
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(peer)] if peer else [],
        "client_cert_name": _distinguished_name(subject) if peer else None,
        "tls_version": link.version(),
    }


def _distinguished_name(subject: Any) -> str:
    """RFC 4514 section 2.1: the most specific part first."""
    parts = [f"{_SHORT.get(key, key)}={_escaped(value)}" for group in reversed(subject) for key, value in group]
    return ",".join(parts)


_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "domainComponent": "DC",
    "userId": "UID",
}


def _escaped(value: str) -> str:
    return "".join("\\" + letter if letter in ',+"\\<>;=' else letter for letter in value)
