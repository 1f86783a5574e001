"""The REST API: its operations on what every gateway has, and the application that serves those of all plugins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from toolway.hookspecs.api import PUBLIC, Incoming, Operation
from toolway.hookspecs.system import Application
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class ApiPlugin(Plugin[Settings]):
    """Heavy imports wait until a hook is called."""

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """Health, catalog, collections, well-known documents and the OpenAPI document."""
        from toolway.bundled.api.catalog import CatalogOperations
        from toolway.bundled.api.collections import Collection
        from toolway.bundled.api.health import Health
        from toolway.bundled.api.metadata import Metadata

        return [
            *Health(kernel).operations(),
            *Metadata(kernel.challenges).operations(),
            *CatalogOperations(kernel).operations(),
            *(each for entity in kernel.entities for each in Collection(entity, kernel).operations()),
            Operation("GET", "/api/v1/openapi.json", PUBLIC, Description(kernel).describe, answer=dict[str, Any]),
        ]

    @hookimpl
    def toolway_applications(self, kernel: Kernel) -> Iterable[Application]:
        """All operations of all plugins."""
        from toolway.bundled.api.endpoint import RestApi

        return [RestApi(kernel)]


class Description:
    """Made when somebody asks for the first time: it takes a moment."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._document: dict[str, Any] = {}

    async def describe(self, incoming: Incoming) -> dict[str, Any]:
        """Describe this API in OpenAPI 3.1."""
        from toolway import __version__
        from toolway.bundled.api.openapi import openapi

        if not self._document:
            self._document = openapi(self._kernel.operations, __version__)
        return self._document
