"""The tables of `toolway.toml` with their defaults and meaning; plugins, kinds and auth types add their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from toolway.edge.settings import EdgeSettings, Network
from toolway.hookspecs.definitions import SecretRef
from toolway.validation import did_you_mean

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - read, not bound


def _is_address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65536) or (":" in host and host[0] != "["):
        raise ValueError('must be host:port, such as "127.0.0.1:4440" or "[::1]:4440"')
    return value


def _is_base_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError('must begin with http:// or https://, such as "https://mcp.example.com"')
    return value.rstrip("/")


def _default_url(known: dict[str, Any]) -> str:
    host, _, port = str(known.get("bind", "")).rpartition(":")
    scheme = "https" if known.get("tls") else "http"
    return f"{scheme}://{_ANYWHERE.get(host, host)}:{port}{known.get('root_path', '')}"


class GatewaySettings(EdgeSettings):
    """`[gateway]`: where the gateway listens and what it keeps; with the settings of the door."""

    bind: Annotated[str, AfterValidator(_is_address)] = Field(
        default="127.0.0.1:4440", description="Address and port to listen on; port 0 takes a free one."
    )
    public_url: Annotated[str, AfterValidator(_is_base_url)] = Field(
        default_factory=_default_url, description="How clients reach the gateway; default: from `bind`."
    )
    data_dir: Path = Field(
        default=Path("toolway-data"), description="For the SQLite file and keys; made on first start, mode 0700."
    )
    database: SecretRef | None = Field(
        default=None, description="Reference to a database URL, such as env:TOOLWAY_DATABASE; default: SQLite."
    )
    root_key: SecretRef | None = Field(
        default=None, description="Reference to the key that encrypts the key ring; default: a file in `data_dir`."
    )
    api_references: tuple[str, ...] = Field(
        default=(),
        description='The secret schemes, such as "env", "file" or a plugin\'s, that upstreams declared by API may use '
        "too; they let an administrator send what the gateway can read to any upstream.",
    )
    authorization_servers: tuple[Annotated[str, AfterValidator(_is_base_url)], ...] = Field(
        default=(), description="Issuer URLs of OAuth authorization servers whose tokens a plugin accepts (RFC 9728)."
    )
    keyvalue: str | None = Field(default=None, description="Name of the key-value store, where several are there.")
    pubsub: str | None = Field(default=None, description="Name of the publish/subscribe, where several are there.")
    balancer: str | None = Field(default=None, description="Name of the balancer, where several are there.")
    server: str = Field(
        default="auto", description='ASGI server that acts; "auto": that of an enabled plugin, else hypercorn.'
    )
    workers: int = Field(default=1, ge=1, le=256, description="Processes that serve, on one address and one database.")
    page_size: int = Field(default=1000, ge=1, le=10_000, description="Most entries of one page of an MCP list.")
    access: Literal["public", "authenticated"] | None = Field(
        default=None,
        description="Whether the built-in server `all` lets clients in without a credential; "
        "default: only while no plugin authenticates.",
    )
    naming: Literal["prefix", "plain"] = Field(
        default="prefix", description="How the built-in server `all` names items, as `naming` of servers."
    )

    @property
    def address(self) -> tuple[str, int]:
        """Host (without brackets) and port of `bind`."""
        host, _, port = self.bind.rpartition(":")
        return host.strip("[]"), int(port)


class AccountSettings(BaseModel):
    """`[accounts]`: how long users stay signed in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session_idle: float = Field(default=1800.0, ge=60, le=604_800, description="Seconds without use that end it.")
    session_lifetime: float = Field(
        default=43_200.0, ge=60, le=2_592_000, description="Seconds after which a session ends however busy it is."
    )


class EgressSettings(BaseModel):
    """`[egress]`: what the gateway may dial."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow_private: tuple[Network, ...] = Field(
        default=(), description="Networks that upstreams may use besides public ones, such as 10.1.0.0/16."
    )


class PluginTables(BaseModel):
    """`[plugins]`: which plugins act, in which order, and a table of settings for each."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, dict[str, Any]] = Field(init=False)

    enable: tuple[str, ...] = Field(default=(), description="Names of plugins to load; the order is theirs everywhere.")
    optional: tuple[str, ...] = Field(
        default=(), description="Those that are quarantined when they fail; the gateway starts without them."
    )

    @model_validator(mode="before")
    @classmethod
    def _other_keys_are_tables(cls, values: Any) -> Any:
        for key, value in values.items() if isinstance(values, dict) else ():
            if key not in cls.model_fields and not isinstance(value, dict):
                guess = did_you_mean(key, cls.model_fields) or f"settings of a plugin go into a table [plugins.{key}]"
                raise ValueError(f"must not have the key {key!r}; {guess}")
        return values

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """The table of each plugin as it was written; the plugin's own model checks it."""
        return dict(self.__pydantic_extra__)


class Config(BaseModel):
    """Everything that is configured. Upstreams and servers are raw tables: their kinds check them."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    gateway: GatewaySettings = Field(default_factory=GatewaySettings, description="The gateway itself.")
    plugins: PluginTables = Field(default_factory=PluginTables, description="Plugins and their settings.")
    egress: EgressSettings = Field(default_factory=EgressSettings, description="What the gateway may dial.")
    accounts: AccountSettings = Field(default_factory=AccountSettings, description="Users and their sessions.")
    upstreams: tuple[dict[str, Any], ...] = Field(default=(), description="What stands behind the gateway.")
    servers: tuple[dict[str, Any], ...] = Field(default=(), description="Virtual servers.")

    _source: str = PrivateAttr(default="the configuration")

    @property
    def source(self) -> str:
        """How messages call the configuration: the file's name, if there is one."""
        return self._source
