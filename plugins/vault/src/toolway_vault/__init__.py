"""The plugin `vault`: secrets from Vault or OpenBao."""
