"""The Python SDK 1.x client: `python python_sdk1.py URL [--mode http|sse] [--calls JSON]`; prints the report.

Runs in an environment of its own (`mcp==1.30.*`), never in the project's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import exercise
from mcp import ClientSession, types
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client
from pydantic import AnyUrl


class Sdk1:
    """Adapts the 1.x `ClientSession`; notifications come on the GET stream."""

    def __init__(self, read: Any, write: Any) -> None:
        self.events: list[str] = []
        self.logs: list[Any] = []
        self.protocol = ""
        self.session = ClientSession(
            read,
            write,
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
            page = await self.session.list_tools(cursor)
            names += [tool.name for tool in page.tools]
            if (cursor := page.nextCursor) is None:
                return sorted(names)

    async def prompts(self) -> list[str]:
        return sorted(prompt.name for prompt in (await self.session.list_prompts()).prompts)

    async def resources(self) -> list[str]:
        return sorted(str(each.uri) for each in (await self.session.list_resources()).resources)

    async def templates(self) -> list[str]:
        return sorted(each.uriTemplate for each in (await self.session.list_resource_templates()).resourceTemplates)

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[str, bool]:
        async def report(progress: float, total: float | None, message: str | None) -> None:
            if on_progress is not None:
                on_progress(progress)

        timeout = timedelta(seconds=exercise.STEP_SECONDS)
        result = await self.session.call_tool(
            name, arguments, timeout, progress_callback=report if on_progress else None
        )
        return getattr(result.content[0], "text", ""), bool(result.isError)

    async def prompt(self, name: str, arguments: dict[str, str]) -> str:
        result = await self.session.get_prompt(name, arguments)
        return str(getattr(result.messages[0].content, "text", ""))

    async def read(self, uri: str) -> str:
        result = await self.session.read_resource(AnyUrl(uri))
        return str(getattr(result.contents[0], "text", ""))

    async def complete(self, prompt: str, argument: str, value: str) -> list[str]:
        ref = types.PromptReference(type="ref/prompt", name=prompt)
        result = await self.session.complete(ref, {"name": argument, "value": value})
        return list(result.completion.values)

    async def follow(self, uri: str) -> None:
        await self.session.subscribe_resource(AnyUrl(uri))

    async def call_and_cancel(self, name: str, arguments: dict[str, Any], when: Callable[[], Awaitable[None]]) -> None:
        """1.x does not send `notifications/cancelled` by itself."""
        request_id = self.session._request_id
        call = asyncio.create_task(self.session.call_tool(name, arguments))
        await asyncio.sleep(0)  # the call takes this id before `when` sends requests of its own
        await when()
        params = types.CancelledNotificationParams(requestId=request_id, reason="the test cancels")
        cancelled = types.CancelledNotification(method="notifications/cancelled", params=params)
        await self.session.send_notification(types.ClientNotification(cancelled))
        call.cancel()
        await asyncio.wait([call])

    async def _log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logs.append(params.data)

    async def _message(self, message: Any) -> None:
        inner = getattr(message, "root", None)
        if isinstance(inner, types.ToolListChangedNotification):
            self.events.append("tools/list_changed")
        elif isinstance(inner, types.ResourceUpdatedNotification):
            self.events.append(f"resources/updated {inner.params.uri}")


async def _elicit(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={**exercise.ANSWER})


async def _sample(context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text=exercise.SAMPLED)
    return types.CreateMessageResult(role="assistant", content=content, model="test-model", stopReason="endTurn")


async def _roots(context: Any) -> types.ListRootsResult:
    return types.ListRootsResult.model_validate({"roots": [{"uri": exercise.ROOT, "name": "a root"}]})


async def main() -> None:
    options = exercise.arguments("http", "sse")
    connect: AbstractAsyncContextManager[Any]
    connect = sse_client(options.url) if options.mode == "sse" else streamablehttp_client(options.url)
    async with connect as streams:
        adapter = Sdk1(streams[0], streams[1])
        async with adapter.session as session:
            adapter.protocol = str((await session.initialize()).protocolVersion)
            report = await exercise.Exercise(adapter, options.calls).run()
    exercise.publish(f"python-sdk1 {options.mode}", report)


if __name__ == "__main__":
    asyncio.run(main())
