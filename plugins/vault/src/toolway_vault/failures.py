"""What can go wrong with Vault; messages name paths and never values."""

from __future__ import annotations


class VaultFailure(Exception):
    """A request did not bring what was asked for."""


class VaultDown(VaultFailure):
    """Vault does not answer, is sealed or is broken: it may be well again soon."""


class Refused(VaultFailure):
    """Vault answered, and refuses."""


class Denied(Refused):
    """The token may not do this, or is no token any more (status 403)."""


class Absent(Refused):
    """There is nothing of that name (status 404)."""
