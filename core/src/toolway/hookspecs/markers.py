"""The pluggy markers, bound to the project's prefix."""

from __future__ import annotations

import pluggy

PROJECT = "toolway"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
