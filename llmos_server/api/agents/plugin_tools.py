"""Tools that plugins bring: `{"type": "plugin_tool", "name": ...}` in a request's `tools`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from llmos_server.agents.tool import ServerTool, ToolOutput
from llmos_server.agents.tool_source import ToolSource
from llmos_server.api.agents.tool_entry import read_entry
from llmos_server.api.errors import NotFound, QueueFull
from llmos_server.api.http.access import may_run_tool, require_tool
from llmos_server.api.services import Services, services_of
from llmos_server.errors import PluginFailed
from llmos_server.key_contracts import Principal
from llmos_server.plugins.failures import FailureKind
from llmos_server.plugins.loading import Offer
from llmos_server.plugins.offers import Tool, tool_schema
from llmos_server.skills.runner import CANCEL_SECONDS, RunBlocked, RunnersBusy, RunTimedOut

HOOK = "register_tools"


class PluginToolEntry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    name: str
    require_approval: Literal["always", "never"] | None = None


class PluginToolProvider:
    """Implements ToolProvider."""

    def open(self, entry: dict[str, Any], *, where: str, principal: Principal, request: Any) -> ToolSource:
        wire = read_entry(entry, PluginToolEntry, where)
        host = services_of(request).plugins
        offer = host.find(HOOK, wire.name)
        if offer is None:
            found = [offer.name for offer in host.offers(HOOK) if may_run_tool(request, offer.name)]
            raise NotFound(
                f"No plugin brings a tool {wire.name[:100]!r}. Tools: {', '.join(found) or 'none'}.",
                param=f"{where}.name",
                code="tool_not_found",
            )
        require_tool(request, wire.name, param=f"{where}.name")
        wanted = wire.require_approval
        needs_approval = offer.value.needs_approval if wanted is None else wanted == "always"
        return PluginToolSource(services_of(request), offer, needs_approval=needs_approval)


class PluginToolSource:
    """Implements ToolSource: one tool. Each call has a thread and an event loop of its own, as runs of skills have."""

    is_listed = False

    def __init__(self, services: Services, offer: Offer, *, needs_approval: bool) -> None:
        self.label = f"plugin:{offer.plugin}"
        self._services = services
        self._offer = offer
        self._needs_approval = needs_approval

    async def list_tools(self) -> list[ServerTool]:
        tool: Tool = self._offer.value
        return [
            ServerTool(
                name=tool.name,
                description=tool.description,
                parameters=tool_schema(tool),
                source=f"plugin {self._offer.plugin}",
                label=self.label,
                timeout_seconds=tool.timeout_seconds + 2 * CANCEL_SECONDS,
                run=self._run,
                needs_approval=self._needs_approval,
            )
        ]

    async def close(self) -> None:
        """A call ends with whoever waits for it."""

    async def _run(self, arguments: dict[str, Any]) -> ToolOutput:
        tool: Tool = self._offer.value
        services = self._services
        switch = services.plugins.failures.switch(self._offer.plugin, HOOK, tool.name)
        if not switch.admits():
            raise PluginFailed(f"The tool {tool.name} is switched off, because its last calls took too long.")
        given = msgspec.convert(arguments, tool.input_type)

        async def call() -> Any:
            return await tool.run(given)

        try:
            output = _to_text(await services.runner.run(call, tool.timeout_seconds))
        except RunnersBusy:
            most = services.plugins.settings.max_runs
            raise QueueFull(f"{most} skills and tools run already (plugins.max_runs). Try again later.") from None
        except RunTimedOut as error:
            raise self._failed("timeout", f"took longer than its {tool.timeout_seconds:g} s", error) from None
        except RunBlocked as error:
            what = f"took longer than its {tool.timeout_seconds:g} s, and blocks its thread"
            raise self._failed("blocked", what, error) from None
        except Exception as error:
            what = f"failed ({type(error).__name__}); the server's log tells where"
            raise self._failed("raised", what, error) from None
        switch.succeeded()
        return ToolOutput(text=output)

    def _failed(self, kind: FailureKind, what: str, error: Exception) -> PluginFailed:
        failures, name = self._services.plugins.failures, self._offer.name
        failures.note(self._offer.plugin, HOOK, name, kind, error)
        if kind in ("timeout", "blocked"):
            failures.switch(self._offer.plugin, HOOK, name).failed()
        return PluginFailed(f"The tool {name} of the plugin {self._offer.plugin} {what}.")


def _to_text(output: Any) -> str:
    """A result that is no string is told as JSON."""
    return output if isinstance(output, str) else msgspec.json.encode(output).decode()
