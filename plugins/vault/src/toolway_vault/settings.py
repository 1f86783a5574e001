"""What can be set: where Vault is, how to log in, how long values are used."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from toolway.plugin import Seconds, SecretRef, Settings


def _is_bootstrap(reference: str) -> str:
    if reference.startswith("vault:"):
        raise ValueError("must not be a vault: reference, which needs the login first; use file: or env:")
    return reference


def _is_address(value: str) -> str:
    address = urlsplit(value)
    if address.scheme not in ("http", "https") or not address.hostname or address.query or address.fragment:
        raise ValueError("must be an address such as https://vault.example.com:8200")
    if address.username is not None or address.password is not None:
        raise ValueError("must not have a user or password in it; see login")
    return value.rstrip("/")


def _is_path(value: str) -> str:
    if not value.strip("/") or ".." in value or any(sign in value for sign in "?#%\\"):
        raise ValueError("must be a path such as kv or team/kv")
    return value.strip("/")


BootstrapRef = Annotated[SecretRef, AfterValidator(_is_bootstrap)]
"""A secret reference that is resolved before Vault can be asked."""

MountPath = Annotated[str, AfterValidator(_is_path)]
MountKind = Literal["kv-v1", "kv-v2", "other"]


class TokenLogin(Settings):
    """A token that somebody else made."""

    method: Literal["token"] = "token"
    token: BootstrapRef = Field(description="The token.")
    wrapped: bool = Field(False, description="It is a response-wrapping token, which holds the token and opens once.")


class AppRoleLogin(Settings):
    """AppRole: a role id and a secret id."""

    method: Literal["approle"]
    mount: MountPath = Field("approle", description="Where the method is enabled, below auth/.")
    role_id: BootstrapRef = Field(description="The role id.")
    secret_id: BootstrapRef | None = Field(None, description="The secret id, if the role wants one.")
    wrapped: bool = Field(
        False, description="The secret id is a response-wrapping token, which holds it and opens once."
    )


class KubernetesLogin(Settings):
    """The service account of the pod."""

    method: Literal["kubernetes"]
    mount: MountPath = Field("kubernetes", description="Where the method is enabled, below auth/.")
    role: str = Field(min_length=1, description="The role.")
    token: BootstrapRef = Field(
        "file:/var/run/secrets/kubernetes.io/serviceaccount/token",
        description="The service account's token; read again for each login.",
    )


class JwtLogin(Settings):
    """A JWT that an identity provider signed."""

    method: Literal["jwt"]
    mount: MountPath = Field("jwt", description="Where the method is enabled, below auth/.")
    role: str = Field("", description="The role; empty for the default role of the method.")
    token: BootstrapRef = Field(description="The JWT; read again for each login.")


class CertLogin(Settings):
    """The certificate of the TLS connection."""

    method: Literal["cert"]
    mount: MountPath = Field("cert", description="Where the method is enabled, below auth/.")
    role: str = Field("", description="The certificate role; empty tries every one.")
    certificate: Path = Field(description="PEM file with the certificate and its chain.")
    key: Path = Field(description="PEM file with its private key, without a passphrase.")


Login: TypeAlias = Annotated[
    TokenLogin | AppRoleLogin | KubernetesLogin | JwtLogin | CertLogin, Field(discriminator="method")
]


class VaultSettings(Settings):
    """The table `[plugins.vault]`."""

    address: Annotated[str, AfterValidator(_is_address)] = Field(
        "https://127.0.0.1:8200", description="Base address of the Vault or OpenBao server."
    )
    login: Login = Field(
        TokenLogin.model_validate({"token": "env:VAULT_TOKEN"}),
        description="How the gateway gets its token: a table with method and what that needs.",
    )
    namespace: str = Field("", pattern=r"^[\w.\-/]*$", description="Namespace of the login and of every path.")
    ca: Path | None = Field(None, description="PEM file of the authorities to trust; default: the public ones.")
    plaintext: bool = Field(False, description="Allow http:// to other hosts than this one: tokens travel readable.")
    mounts: dict[MountPath, MountKind] = Field(
        {}, description="Kinds of mounts, where the token may not ask for them; everything else is detected."
    )
    paths: tuple[str, ...] = Field(
        ("*",), description="Patterns of paths that references may name, such as kv/toolway/*; * is any text."
    )
    poll: Seconds = Field(30.0, ge=0.1, le=3600, description="How often values without a lease are read again.")
    stale_for: Seconds = Field(
        3600.0, le=3600, description="How long known values are used when Vault is down, after a reading was due."
    )
    start_degraded: bool = Field(False, description="Start although Vault is down; /ready says so.")
    timeout: Seconds = Field(5.0, gt=0, le=60, description="Per request, in seconds.")
    connections: int = Field(4, ge=1, le=32, description="Most requests at the same time.")

    @model_validator(mode="after")
    def _is_private(self) -> VaultSettings:
        address = urlsplit(self.address)
        if address.scheme == "http" and not self.plaintext and not _is_loopback(address.hostname or ""):
            raise ValueError("address must begin with https://; or set plaintext = true, and tokens travel readable")
        if self.login.method == "cert" and address.scheme != "https":
            raise ValueError("login by certificate needs an address that begins with https://")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
