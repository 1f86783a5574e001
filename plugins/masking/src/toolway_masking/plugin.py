"""Settings and the plugin class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

from toolway.hookspecs.system import Service
from toolway.hookspecs.telemetry import Redactor, RequestWatcher
from toolway.plugin import Kernel, Plugin, Settings, hookimpl

if TYPE_CHECKING:
    from toolway_masking.masker import Masker


class MaskingSettings(Settings):
    """What is removed besides credentials, keys and tokens of known forms and under known names."""

    cards: bool = Field(True, description="Whether numbers of payment cards are removed.")
    emails: bool = Field(False, description="Whether e-mail addresses are removed; user names that are some, too.")
    names: list[str] = Field(
        [], max_length=100, description="More names of fields whose values are secret, at the end of a name."
    )
    patterns: dict[str, str] = Field(
        {}, max_length=100, description="More texts to remove, by name: expressions in the syntax of RE2."
    )


class MaskingPlugin(Plugin[MaskingSettings]):
    """Registers the redactor, the watcher that shows it requests, and the service that hears Python itself."""

    _made: tuple[Kernel, Masker] | None = None

    @hookimpl
    def toolway_redactors(self, kernel: Kernel) -> Iterable[Redactor]:
        """Removes secrets from texts."""
        return [self._masker(kernel)]

    @hookimpl
    def toolway_request_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        """Lets the redactor know what the request that is being served presents."""
        return [self._masker(kernel).presented]

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Has logged what Python would write by itself."""
        from toolway_masking.outcries import Outcries

        return [Outcries()]

    def _masker(self, kernel: Kernel) -> Masker:
        from toolway_masking.masker import Masker

        if self._made is None or self._made[0] is not kernel:
            asked = self.settings
            chosen = {"with_cards": asked.cards, "with_emails": asked.emails}
            self._made = kernel, Masker(asked.patterns, asked.names, redact=kernel.redact, **chosen)
        return self._made[1]
