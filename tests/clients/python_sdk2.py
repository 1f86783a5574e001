"""The Python SDK 2.x client: `python python_sdk2.py URL [--mode auto|legacy|2026-07-28] [--calls JSON]`.

Prints the report.
"""

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import exercise
import mcp_types as types
from mcp import Client
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged


class Sdk2:
    """Adapts `mcp.Client`; on the modern wire notifications come on a `subscriptions/listen` stream."""

    def __init__(self, url: str, mode: str) -> None:
        self.events: list[str] = []
        self.logs: list[Any] = []
        self.protocol = ""
        self._listening: asyncio.Task[None] | None = None
        self.client = Client(
            url,
            mode=mode,
            log_level="debug",
            cache=None,
            elicitation_callback=_elicit,
            sampling_callback=_sample,
            list_roots_callback=_roots,
            logging_callback=self._log,
            message_handler=self._message,
        )

    async def tools(self) -> list[str]:
        names: list[str] = []
        cursor: str | None = None
        while True:
            page = await self.client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            if (cursor := page.next_cursor) is None:
                return sorted(names)

    async def prompts(self) -> list[str]:
        return sorted(prompt.name for prompt in (await self.client.list_prompts()).prompts)

    async def resources(self) -> list[str]:
        return sorted(str(each.uri) for each in (await self.client.list_resources()).resources)

    async def templates(self) -> list[str]:
        return sorted(each.uri_template for each in (await self.client.list_resource_templates()).resource_templates)

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[str, bool]:
        async def report(progress: float, total: float | None, message: str | None) -> None:
            if on_progress is not None:
                on_progress(progress)

        result = await self.client.call_tool(name, arguments, progress_callback=report if on_progress else None)
        return getattr(result.content[0], "text", ""), bool(result.is_error)

    async def prompt(self, name: str, arguments: dict[str, str]) -> str:
        result = await self.client.get_prompt(name, arguments)
        return str(getattr(result.messages[0].content, "text", ""))

    async def read(self, uri: str) -> str:
        result = await self.client.read_resource(uri)
        return str(getattr(result.contents[0], "text", ""))

    async def complete(self, prompt: str, argument: str, value: str) -> list[str]:
        ref = types.PromptReference(name=prompt)
        result = await self.client.complete(ref, {"name": argument, "value": value})
        return list(result.completion.values)

    async def follow(self, uri: str) -> None:
        if self.protocol < "2026":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                await self.client.subscribe_resource(uri)
            return
        acknowledged = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(uri, acknowledged))
        await acknowledged.wait()

    async def call_and_cancel(self, name: str, arguments: dict[str, Any], when: Callable[[], Awaitable[None]]) -> None:
        call = asyncio.create_task(self.client.call_tool(name, arguments))
        await when()
        call.cancel()
        await asyncio.wait([call])

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    async def _listen(self, uri: str, acknowledged: asyncio.Event) -> None:
        async with self.client.listen(tools_list_changed=True, resource_subscriptions=[uri]) as stream:
            acknowledged.set()
            async for event in stream:
                if isinstance(event, ToolsListChanged):
                    self.events.append("tools/list_changed")
                elif isinstance(event, ResourceUpdated):
                    self.events.append(f"resources/updated {event.uri}")

    async def _log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logs.append(params.data)

    async def _message(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.events.append("tools/list_changed")
        elif isinstance(message, types.ResourceUpdatedNotification):
            self.events.append(f"resources/updated {message.params.uri}")


async def _elicit(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={**exercise.ANSWER})


async def _sample(context: ClientRequestContext, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text=exercise.SAMPLED)
    return types.CreateMessageResult(role="assistant", content=content, model="test-model", stop_reason="endTurn")


async def _roots(context: ClientRequestContext) -> types.ListRootsResult:
    return types.ListRootsResult.model_validate({"roots": [{"uri": exercise.ROOT, "name": "a root"}]})


async def main() -> None:
    options = exercise.arguments("auto", "legacy", "2026-07-28")
    adapter = Sdk2(options.url, options.mode)
    async with adapter.client as client:
        adapter.protocol = client.protocol_version
        report = await exercise.Exercise(adapter, options.calls).run()
        await adapter.close()
    exercise.publish(f"python-sdk2 {options.mode}", report)


if __name__ == "__main__":
    asyncio.run(main())
