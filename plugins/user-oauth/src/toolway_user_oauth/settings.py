"""What an upstream declares: `auth = { type = "oauth-user", client_id = …, client_secret = "env:SECRET" }`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from toolway.plugin import Definition, SecretRef


class UserOAuth(Definition):
    """The caller's own token, got with the caller's consent (RFC 6749 section 4.1, RFC 7636).

    Without `issuer` and endpoints, the upstream says which authorization server it trusts (RFC 9728).
    """

    client_id: str = Field(min_length=1, max_length=2048, description="The gateway's client id there.")
    client_secret: SecretRef | None = Field(None, description="Its secret; a public client has none.")
    scopes: tuple[str, ...] = Field(
        (), max_length=50, description="Scopes to ask for; by default those that the upstream names."
    )
    issuer: str = Field("", description="The authorization server, whose metadata are read (RFC 8414, OIDC Discovery).")
    authorization_endpoint: str = Field("", description="Where people consent, for servers without metadata.")
    token_endpoint: str = Field("", description="Where tokens are given out, for servers without metadata.")
    revocation_endpoint: str = Field(
        "", description="Where tokens are revoked (RFC 7009), for servers without metadata."
    )
    method: Literal["basic", "post"] | None = Field(
        None, description="How the secret is sent (RFC 6749 section 2.3.1); by default as the server's metadata say."
    )
    resource: str = Field(
        "", description="What the tokens are for (RFC 8707); by default what the upstream calls itself, or its URLs."
    )
    discover_as: str = Field(
        "",
        pattern=r"^(?:[!-~]{1,255})?$",
        description="Id of the account, such as `user:alice`, whose connection lists what the upstream offers; by "
        "default the gateway asks without a credential.",
    )

    @model_validator(mode="after")
    def _endpoints_are_complete(self) -> UserOAuth:
        if bool(self.authorization_endpoint) != bool(self.token_endpoint):
            raise ValueError("authorization_endpoint and token_endpoint go together; give both or neither")
        if self.revocation_endpoint and not self.token_endpoint:
            raise ValueError("revocation_endpoint needs authorization_endpoint and token_endpoint; give them too")
        return self
