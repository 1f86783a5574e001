"""Settings and the plugin class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

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
    """Registers the redactor, and the watcher that lets it see which request is being served."""

    _made: tuple[Kernel, Masker] | None = None

    @hookimpl
    def toolway_redactors(self, kernel: Kernel) -> Iterable[Redactor]:
        """Removes secrets from texts."""
        return [self._masker(kernel)]

    @hookimpl
    def toolway_request_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        """Lets the redactor know what the request that is being served presents."""
        return [self._masker(kernel).presented]

    def _masker(self, kernel: Kernel) -> Masker:
        from toolway_masking.masker import Masker

        if self._made is None or self._made[0] is not kernel:
            asked = self.settings
            masker = Masker(asked.patterns, asked.names, with_cards=asked.cards, with_emails=asked.emails)
            self._made = kernel, masker
        return self._made[1]
