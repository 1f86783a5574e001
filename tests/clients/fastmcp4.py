"""The FastMCP 4.x client: `python fastmcp4.py URL [--mode auto|legacy] [--calls JSON]`; prints the report.

Runs in an environment of its own (`fastmcp==4.1.0`), never in the project's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import exercise
import mcp_types as types
from fastmcp import Client
from mcp.client.subscriptions import listen
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged


class FastMcp:
    """Adapts `fastmcp.Client`; its `session` is the SDK's, which has what FastMCP lacks (listen, subscribe)."""

    def __init__(self, url: str, mode: str) -> None:
        self.events: list[str] = []
        self.logs: list[Any] = []
        self.protocol = ""
        self._listening: asyncio.Task[None] | None = None
        self.client: Any = Client(
            url,
            mode=mode,
            cache=False,
            roots=[exercise.ROOT],
            elicitation_handler=_elicit,
            sampling_handler=_sample,
            log_handler=self._log,
            message_handler=self._message,
        )

    async def tools(self) -> list[str]:
        return sorted(tool.name for tool in await self.client.list_tools())

    async def prompts(self) -> list[str]:
        return sorted(prompt.name for prompt in await self.client.list_prompts())

    async def resources(self) -> list[str]:
        return sorted(str(each.uri) for each in await self.client.list_resources())

    async def templates(self) -> list[str]:
        return sorted(each.uri_template for each in await self.client.list_resource_templates())

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[str, bool]:
        async def report(progress: float, total: float | None, message: str | None) -> None:
            if on_progress is not None:
                on_progress(progress)

        result = await self.client.call_tool(
            name,
            arguments,
            progress_handler=report if on_progress else None,
            raise_on_error=False,
        )
        return getattr(result.content[0], "text", ""), bool(result.is_error)

    async def prompt(self, name: str, arguments: dict[str, str]) -> str:
        result = await self.client.get_prompt(name, arguments)
        return str(getattr(result.messages[0].content, "text", ""))

    async def read(self, uri: str) -> str:
        return str((await self.client.read_resource(uri))[0].text)

    async def complete(self, prompt: str, argument: str, value: str) -> list[str]:
        ref = types.PromptReference(name=prompt)
        return list((await self.client.complete(ref, {"name": argument, "value": value})).values)

    async def follow(self, uri: str) -> None:
        if self.protocol < "2026":
            await self.client.session.subscribe_resource(uri)
            return
        acknowledged = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(uri, acknowledged))
        await acknowledged.wait()

    async def call_and_cancel(self, name: str, arguments: dict[str, Any], when: Callable[[], Awaitable[None]]) -> None:
        call = asyncio.create_task(self.client.session.call_tool(name, arguments))
        await when()
        call.cancel()
        await asyncio.wait([call])

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    async def _listen(self, uri: str, acknowledged: asyncio.Event) -> None:
        async with listen(self.client.session, tools_list_changed=True, resource_subscriptions=[uri]) as stream:
            acknowledged.set()
            async for event in stream:
                if isinstance(event, ToolsListChanged):
                    self.events.append("tools/list_changed")
                elif isinstance(event, ResourceUpdated):
                    self.events.append(f"resources/updated {event.uri}")

    async def _log(self, message: Any) -> None:
        self.logs.append(message.data)

    async def _message(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.events.append("tools/list_changed")
        elif isinstance(message, types.ResourceUpdatedNotification):
            self.events.append(f"resources/updated {message.params.uri}")


async def _elicit(message: str, response_type: Any, params: Any, context: Any) -> dict[str, Any]:
    return {**exercise.ANSWER}


async def _sample(messages: Any, params: Any, context: Any) -> str:
    return exercise.SAMPLED


async def main() -> None:
    options = exercise.arguments("auto", "legacy")
    adapter = FastMcp(options.url, options.mode)
    async with adapter.client as client:
        adapter.protocol = client.session.protocol_version
        report = await exercise.Exercise(adapter, options.calls).run()
        await adapter.close()
    exercise.publish(f"fastmcp4 {options.mode}", report)


if __name__ == "__main__":
    asyncio.run(main())
