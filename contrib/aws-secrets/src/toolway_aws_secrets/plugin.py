"""The plugin class and its settings."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from toolway.hookspecs.secrets import SecretScheme
from toolway.plugin import Kernel, Plugin, Seconds, Settings, hookimpl


class AwsSecretsSettings(Settings):
    """The table `[plugins.aws-secrets]`."""

    region: str = Field(min_length=1, description="The region of the secrets, such as eu-central-1.")
    endpoint: str | None = Field(
        None, pattern=r"^https?://[^\s@]+$", description="Address of the service, for VPC endpoints and tests."
    )
    profile: str | None = Field(None, description="Profile of ~/.aws to use; default: what boto3 finds.")
    refresh: Seconds = Field(60.0, ge=0.1, le=3600, description="How long a value is used before it is read again.")
    stale_for: Seconds = Field(3600.0, le=3600, description="How long after that it is used when AWS does not answer.")
    timeout: Seconds = Field(5.0, gt=0, le=60, description="Per request, in seconds.")


class AwsSecretsPlugin(Plugin[AwsSecretsSettings]):
    """Registers the scheme; boto3 is imported when the hook is called."""

    @hookimpl
    def toolway_secret_schemes(self, kernel: Kernel) -> Iterable[SecretScheme]:
        """`aws-secrets:`."""
        from toolway_aws_secrets.scheme import AwsSecrets

        return [AwsSecrets(self.settings, kernel.clock)]
